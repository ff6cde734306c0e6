"""The wire side of the Runtime API: requests of the runtime, answered as AWS's server does.

Each request comes in the thread of its connection and moves the state of the current generation;
`next` waits there until there is an event. The order of the checks is that of AWS's server: the
request id first (400), then the attempt (410), then the state (403).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdascope.emulator import answers
from lambdascope.emulator.response import ResponseReader
from lambdascope.emulator.sandbox import Refused
from lambdascope.wire import names, runtime_api, states
from lambdascope.wire.runtime_api import InitError, InvocationError, InvocationResponse, Next

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.emulator.sandbox import Sandbox, Turn
    from lambdascope.transport.listener import Exchange

_MAX_INIT_ERROR_BYTES = names.MAX_PAYLOAD_BYTES


class RuntimeServer:
    """Answers the requests of a runtime. `sandbox()` is the current generation.

    `stream_bytes_per_s` limits what is handed on of a streamed response.
    """

    def __init__(
        self,
        sandbox: Callable[[], Sandbox],
        *,
        snap_start: bool = False,
        stream_bytes_per_s: int | None = None,
    ) -> None:
        self._sandbox = sandbox
        self._snap_start = snap_start
        self._stream_bytes_per_s = stream_bytes_per_s

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
                self._restore_next(exchange, sandbox)
                return
            _runtime_is_back(sandbox)
            # A client that gave up on an earlier `next` asks again: the newest one is served. Each
            # comes in a thread of its own, so that the one given up may come here last.
            if not exchange.peer_closed():
                runtime.ticket = ticket
            sandbox.lock.notify_all()
            while not sandbox.closed and runtime.ticket is ticket and runtime.message is None:
                sandbox.lock.wait()
            served = runtime.ticket is ticket and not exchange.peer_closed()
            if sandbox.closed or runtime.message is None or not served:
                exchange.abort()
                return
            if runtime.state == states.READY:
                runtime.step(states.DELIVER)
            event = runtime.message
        exchange.respond_raw(event.to_response())

    def _restore_next(self, exchange: Exchange, sandbox: Sandbox) -> None:
        """Wait for the restore. Call with the lock held."""
        runtime = sandbox.runtime
        runtime.step(states.RESTORE_NEXT)
        _init_is_over(sandbox)
        sandbox.lock.notify_all()
        while not sandbox.closed and not runtime.restore:
            sandbox.lock.wait()
        if sandbox.closed:
            exchange.abort()
            return
        runtime.step(states.DELIVER)
        # What comes after a restore comes on connections that were made after it.
        exchange.keep_alive = False
        exchange.respond(names.OK)

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
        ResponseReader(
            exchange, sandbox, turn, message=message, bytes_per_s=self._stream_bytes_per_s
        ).run()
        exchange.respond_raw(runtime_api.status_response(names.ACCEPTED))


def _init_is_over(sandbox: Sandbox) -> None:
    """The runtime is ready for its first event, or for the snapshot."""
    if sandbox.runtime.ready_ns is None:
        sandbox.runtime.ready_ns = sandbox.clock.now_ns()
        sandbox.registration_open = False


def _runtime_is_back(sandbox: Sandbox) -> None:
    """The move that `next` makes. Raises Refused."""
    runtime = sandbox.runtime
    before = runtime.state
    runtime.step(states.NEXT)
    now = sandbox.clock.now_ns()
    _init_is_over(sandbox)
    if before == states.RESPONSE_SENT:
        runtime.message = None
        if sandbox.turn is not None:
            sandbox.turn.runtime_done_ns = now


def _admit(sandbox: Sandbox, message: InvocationResponse | InvocationError) -> Turn:
    """The invocation that is answered. Raises Refused."""
    with sandbox.lock:
        turn = None if sandbox.closed else sandbox.turn
        if turn is None or turn.record.request_id != message.request_id:
            raise Refused(names.BAD_REQUEST, names.INVALID_REQUEST_ID, "Invalid request ID")
        if message.invocation_id not in (None, turn.nonce):
            text = "The invocation that is answered is over"
            raise Refused(names.GONE, names.INVOKE_TIMEOUT, text)
        kind = states.RESPONSE if isinstance(message, InvocationResponse) else states.ERROR
        sandbox.runtime.step(kind)
        mode = message.mode if isinstance(message, InvocationResponse) else ""
        if mode not in ("", names.RESPONSE_MODE_STREAMING):
            # As in AWS's server the state stays where it is: the runtime cannot go on from here.
            text = f"Invalid function response mode: {mode[:40]}"
            raise Refused(names.BAD_REQUEST, names.INVALID_RESPONSE_MODE, text)
        if not mode:
            turn.record.response_ns = sandbox.clock.now_ns()
        return turn
