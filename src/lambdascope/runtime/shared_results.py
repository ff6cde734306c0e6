"""Coroutines of several invocations on one event loop, which runs in a thread of its own.

A worker hands its coroutine over and waits for the result. Each becomes a task with the worker's
context, so that logs and the current invocation are right in it and in the tasks that it starts.
Loaded with `concurrent`.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from contextvars import copy_context
from typing import TYPE_CHECKING

from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.live_results import CANCEL_S, LiveResults, lasting_tasks, say_left_over

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future
    from typing import Any

    from lambdascope.runtime.api import RuntimeApi
    from lambdascope.wire.runtime_api import Invocation

    Task = asyncio.Task[Any]


class SharedEventLoop:
    """The loop and its thread; both are made when the first coroutine comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        # Tasks by the invocation in whose context they were made.
        self._tasks: weakref.WeakKeyDictionary[Task, Invocation | None] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The running loop."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._loop.set_task_factory(self._make_task)
                run = self._loop.run_forever
                threading.Thread(target=run, name="lambdascope-asyncio", daemon=True).start()
            return self._loop

    @property
    def is_running(self) -> bool:
        """Whether there has been a coroutine."""
        return self._loop is not None

    def run(self, coroutine: Coroutine[Any, Any, object]) -> object:
        """Run it as a task in the caller's context and wait for its result."""
        from concurrent.futures import Future

        result: Future[object] = Future()
        self.loop.call_soon_threadsafe(self._start, coroutine, result, context=copy_context())
        return result.result()

    def tasks_of(self, invocation: Invocation) -> list[Task]:
        """The unfinished tasks that were made in an invocation."""
        return [
            task
            for task, owner in list(self._tasks.items())
            if owner is invocation and not task.done() and task not in lasting_tasks
        ]

    def _start(self, coroutine: Coroutine[Any, Any, object], result: Future[object]) -> None:
        def finish(task: Task) -> None:
            if task.cancelled():
                result.set_exception(asyncio.CancelledError())
            elif (error := task.exception()) is not None:
                result.set_exception(error)
            else:
                result.set_result(task.result())

        self.loop.create_task(coroutine).add_done_callback(finish)

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Future[Any]:
        task: Task = asyncio.Task(coroutine, loop=loop, **options)
        self._tasks[task] = current_invocation.get()
        return task


class SharedResults(LiveResults):
    """One worker's results, on the shared loop."""

    def __init__(
        self,
        api: RuntimeApi,
        say: Callable[[str], None],
        shared: SharedEventLoop,
        *,
        keep_tasks: bool,
    ) -> None:
        super().__init__(api, say, keep_tasks=keep_tasks)
        self._shared = shared

    def run(self, coroutine: Coroutine[Any, Any, object]) -> object:
        """Run a coroutine on the shared loop, and wait."""
        return self._shared.run(coroutine)

    def cancel_left_over(self) -> None:
        """Cancel the tasks of the current invocation that are left over."""
        invocation = current_invocation.get()
        if invocation is None or not self._shared.is_running:
            return
        tasks = self._shared.tasks_of(invocation)
        if tasks:
            say_left_over(self._say, tasks)
            self._shared.run(_cancel(tasks))


async def _cancel(tasks: list[Task]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=CANCEL_S)
