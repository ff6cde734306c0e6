"""The wire side of the Runtime API: requests of the runtime, answered as AWS's server does.

Each request comes in the thread of its connection and moves the state of the current generation;
`next` waits there until there is an event. The order of the checks is that of AWS's server: the
request id first (400), then the attempt (410), then the state (403).
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING

from lambdascope.emulator import answers, records
from lambdascope.emulator.sandbox import Refused
from lambdascope.transport.listener import PeerGone
from lambdascope.wire import names, runtime_api, states
from lambdascope.wire.runtime_api import InitError, InvocationError, InvocationResponse, Next

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.emulator.sandbox import Sandbox, Turn
    from lambdascope.transport.listener import Exchange

_CAUSE_TYPE = "application/vnd.aws.lambda.error.cause+json"
_TRAILER_TYPE = names.FUNCTION_ERROR_TYPE.lower()
_TRAILER_BODY = names.FUNCTION_ERROR_BODY.lower()
_MAX_INIT_ERROR_BYTES = names.MAX_PAYLOAD_BYTES


class RuntimeServer:
    """Answers the requests of a runtime. `sandbox()` is the current generation."""

    def __init__(self, sandbox: Callable[[], Sandbox], *, snap_start: bool = False) -> None:
        self._sandbox = sandbox
        self._snap_start = snap_start

    def handle(self, exchange: Exchange) -> None:
        """Answer one request under the Runtime API's path. Raises PeerGone."""
        message = runtime_api.parse_request(exchange.method, exchange.target, exchange.headers, b"")
        sandbox = self._sandbox()
        try:
            if isinstance(message, (Next, InitError)) and message.restore and not self._snap_start:
                message = None
            if isinstance(message, Next):
                self._next(exchange, sandbox, message)
            elif isinstance(message, InitError):
                self._init_error(exchange, sandbox, message)
            elif message is not None:
                self._answer(exchange, sandbox, message)
            else:
                exchange.respond(404, body=b"404 page not found\n")
        except Refused as refusal:
            exchange.respond_raw(
                runtime_api.error_response(refusal.status, refusal.error_type, str(refusal))
            )

    def _next(self, exchange: Exchange, sandbox: Sandbox, message: Next) -> None:
        runtime = sandbox.runtime
        ticket = object()
        with sandbox.lock:
            if sandbox.closed:
                raise Refused(names.FORBIDDEN, names.INVALID_STATE_TRANSITION, "shutting down")
            if message.restore:
                # There is no snapshot to take: the environment is restored at once.
                runtime.step(states.RESTORE_NEXT)
                runtime.step(states.DELIVER)
                exchange.respond(names.OK)
                return
            _runtime_is_back(sandbox)
            # A client that gave up on an earlier `next` asks again: the newest one is served.
            runtime.ticket = ticket
            sandbox.lock.notify_all()
            while not sandbox.closed and runtime.ticket is ticket and runtime.message is None:
                sandbox.lock.wait()
            if sandbox.closed or runtime.ticket is not ticket or runtime.message is None:
                exchange.abort()
                return
            if runtime.state == states.READY:
                runtime.step(states.DELIVER)
            event = runtime.message
        exchange.respond_raw(event.to_response())

    def _init_error(self, exchange: Exchange, sandbox: Sandbox, message: InitError) -> None:
        with sandbox.lock:
            step = states.POST_RESTORE_ERROR if message.restore else states.POST_INIT_ERROR
            if sandbox.closed:
                raise Refused(names.FORBIDDEN, names.INVALID_STATE_TRANSITION, "shutting down")
            sandbox.runtime.step(step)
        body = exchange.read_body(_MAX_INIT_ERROR_BYTES)
        sandbox.fail(answers.init_error(message.error_type, body))
        exchange.respond_raw(runtime_api.status_response(names.ACCEPTED))

    def _answer(
        self, exchange: Exchange, sandbox: Sandbox, message: InvocationResponse | InvocationError
    ) -> None:
        turn = _admit(sandbox, message)
        try:
            body, size = _read(exchange)
        except PeerGone:
            # Either the runtime is dying, and its end is the answer; or it goes on to `next`.
            with sandbox.lock:
                _sent(sandbox, turn)
            raise
        with sandbox.lock:
            _sent(sandbox, turn)
            turn.produced_bytes = size
            settled = _settle(turn, message, body, size, exchange.trailers or {})
            sandbox.lock.notify_all()
        if settled:
            turn.publish()
        if size > names.MAX_PAYLOAD_BYTES:
            text = f"Exceeded maximum allowed payload size ({names.MAX_PAYLOAD_BYTES} bytes)."
            raise Refused(names.PAYLOAD_TOO_LARGE, names.REQUEST_ENTITY_TOO_LARGE, text)
        exchange.respond_raw(runtime_api.status_response(names.ACCEPTED))


def _runtime_is_back(sandbox: Sandbox) -> None:
    """The move that `next` makes. Raises Refused."""
    runtime = sandbox.runtime
    before = runtime.state
    runtime.step(states.NEXT)
    now = sandbox.clock.now_ns()
    if runtime.ready_ns is None:
        runtime.ready_ns = now
        sandbox.registration_open = False
    if before == states.RESPONSE_SENT:
        runtime.message = None
        if sandbox.turn is not None:
            sandbox.turn.runtime_done_ns = now


def _admit(sandbox: Sandbox, message: InvocationResponse | InvocationError) -> Turn:
    """The invocation that is answered. Raises Refused."""
    now = sandbox.clock.now_ns()
    with sandbox.lock:
        turn = None if sandbox.closed else sandbox.turn
        if turn is None or turn.record.request_id != message.request_id:
            raise Refused(names.BAD_REQUEST, names.INVALID_REQUEST_ID, "Invalid request ID")
        if message.invocation_id not in (None, turn.nonce):
            text = "The invocation that is answered is over"
            raise Refused(names.GONE, "InvokeTimeout", text)
        kind = states.RESPONSE if isinstance(message, InvocationResponse) else states.ERROR
        sandbox.runtime.step(kind)
        mode = message.mode if isinstance(message, InvocationResponse) else ""
        if mode not in ("", names.RESPONSE_MODE_STREAMING):
            # As in AWS's server the state stays where it is: the runtime cannot go on from here.
            text = f"Invalid function response mode: {mode[:40]}"
            raise Refused(names.BAD_REQUEST, names.INVALID_RESPONSE_MODE, text)
        turn.record.response_ns = now
        return turn


def _read(exchange: Exchange) -> tuple[bytes, int]:
    """The body, cut at the limit, and its true size.

    It is read to its end even over the limit: a client that is still sending would not see the
    answer.
    """
    body = bytearray()
    size = 0
    for piece in exchange.iter_body():
        size += len(piece)
        if size <= names.MAX_PAYLOAD_BYTES:
            body += piece
    return bytes(body), size


def _sent(sandbox: Sandbox, turn: Turn) -> None:
    sandbox.runtime.step(states.SENT)
    turn.response_end_ns = sandbox.clock.now_ns()


def _settle(
    turn: Turn,
    message: InvocationResponse | InvocationError,
    body: bytes,
    size: int,
    trailers: dict[str, str],
) -> bool:
    """Decide what the caller gets."""
    if size > names.MAX_PAYLOAD_BYTES:
        body, kind = answers.response_too_large(size), names.FAULT_RESPONSE_SIZE
        return turn.answer(body, status=records.FUNCTION_ERROR, error_type=kind)
    if isinstance(message, InvocationError):
        if message.content_type == _CAUSE_TYPE:
            body = _without_cause(body)
        kind = answers.reported_type(message.error_type, body)
        return turn.answer(body, status=records.FUNCTION_ERROR, error_type=kind)
    if _TRAILER_TYPE in trailers:
        body = _decoded(trailers.get(_TRAILER_BODY, ""))
        kind = answers.reported_type(trailers[_TRAILER_TYPE], body)
        return turn.answer(body, status=records.FUNCTION_ERROR, error_type=kind)
    content_type = message.content_type or names.CONTENT_TYPE_JSON
    return turn.answer(body, status=records.SUCCESS, content_type=content_type)


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


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return text.encode()
