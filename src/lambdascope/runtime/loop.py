"""The loop: next, handler, response or error, telemetry, again. The page to read first.

One invocation at a time. The response is posted before anything is done about telemetry, and
nothing of ours can fail the user's invocation: telemetry faults are said once and counted.
"""

from __future__ import annotations

import os
from _signal import (  # type: ignore[import-not-found]  # `signal` needs enum
    SIG_BLOCK,
    SIG_DFL,
    SIG_UNBLOCK,
    SIGTERM,
    getsignal,
    pthread_sigmask,
    signal,
)
from _thread import get_ident
from time import monotonic_ns

from lambdascope.runtime.api import RuntimeApiError
from lambdascope.runtime.context import LambdaContext, current_invocation
from lambdascope.runtime.faults import ErrorReport, Fault, exit_fault, exit_status
from lambdascope.runtime.serde import Encoder, decode_event
from lambdascope.runtime.telemetry import InvokeTimes
from lambdascope.runtime.trace_env import TraceEnv
from lambdascope.runtime.triggers import trigger_of
from lambdascope.wire import names
from lambdascope.wire.runtime_api import Invocation, InvocationError, InvocationResponse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from lambdascope.runtime.api import RuntimeApi
    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.handler import Handler
    from lambdascope.runtime.logs import Logs
    from lambdascope.runtime.telemetry import Telemetry


class Terminated(SystemExit):
    """SIGTERM arrived: the platform ends this environment. Not for user code to catch.

    A SystemExit, because asyncio and threads let those through, and Python prints no trace of one.
    """


class Termination:
    """What SIGTERM does: it interrupts waiting and the function, and nothing of ours.

    `flush` is called from the signal handler, because the function may swallow the exception.
    While `interruptible` is False the signal is only noted: no message is ever cut in the middle.
    """

    __slots__ = ("_blocked", "_flush", "_pid", "interruptible", "requested")

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._pid = os.getpid()
        # Whether SIGTERM was held back before a fork, by thread.
        self._blocked: dict[int, bool] = {}
        self.interruptible = False
        self.requested = False

    def install(self) -> None:
        """Handle SIGTERM, until the function installs a handler of its own."""
        signal(SIGTERM, self._on_signal)
        # Python forgets a signal that comes right after a fork, so it is held back meanwhile.
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork,
            after_in_child=self._in_forked_child,
        )

    def allow(self) -> None:
        """From here on the signal interrupts. Raises Terminated when it has come already."""
        self.interruptible = True
        if self.requested:
            self.interruptible = False
            raise Terminated

    def forked(self) -> bool:
        """Whether this is a process that the function forked: then nothing here is ours."""
        return os.getpid() != self._pid

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        self.requested = True
        if self.interruptible:
            self.interruptible = False
            self._flush()
            raise Terminated

    def _before_fork(self) -> None:
        self._blocked[get_ident()] = SIGTERM in pthread_sigmask(SIG_BLOCK, (SIGTERM,))

    def _after_fork(self) -> None:
        if not self._blocked.pop(get_ident(), True):
            pthread_sigmask(SIG_UNBLOCK, (SIGTERM,))

    def _in_forked_child(self) -> None:
        # The function's processes end as they would without us.
        if getsignal(SIGTERM) == self._on_signal:
            signal(SIGTERM, SIG_DFL)
        self._after_fork()


class Loop:
    """Everything one environment needs to serve invocations."""

    def __init__(
        self,
        config: RuntimeConfig,
        handler: Handler,
        *,
        api: RuntimeApi,
        logs: Logs,
        telemetry: Telemetry,
        termination: Termination,
    ) -> None:
        self._config = config
        self._handler = handler
        self._api = api
        self._logs = logs
        self._telemetry = telemetry
        self._termination = termination
        self._trace_env = TraceEnv()
        self._encoder = Encoder(ensure_ascii=config.ensure_ascii)

    def run(self) -> int:
        """Serve invocations until the environment ends; the process's exit status."""
        try:
            while True:
                self._termination.allow()
                invocation = self._api.next()
                received_ns = monotonic_ns()
                self._termination.interruptible = False
                status = self._serve(invocation, received_ns)
                if status is not None:
                    return status
        except RuntimeApiError as error:
            self._logs.say(f"{error}; the runtime ends")
            return 1

    def _serve(self, invocation: Invocation, received_ns: int) -> int | None:
        """One invocation; an exit status when the handler asked the process to end."""
        times = InvokeTimes(invocation, received_ns)
        self._telemetry.began(times)
        self._trace_env.set(invocation.trace_id)
        token = current_invocation.set(invocation)
        try:
            outcome, error, status = self._invoke(times)
        finally:
            current_invocation.reset(token)
        self._logs.flush()
        if error is not None:
            self._logs.error(error)
        times.response_size = len(outcome.body)
        try:
            times.status_code, said = self._api.post(outcome)
        except RuntimeApiError as fault:
            times.status_code = fault.status
            times.reported_ns = monotonic_ns()
            self._telemetry.ended(times, error)
            raise
        times.reported_ns = monotonic_ns()
        if said:
            self._logs.say(said)
        self._telemetry.ended(times, error)
        return status

    def _invoke(
        self, times: InvokeTimes
    ) -> tuple[InvocationResponse | InvocationError, ErrorReport | None, int | None]:
        """Run the handler: what to post, the failure if there was one, an exit status if asked."""
        invocation = times.invocation
        try:
            context = LambdaContext(
                invocation, self._config, deadline_ns=times.deadline_ns, write=self._logs.write
            )
            event = decode_event(invocation.body, invocation.content_type)
            times.trigger = trigger_of(event)
            result = self._call(event, context, times)
            body, content_type = self._encoder.encode(result)
            check_size(body)
        except Terminated:
            raise
        except SystemExit as error:
            if self._termination.forked():
                raise
            fault = exit_fault(error, invocation.request_id)
            return *self._failed(times, fault), exit_status(error)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller gets to know
            return *self._failed(times, error), None
        response = InvocationResponse(
            request_id=invocation.request_id,
            body=body,
            content_type=content_type,
            invocation_id=invocation.invocation_id,
        )
        return response, None, None

    def _call(self, event: object, context: LambdaContext, times: InvokeTimes) -> object:
        """The only place where the function's code runs, and where SIGTERM interrupts it."""
        termination = self._termination
        times.entered_ns = monotonic_ns()
        try:
            termination.allow()
            return self._handler(event, context)
        finally:
            termination.interruptible = False
            times.returned_ns = monotonic_ns()

    def _failed(
        self, times: InvokeTimes, error: BaseException
    ) -> tuple[InvocationError, ErrorReport]:
        if not times.returned_ns:
            times.returned_ns = monotonic_ns()
        invocation = times.invocation
        report = ErrorReport(error, invocation.request_id)
        message = InvocationError(
            request_id=invocation.request_id,
            body=report.to_json(),
            error_type=report.error_type,
            xray_cause=report.xray_cause,
            invocation_id=invocation.invocation_id,
        )
        return message, report


def check_size(body: bytes) -> None:
    """Refuse a response over Lambda's limit before it is posted, with the platform's own words."""
    if len(body) > names.MAX_PAYLOAD_BYTES:
        raise Fault(
            names.FAULT_RESPONSE_SIZE,
            f"Response payload size ({len(body)} bytes) exceeded maximum allowed payload size "
            f"({names.MAX_PAYLOAD_BYTES} bytes).",
        )
