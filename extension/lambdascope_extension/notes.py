"""What a slot of the flight file says, checked: the announcement, spans, stacks, a cause.

Loaded with `fallen`. Notes may be cut off anywhere, and their bytes may be of any kind: what is
taken is such that fields can be appended to it. It knows nothing of why an invocation had no end.
"""

from __future__ import annotations

from lambdascope.otlp.model import Link
from lambdascope.otlp.walk import WIRE_FIXED64, WIRE_LENGTH, iter_fields
from lambdascope.wire import flight as layout

_START = 7


class Head:
    """The announcement of an invocation. Raises ValueError when it is none."""

    __slots__ = (
        "arn",
        "cold",
        "deadline_ms",
        "flags",
        "links",
        "parent_reason",
        "parent_source",
        "parent_span_id",
        "request_id",
        "span_id",
        "start_ns",
        "tenant_id",
        "trace_id",
        "trace_state",
        "trigger",
        "xray_trace_id",
    )

    def __init__(self, payload: bytes) -> None:
        fields = payload.decode("utf-8", "replace").split("\0")
        count = len(layout.HEAD_FIELDS)
        if len(fields) < count:
            raise ValueError(f"an announcement of {len(fields)} texts")
        _, self.request_id, deadline, start, trace_id, span_id, parent, flags = fields[:8]
        self.trigger, cold, self.arn, self.xray_trace_id, self.tenant_id = fields[8:13]
        self.trace_state, self.parent_source, self.parent_reason = fields[13:count]
        self.deadline_ms = number(deadline)
        self.start_ns = number(start)
        self.trace_id = _id(trace_id, 16)
        self.span_id = _id(span_id, 8)
        self.parent_span_id = _id(parent, 8) if parent else b""
        self.flags = number(flags)
        self.cold = cold == "1"
        rest = fields[count:]
        triples = zip(rest[::3], rest[1::3], rest[2::3], strict=False)
        self.links = [
            Link(trace_id=_id(trace, 16), span_id=_id(span, 8), flags=number(link_flags))
            for trace, span, link_flags in triples
        ]


class Notes:
    """What a slot holds: open and finished spans by their id, as (scope, Span)."""

    __slots__ = ("cause", "closed", "head", "init", "lost", "open", "stacks")

    def __init__(self, slot: bytes) -> None:
        frames = layout.read_frames(slot)
        if not frames:
            raise ValueError("no announcement")
        self.head = Head(frames[0][1])
        self.open: dict[bytes, tuple[bytes, bytes]] = {}
        self.closed: dict[bytes, tuple[bytes, bytes]] = {}
        # Taken only where the runtime has had no time to note it as spans.
        self.init: list[str] = []
        self.stacks = ""
        self.cause = ""
        self.lost = 0
        for kind, payload in frames[1:]:
            self._take(kind, payload)

    def _take(self, kind: bytes, payload: bytes) -> None:
        if kind in (layout.OPEN, layout.CLOSED, layout.LEFT):
            span_id = payload[:8]
            scope_end = 10 + int.from_bytes(payload[8:10], "little")
            scope, span = payload[10:scope_end], payload[scope_end:]
            self.open.pop(span_id, None)
            self.closed.pop(span_id, None)
            if kind != layout.LEFT and span and _is_span(span) and _is_scope(scope):
                (self.open if kind == layout.OPEN else self.closed)[span_id] = (scope, span)
                if kind == layout.CLOSED and not scope:
                    self.init = []
        elif kind == layout.INIT:
            self.init = payload.decode("utf-8", "replace").split("\0")
        elif kind == layout.STACKS:
            self.stacks = payload.decode("utf-8", "replace")
        elif kind == layout.CAUSE:
            self.cause = payload.decode("utf-8", "replace")
        elif kind == layout.LOST:
            self.lost = number(payload.decode("ascii", "replace"))


def number(text: str) -> int:
    """A decimal number of the notes. Raises ValueError."""
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ValueError(f"{text[:20]!r} is no number")
    return int(text)


def _id(text: str, size: int) -> bytes:
    found = bytes.fromhex(text)
    if len(found) != size:
        raise ValueError(f"{text[:40]!r} is no id")
    return found


def _is_span(data: bytes) -> bool:
    """Whether the bytes are a well-formed message, so that fields may be appended to them."""
    try:
        for _ in iter_fields(data):
            pass
    except ValueError:
        return False
    return True


def _is_scope(scope: bytes) -> bool:
    """Whether the bytes are exactly one field ScopeSpans.scope, or nothing."""
    try:
        return not scope or [field[:2] for field in iter_fields(scope)] == [(1, WIRE_LENGTH)]
    except ValueError:
        return False


def start_of(span: bytes) -> int:
    """When an encoded span began, in Unix nanoseconds; 0 when it does not say so."""
    start = 0
    for field, wire_type, first, last in iter_fields(span):
        if field == _START and wire_type == WIRE_FIXED64:
            start = int.from_bytes(span[first:last], "little")
    return start
