"""The spans of a healthy warm invocation, written as bytes without making records of them.

Nearly all invocations are warm and succeed, and their two spans differ in a few fields only. What
`phases` does for every case through records and the general encoder is done here for this one in a
fifth of the instructions: beside the extension on the same CPU, instructions are cold caches, and
those are the latency of the next invocation. A test holds the bytes equal to the general way.
"""

from __future__ import annotations

from lambdascope.otlp import names
from lambdascope.otlp.protobuf import BYTE, fixed32, text_field, varint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.otlp.encode import TraceEncoder
    from lambdascope.runtime.telemetry import InvokeTimes
    from lambdascope.runtime.trace_parent import TraceParent

# Fields of trace.proto, Span: tag and, where it is constant, length.
_TRACE_ID = b"\x0a\x10"
_SPAN_ID = b"\x12\x08"
_PARENT = b"\x22\x08"
_NAME = b"\x2a"
_SERVER = b"\x30" + varint(names.KIND_SERVER)
_INTERNAL = b"\x30" + varint(names.KIND_INTERNAL)
_START = b"\x39"
_END = b"\x41"
_LINK = b"\x6a"
_STATUS_UNSET = b"\x7a\x00"
_FLAGS = b"\x85\x01"
_LINK_FLAGS = b"\x35"
# With a longer text, lengths no longer fit one byte each.
_MAX_TEXT = 64


def fits(times: InvokeTimes, parent: TraceParent) -> bool:
    """Whether this invocation has nothing beyond what is written here."""
    invocation = times.invocation
    return (
        times.stream is None
        and times.source is None
        and parent.is_plain
        and (times.span is None or times.span.real is None)
        and invocation.tenant_id is None
        and len(invocation.request_id) <= _MAX_TEXT
        and (bool(parent.xray_trace_id) and len(parent.links) < 2)
    )


def never_fits(times: InvokeTimes, parent: TraceParent) -> bool:
    """In place of `fits` where attributes are limited."""
    return False


class HealthySpans:
    """Writes invoke and report spans. `function_name` is at most 64 characters on Lambda."""

    def __init__(self, encoder: TraceEncoder, function_name: str) -> None:
        self._wrap = encoder.wrap
        report = f"{names.SPAN_REPORT_FUNCTION_PREFIX}{function_name}"
        self._invoke_head = text_field(_NAME, function_name) + _SERVER + _START
        self._report_head = text_field(_NAME, report) + _INTERNAL + _START
        self._request_id = encoder.attribute_head(names.FAAS_INVOCATION_ID)
        self._deadline = encoder.attribute_head(names.LAMBDASCOPE_DEADLINE_MS)
        self._start_ms = encoder.attribute_head(names.LAMBDASCOPE_REMAINING_START_MS)
        self._end_ms = encoder.attribute_head(names.LAMBDASCOPE_REMAINING_END_MS)
        self._xray = encoder.attribute_head(names.AWS_XRAY_TRACE_ID)
        self._size = encoder.attribute_head(names.LAMBDASCOPE_RESPONSE_SIZE)
        self._local = _STATUS_UNSET + _FLAGS + fixed32(names.FLAGS_LOCAL)

    def encode(
        self,
        times: InvokeTimes,
        parent: TraceParent,
        remaining_ms: tuple[int, int],
        shared: tuple[bytes, bytes],
    ) -> bytes:
        """The OTLP body. `shared` are the encoded attributes of the invoke and report spans."""
        offset = times.offset_ns
        invocation = times.invocation
        returned = (times.returned_ns + offset).to_bytes(8, "little")
        request_id = _text(self._request_id, invocation.request_id.encode("utf-8", "replace"))
        invoke = b"".join(
            (
                _TRACE_ID,
                parent.trace_id,
                _SPAN_ID,
                parent.span_id,
                _PARENT + parent.parent_span_id if parent.parent_span_id else b"",
                self._invoke_head,
                (times.received_ns + offset).to_bytes(8, "little"),
                _END,
                returned,
                shared[0],
                request_id,
                _number(self._deadline, invocation.deadline_ms),
                _number(self._start_ms, remaining_ms[0]),
                _number(self._end_ms, remaining_ms[1]),
                _text(self._xray, parent.xray_trace_id.encode()),
                _link(parent),
                _STATUS_UNSET,
                _FLAGS,
                fixed32(parent.flags),
            )
        )
        report = b"".join(
            (
                _TRACE_ID,
                parent.trace_id,
                _SPAN_ID,
                parent.report_span_id,
                _PARENT,
                parent.span_id,
                self._report_head,
                returned,
                _END,
                (times.reported_ns + offset).to_bytes(8, "little"),
                shared[1],
                request_id,
                _number(self._size, times.response_size),
                self._local,
            )
        )
        return self._wrap((invoke, report))


def _text(head: bytes, text: bytes) -> bytes:
    """An attribute with a short text."""
    size = len(text)
    return b"".join(
        (b"\x4a", BYTE[len(head) + size + 3], head, BYTE[size + 2], b"\x0a", BYTE[size], text)
    )


def _number(head: bytes, number: int) -> bytes:
    """An attribute with an int that is not negative."""
    value = varint(number)
    size = len(value) + 1
    return b"".join((b"\x4a", BYTE[len(head) + size + 1], head, BYTE[size], b"\x18", value))


def _link(parent: TraceParent) -> bytes:
    if not parent.links:
        return b""
    link = parent.links[0]
    body = b"".join(
        (_TRACE_ID, link.trace_id, _SPAN_ID, link.span_id, _LINK_FLAGS, fixed32(link.flags))
    )
    return _LINK + BYTE[len(body)] + body
