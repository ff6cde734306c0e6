"""Response streaming: the answer leaves piece by piece while the handler still makes it.

A handler streams by being a generator, or an async one, or by writing to `context.stream()`. Before
the first piece a failure is an ordinary error; after it, the answer ends with the error trailers of
the Runtime API, so that the platform can tell a broken answer from a whole one. Loaded only when a
handler streams. Source: AWS Lambda developer guide, "Response streaming for Lambda functions".
"""

from __future__ import annotations

from time import monotonic_ns

from lambdascope.transport.connection import ConnectionLost
from lambdascope.transport.upload import Refused, Upload
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.http1 import encode_last_chunk
from lambdascope.wire.names import ACCEPTED, HTTP_INTEGRATION_TYPE, HTTP_PRELUDE_END
from lambdascope.wire.runtime_api import InvocationResponse
from lambdascope.wire.streaming import encode_stream_error, encode_stream_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
    from typing import NoReturn

    from lambdascope.runtime.api import RuntimeApi
    from lambdascope.runtime.faults import ErrorReport
    from lambdascope.wire.runtime_api import Invocation

DEFAULT_CONTENT_TYPE = "application/octet-stream"


class StreamBroken(Exception):
    """The platform takes no more of the answer: it gave up, or the deadline passed."""


class HttpPrelude:
    """Status, headers and cookies of a streamed HTTP answer (function URL, API Gateway).

    A generator may give one as its first item. `headers` map names to one value each.
    """

    __slots__ = ("cookies", "headers", "status_code")

    def __init__(
        self,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        cookies: Sequence[str] = (),
    ) -> None:
        self.status_code = status_code
        self.headers = dict(headers or {})
        self.cookies = list(cookies)

    def to_bytes(self) -> bytes:
        """JSON and the eight NUL bytes that end it."""
        import json

        fields: dict[str, object] = {"statusCode": self.status_code, "headers": self.headers}
        if self.cookies:
            fields["cookies"] = self.cookies
        return json.dumps(fields).encode() + HTTP_PRELUDE_END


class ResponseStream:
    """The answer of one invocation as a stream; `write` sends at once.

    Nothing is sent before the first `write` (or `start`), so that a failure until then is still an
    ordinary error. Use as a context manager, or let the runtime end it with the invocation.
    """

    def __init__(
        self,
        api: RuntimeApi,
        invocation: Invocation,
        *,
        content_type: str = "",
        prelude: HttpPrelude | None = None,
    ) -> None:
        self._api = api
        self._invocation = invocation
        self._content_type = content_type
        self._prelude = prelude
        self._upload: Upload | None = None
        self.first_byte_ns = 0
        self.ended_ns = 0
        self.status_code = 0
        self.said = ""
        self.error: ErrorReport | None = None

    def __enter__(self) -> ResponseStream:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()

    @property
    def started(self) -> bool:
        """Whether a byte has left."""
        return self.first_byte_ns > 0

    @property
    def http_status(self) -> int:
        """The status of the HTTP answer; 200 where the function has not said any."""
        return 200 if self._prelude is None else self._prelude.status_code

    @property
    def sent_bytes(self) -> int:
        """Bytes of the body so far."""
        return self._upload.sent_bytes if self._upload is not None else 0

    @property
    def pieces(self) -> int:
        """Pieces sent so far."""
        return self._upload.pieces if self._upload is not None else 0

    @property
    def stalled_ns(self) -> int:
        """How long the platform took nothing."""
        return self._upload.stalled_ns if self._upload is not None else 0

    def start(self) -> None:
        """Open the stream and send the prelude, if there is one. Raises StreamBroken."""
        if self.started:
            return
        kind = self._content_type or DEFAULT_CONTENT_TYPE
        if self._prelude is not None:
            kind = HTTP_INTEGRATION_TYPE
            if self._content_type:
                self._prelude.headers.setdefault("Content-Type", self._content_type)
        answer = InvocationResponse(
            request_id=self._invocation.request_id,
            body=b"",
            content_type=kind,
            invocation_id=self._invocation.invocation_id,
        )
        try:
            self._upload = self._api.upload(encode_stream_head(answer, self._api.headers))
            self.first_byte_ns = monotonic_ns()
            if self._prelude is not None:
                self._upload.write(self._prelude.to_bytes())
        except (ConnectionLost, Refused, RemoteProtocolError) as error:
            self._broken(error)

    def write(self, data: bytes | bytearray | memoryview | str) -> None:
        """Send a piece. Text is sent as UTF-8. Raises TypeError, StreamBroken or ValueError."""
        piece = to_bytes(data)
        if self.ended_ns:
            raise ValueError("the response stream is closed")
        self.start()
        try:
            if self._upload is not None:
                self._upload.write(piece)
        except (ConnectionLost, Refused, RemoteProtocolError) as error:
            self._broken(error)

    def take_prelude(self, item: object) -> bool:
        """Use an HttpPrelude as such; whether it was one. Raises TypeError when it comes late."""
        if not isinstance(item, HttpPrelude):
            return False
        if self.started:
            raise TypeError("an HttpPrelude must be the first item of a streamed response")
        self._prelude = item
        self.start()
        return True

    def offer(self, data: object) -> memoryview | None:
        """Like `write`, without waiting: what is left for `send_rest`, which may be run beside."""
        piece = to_bytes(data)
        self.start()
        try:
            return None if self._upload is None else self._upload.offer(piece)
        except (ConnectionLost, Refused, RemoteProtocolError) as error:
            self._broken(error)

    def send_rest(self, rest: memoryview) -> None:
        """Send what `offer` gave back. Raises StreamBroken."""
        try:
            if self._upload is not None:
                self._upload.send_rest(rest)
        except ConnectionLost as error:
            self._broken(error)

    def close(self) -> None:
        """End a whole answer. Does nothing when it is ended already. Raises StreamBroken."""
        if not self.ended_ns:
            self.start()
            self._finish(encode_last_chunk())

    def fail(self, report: ErrorReport) -> None:
        """End an answer that failed midway, with the error trailers. Never raises."""
        self.error = report
        if self.ended_ns:
            return
        try:
            self._finish(encode_stream_error(report.error_type, report.to_json()))
        except StreamBroken:
            pass  # `said` tells it

    def _finish(self, end: bytes) -> None:
        if self._upload is None:
            return
        try:
            self.status_code, body = self._upload.finish(end)
        except (ConnectionLost, RemoteProtocolError) as error:
            self._broken(error)
        self.ended_ns = monotonic_ns()
        if self.status_code != ACCEPTED:
            shown = body[:200].decode("utf-8", "replace").strip()
            self.said = f"Runtime API answered {self.status_code} to a streamed response: {shown}"

    def _broken(self, error: Exception) -> NoReturn:
        self.ended_ns = monotonic_ns()
        if isinstance(error, Refused):
            self.status_code = error.status
        self.said = f"the streamed response of {self._invocation.request_id} broke off: {error}"
        if self._upload is not None:
            self._upload.abort()
        raise StreamBroken(self.said) from None


def to_bytes(data: object) -> bytes:
    """A piece as bytes. Raises TypeError naming what it was."""
    if isinstance(data, str):
        return data.encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"a streamed piece must be bytes or str, not {type(data).__name__}")


def stream_generator(stream: ResponseStream, items: Generator[object, object, object]) -> None:
    """Send what a generator gives, each piece before the next one is made.

    The generator is closed in any case, so that its `finally` blocks run.
    """
    try:
        for item in items:
            if not stream.take_prelude(item):
                stream.write(item)  # type: ignore[arg-type]  # checked by write
        stream.close()
    finally:
        items.close()


async def stream_async_generator(
    stream: ResponseStream, items: AsyncGenerator[object, object]
) -> None:
    """The same for an async generator; a slow platform does not hold up other tasks."""
    from asyncio import get_running_loop

    try:
        async for item in items:
            if stream.take_prelude(item):
                continue
            rest = stream.offer(item)
            if rest is not None:
                await get_running_loop().run_in_executor(None, stream.send_rest, rest)
        stream.close()
    finally:
        await items.aclose()
