"""Finds the spans of a protobuf request, what a sampler asks of them, and takes some of them out.

Only the borders of fields are walked; attributes are looked for as bytes. The extension decides
with it, for whole invocations or traces, what leaves. It must not know for which reasons. Source of
the field numbers: opentelemetry-proto 1.11, trace.proto.
"""

from __future__ import annotations

from lambdascope.otlp import names
from lambdascope.otlp.failures import has_failed_span
from lambdascope.otlp.protobuf import BYTE, length_field
from lambdascope.otlp.walk import WIRE_FIXED64, WIRE_LENGTH, iter_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SPANS = (1, 2, 2)
_ROOT_KINDS = (names.KIND_SERVER, names.KIND_CONSUMER)
_TRUE = (b"\x02\x10\x01", b"\x02\x18\x01", b"\x06\x0a\x04true")
_KEEP = b".keep\x12"
_KEEP_KEYS = tuple(
    b"\x0a" + BYTE[len(key)] + key.encode() + b"\x12"
    for key in (names.SAMPLING_KEEP, names.LAMBDASCOPE_KEEP)
)
_COLD = names.FAAS_COLDSTART.encode() + b"\x12\x02\x10\x01"
_TIMEOUT = names.ERROR_TYPE.encode() + b"\x12\x09\x0a\x07timeout"
# What the extension itself makes of an init, in Span.name.
_PHASES = tuple(
    b"\x2a" + BYTE[len(name)] + name.encode()
    for name in (names.SPAN_PLATFORM_INIT, names.SPAN_PLATFORM_RESTORE)
)

ERROR = "error"
TIMEOUT = "timeout"
COLD_START = "cold_start"
EXPLICIT = "explicit"


def reason_to_keep(body: bytes, start: int = 0, end: int | None = None, *, failed: bool) -> str:
    """What speaks for keeping the spans between two borders, by bytes alone; "" for nothing.

    `failed`: one of them has the status "error".
    """
    end = len(body) if end is None else end
    if failed:
        return TIMEOUT if body.find(_TIMEOUT, start, end) >= 0 else ERROR
    position = body.find(_KEEP, start, end)
    while position >= 0:
        after = position + len(_KEEP)
        is_key = any(body.endswith(key, start, after) for key in _KEEP_KEYS)
        if is_key and any(body.startswith(true, after, end) for true in _TRUE):
            return EXPLICIT
        position = body.find(_KEEP, after, end)
    if body.find(_COLD, start, end) >= 0 or any(body.find(p, start, end) >= 0 for p in _PHASES):
        return COLD_START
    return ""


class SpanFacts:
    """Where a span is, and its first fields. `path` are the borders of the messages around it and
    of itself: (tag, start, end) each. Times are Unix ns."""

    __slots__ = ("begin_ns", "end_ns", "has_parent", "kind", "path", "trace_id")

    def __init__(self, body: bytes, path: tuple[tuple[int, int, int], ...]) -> None:
        self.path = path
        self.trace_id = b""
        self.has_parent = False
        self.kind = self.begin_ns = self.end_ns = 0
        for number, wire_type, first, last in iter_fields(body, *path[-1][1:]):
            if number == 1:
                self.trace_id = body[first:last]
            elif number == 4:
                self.has_parent = last > first
            elif number == 6:
                self.kind = body[first]
            elif wire_type == WIRE_FIXED64 and number == 7:
                self.begin_ns = int.from_bytes(body[first:last], "little")
            elif wire_type == WIRE_FIXED64 and number == 8:
                self.end_ns = int.from_bytes(body[first:last], "little")
                break  # encoders write in order: what comes now are attributes

    @property
    def is_entry(self) -> bool:
        """Whether it is that of an invocation."""
        return self.kind in _ROOT_KINDS

    @property
    def is_root(self) -> bool:
        """Whether the trace enters the function with this span."""
        return self.is_entry or not self.has_parent

    @property
    def duration_ms(self) -> float:
        """From start to end."""
        return max(0, self.end_ns - self.begin_ns) / 1_000_000

    def reason(self, body: bytes, *, failed: bool) -> str:
        """As `reason_to_keep`, of this span. `failed`: one of the body's spans has failed."""
        _, start, end = self.path[-1]
        if failed:
            wrapped = body[start:end]
            for number in reversed(_SPANS):
                wrapped = length_field(BYTE[number << 3 | WIRE_LENGTH], wrapped)
            failed = has_failed_span(wrapped)
        return reason_to_keep(body, start, end, failed=failed)


def iter_spans(body: bytes) -> Iterator[SpanFacts]:
    """The spans of a request in their order. Raises ValueError where there is no such request."""
    return _spans(body, 0, len(body), ())


def _spans(
    body: bytes, start: int, end: int, path: tuple[tuple[int, int, int], ...]
) -> Iterator[SpanFacts]:
    tag = start
    for number, wire_type, first, last in iter_fields(body, start, end):
        if (number, wire_type) == (_SPANS[len(path)], WIRE_LENGTH):
            inner = (*path, (tag, first, last))
            if len(inner) == len(_SPANS):
                yield SpanFacts(body, inner)
            else:
                yield from _spans(body, first, last, inner)
        tag = last


def with_fields(body: bytes, span: SpanFacts, fields: bytes) -> bytes:
    """The request with more fields at the end of one span."""
    _, start, end = span.path[-1]
    new = body[start:end] + fields
    for depth in range(len(_SPANS) - 1, -1, -1):
        tag, _, end = span.path[depth]
        new = length_field(BYTE[_SPANS[depth] << 3 | WIRE_LENGTH], new)
        outer_start, outer_end = span.path[depth - 1][1:] if depth else (0, len(body))
        new = body[outer_start:tag] + new + body[end:outer_end]
    return new


def parted(body: bytes, part_of: Callable[[bytes], str]) -> dict[str, tuple[bytes, int]]:
    """The request taken apart: for each part its own request and how many spans are in it.

    `part_of` says to which part a trace id belongs. What is around spans is copied.
    """
    return _parted(body, 0, part_of)


def _parted(
    message: bytes, depth: int, part_of: Callable[[bytes], str]
) -> dict[str, tuple[bytes, int]]:
    if depth == len(_SPANS):
        return {part_of(_trace_id(message)): (message, 1)}
    rest: list[bytes] = []
    found: dict[str, tuple[list[bytes], int]] = {}
    begin = 0
    for number, wire_type, start, end in iter_fields(message):
        if (number, wire_type) == (_SPANS[depth], WIRE_LENGTH):
            tag = BYTE[number << 3 | WIRE_LENGTH]
            for part, (inner, count) in _parted(message[start:end], depth + 1, part_of).items():
                chunks, before = found.get(part, ([], 0))
                chunks.append(length_field(tag, inner))
                found[part] = chunks, before + count
        else:
            rest.append(message[begin:end])
        begin = end
    around = b"".join(rest)
    return {part: (around + b"".join(chunks), count) for part, (chunks, count) in found.items()}


def _trace_id(span: bytes) -> bytes:
    for number, _, start, end in iter_fields(span):
        if number == 1:
            return span[start:end]
    return b""
