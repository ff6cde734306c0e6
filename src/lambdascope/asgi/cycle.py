"""One request through the application: what it receives, and where what it sends goes.

The exchange is over for the caller when the response is complete. What the application does after
that (background tasks, say) runs once the answer is out. A response is either collected or sent
piece by piece; an application that sends faster than the platform takes has to wait.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from lambdascope.asgi.answer import answer, header_lists, joined
from lambdascope.runtime.streaming import StreamBroken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from lambdascope.asgi.request import Request
    from lambdascope.runtime.streaming import ResponseStream

    Message = dict[str, Any]
    Application = Callable[..., Awaitable[None]]
    Headers = Iterable[Iterable[bytes]]

_log = logging.getLogger("lambdascope.asgi")


class ClientGone(OSError):
    """Nobody takes the rest of the response. What ASGI asks a server to raise in `send`."""


class Sink(Protocol):
    """Where a response goes."""

    async def write(self, status: int, headers: Headers, piece: bytes) -> None:
        """Take a piece of the body. Raises StreamBroken."""

    def result(self) -> object:
        """What the handler returns, once the response is complete."""


class Collected:
    """Keeps the response until it is complete."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._status = 0
        self._headers: Headers = ()
        self._body = bytearray()

    async def write(self, status: int, headers: Headers, piece: bytes) -> None:
        """Keep it."""
        self._status, self._headers = status, headers
        self._body += piece

    def result(self) -> object:
        """The answer."""
        return answer(self._request, self._status, self._headers, bytes(self._body))


class Streamed:
    """Sends each piece at once, the first one behind status and headers."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._stream: ResponseStream | None = None

    async def write(self, status: int, headers: Headers, piece: bytes) -> None:
        """Send it, and wait until the platform has taken it."""
        if self._stream is None:
            single, cookies = joined(header_lists(headers))
            self._stream = self._context.stream(status_code=status, headers=single, cookies=cookies)
        rest = self._stream.offer(piece)
        if rest is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._stream.send_rest, rest)

    def result(self) -> object:
        """Nothing: the runtime ends the stream."""
        return None


class Cycle:
    """One request. `run` may be called once."""

    def __init__(self, body: bytes, sink: Sink) -> None:
        self._body: bytes | None = body
        self._sink = sink
        self._start: Message | None = None
        self._broken: StreamBroken | None = None
        # The response is complete; or nothing more can come of it.
        self._complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()

    async def run(self, app: Application, scope: Message, context: Any) -> object:
        """Call the application; what the handler is to return.

        Raises what it raises before its response is complete, StreamBroken when the platform takes
        no more of it, RuntimeError when there is none.
        """
        task = asyncio.ensure_future(app(scope, self._receive, self._send))
        try:
            await asyncio.wait((task, self._complete), return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            task.cancel()
            raise
        if self._complete.done():
            await self._leave(task, context)
            return self._sink.result()
        if self._broken is not None:
            if not task.cancelled():
                task.exception()  # It follows from this one.
            raise self._broken
        await task
        raise RuntimeError("the ASGI application returned without a complete response")

    async def _leave(self, task: asyncio.Future[None], context: Any) -> None:
        """The rest of the application, of which the caller sees nothing any more."""
        if task.done():
            await _finish(task)
        elif hasattr(context, "run_after_response"):
            context.run_after_response(_finish, task)
        else:
            await _finish(task)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if self._broken is not None:
            raise ClientGone(str(self._broken))
        if kind == "http.response.start" and self._start is None:
            self._start = message
        elif kind == "http.response.body" and self._start and not self._complete.done():
            await self._write(self._start, message)
        else:
            raise RuntimeError(f"the ASGI application sent {kind} where it does not belong")

    async def _write(self, start: Message, message: Message) -> None:
        try:
            await self._sink.write(
                start["status"], start.get("headers", ()), message.get("body", b"")
            )
        except StreamBroken as error:
            self._broken = error
            self._over.set()
            raise ClientGone(str(error)) from None
        if not message.get("more_body", False):
            self._complete.set_result(None)
            self._over.set()


async def _finish(task: asyncio.Future[None]) -> None:
    """Wait for the application; its response is out, so that a failure can only be logged."""
    try:
        await task
    except Exception as error:  # noqa: BLE001 - the function's code, after its answer
        _log.exception("the ASGI application failed after its response", exc_info=error)
