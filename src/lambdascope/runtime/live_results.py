"""Handlers that return something that still has to run: coroutines and generators.

The loop hands such a result here, inside the region in which the function's code runs. A coroutine
is run to its value on one event loop that lives as long as the environment; a generator, plain or
async, is streamed. Loaded with the first such result (asyncio alone takes 30 ms to import), or in
init when the handler is an `async def`.
"""

from __future__ import annotations

from types import AsyncGeneratorType, CoroutineType, GeneratorType
from weakref import WeakSet

from lambdascope.runtime.faults import text_of
from lambdascope.runtime.streaming import (
    ResponseStream,
    StreamBroken,
    stream_async_generator,
    stream_generator,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Coroutine
    from typing import Any

    from lambdascope.runtime.api import RuntimeApi
    from lambdascope.runtime.telemetry import InvokeTimes

# How long cancelled tasks may take to clean up, and what is kept of the deadline for the answer.
CANCEL_S = 0.5
_RESERVE_S = 0.2
# Tasks of the environment, not of the invocation that began them: a web application's lifespan.
lasting_tasks: WeakSet[asyncio.Task[Any]] = WeakSet()


class LiveResults:
    """Runs what handlers returned. `keep_tasks`: tasks that were left over are not cancelled."""

    def __init__(self, api: RuntimeApi, say: Callable[[str], None], *, keep_tasks: bool) -> None:
        self._api = api
        self._say = say
        self._keep_tasks = keep_tasks
        self._loop: asyncio.AbstractEventLoop | None = None

    def settle(self, result: object, times: InvokeTimes) -> object:
        """The value of a coroutine, or None for what has been streamed (`times.stream`).

        Raises what the function raises, or StreamBroken.
        """
        if isinstance(result, CoroutineType):
            result = self.run(result)
        if isinstance(result, GeneratorType):
            stream_generator(self.open_stream(times), result)
            return None
        if isinstance(result, AsyncGeneratorType):
            self.run(stream_async_generator(self.open_stream(times), result))
            return None
        return result

    def open_stream(
        self, times: InvokeTimes, *, content_type: str = "", prelude: object = None
    ) -> ResponseStream:
        """The one stream of an invocation. Raises RuntimeError for a second one."""
        if times.stream is not None:
            raise RuntimeError("this invocation has a response stream already")
        stream = ResponseStream(
            self._api,
            times.invocation,
            content_type=content_type,
            prelude=prelude,  # type: ignore[arg-type]  # made by context.stream
        )
        times.stream = stream
        return stream

    def run(self, coroutine: Coroutine[Any, Any, object]) -> object:
        """Run a coroutine on the environment's event loop."""
        return self.event_loop().run_until_complete(coroutine)

    def event_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop; made when it is first needed, and again if the function closed it."""
        import asyncio

        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop

    def after_response(self, times: InvokeTimes, left_s: float) -> None:
        """Run what was to be run after the response, then deal with tasks that are left over.

        `left_s` is what is left of the deadline. The answer is out, so that a failure is said and
        nothing else. Raises SystemExit, when the function asks the process to end.
        """
        for work, args in times.after or ():
            try:
                self._run_work(work, args, max(left_s - _RESERVE_S, 0.001))
            except SystemExit:
                raise
            except BaseException as error:  # noqa: BLE001 - the function's code, after its answer
                self._say(f"run_after_response: {type(error).__name__}: {text_of(error)}")
        if not self._keep_tasks:
            self.cancel_left_over()

    def _run_work(
        self, work: Callable[..., object], args: tuple[object, ...], left_s: float
    ) -> None:
        result = work(*args)
        if isinstance(result, CoroutineType):
            import asyncio

            self.run(asyncio.wait_for(result, left_s))

    def cancel_left_over(self) -> None:
        """Cancel the tasks that the handler started and did not await."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        import asyncio

        tasks = asyncio.all_tasks(loop) - set(lasting_tasks)
        if tasks:
            say_left_over(self._say, tasks)
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks, timeout=CANCEL_S))


def say_left_over(say: Callable[[str], None], tasks: Collection[asyncio.Task[Any]]) -> None:
    """Tell which tasks are cancelled, and what to do instead."""
    shown = ", ".join(sorted(task.get_name() for task in tasks)[:5])
    say(
        f"{len(tasks)} tasks were not awaited when the handler returned ({shown}) and are "
        "cancelled; use context.run_after_response, or LAMBDASCOPE_ASYNC_TASKS=keep"
    )


__all__ = ["LiveResults", "StreamBroken", "lasting_tasks"]
