"""The runtime's own spans: init with its parts, invoke, report; plain records, no SDK.

The loop notes times; spans are made from them after the response has been posted. All three phases
of a first invocation are one trace: init and report are children of the invoke span. An init that
Lambda ran ahead of time (provisioned, managed instances, or long before) is a trace of its own,
which the first invocation links to; so is the restore of a snapshot.
"""

from __future__ import annotations

from os import urandom
from time import monotonic_ns

from lambdascope import __version__
from lambdascope.otlp import names
from lambdascope.otlp.encode import TraceEncoder
from lambdascope.otlp.model import Event, Link, Span
from lambdascope.otlp.resource import arn_attributes
from lambdascope.runtime.healthy_spans import HealthySpans, fits, never_fits
from lambdascope.runtime.init_spans import init_spans, late_imports, restore_spans
from lambdascope.runtime.resource import resource_attributes
from lambdascope.runtime.trace_parent import TraceParent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.clock import Clock
    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.faults import ErrorReport
    from lambdascope.runtime.flight import FlightRecorder
    from lambdascope.runtime.init_phase import InitPhase
    from lambdascope.runtime.otel.exceptions import Exceptions
    from lambdascope.runtime.telemetry import InvokeTimes

_MAX_SHARED = 64
_SCOPE = (names.SCOPE_RUNTIME, __version__, names.SCHEMA_URL)


class Phases:
    """Makes and encodes the spans of one execution environment."""

    def __init__(self, config: RuntimeConfig, clock: Clock, init: InitPhase) -> None:
        self._config = config
        self._clock = clock
        self._init: InitPhase | None = init
        self._name = config.function_name or "function"
        # Attributes that many invocations share, encoded once: by what they depend on.
        self._shared: dict[tuple[object, ...], bytes] = {}
        make = TraceEncoder
        self._fits = fits
        if config.has_limits:
            from lambdascope.runtime.otel.limits import LimitedEncoder

            make = LimitedEncoder
            self._fits = never_fits
        self._encoder = make(
            resource=resource_attributes(config),
            scope_name=names.SCOPE_RUNTIME,
            scope_version=__version__,
            schema_url=names.SCHEMA_URL,
        )
        self._healthy = HealthySpans(self._encoder, self._name)
        self._exceptions: Exceptions | None = None
        if config.exception_signal:
            from lambdascope.runtime.otel.exceptions import Exceptions

            self._exceptions = Exceptions(config)

    def finished(self, times: InvokeTimes, error: ErrorReport | None) -> tuple[bytes, int]:
        """The OTLP body of an invocation that has been reported, and its number of spans."""
        parent = self._trace(times)
        if not parent.flags & names.FLAG_SAMPLED:
            self._init = None  # it belongs to a trace that is not recorded
            return b"", 0
        if error is None and self._init is None and self._fits(times, parent):
            return self._healthy_body(times, parent), 2
        invoke = self._invoke_span(times, parent, error)
        if self._exceptions is not None:
            failure = None if error is None else invoke.events[-1]
            self._exceptions.move(invoke, _SCOPE, failure)
        report = self._report_span(times, parent, failed=error is not None)
        spans = [invoke, report, *self._batch_spans(times, invoke)]
        if self._init is not None:
            spans += self._first_spans(self._init, times, invoke=invoke, report=report)
            self._init = None
        return self._encoder.encode(spans), len(spans)

    def _trace(self, times: InvokeTimes) -> TraceParent:
        # There is none where the event could not be decoded.
        return times.trace or TraceParent(times.invocation.trace_id, self._config.xray_policy)

    def _healthy_body(self, times: InvokeTimes, parent: TraceParent) -> bytes:
        remaining_ms = (_left_ms(times, times.entered_ns), _left_ms(times, times.returned_ns))
        shared = (
            self._about_invocation(times, parent, is_cold=False),
            self._about_report(names.RESPONSE_MODE_BUFFERED, times.status_code),
        )
        return self._healthy.encode(times, parent, remaining_ms, shared)

    def cut_short(self, times: InvokeTimes, error_type: str, message: str) -> tuple[bytes, int]:
        """The OTLP body of an invocation whose handler has not returned."""
        parent = self._trace(times)
        if not parent.flags & names.FLAG_SAMPLED:
            return b"", 0
        times.returned_ns = monotonic_ns()
        span = self._invoke_span(times, parent, None)
        span.status_code = names.STATUS_ERROR
        span.status_message = message
        span.attributes[names.ERROR_TYPE] = error_type
        spans = [span, *self._batch_spans(times, span)]
        if self._init is not None:
            spans += self._first_spans(self._init, times, invoke=span)
            self._init = None
        return self._encoder.encode(spans), len(spans)

    def note_open(self, times: InvokeTimes, flight: FlightRecorder) -> None:
        """Note all that is known of the running invocation, which has no end in this process."""
        span = self._invoke_span(times, self._trace(times), None)
        del span.attributes[names.LAMBDASCOPE_REMAINING_END_MS]
        span.end_ns = 0
        if self._init is not None:
            for one in self._first_spans(self._init, times, invoke=span):
                flight.span_ended(self._encoder.span(one), one.span_id)
            self._init = None
        for one in (span, *self._batch_spans(times, span)):
            flight.span_started(self._encoder.span(one), one.span_id)

    def init_failed(self, error: ErrorReport) -> tuple[bytes, int]:
        """The OTLP body of an init, or a restore, that no invocation will follow."""
        assert self._init is not None  # noqa: S101 - called once, instead of `finished`
        spans = init_spans(self._init, self._clock, trace_id=urandom(16), parent_span_id=b"")
        failed = spans[0]
        if self._init.restore is not None:
            restored = restore_spans(self._init, self._init.restore, self._clock)
            failed = restored[0]
            spans += restored
        _mark(failed, error)
        if self._exceptions is not None:
            self._exceptions.move(failed, _SCOPE)
        return self._encoder.encode(spans), len(spans)

    def _invoke_span(
        self, times: InvokeTimes, parent: TraceParent, error: ErrorReport | None
    ) -> Span:
        offset = times.offset_ns
        invocation = times.invocation
        attributes: dict[str, object] = {
            names.FAAS_INVOCATION_ID: invocation.request_id,
            names.LAMBDASCOPE_DEADLINE_MS: invocation.deadline_ms,
            names.LAMBDASCOPE_REMAINING_START_MS: _left_ms(times, times.entered_ns),
            names.LAMBDASCOPE_REMAINING_END_MS: _left_ms(times, times.returned_ns),
        }
        if parent.xray_trace_id:
            attributes[names.AWS_XRAY_TRACE_ID] = parent.xray_trace_id
        if invocation.tenant_id is not None:
            attributes[names.LAMBDASCOPE_TENANT_ID] = invocation.tenant_id
        if parent.sampled is False:
            attributes[names.LAMBDASCOPE_PARENT_SAMPLED] = False
        span = Span(
            name=self._name,
            trace_id=parent.trace_id,
            span_id=parent.span_id,
            parent_span_id=parent.parent_span_id,
            kind=names.KIND_SERVER,
            start_ns=times.received_ns + offset,
            end_ns=times.returned_ns + offset,
            attributes=attributes,
            links=list(parent.links),
            flags=parent.flags,
            trace_state=parent.trace_state,
            encoded=self._about_invocation(times, parent, is_cold=self._init is not None),
        )
        if times.source is not None:
            from lambdascope.runtime.event_spans import describe

            describe(span, times, self._config)
        if times.span is not None and times.span.real is not None:
            from lambdascope.runtime.otel.convert import annotate

            annotate(span, times.span.real, offset)
        if error is not None:
            _mark(span, error)
        return span

    def _batch_spans(self, times: InvokeTimes, invoke: Span) -> list[Span]:
        """The span of a queue's batch, which is for all of its messages."""
        if times.source is None or not times.source.span_id:
            return []
        from lambdascope.runtime.event_spans import batch_span

        return [batch_span(invoke, times.source, self._config)]

    def _report_span(self, times: InvokeTimes, parent: TraceParent, *, failed: bool) -> Span:
        offset = times.offset_ns
        mode = names.RESPONSE_MODE_ERROR if failed else names.RESPONSE_MODE_BUFFERED
        stream, start_ns = times.stream, times.returned_ns
        attributes: dict[str, object] = {
            names.FAAS_INVOCATION_ID: times.invocation.request_id,
            names.LAMBDASCOPE_RESPONSE_SIZE: times.response_size,
        }
        if stream is not None and stream.started:
            # A streamed answer leaves while the handler runs.
            mode, start_ns = names.RESPONSE_MODE_STREAMED, stream.first_byte_ns
            first_byte_ns = stream.first_byte_ns - times.received_ns
            attributes[names.LAMBDASCOPE_RESPONSE_PIECES] = stream.pieces
            attributes[names.LAMBDASCOPE_RESPONSE_FIRST_BYTE_MS] = first_byte_ns / 1e6
            attributes[names.LAMBDASCOPE_RESPONSE_STALLED_MS] = stream.stalled_ns / 1e6
        return Span(
            name=f"{names.SPAN_REPORT_FUNCTION_PREFIX}{self._name}",
            trace_id=parent.trace_id,
            span_id=parent.report_span_id,
            parent_span_id=parent.span_id,
            start_ns=start_ns + offset,
            end_ns=times.reported_ns + offset,
            attributes=attributes,
            encoded=self._about_report(mode, times.status_code),
        )

    def _first_spans(
        self, init: InitPhase, times: InvokeTimes, *, invoke: Span, report: Span | None = None
    ) -> list[Span]:
        """Init and its parts, and what the first invocation imported: one trace, one anchor."""
        self._clock.offset_ns = times.offset_ns
        if init.is_of(times.received_ns):
            trace_id, parent = invoke.trace_id, invoke.span_id
            spans = init_spans(init, self._clock, trace_id=trace_id, parent_span_id=parent)
        else:
            spans = init_spans(init, self._clock, trace_id=urandom(16), parent_span_id=b"")
            spans[0].attributes[names.LAMBDASCOPE_INIT_TYPE] = init.kind(times.received_ns)
            invoke.links.append(Link(trace_id=spans[0].trace_id, span_id=spans[0].span_id))
        if init.restore is not None:
            restored = restore_spans(init, init.restore, self._clock)
            invoke.links.append(Link(trace_id=restored[0].trace_id, span_id=restored[0].span_id))
            spans += restored
        return spans + late_imports(init, self._clock, invoke, report)

    def _about_invocation(self, times: InvokeTimes, parent: TraceParent, *, is_cold: bool) -> bytes:
        arn = times.invocation.invoked_function_arn
        key = (arn, times.trigger, is_cold, parent.source, parent.reason)
        encoded = self._shared.get(key)
        if encoded is None:
            attributes: dict[str, object] = {
                names.FAAS_TRIGGER: times.trigger,
                names.FAAS_COLDSTART: is_cold,
                **arn_attributes(arn, self._config.function_version or ""),
                names.LAMBDASCOPE_PARENT_SOURCE: parent.source,
            }
            if self._config.for_datadog:
                from lambdascope.otlp.datadog import invoke_attributes

                attributes |= invoke_attributes(arn, self._name, is_cold=is_cold)
            if parent.reason:
                attributes[names.LAMBDASCOPE_PARENT_REASON] = parent.reason
            encoded = self._share(key, attributes)
        return encoded

    def _about_report(self, mode: str, status_code: int) -> bytes:
        key = (mode, status_code)
        encoded = self._shared.get(key)
        if encoded is None:
            attributes: dict[str, object] = {
                names.LAMBDASCOPE_RESPONSE_MODE: mode,
                names.LAMBDASCOPE_RESPONSE_STATUS_CODE: status_code,
            }
            encoded = self._share(key, attributes)
        return encoded

    def _share(self, key: tuple[object, ...], attributes: dict[str, object]) -> bytes:
        # Aliases, triggers and modes are few; the bound is for a platform that is not Lambda.
        if len(self._shared) >= _MAX_SHARED:
            self._shared.clear()
        encoded = self._shared[key] = self._encoder.attributes(attributes)
        return encoded


def _left_ms(times: InvokeTimes, now_ns: int) -> int:
    """What was left of the deadline, as the handler would have been told it."""
    # The handler was not entered where its arguments could not be made.
    left_ms = (times.deadline_ns - (now_ns or times.received_ns)) // 1_000_000
    return left_ms if left_ms > 0 else 0


def _mark(span: Span, error: ErrorReport) -> None:
    """Record a failure as the conventions ask: status, error.type and an exception event."""
    span.status_code = names.STATUS_ERROR
    span.status_message = error.message
    span.attributes[names.ERROR_TYPE] = error.name
    exception: dict[str, object] = {
        names.EXCEPTION_TYPE: error.name,
        names.EXCEPTION_MESSAGE: error.message,
        names.EXCEPTION_STACKTRACE: error.stack_text(),
    }
    event = Event(name=names.EVENT_EXCEPTION, time_ns=span.end_ns, attributes=exception)
    span.events.append(event)
