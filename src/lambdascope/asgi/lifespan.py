"""The application's lifespan: startup before its first request, shutdown when the process ends.

Startup is part of the first invocation and not of init, so that it is on the event loop of the
requests and, with SnapStart, in the restored environment. Shutdown comes with an exit function of
Python: Lambda sends SIGTERM only to environments that have an extension. It has 0.3 s. Source:
ASGI, lifespan protocol 2.0.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import logging
from typing import TYPE_CHECKING, Any

from lambdascope.asgi.request import ASGI_VERSION
from lambdascope.runtime.live_results import lasting_tasks

if TYPE_CHECKING:
    from lambdascope.asgi.cycle import Application, Message

_SHUTDOWN_S = 0.3
_log = logging.getLogger("lambdascope.asgi")
_ours = contextvars.ContextVar("lambdascope_lifespan", default=False)


class Lifespan:
    """The lifespan of one application. `required`: that it has none is an error."""

    def __init__(self, app: Application, *, required: bool) -> None:
        self._app = app
        self._required = required
        self._running: _Running | None = None

    async def state(self) -> dict[str, Any]:
        """Start the application if that is to be done; a copy of what it keeps for its requests.

        Raises RuntimeError when the startup fails; the next invocation tries again.
        """
        running = self._running
        if running is None or running.is_dead(asyncio.get_running_loop()):
            if running is None:
                atexit.register(self._shut_down)
            running = self._running = _Running(self._app, required=self._required)
            running.begin()
        await asyncio.shield(running.started)
        return dict(running.state)

    def _shut_down(self) -> None:
        if self._running is not None:
            self._running.shut_down()


class _Running:
    """One startup and what follows."""

    def __init__(self, app: Application, *, required: bool) -> None:
        self._app = app
        self._required = required
        self._loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.started: asyncio.Future[None] = self._loop.create_future()
        self.state: dict[str, Any] = {}

    def is_dead(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether it has failed, or was on an event loop that the function has closed."""
        failed = self.started.done() and self.started.exception() is not None
        return failed or self._loop is not loop

    def begin(self) -> None:
        """Begin the startup, in a context without an invocation: it outlives this one."""
        before = asyncio.all_tasks()
        context = contextvars.Context()
        context.run(_ours.set, True)
        self._messages.put_nowait({"type": "lifespan.startup"})
        self._task = self._loop.create_task(self._run(), name="asgi-lifespan", context=context)
        lasting_tasks.add(self._task)

        def keep(_: object) -> None:
            lasting_tasks.update(filter(_is_ours, asyncio.all_tasks(self._loop) - before))

        self.started.add_done_callback(keep)

    def shut_down(self) -> None:
        """Let the application shut down, on its loop, from outside of it. Never raises."""
        if self._loop.is_closed() or self._task is None or self._task.done():
            return
        shutdown = self._shutdown()
        try:
            if self._loop.is_running():
                asyncio.run_coroutine_threadsafe(shutdown, self._loop).result(_SHUTDOWN_S * 2)
            else:
                self._loop.run_until_complete(shutdown)
        except Exception as error:  # noqa: BLE001 - the process ends
            shutdown.close()
            _log.warning("the ASGI application's shutdown: %s: %s", type(error).__name__, error)

    async def _shutdown(self) -> None:
        self._messages.put_nowait({"type": "lifespan.shutdown"})
        try:
            await asyncio.wait_for(self._stopped.wait(), _SHUTDOWN_S)
        except TimeoutError:
            raise TimeoutError(f"not over after {_SHUTDOWN_S} s") from None

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": dict(ASGI_VERSION), "state": self.state}
        try:
            await self._app(scope, self._messages.get, self._send)
        except Exception as error:  # noqa: BLE001 - whatever an application raises
            if self.started.done():
                _log.exception("the ASGI application's lifespan failed", exc_info=error)
            elif self._required:
                self._fail(f"{type(error).__name__}: {error}")
        finally:
            # An application without a lifespan raises, or returns.
            if not self.started.done():
                self.started.set_result(None)
            self._stopped.set()

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete" and not self.started.done():
            self.started.set_result(None)
        elif kind == "lifespan.startup.failed" and not self.started.done():
            self._fail(message.get("message", ""))
        elif kind == "lifespan.shutdown.failed":
            _log.error("the ASGI application's shutdown failed: %s", message.get("message", ""))

    def _fail(self, why: str) -> None:
        self.started.set_exception(RuntimeError(f"the ASGI application's startup failed: {why}"))


def _is_ours(task: asyncio.Task[Any]) -> bool:
    """Whether the startup began it. Python 3.11 cannot tell: there, whoever began meanwhile."""
    get_context = getattr(task, "get_context", None)
    return get_context is None or bool(get_context().get(_ours))
