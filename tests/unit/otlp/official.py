"""Our span records put through OpenTelemetry's own SDK classes and encoder, for comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SdkEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link as SdkLink
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from lambdascope.otlp import names
from lambdascope.otlp.encode import TraceEncoder
from lambdascope.otlp.model import Event, Link, Span

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

# Property tests without limits on the clock: a busy machine is no finding.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TRACE_ID = bytes(range(1, 17))
SPAN_ID = bytes(range(0xA0, 0xA8))
PARENT_SPAN_ID = bytes(range(0xB0, 0xB8))
START_NS = 1_763_000_000_123_456_789
RESOURCE = {"service.name": "hello", "faas.max_memory": 134_217_728, "aws.log.group.names": ["/a"]}
SCOPE_NAME = "lambdascope.runtime"
SCOPE_VERSION = "0.1.0"

_KINDS = {
    names.KIND_INTERNAL: SpanKind.INTERNAL,
    names.KIND_SERVER: SpanKind.SERVER,
    names.KIND_CLIENT: SpanKind.CLIENT,
    names.KIND_PRODUCER: SpanKind.PRODUCER,
    names.KIND_CONSUMER: SpanKind.CONSUMER,
}


def make_span(**fields: object) -> Span:
    """Return a span with fixed ids and times; its flags are those the official encoder writes.

    OpenTelemetry's encoder (1.45) leaves the W3C flags out of the field and fills in only what it
    knows about the parent, so spans to compare carry no FLAG_SAMPLED.
    """
    base = {
        "name": "hello",
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "start_ns": START_NS,
        "end_ns": START_NS + 1_000_000,
        "flags": names.FLAG_HAS_IS_REMOTE,
    }
    return Span(**(base | fields))


def make_encoder() -> TraceEncoder:
    """Return our encoder with the resource and the scope that `official_request` uses."""
    return TraceEncoder(
        resource=RESOURCE,
        scope_name=SCOPE_NAME,
        scope_version=SCOPE_VERSION,
        schema_url=names.SCHEMA_URL,
    )


def official_request(spans: list[Span]) -> ExportTraceServiceRequest:
    """Return the message that the official encoder makes of the same spans."""
    return encode_spans([sdk_span(span) for span in spans])


def parse(body: bytes) -> ExportTraceServiceRequest:
    """Return the official package's reading of `body`."""
    return ExportTraceServiceRequest.FromString(body)


def parse_span(body: bytes) -> SpanMessage:
    """Return the only span of `body`."""
    (span,) = parse(body).resource_spans[0].scope_spans[0].spans
    return span


def sdk_span(span: Span) -> ReadableSpan:
    """Return the SDK's span with the same fields."""
    parent = None
    if span.parent_span_id:
        is_remote = bool(span.flags & names.FLAG_IS_REMOTE)
        parent = _context(span.trace_id, span.parent_span_id, is_remote=is_remote)
    return ReadableSpan(
        name=span.name,
        context=_context(span.trace_id, span.span_id, trace_state=span.trace_state),
        parent=parent,
        resource=_sdk_resource(),
        attributes=_bounded(span.attributes, span.dropped_attributes),
        events=_bounded_list([_sdk_event(event) for event in span.events], span.dropped_events),
        links=_bounded_list([_sdk_link(link) for link in span.links], span.dropped_links),
        kind=_KINDS[span.kind],
        status=Status(StatusCode(span.status_code), span.status_message or None),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope(SCOPE_NAME, SCOPE_VERSION, names.SCHEMA_URL),
    )


def _sdk_resource() -> Resource:
    return Resource(RESOURCE, names.SCHEMA_URL)


def _context(
    trace_id: bytes, span_id: bytes, *, is_remote: bool = False, trace_state: str = ""
) -> SpanContext:
    return SpanContext(
        trace_id=int.from_bytes(trace_id, "big"),
        span_id=int.from_bytes(span_id, "big"),
        is_remote=is_remote,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([trace_state]) if trace_state else TraceState(),
    )


def _sdk_event(event: Event) -> SdkEvent:
    attributes = _bounded(event.attributes, event.dropped_attributes)
    return SdkEvent(event.name, attributes=attributes, timestamp=event.time_ns)


def _sdk_link(link: Link) -> SdkLink:
    is_remote = bool(link.flags & names.FLAG_IS_REMOTE)
    context = _context(link.trace_id, link.span_id, is_remote=is_remote)
    return SdkLink(context, attributes=_bounded(link.attributes, link.dropped_attributes))


def _bounded(attributes: dict[str, object], dropped: int) -> object:
    """Return the plain dict, which the SDK does not clean up, unless a dropped count is needed."""
    if not dropped:
        return attributes
    bounded = BoundedAttributes(attributes=attributes)
    bounded.dropped = dropped
    return bounded


def _bounded_list(items: list[object], dropped: int) -> object:
    if not dropped:
        return items
    bounded = BoundedList(len(items) or None)
    bounded.extend(items)
    bounded.dropped = dropped
    return bounded
