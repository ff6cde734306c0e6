"""Which invocations the spans of a stock SDK are of, and where these are in a trace.

Such a sender gives no request id with its request; the span of an invocation has it as an
attribute. The intake calls this only for requests in which the attribute's name stands, where no
runtime of ours hands over. What is found is kept as a request with that span alone. Bounded by
spans, and by bytes where JSON has to be parsed.
"""

from __future__ import annotations

from lambdascope.otlp import names
from lambdascope.otlp.protobuf import BYTE, bytes_field, length_field, text_field
from lambdascope.otlp.walk import MAX_FIELDS, iter_fields
from lambdascope.wire.names import CONTENT_TYPE_JSON
from lambdascope_extension.records.joins import INVOCATION_ID, SpanHead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lambdascope_extension.handed_over import HandedOver

MAX_JSON_BYTES = 262_144
_MAX_FOUND = 16
_TEXTS = (names.FAAS_INVOCATION_ID, names.FAAS_TRIGGER, names.ERROR_TYPE)
_IDS = ("traceId", "spanId", "parentSpanId")
# ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans.
_PATH = (1, 2, 2)
_ID_TAGS = (b"\x0a", b"\x12", b"\x22")


def overhear(handed: HandedOver, kind: str, body: bytes) -> None:
    """Tell `handed` of the invocations whose spans are in a body of traces; never raises."""
    found = _in_json(body) if kind == CONTENT_TYPE_JSON else _in_protobuf(body)
    try:
        for _, (request_id, span) in zip(range(_MAX_FOUND), found, strict=False):
            scope = length_field(b"\x12", length_field(b"\x12", span))
            handed.overhear(request_id, length_field(b"\x0a", scope))
    except (ValueError, RecursionError):
        pass  # it has been counted and is sent on as it is; only where it belongs is not known


def _in_protobuf(body: bytes) -> Iterator[tuple[str, bytes]]:
    for start, end in _marked_spans(body):
        span = SpanHead(body, start, end)
        texts = zip(_TEXTS, (span.request_id, span.trigger, span.error_type), strict=True)
        if span.request_id:
            ids = (span.trace_id, span.span_id, span.parent)
            yield span.request_id.decode("utf-8", "replace"), _span(ids, span.kind, texts)


def _marked_spans(body: bytes) -> Iterator[tuple[int, int]]:
    """The borders of the spans in which the attribute's name stands, in one walk."""
    position = body.find(INVOCATION_ID)
    levels = [iter_fields(body)]
    for _ in range(MAX_FIELDS):
        field = next(levels[-1], None)
        if field is None:
            levels.pop()
            if not levels:
                return
            continue
        number, _, start, end = field
        if 0 <= position < start:
            position = body.find(INVOCATION_ID, start)
        if position < 0:
            return
        if number != _PATH[len(levels) - 1] or position >= end:
            continue
        if len(levels) < len(_PATH):
            levels.append(iter_fields(body, start, end))
        else:
            yield start, end


def _in_json(body: bytes) -> Iterator[tuple[str, bytes]]:
    if len(body) > MAX_JSON_BYTES:
        return
    import json

    for span in _below(json.loads(body), "resourceSpans", "scopeSpans", "spans"):
        texts = dict(_texts(span))
        request_id = texts.get(names.FAAS_INVOCATION_ID)
        if request_id:
            ids = [bytes.fromhex(str(span.get(key) or "")) for key in _IDS]
            kind = span.get("kind")
            encoded = [(key, text.encode("utf-8", "replace")) for key, text in texts.items()]
            yield request_id, _span(ids, kind if isinstance(kind, int) else 0, encoded)


def _below(document: object, key: str, *keys: str) -> Iterator[dict[str, object]]:
    """The objects in the lists below these keys."""
    items = document.get(key) if isinstance(document, dict) else None
    for item in items if isinstance(items, list) else ():
        if keys:
            yield from _below(item, *keys)
        elif isinstance(item, dict):
            yield item


def _texts(span: dict[str, object]) -> Iterator[tuple[str, str]]:
    for pair in _below(span, "attributes"):
        key, value = pair.get("key"), pair.get("value")
        text = value.get("stringValue") if isinstance(value, dict) else None
        if isinstance(key, str) and key in _TEXTS and isinstance(text, str):
            yield key, text


def _span(ids: Sequence[bytes], kind: int, texts: Iterable[tuple[str, bytes]]) -> bytes:
    """The fields of a span that are needed to join it: trace_id, span_id, parent_span_id, kind,
    attributes."""
    parts = [bytes_field(tag, one) for tag, one in zip(_ID_TAGS, ids, strict=True)]
    parts += b"\x30", BYTE[kind & 0x7F]
    for key, text in texts:
        value = length_field(b"\x12", length_field(b"\x0a", text))
        parts.append(length_field(b"\x4a", text_field(b"\x0a", key) + value))
    return b"".join(parts)
