"""What the platform says of an invocation, an init or a restore, as one small span each.

The spans of the invocation have usually left when its report comes, so what the report says is a
span of its own: a child of the invocation's. The platform's own stretches (responseLatency and the
others) are events of it at their starts, and attributes with their lengths; spans of their own
would be four more of each invocation to pay for. Pure; source of the fields: AWS Lambda developer
guide, "Lambda Telemetry API Event schema reference".
"""

from __future__ import annotations

from posix import urandom

from lambdascope.otlp import names
from lambdascope.otlp.model import Event, Link, Span
from lambdascope.wire.names import INIT_ON_DEMAND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.otlp.model import Attributes
    from lambdascope_extension.records.joins import Joined
    from lambdascope_extension.records.record import PlatformRecord

_MB = 1024 * 1024
_MS = 1_000_000
# Lambda hands an on-demand event out right after init; later than this, init was proactive.
PROACTIVE_NS = 10_000_000_000
_REPORT_METRICS = (
    ("durationMs", names.LAMBDASCOPE_PLATFORM_DURATION_MS, 1),
    ("billedDurationMs", names.LAMBDASCOPE_PLATFORM_BILLED_DURATION_MS, 1),
    ("initDurationMs", names.LAMBDASCOPE_PLATFORM_INIT_DURATION_MS, 1),
    ("restoreDurationMs", names.LAMBDASCOPE_PLATFORM_RESTORE_DURATION_MS, 1),
    ("billedRestoreDurationMs", names.LAMBDASCOPE_PLATFORM_BILLED_RESTORE_DURATION_MS, 1),
    ("maxMemoryUsedMB", names.LAMBDASCOPE_PLATFORM_MAX_MEMORY_USED, _MB),
    ("memorySizeMB", names.FAAS_MAX_MEMORY, _MB),
    ("producedBytes", names.LAMBDASCOPE_PLATFORM_PRODUCED_BYTES, 1),
)
_STRETCHES = {
    "responseLatency": names.LAMBDASCOPE_PLATFORM_RESPONSE_LATENCY_MS,
    "responseDuration": names.LAMBDASCOPE_PLATFORM_RESPONSE_DURATION_MS,
    "runtimeOverhead": names.LAMBDASCOPE_PLATFORM_RUNTIME_OVERHEAD_MS,
    "extensionOverhead": names.LAMBDASCOPE_PLATFORM_EXTENSION_OVERHEAD_MS,
}
_PHASE_TEXTS = (
    ("initializationType", names.LAMBDASCOPE_INIT_TYPE),
    ("phase", names.LAMBDASCOPE_PLATFORM_PHASE),
    ("runtimeVersion", names.LAMBDASCOPE_PLATFORM_RUNTIME_VERSION),
    ("runtimeVersionArn", names.LAMBDASCOPE_PLATFORM_RUNTIME_VERSION_ARN),
)


def report_span(
    joined: Joined,
    start: PlatformRecord | None,
    done: PlatformRecord | None,
    report: PlatformRecord | None,
) -> Span:
    """The span of an invocation, from its runtimeDone, its report, or both."""
    records = [record for record in (done, report) if record is not None]
    last = records[-1]
    span = _span(names.SPAN_PLATFORM_REPORT, joined.trace_id, joined.span_id)
    span.attributes[names.FAAS_INVOCATION_ID] = last.request_id
    for record in records:
        _add(span, record)
    if done is not None and report is not None and "durationMs" in done.metrics:
        runtime_ms = done.metrics["durationMs"]
        span.attributes[names.LAMBDASCOPE_PLATFORM_RUNTIME_DURATION_MS] = runtime_ms
    _set_times(span, start, last)
    return span


def phase_span(
    name: str,
    joined: Joined | None,
    records: tuple[PlatformRecord | None, PlatformRecord | None, PlatformRecord | None],
    *,
    called_ns: int,
) -> Span:
    """The span of an init or a restore, from its start, runtimeDone and report, one of them at
    least.

    It belongs to the trace of the first invocation if that one waited for it, as the runtime's init
    span does; else it has a trace of its own, which links to the invocation. `called_ns` is when
    the invocation began, 0 when there was none.
    """
    start, done, report = records
    last = report or done or start
    assert last is not None  # noqa: S101 - the caller has at least one
    waited_ns = called_ns - (last.time_ns or called_ns)
    init_type = last.text("initializationType") or INIT_ON_DEMAND
    is_on_demand = name == names.SPAN_PLATFORM_INIT and init_type == INIT_ON_DEMAND
    if joined is not None and is_on_demand and waited_ns < PROACTIVE_NS:
        span = _span(name, joined.trace_id, joined.span_id)
    else:
        span = _span(name, urandom(16), b"")
        if joined is not None:
            span.links.append(Link(trace_id=joined.trace_id, span_id=joined.span_id))
    for record in records:
        if record is not None:
            _add(span, record)
            for field, attribute in _PHASE_TEXTS:
                text = record.text(field)
                if text:
                    span.attributes[attribute] = text
    memory = start.number("instanceMaxMemory") if start is not None else 0
    if memory:
        span.attributes[names.FAAS_MAX_MEMORY] = int(memory)
    _set_times(span, start, last)
    return span


def _span(name: str, trace_id: bytes, parent_span_id: bytes) -> Span:
    return Span(name=name, trace_id=trace_id, span_id=urandom(8), parent_span_id=parent_span_id)


def _add(span: Span, record: PlatformRecord) -> None:
    """What one record says, over what an earlier one said."""
    attributes = span.attributes
    if record.status:
        attributes[names.LAMBDASCOPE_PLATFORM_STATUS] = record.status
    if record.failed:
        span.status_code = names.STATUS_ERROR
        attributes[names.ERROR_TYPE] = record.error_type or record.status
    _add_metrics(attributes, record.metrics)
    for name, start_ns, duration_ms in record.spans:
        if name in _STRETCHES:
            attributes[_STRETCHES[name]] = duration_ms
        if start_ns:
            span.events.append(Event(name=name, time_ns=start_ns))


def _add_metrics(attributes: Attributes, metrics: dict[str, float]) -> None:
    for field, attribute, factor in _REPORT_METRICS:
        value = metrics.get(field)
        if value is not None:
            attributes[attribute] = int(value * factor) if factor > 1 else value


def _set_times(span: Span, start: PlatformRecord | None, last: PlatformRecord) -> None:
    """From the start record on for the platform's own duration; times come with ms only."""
    length_ns = int(last.metrics.get("durationMs", 0) * _MS)
    begin_ns = start.time_ns if start is not None else 0
    if not begin_ns:
        begin_ns = max(0, last.time_ns - length_ns)
    span.start_ns = begin_ns
    span.end_ns = begin_ns + length_ns if length_ns else max(begin_ns, last.time_ns)
