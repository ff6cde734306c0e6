"""The wire side of the Runtime API where several invocations run at a time.

Several requests for the next event wait at once and each gets another event; a response names its
invocation, whose own state decides whether it may come. What is said about init is the same as with
one at a time. Order of the checks and error types: the source of AWS's Runtime Interface Emulator
in its mode for managed instances.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdascope.emulator.managed_sandbox import ManagedSandbox, Poller, Task
from lambdascope.emulator.records import TIMED_OUT
from lambdascope.emulator.response import ResponseReader
from lambdascope.emulator.runtime_server import RuntimeServer
from lambdascope.emulator.sandbox import Refused
from lambdascope.wire import names, runtime_api, states
from lambdascope.wire.runtime_api import InvocationResponse

if TYPE_CHECKING:
    from lambdascope.emulator.sandbox import Sandbox
    from lambdascope.transport.listener import Exchange
    from lambdascope.wire.runtime_api import InvocationError, Next


class ManagedRuntimeServer(RuntimeServer):
    """Answers the requests of a runtime with several workers."""

    def _next(self, exchange: Exchange, sandbox: Sandbox, message: Next) -> None:
        managed = _open(sandbox)
        poller = Poller(exchange)
        with managed.lock:
            managed.runtime.step(states.NEXT)
            if managed.runtime.ready_ns is None:
                # Init is over with the first one; other workers may still be importing.
                managed.runtime.ready_ns = managed.clock.now_ns()
                managed.registration_open = False
                managed.lock.notify_all()
            if not managed.add_poller(poller):
                text = "More requests for the next event than AWS_LAMBDA_MAX_CONCURRENCY"
                raise Refused(names.SERVER_ERROR, names.TOO_MANY_IDLE_RUNTIMES, text)
        managed.on_idle()
        event = poller.wait()
        if event is None:
            exchange.abort()
        else:
            exchange.respond_raw(event.to_response())

    def _answer(
        self, exchange: Exchange, sandbox: Sandbox, message: InvocationResponse | InvocationError
    ) -> None:
        managed = _open(sandbox)
        task = _admit(managed, message)
        try:
            ResponseReader(
                exchange, task, task.turn, message=message, bytes_per_s=self._stream_bytes_per_s
            ).run()
            if task.record.status == TIMED_OUT:
                raise _late()
            exchange.respond_raw(runtime_api.status_response(names.ACCEPTED))
        finally:
            managed.on_answered(task)


def _open(sandbox: Sandbox) -> ManagedSandbox:
    with sandbox.lock:
        if sandbox.closed or not isinstance(sandbox, ManagedSandbox):
            raise Refused(names.FORBIDDEN, names.INVALID_STATE_TRANSITION, "shutting down")
        return sandbox


def _admit(sandbox: ManagedSandbox, message: InvocationResponse | InvocationError) -> Task:
    """The invocation that is answered. Raises Refused."""
    with sandbox.lock:
        task = sandbox.tasks.get(message.request_id)
        if task is None and sandbox.is_expired(message.request_id):
            raise _late()
        if task is None:
            raise Refused(names.BAD_REQUEST, names.INVALID_REQUEST_ID, "Invalid request ID")
        if message.invocation_id not in (None, task.turn.nonce):
            raise _late()
        is_response = isinstance(message, InvocationResponse)
        task.runtime.step(states.RESPONSE if is_response else states.ERROR)
        mode = message.mode if isinstance(message, InvocationResponse) else ""
        if mode not in ("", names.RESPONSE_MODE_STREAMING):
            # As with one at a time: the state stays where it is, the deadline ends it.
            text = f"Invalid function response mode: {mode[:40]}"
            raise Refused(names.BAD_REQUEST, names.INVALID_RESPONSE_MODE, text)
        if not mode:
            task.record.response_ns = sandbox.clock.now_ns()
        return task


def _late() -> Refused:
    return Refused(names.GONE, names.INVOKE_TIMEOUT, "The invocation that is answered is over")
