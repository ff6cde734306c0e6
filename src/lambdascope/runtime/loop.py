"""The loop: next, handler, response or error, telemetry, again. The page to read first.

One invocation at a time. The response is posted before anything is done about telemetry, and
nothing of ours can fail the user's invocation: telemetry faults are said once and counted.
"""

from __future__ import annotations

from time import monotonic_ns
from types import AsyncGeneratorType, CoroutineType, GeneratorType

from lambdascope.runtime.api import RuntimeApiError
from lambdascope.runtime.context import LambdaContext, Offers, current_invocation
from lambdascope.runtime.deadline_context import invocation_ended
from lambdascope.runtime.faults import ErrorReport, Fault, exit_fault, exit_status
from lambdascope.runtime.serde import Encoder, decode_event
from lambdascope.runtime.telemetry import InvokeTimes
from lambdascope.runtime.termination import Terminated
from lambdascope.runtime.trace_env import TraceEnv
from lambdascope.wire import names
from lambdascope.wire.runtime_api import Invocation, InvocationError, InvocationResponse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.api import RuntimeApi
    from lambdascope.runtime.compat import Compat
    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.handler import Handler
    from lambdascope.runtime.live_results import LiveResults
    from lambdascope.runtime.logs import Logs
    from lambdascope.runtime.streaming import ResponseStream
    from lambdascope.runtime.telemetry import Telemetry
    from lambdascope.runtime.termination import Termination

    # What was, or is to be, posted; a stream has been posted by itself.
    Outcome = InvocationResponse | InvocationError | ResponseStream

# How long the answer waits for a callback before the deadline that is running.
_CALLBACK_PATIENCE_S = 0.05
# Results that still have to run.
_LIVE = frozenset((CoroutineType, GeneratorType, AsyncGeneratorType))


class Loop:
    """Everything one environment needs to serve invocations.

    `compat` is set when a library asks for AWS's client, to patch it: one for the process.
    """

    compat: Compat | None = None

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
        self._trace_env = self._make_trace_env()
        self._encoder = Encoder(ensure_ascii=config.ensure_ascii)
        self._live_results: LiveResults | None = None
        # An outcome that was not accepted, with what tells its invocation from a later try.
        self._unsure: tuple[tuple[object, ...], Outcome] | None = None

    def run(self) -> int:
        """Serve invocations until the environment ends; the process's exit status."""
        try:
            while True:
                self._termination.allow()
                invocation = self._api.next()
                received_ns = monotonic_ns()
                self._termination.interruptible = False
                if self._unsure is not None and self._post_again(invocation):
                    continue
                status = self._serve(invocation, received_ns)
                if status is not None:
                    return status
        except RuntimeApiError as error:
            self.on_api_gone(error)
            return 1

    def _serve(self, invocation: Invocation, received_ns: int) -> int | None:
        """One invocation; an exit status when the handler asked the process to end."""
        times = InvokeTimes(invocation, received_ns)
        self._telemetry.began(times)
        self._trace_env.set(invocation.trace_id)
        token = current_invocation.set(times)
        try:
            outcome, error, status = self._invoke(times)
        finally:
            current_invocation.reset(token)
            if times.span is not None:
                self._telemetry.leave(times)
        self._logs.flush()
        if error is not None:
            self._logs.error(error)
        try:
            compat = self.compat
            if compat is None:
                said = self._report(outcome, times)
            else:
                said = compat.report(self._report, outcome, times)
        except RuntimeApiError as fault:
            times.status_code = fault.status
            times.reported_ns = monotonic_ns()
            self._telemetry.ended(times, error)
            raise
        if said:
            self._logs.say(said)
            self._unsure = _delivery(invocation), outcome
        self._telemetry.ended(times, error)
        if times.after is not None or self._live_results is not None:
            self._after_response(times)
        return status

    def _report(self, outcome: Outcome, times: InvokeTimes) -> str:
        """Post the outcome, unless it has been streamed already; a line to say, if any."""
        stream = times.stream
        if stream is not None and outcome is stream:
            times.response_size = stream.sent_bytes
            times.status_code = stream.status_code
            times.reported_ns = stream.ended_ns
            return stream.said
        times.response_size = len(outcome.body)  # type: ignore[union-attr]  # not the stream
        times.status_code, said = self._api.post(outcome)  # type: ignore[arg-type]  # as above
        times.reported_ns = monotonic_ns()
        return said

    def _post_again(self, invocation: Invocation) -> bool:
        """Whether this event has been run already: then its outcome is posted again.

        A platform that has not got an outcome hands the same event out again; nothing runs twice.
        """
        assert self._unsure is not None  # noqa: S101 - the caller has looked
        (delivery, outcome), self._unsure = self._unsure, None
        if delivery != _delivery(invocation):
            return False
        if not isinstance(outcome, (InvocationResponse, InvocationError)):
            # A stream cannot be sent a second time.
            fault = outcome.error or ErrorReport(
                ConnectionError(outcome.said), invocation.request_id
            )
            outcome = _error_message(fault, invocation)
        _, said = self._api.post(outcome)
        if said:
            self._unsure = delivery, outcome
        what = f"{invocation.request_id} was handed out again: its outcome is posted again, not run"
        self._logs.say(f"{what}; {said}" if said else what)
        return True

    def _after_response(self, times: InvokeTimes) -> None:
        token = current_invocation.set(times)
        try:
            left_s = (times.deadline_ns - monotonic_ns()) / 1e9
            self._telemetry.enter(times)
            live = self._live()
            self._termination.allow()
            live.after_response(times, left_s)
        finally:
            self._termination.interruptible = False
            self._telemetry.leave(times)
            current_invocation.reset(token)
        self._logs.flush()

    def on_api_gone(self, error: RuntimeApiError) -> None:
        """The Runtime API cannot be used any more."""
        self._logs.say(f"{error}; the runtime ends")

    def _make_trace_env(self) -> TraceEnv:
        return TraceEnv()

    def _live(self) -> LiveResults:
        """What runs coroutines and streams; made when it is first needed."""
        if self._live_results is None:
            from lambdascope.runtime.live_results import LiveResults

            self._live_results = LiveResults(
                self._api, self._logs.say, keep_tasks=self._config.keep_async_tasks
            )
        return self._live_results

    def _invoke(self, times: InvokeTimes) -> tuple[Outcome, ErrorReport | None, int | None]:
        """Run the handler: what to post, the failure if there was one, an exit status if asked."""
        invocation = times.invocation
        try:
            context = LambdaContext(
                invocation,
                self._config,
                deadline_ns=times.deadline_ns,
                write=self._logs.write,
                offers=Offers(times, self._live),
            )
            decode = decode_event if self.compat is None else self.compat.decoder()
            event = decode(invocation.body, invocation.content_type)
            self._telemetry.started(times, event, context)
            result = self._call(event, context, times)
            stream = times.stream
            if stream is not None and (stream.started or result is None):
                stream.close()
                return stream, None, None
            own = self._encoder
            encoder = own if self.compat is None else self.compat.encoder(own)
            body, content_type = encoder.encode(result)
            check_size(body)
            if times.source is not None:
                times.source.answered(result)
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
        """Where the function's code runs until its answer, and where SIGTERM interrupts it."""
        termination = self._termination
        times.entered_ns = monotonic_ns()
        try:
            termination.allow()
            if self.compat is None:
                return self._settle(self._handler(event, context), times)
            return self.compat.call(self._handler, self._settle, event, context, times)
        finally:
            termination.interruptible = False
            times.returned_ns = monotonic_ns()
            invocation_ended(context, _CALLBACK_PATIENCE_S)

    def _settle(self, result: object, times: InvokeTimes) -> object:
        return self._live().settle(result, times) if type(result) in _LIVE else result

    def _failed(
        self, times: InvokeTimes, error: BaseException
    ) -> tuple[InvocationError | ResponseStream, ErrorReport]:
        if not times.returned_ns:
            times.returned_ns = monotonic_ns()
        invocation = times.invocation
        report = ErrorReport(error, invocation.request_id)
        if times.stream is not None and times.stream.started:
            times.stream.fail(report)
            return times.stream, report
        return _error_message(report, invocation), report


def _delivery(invocation: Invocation) -> tuple[object, ...]:
    # A later try of the same event has the same request id, but never the same deadline.
    return invocation.request_id, invocation.deadline_ms, invocation.invocation_id


def _error_message(report: ErrorReport, invocation: Invocation) -> InvocationError:
    return InvocationError(
        request_id=invocation.request_id,
        body=report.to_json(),
        error_type=report.error_type,
        xray_cause=report.xray_cause,
        invocation_id=invocation.invocation_id,
    )


def check_size(body: bytes) -> None:
    """Refuse a response over Lambda's limit before it is posted, with the platform's own words."""
    if len(body) > names.MAX_PAYLOAD_BYTES:
        raise Fault(
            names.FAULT_RESPONSE_SIZE,
            f"Response payload size ({len(body)} bytes) exceeded maximum allowed payload size "
            f"({names.MAX_PAYLOAD_BYTES} bytes).",
        )
