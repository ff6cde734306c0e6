"""Spans as the bytes of an ``ExportTraceServiceRequest``, ready to be posted to ``/v1/traces``.

The runtime makes one encoder for its life and calls it once for each invocation. What does not
change, the resource and the scope, is encoded once. Fields are written in the order of their
numbers and defaults are left out, as the official encoder does; the tests hold the two equal.
Must not know where the bytes go. Source: opentelemetry-proto 1.11, trace.proto.
"""

from __future__ import annotations

from lambdascope.otlp.attributes import AttributeWriter, key_field
from lambdascope.otlp.protobuf import (
    bytes_field,
    fixed32,
    fixed64,
    length_field,
    text_field,
    varint,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from lambdascope.otlp.model import Event, Link, Span


class RequestEncoder:
    """What the requests of all three signals have around their items, of one resource and scope.

    Resource, scope and schema have the same field numbers in each. `scope` is encoded, as its
    field of ScopeSpans. Threads may share it.
    """

    __slots__ = ("_attributes", "_resource", "_schema_url", "scope")

    def __init__(
        self,
        *,
        resource: Mapping[str, object],
        scope_name: str,
        scope_version: str = "",
        schema_url: str = "",
    ) -> None:
        self._attributes = AttributeWriter()
        chunks: list[bytes] = []
        self._attributes.write(b"\x0a", resource, chunks)
        self._resource = length_field(b"\x0a", b"".join(chunks))
        scope = text_field(b"\x0a", scope_name) + text_field(b"\x12", scope_version)
        self.scope = length_field(b"\x0a", scope)
        self._schema_url = text_field(b"\x1a", schema_url)

    def wrap(self, items: Collection[bytes]) -> bytes:
        """Return the request's body for spans, metrics or records that are encoded already."""
        if not items:
            return b""
        chunks = [self.scope]
        for body in items:
            chunks += b"\x12", varint(len(body)), body
        chunks.append(self._schema_url)
        scope_items = b"".join(chunks)
        return length_field(
            b"\x0a", self._resource + length_field(b"\x12", scope_items) + self._schema_url
        )


class TraceEncoder(RequestEncoder):
    """Encodes spans of one resource and one instrumentation scope. Threads may share it."""

    __slots__ = ()

    def encode(self, spans: Iterable[Span]) -> bytes:
        """Return the request's body for `spans`; no spans give the empty body, a valid request.

        Never raises on the values of attributes or on text that UTF-8 cannot hold. A time out of
        range becomes the nearest in range.
        """
        return self.wrap([self.span(span) for span in spans])

    def attribute_head(self, key: str) -> bytes:
        """Return what an attribute with this key starts with, up to the tag of its value."""
        return key_field(key) + b"\x12"

    def attributes(self, attributes: Mapping[str, object]) -> bytes:
        """Return attributes in the form that `Span.encoded` takes."""
        chunks: list[bytes] = []
        self._attributes.write(b"\x4a", attributes, chunks)
        return b"".join(chunks)

    def span(self, span: Span) -> bytes:
        """Return one span encoded, for `wrap`."""
        chunks = _identity(span)
        if span.encoded:
            chunks.append(span.encoded)
        self._attributes.write(b"\x4a", span.attributes, chunks)
        if span.dropped_attributes:
            chunks += b"\x50", varint(span.dropped_attributes)
        for event in span.events:
            body = self._event(event)
            chunks += b"\x5a", varint(len(body)), body
        if span.dropped_events:
            chunks += b"\x60", varint(span.dropped_events)
        for link in span.links:
            chunks.append(length_field(b"\x6a", self._link(link)))
        if span.dropped_links:
            chunks += b"\x70", varint(span.dropped_links)
        chunks.append(status_field(span.status_code, span.status_message))
        if span.flags:
            chunks += b"\x85\x01", fixed32(span.flags)
        return b"".join(chunks)

    def _event(self, event: Event) -> bytes:
        chunks: list[bytes] = []
        if event.time_ns:
            chunks += b"\x09", fixed64(event.time_ns)
        chunks.append(text_field(b"\x12", event.name))
        self._attributes.write(b"\x1a", event.attributes, chunks)
        if event.dropped_attributes:
            chunks += b"\x20", varint(event.dropped_attributes)
        return b"".join(chunks)

    def _link(self, link: Link) -> bytes:
        chunks = _ids(link.trace_id, link.span_id)
        chunks.append(text_field(b"\x1a", link.trace_state))
        self._attributes.write(b"\x22", link.attributes, chunks)
        if link.dropped_attributes:
            chunks += b"\x28", varint(link.dropped_attributes)
        if link.flags:
            chunks += b"\x35", fixed32(link.flags)
        return b"".join(chunks)


def _ids(trace_id: bytes, span_id: bytes) -> list[bytes]:
    """Return fields 1 and 2 of a span or a link, which are alike in both."""
    if len(trace_id) == 16 and len(span_id) == 8:
        return [b"\x0a\x10", trace_id, b"\x12\x08", span_id]
    return [bytes_field(b"\x0a", trace_id), bytes_field(b"\x12", span_id)]


def _identity(span: Span) -> list[bytes]:
    """Return fields 1 to 8 of a span: who it is, whose child, what kind, from when to when."""
    chunks = _ids(span.trace_id, span.span_id)
    if span.trace_state:
        chunks.append(text_field(b"\x1a", span.trace_state))
    if span.parent_span_id:
        chunks.append(bytes_field(b"\x22", span.parent_span_id))
    chunks.append(text_field(b"\x2a", span.name))
    if span.kind:
        chunks += b"\x30", varint(span.kind)
    if span.start_ns:
        chunks += b"\x39", fixed64(span.start_ns)
    if span.end_ns:
        chunks += b"\x41", fixed64(span.end_ns)
    return chunks


def status_field(code: int, message: str) -> bytes:
    """Return a span's status; like the official encoder, also when it is unset."""
    if not (code or message):
        return b"\x7a\x00"
    body = text_field(b"\x12", message)
    if code:
        body += b"\x18" + varint(code)
    return length_field(b"\x7a", body)
