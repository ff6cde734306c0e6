"""OTLP bodies read back into the SDK's objects, for exporters that take nothing else.

Loaded by direct export. The bodies are ours, so that they are well-formed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.span import TraceState

from lambdascope.otlp.names import FLAG_IS_REMOTE

if TYPE_CHECKING:
    from collections.abc import Callable

_W3C_FLAGS = 0xFF


def spans_of(body: bytes) -> list[ReadableSpan]:
    """The spans of a trace request."""
    spans = []
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = Resource(_attributes(group.resource.attributes), group.schema_url)
        for scoped in group.scope_spans:
            scope = _scope(scoped)
            spans += [_span(span, resource, scope) for span in scoped.spans]
    return spans


def metrics_of(body: bytes) -> Any:
    """The metrics of a metrics request, as the SDK's MetricsData."""
    from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics

    from lambdascope.runtime.otel.metrics_from_otlp import metric_of

    groups = []
    for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        resource = Resource(_attributes(group.resource.attributes), group.schema_url)
        scopes = [
            ScopeMetrics(_scope(scoped), [metric_of(m) for m in scoped.metrics], scoped.schema_url)
            for scoped in group.scope_metrics
        ]
        groups.append(ResourceMetrics(resource, scopes, group.schema_url))
    return MetricsData(groups)


def records_of(body: bytes) -> list[Any]:
    """The records of a logs request."""
    from opentelemetry._logs import LogRecord, SeverityNumber
    from opentelemetry.sdk._logs import ReadableLogRecord

    records = []
    for group in ExportLogsServiceRequest.FromString(body).resource_logs:
        resource = Resource(_attributes(group.resource.attributes), group.schema_url)
        for scoped in group.scope_logs:
            scope = _scope(scoped)
            for record in scoped.log_records:
                # Ids are given by the older way, which needs no span to be current.
                made: Any = LogRecord(
                    timestamp=record.time_unix_nano or None,
                    observed_timestamp=record.observed_time_unix_nano or record.time_unix_nano,
                    severity_text=record.severity_text or None,
                    severity_number=SeverityNumber(record.severity_number),
                    body=value_of(record.body),
                    attributes=_attributes(record.attributes),
                    event_name=record.event_name or None,
                )
                made.trace_id = _number(record.trace_id)
                made.span_id = _number(record.span_id)
                made.trace_flags = TraceFlags(record.flags & _W3C_FLAGS)
                records.append(
                    ReadableLogRecord(made, resource=resource, instrumentation_scope=scope)
                )
    return records


READERS: dict[str, Callable[[bytes], Any]] = {
    "traces": spans_of,
    "metrics": metrics_of,
    "logs": records_of,
}


def value_of(value: Any) -> Any:
    """An AnyValue as what it was made of; None for an empty one."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    return getattr(value, kind)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: value_of(pair.value) for pair in pairs}


def _scope(scoped: Any) -> InstrumentationScope:
    scope = scoped.scope
    return InstrumentationScope(scope.name, scope.version or None, scoped.schema_url)


def _span(span: Any, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    parent = None
    if span.parent_span_id:
        is_remote = bool(span.flags & FLAG_IS_REMOTE)
        parent = _context(span.trace_id, span.parent_span_id, span.flags, is_remote=is_remote)
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id, span.flags, state=span.trace_state),
        parent=parent,
        resource=resource,
        attributes=_attributes(span.attributes),
        events=[
            Event(event.name, _attributes(event.attributes), event.time_unix_nano)
            for event in span.events
        ],
        links=[_link(link) for link in span.links],
        kind=SpanKind(span.kind - 1) if span.kind else SpanKind.INTERNAL,
        status=_status(span.status),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
        instrumentation_scope=scope,
    )


def _link(link: Any) -> Link:
    is_remote = bool(link.flags & FLAG_IS_REMOTE)
    context = _context(link.trace_id, link.span_id, link.flags, is_remote=is_remote)
    return Link(context, _attributes(link.attributes))


def _context(
    trace_id: bytes, span_id: bytes, flags: int, *, is_remote: bool = False, state: str = ""
) -> SpanContext:
    return SpanContext(
        _number(trace_id),
        _number(span_id),
        is_remote,
        TraceFlags(flags & _W3C_FLAGS),
        TraceState.from_header([state]) if state else TraceState(),
    )


def _status(status: Any) -> Status:
    code = StatusCode(status.code)
    return Status(code, status.message if code is StatusCode.ERROR else None)


def _number(identifier: bytes) -> int:
    return int.from_bytes(identifier, "big")
