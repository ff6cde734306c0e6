"""The loop: next, handler, response or error, telemetry, again. The page to read first.

One invocation at a time. The response is posted before anything is done about telemetry, and
nothing of ours can fail the user's invocation: telemetry faults are said once and counted.
"""

from __future__ import annotations

from time import monotonic_ns

from lambdascope.runtime.api import RuntimeApiError
from lambdascope.runtime.context import LambdaContext, current_invocation
from lambdascope.runtime.faults import ErrorReport, Fault
from lambdascope.runtime.serde import Encoder, decode_event
from lambdascope.runtime.telemetry import InvokeTimes
from lambdascope.runtime.triggers import trigger_of
from lambdascope.wire import names
from lambdascope.wire.runtime_api import Invocation, InvocationError, InvocationResponse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.api import RuntimeApi
    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.handler import Handler
    from lambdascope.runtime.logs import Logs
    from lambdascope.runtime.telemetry import Telemetry
    from lambdascope.runtime.trace_env import TraceEnv


class Terminated(BaseException):
    """SIGTERM arrived: the platform ends this environment. Not for user code to catch."""


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
        trace_env: TraceEnv,
    ) -> None:
        self._config = config
        self._handler = handler
        self._api = api
        self._logs = logs
        self._telemetry = telemetry
        self._trace_env = trace_env
        self._encoder = Encoder(ensure_ascii=config.ensure_ascii)

    def run(self) -> int:
        """Serve invocations until the environment ends; the process's exit status."""
        try:
            while True:
                status = self._serve(self._api.next(), monotonic_ns())
                if status is not None:
                    return status
        except RuntimeApiError as error:
            self._logs.say(f"{error}; the runtime ends")
            return 1
        except Terminated:
            return 0

    def _serve(self, invocation: Invocation, received_ns: int) -> int | None:
        """One invocation; an exit status when the handler asked the process to end."""
        times = InvokeTimes(invocation, received_ns)
        self._telemetry.began(times)
        self._trace_env.set(invocation.trace_id)
        token = current_invocation.set(invocation)
        try:
            outcome, error, status = self._invoke(times)
            self._logs.flush()
            if error is not None:
                self._logs.error(error)
            times.response_size = len(outcome.body)
            times.status_code, said = self._api.post(outcome)
            times.reported_ns = monotonic_ns()
        finally:
            current_invocation.reset(token)
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
            context = LambdaContext(invocation, self._config, self._logs.write)
            times.remaining_start_ms = context.get_remaining_time_in_millis()
            event = decode_event(invocation.body, invocation.content_type)
            times.trigger = trigger_of(event)
            result = self._handler(event, context)
            times.returned_ns = monotonic_ns()
            times.remaining_end_ms = context.get_remaining_time_in_millis()
            body, content_type = self._encoder.encode(result)
            check_size(body)
        except Terminated:
            raise
        except SystemExit as error:
            status = exit_status(error)
            text = f"RequestId: {invocation.request_id} Error: Runtime exited with error: "
            fault = Fault(names.FAULT_EXIT, f"{text}exit status {status}")
            fault.__traceback__ = error.__traceback__
            return *self._failed(times, fault), status
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller gets to know
            return *self._failed(times, error), None
        response = InvocationResponse(
            request_id=invocation.request_id,
            body=body,
            content_type=content_type,
            invocation_id=invocation.invocation_id,
        )
        return response, None, None

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


def exit_status(error: SystemExit) -> int:
    """What the process would have exited with (sys.exit: None is 0, text is 1)."""
    if error.code is None:
        return 0
    return error.code & 0xFF if isinstance(error.code, int) else 1
