"""Walks over protobuf bytes without decoding them: the borders of fields, the number of spans.

The extension counts with it what senders hand over, for its ledger, before it forwards the bytes
as they are. Bodies come from any process on the host, so every length is checked and the work is
bounded. Concatenated requests are one request, because their only top-level field is repeated. It
must not know what the spans hold. Source: protobuf.dev, "Encoding"; opentelemetry-proto,
trace_service.proto.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    Buffer: TypeAlias = bytes | bytearray | memoryview

WIRE_VARINT = 0
WIRE_FIXED64 = 1
WIRE_LENGTH = 2
WIRE_FIXED32 = 5
_WIDTHS = {WIRE_FIXED64: 8, WIRE_FIXED32: 4}

# More spans, scopes and resources than a body of 4 MB can hold in practice (a span's ids and times
# alone are 44 bytes); a walk that long takes some 40 ms.
MAX_FIELDS = 100_000

# The tags on the way to a span, outermost first: ExportTraceServiceRequest.resource_spans = 1,
# ResourceSpans.scope_spans = 2, ScopeSpans.spans = 2, each length-delimited.
_PATH_TO_SPANS = (1 << 3 | WIRE_LENGTH, 2 << 3 | WIRE_LENGTH, 2 << 3 | WIRE_LENGTH)
_SPAN_DEPTH = len(_PATH_TO_SPANS) - 1


def count_spans(body: Buffer, *, max_fields: int = MAX_FIELDS) -> int:
    """Return how many spans are in the bytes of one or several ExportTraceServiceRequests.

    Looks at the borders of the fields around spans and never into a span. Raises ValueError if the
    bytes are not well-formed there or if more than `max_fields` fields would have to be looked at.
    """
    ends = [len(body)] * len(_PATH_TO_SPANS)
    depth = position = spans = 0
    for _ in range(max_fields + 1):
        while position == ends[depth]:
            if depth == 0:
                return spans
            depth -= 1
        tag, start, position = _field(body, position, ends[depth])
        if tag != _PATH_TO_SPANS[depth]:
            continue
        if depth == _SPAN_DEPTH:
            spans += 1
        else:
            depth += 1
            ends[depth] = position
            position = start
    raise ValueError(f"more than {max_fields} fields around the spans")


def iter_fields(
    body: Buffer, start: int = 0, end: int | None = None
) -> Iterator[tuple[int, int, int, int]]:
    """Yield (field number, wire type, start, end) for each field of the message in body[start:end].

    start and end are the borders in `body` of what follows the tag, or, for a length-delimited
    field, what follows the length. Raises ValueError where the bytes are not a protobuf message.
    """
    end = len(body) if end is None else end
    while start < end:
        tag, payload, start = _field(body, start, end)
        yield tag >> 3, tag & 7, payload, start


def _field(body: Buffer, position: int, end: int) -> tuple[int, int, int]:
    """Return (tag, payload start, payload end) of the field at `position` of a message."""
    try:
        tag, start = _varint(body, position)
        wire_type = tag & 7
        if wire_type == WIRE_LENGTH:
            size, start = _varint(body, start)
            stop = start + size
        elif wire_type == WIRE_VARINT:
            stop = _varint(body, start)[1]
        elif wire_type in _WIDTHS:
            stop = start + _WIDTHS[wire_type]
        else:  # 3 and 4 are groups, which OTLP has never had; 6 and 7 do not exist
            raise ValueError(f"field at byte {position}: wire type {wire_type}")
    except IndexError:
        raise ValueError(f"field at byte {position}: cut off") from None
    if stop > end:
        raise ValueError(f"field at byte {position}: longer than the message around it")
    if not 8 <= tag <= 0xFFFF_FFFF:
        raise ValueError(f"field at byte {position}: not a field number")
    return tag, start, stop


def _varint(body: Buffer, position: int) -> tuple[int, int]:
    """Return the varint at `position` and where it ends. Raises IndexError at the end of `body`."""
    number = body[position]
    if number < 0x80:
        return number, position + 1
    number &= 0x7F
    for shift in range(7, 70, 7):
        position += 1
        byte = body[position]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position + 1
    raise ValueError(f"varint before byte {position}: longer than ten bytes")
