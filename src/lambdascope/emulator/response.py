"""What the runtime answers an invocation with: read, handed on or collected, and settled.

`runtime_server` has checked that the answer may come and calls `ResponseReader.run` in the thread
of the runtime's connection. A streamed response goes on to the caller as it arrives, when the
caller asked for that; anything else is collected and settled at its end. Source: AWS Lambda
developer guide, "Using the Lambda runtime API for custom runtimes" and "Response streaming".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from lambdascope.emulator import answers, records
from lambdascope.emulator.sandbox import Refused
from lambdascope.emulator.stream import Bandwidth
from lambdascope.transport.listener import PeerGone
from lambdascope.wire import names, states
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.runtime_api import InvocationError, InvocationResponse
from lambdascope.wire.streaming import parse_stream_error

if TYPE_CHECKING:
    import threading

    from lambdascope.clock import Clock
    from lambdascope.emulator.sandbox import RuntimeSide, Turn
    from lambdascope.emulator.stream import ResponseStream
    from lambdascope.transport.listener import Exchange

_CAUSE_TYPE = "application/vnd.aws.lambda.error.cause+json"
# What a record keeps of a response that was handed on.
_KEPT_BYTES = 65_536


class Answering(Protocol):
    """Whose states an answer moves: those of a sandbox, or of one of several invocations."""

    lock: threading.Condition
    clock: Clock
    runtime: RuntimeSide


class ResponseReader:
    """One answer of the runtime. `bytes_per_s` limits what is handed on; None is no limit."""

    def __init__(
        self,
        exchange: Exchange,
        sandbox: Answering,
        turn: Turn,
        *,
        message: InvocationResponse | InvocationError,
        bytes_per_s: int | None,
    ) -> None:
        self._exchange = exchange
        self._sandbox = sandbox
        self._turn = turn
        self._message = message
        self._streams = isinstance(message, InvocationResponse) and bool(message.mode)
        self._handed_on = self._streams and turn.on_stream is not None
        self._limit = names.MAX_STREAM_BYTES if self._handed_on else names.MAX_PAYLOAD_BYTES
        self._body = bytearray()
        self._size = 0
        self._bandwidth: Bandwidth | None = None
        if bytes_per_s is not None:
            self._bandwidth = Bandwidth(bytes_per_s, sandbox.clock.now_ns())

    def run(self) -> None:
        """Read to the end, and settle. Raises PeerGone, RemoteProtocolError or Refused."""
        try:
            self._read()
        except (PeerGone, RemoteProtocolError):
            self._broken()
            raise
        turn = self._turn
        with self._sandbox.lock:
            self._sent()
            if turn.record.response_ns is None:
                turn.record.response_ns = turn.response_end_ns
            settled = self._settle()
            self._sandbox.lock.notify_all()
        if settled:
            turn.publish()
        if self._size > self._limit:
            text = f"Exceeded maximum allowed payload size ({self._limit} bytes)."
            raise Refused(names.PAYLOAD_TOO_LARGE, names.REQUEST_ENTITY_TOO_LARGE, text)

    def _read(self) -> None:
        stream: ResponseStream | None = None
        for piece in self._exchange.iter_body():
            if self._size == 0 and self._streams:
                stream = self._begin()
            room = self._limit - self._size
            self._size += len(piece)
            if stream is None:
                self._body += piece[: max(0, room)]
            else:
                self._body += piece[: max(0, _KEPT_BYTES - len(self._body))]
                self._hand_on(stream, piece[:room])
            # A response that is not streamed is read to its end: a client that is still sending
            # would not see the answer. A stream may have no end.
            if self._streams and self._size > self._limit:
                return

    def _begin(self) -> ResponseStream | None:
        """The first byte of a streamed response is there."""
        turn, stream = self._turn, None
        with self._sandbox.lock:
            turn.record.response_ns = self._sandbox.clock.now_ns()
            if self._handed_on:
                turn.cut = self._exchange.abort
                stream = turn.begin_stream(self._content_type)
        if stream is not None:
            turn.publish_stream(stream)
        return stream

    def _hand_on(self, stream: ResponseStream, piece: bytes) -> None:
        stream.write(piece)
        if self._bandwidth is not None:
            delay_ns = self._bandwidth.delay_ns(len(piece), self._sandbox.clock.now_ns())
            if delay_ns:
                stream.pause(delay_ns)

    @property
    def _content_type(self) -> str:
        usual = names.CONTENT_TYPE_BINARY if self._streams else names.CONTENT_TYPE_JSON
        return self._message.content_type or usual

    def _broken(self) -> None:
        """The connection ended too early.

        The caller of a stream is told at once. Otherwise the runtime is dying, and its end is the
        answer; or it goes on to `next`.
        """
        turn, settled = self._turn, False
        with self._sandbox.lock:
            self._sent()
            if turn.stream is not None:
                settled = turn.answer(
                    answers.truncated_response(),
                    status=records.FUNCTION_ERROR,
                    error_type=answers.FAULT_TRUNCATED,
                )
            self._sandbox.lock.notify_all()
        if settled:
            turn.publish()

    def _sent(self) -> None:
        turn, now = self._turn, self._sandbox.clock.now_ns()
        self._sandbox.runtime.step(states.SENT)
        turn.response_end_ns = now
        turn.produced_bytes = self._size

    def _settle(self) -> bool:
        """Decide what the caller gets; False when it has its answer. Call with the lock held."""
        turn, body = self._turn, bytes(self._body)
        stream_error = parse_stream_error(self._exchange.trailers or {})
        kind = ""
        if self._size > self._limit:
            body = answers.response_too_large(self._size, self._limit)
            kind = names.FAULT_RESPONSE_SIZE
        elif isinstance(self._message, InvocationError):
            if self._message.content_type == _CAUSE_TYPE:
                body = _without_cause(body)
            kind = answers.reported_type(self._message.error_type, body)
        elif stream_error is not None:
            error_type, body = stream_error
            kind = answers.reported_type(error_type, body)
        if kind:
            return turn.answer(body, status=records.FUNCTION_ERROR, error_type=kind)
        return turn.answer(body, status=records.SUCCESS, content_type=self._content_type)


def _without_cause(body: bytes) -> bytes:
    """An error with X-Ray cause: the caller gets the fields that are meant for it."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(fields, dict):
        return body
    fields.pop("errorCause", None)
    return json.dumps(fields).encode()
