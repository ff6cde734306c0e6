"""What a slot of the flight file says, checked: the announcement, spans, stacks, a cause.

Loaded with `fallen`. Notes may be cut off anywhere, and their bytes may be of any kind: what is
taken is such that fields can be appended to it. It knows nothing of why an invocation had no end.
"""

from __future__ import annotations

from lambdascope.otlp.model import Link
from lambdascope.otlp.names import PARENT_NONE
from lambdascope.otlp.walk import WIRE_FIXED64, WIRE_LENGTH, iter_fields
from lambdascope.otlp.xray_link import link_of, xray_id
from lambdascope.wire import flight as layout
from lambdascope.wire.trace_header import parse_trace_header

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
        texts = layout.head_texts(payload)
        if not texts:
            raise ValueError(f"an announcement of {len(payload)} bytes")
        _, self.request_id, self.trigger, self.arn, self.xray_trace_id, self.tenant_id = texts[:6]
        self.trace_state, self.parent_source, self.parent_reason, header = texts[6:]
        self.trace_id, self.span_id = payload[:16], payload[16:24]
        parent = payload[24:32]
        self.parent_span_id = parent if any(parent) else b""
        self.start_ns = int.from_bytes(payload[32:40], "little")
        self.deadline_ms = int.from_bytes(payload[40:48], "little")
        self.flags = int.from_bytes(payload[48:52], "little")
        self.cold = payload[52] == 1
        first = layout.HEAD_BYTES
        end = first + layout.LINK_BYTES * payload[first - 1]
        self.links = [_link(payload[at:]) for at in range(first, end, layout.LINK_BYTES)]
        if not self.parent_source:
            self._read_header(header)

    def _read_header(self, text: str) -> None:
        self.parent_source = PARENT_NONE
        if text:
            header = parse_trace_header(text)
            self.xray_trace_id = xray_id(header.trace_id)
            self.links, self.parent_reason = link_of(
                header.trace_id, header.parent_id, sampled=header.sampled
            )


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


def _link(data: bytes) -> Link:
    flags = int.from_bytes(data[24:28], "little")
    return Link(trace_id=data[:16], span_id=data[16:24], flags=flags)


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
