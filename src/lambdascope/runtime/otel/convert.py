"""A span of the SDK as a record that our encoder takes. Loaded with the SDK's bridge.

Only what `ReadableSpan` offers publicly is read, so that older and newer SDKs fit. The SDK takes
each time from the wall clock, which may be stepped; the runtime counts from what it was on receipt
of the invocation. What differs is added, so that no child begins before its parent.
"""

from __future__ import annotations

from time import monotonic_ns, time_ns

from lambdascope.otlp.attributes import AttributeWriter
from lambdascope.otlp.encode import status_field
from lambdascope.otlp.model import Event, Link, Span
from lambdascope.otlp.names import FLAG_HAS_IS_REMOTE, FLAG_IS_REMOTE
from lambdascope.otlp.protobuf import BYTE, fixed32, fixed64, text_field, varint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import Event as SdkEvent
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Link as SdkLink
    from opentelemetry.trace import SpanContext

_WRITER = AttributeWriter()
# Less is not worth a correction: two readings of clocks are not closer.
_NOISE_NS = 1000


def shift_ns(offset_ns: int) -> int:
    """What to add to times of the wall clock as it is now, for those with this offset.

    Anything may hold a thread up between two readings: only what that cannot explain counts.
    """
    before, wall = monotonic_ns(), time_ns()
    least = before + offset_ns - wall
    if least >= -_NOISE_NS:
        return least if least > _NOISE_NS else 0
    most = monotonic_ns() + offset_ns - wall
    return most if most < -_NOISE_NS else 0


def shifted(span: Span, begun: int, ended: int) -> Span:
    """The span with what was to be added at its start and at its end."""
    span.start_ns += begun
    if span.end_ns:
        span.end_ns += ended
    _place_events(span, span.events, begun, ended)
    return span


def _place_events(span: Span, events: list[Event], begun: int, ended: int) -> None:
    """Move each event by the one of the two that puts it into the span."""
    for event in events:
        by = begun
        if not span.start_ns <= event.time_ns + begun <= span.end_ns:
            by = ended
        event.time_ns += by


def span_of(span: ReadableSpan) -> Span:
    """The whole span. It has a context; a span that is open has no end."""
    context, parent = span.context, span.parent
    assert context is not None  # noqa: S101 - the caller has looked
    return Span(
        name=span.name,
        trace_id=context.trace_id.to_bytes(16, "big"),
        span_id=context.span_id.to_bytes(8, "big"),
        parent_span_id=b"" if parent is None else parent.span_id.to_bytes(8, "big"),
        # The API counts its kinds from 0, the protocol from 1.
        kind=span.kind.value + 1,
        start_ns=span.start_time or 0,
        end_ns=span.end_time or 0,
        attributes=dict(span.attributes or ()),
        events=[event_of(event) for event in span.events] if span.events else [],
        links=[link_of(link) for link in span.links] if span.links else [],
        status_code=span.status.status_code.value,
        status_message=span.status.description or "",
        flags=_flags(context, parent),
        trace_state=context.trace_state.to_header() if context.trace_state else "",
        dropped_attributes=span.dropped_attributes,
        dropped_events=span.dropped_events,
        dropped_links=span.dropped_links,
    )


def is_simple(span: ReadableSpan, context: SpanContext) -> bool:
    """Whether `opened` and `closed` have all that there is of a span, which is most of them.

    What the SDK holds is looked at without the copies that it gives of it.
    """
    return not (
        getattr(span, "_events", True)
        or getattr(span, "_links", True)
        or context.trace_state
        or span.dropped_events
        or span.dropped_links
    )


def head_of(span: ReadableSpan, context: SpanContext, shift: int) -> bytes:
    """What is known of a simple span from its start on, as the beginning of trace.proto's Span."""
    parent = span.parent
    return b"".join(
        (
            b"\x0a\x10",
            context.trace_id.to_bytes(16, "big"),
            b"\x12\x08",
            context.span_id.to_bytes(8, "big"),
            b"" if parent is None else b"\x22\x08" + parent.span_id.to_bytes(8, "big"),
            text_field(b"\x2a", span.name),
            b"\x30",
            BYTE[span.kind.value + 1],
            b"\x39",
            fixed64((span.start_time or 0) + shift),
        )
    )


def opened(span: ReadableSpan, context: SpanContext, head: bytes) -> bytes:
    """A simple span that has just begun; `head` is from `head_of`."""
    chunks = [head]
    attributes = _attributes_of(span)
    if attributes:
        _WRITER.write(b"\x4a", attributes, chunks)
    chunks += b"\x85\x01", fixed32(_flags(context, span.parent))
    return b"".join(chunks)


def closed(span: ReadableSpan, context: SpanContext, head: bytes, shift: int) -> bytes:
    """A simple span that has ended; `head` is from `head_of`."""
    chunks = [head, b"\x41", fixed64((span.end_time or 0) + shift)]
    attributes = _attributes_of(span)
    if attributes:
        _WRITER.write(b"\x4a", attributes, chunks)
    if span.dropped_attributes:
        chunks += b"\x50", varint(span.dropped_attributes)
    status = span.status
    chunks.append(status_field(status.status_code.value, status.description or ""))
    chunks += b"\x85\x01", fixed32(_flags(context, span.parent))
    return b"".join(chunks)


def _attributes_of(span: ReadableSpan) -> Mapping[str, object]:
    """The attributes, to be read at once: the SDK's mapping takes longer to read than to write."""
    held = getattr(getattr(span, "_attributes", None), "_dict", None)
    return held if type(held) is dict else span.attributes or {}


def annotate(span: Span, real: object, offset_ns: int) -> None:
    """Add what the function wrote to its invoke span: attributes, events, links, status, name."""
    if not hasattr(real, "attributes"):
        return  # there is no SDK
    written = span_of(real)  # type: ignore[arg-type]  # a span of the SDK
    span.name = written.name
    span.attributes |= written.attributes
    _place_events(span, written.events, 0, shift_ns(offset_ns))
    span.events += written.events
    span.links += written.links
    span.status_code, span.status_message = written.status_code, written.status_message
    span.dropped_attributes += written.dropped_attributes
    span.dropped_events += written.dropped_events
    span.dropped_links += written.dropped_links


def event_of(event: SdkEvent) -> Event:
    """An event of a span."""
    attributes = event.attributes
    return Event(
        name=event.name,
        time_ns=event.timestamp,
        attributes=dict(attributes or ()),
        dropped_attributes=getattr(attributes, "dropped", 0),
    )


def link_of(link: SdkLink) -> Link:
    """A link of a span."""
    attributes, context = link.attributes, link.context
    return Link(
        trace_id=context.trace_id.to_bytes(16, "big"),
        span_id=context.span_id.to_bytes(8, "big"),
        trace_state=context.trace_state.to_header() if context.trace_state else "",
        attributes=dict(attributes or ()),
        flags=_flags(context, context),
        dropped_attributes=getattr(attributes, "dropped", 0),
    )


def _flags(context: SpanContext, related: SpanContext | None) -> int:
    """The W3C flags of a context, and whether the one that it is related to is remote."""
    flags = int(context.trace_flags) | FLAG_HAS_IS_REMOTE
    return flags | FLAG_IS_REMOTE if related is not None and related.is_remote else flags
