"""Trace contexts of others: read from a carrier, a plain dict with names in lower case.

Formats: W3C Trace Context (level 2), B3 in one header and in several, X-Ray's header. Nothing here
raises: what is malformed is not taken. Which formats are looked at, and in which order, is what
OTEL_PROPAGATORS says; as with OpenTelemetry's composite propagator the last one that finds a
context wins. Sources: W3C Trace Context, "traceparent Header" and "tracestate Limits"; W3C Baggage,
"Limits"; the B3 propagation specification; AWS X-Ray developer guide, "Tracing header".
"""

from __future__ import annotations

from lambdascope.otlp.model import Link
from lambdascope.otlp.names import FLAG_HAS_IS_REMOTE, FLAG_IS_REMOTE, FLAG_SAMPLED
from lambdascope.wire.trace_header import parse_trace_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
BAGGAGE = "baggage"
XRAY_HEADER = "x-amzn-trace-id"

_HEX = frozenset("0123456789abcdef")
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16
_MAX_TRACE_STATE = 512
_MAX_BAGGAGE = 8192


class Remote:
    """A span of somebody else. `sampled` is None where its sender left that open."""

    __slots__ = ("sampled", "span_id", "trace_id", "trace_state")

    def __init__(
        self, trace_id: str, span_id: str, sampled: bool | None, trace_state: str = ""
    ) -> None:
        self.trace_id = bytes.fromhex(trace_id)
        self.span_id = bytes.fromhex(span_id)
        self.sampled = sampled
        self.trace_state = trace_state

    def is_same(self, other: Remote) -> bool:
        """Whether the other is the same span."""
        return self.span_id == other.span_id and self.trace_id == other.trace_id

    def link(self, attributes: dict[str, object] | None = None) -> Link:
        """A link to the span."""
        remote = FLAG_HAS_IS_REMOTE | FLAG_IS_REMOTE
        return Link(
            trace_id=self.trace_id,
            span_id=self.span_id,
            trace_state=self.trace_state,
            attributes=attributes,
            flags=remote | FLAG_SAMPLED if self.sampled else remote,
        )


def traceparent(text: str, trace_state: str = "") -> Remote | None:
    """The span that a traceparent names; None when it is malformed.

    Versions after 00 may have more fields behind the four known ones; ff is no version.
    """
    parts = text.strip(" \t").split("-", 4)
    if len(parts) < 4:
        return None
    version, trace_id, span_id, flags = parts[:4]
    if not _is_hex(version, 2) or version == "ff" or (version == "00" and len(parts) > 4):
        return None
    if not (_is_id(trace_id, _NO_TRACE) and _is_id(span_id, _NO_SPAN) and _is_hex(flags, 2)):
        return None
    return Remote(trace_id, span_id, bool(int(flags, 16) & 1), _shortened(trace_state))


def xray(text: str) -> Remote | None:
    """The segment that an X-Ray header names; None without a Parent, or when it is malformed."""
    header = parse_trace_header(text)
    if not (header.trace_id and header.parent_id):
        return None
    return Remote(header.trace_id, header.parent_id, header.sampled)


def _w3c(carrier: Mapping[str, str]) -> Remote | None:
    text = carrier.get(TRACEPARENT)
    return traceparent(text, carrier.get(TRACESTATE, "")) if text else None


def _xray(carrier: Mapping[str, str]) -> Remote | None:
    text = carrier.get(XRAY_HEADER)
    return xray(text) if text else None


def _b3(carrier: Mapping[str, str]) -> Remote | None:
    text = carrier.get("b3")
    if text:
        trace_id, _, rest = text.partition("-")
        span_id, _, rest = rest.partition("-")
        state = rest.partition("-")[0]
    else:
        trace_id, span_id = carrier.get("x-b3-traceid", ""), carrier.get("x-b3-spanid", "")
        state = "d" if carrier.get("x-b3-flags") == "1" else carrier.get("x-b3-sampled", "")
    trace_id, span_id = trace_id.strip().lower(), span_id.strip().lower()
    if len(trace_id) == 16:
        trace_id = _NO_SPAN + trace_id
    if not (_is_id(trace_id, _NO_TRACE) and _is_id(span_id, _NO_SPAN)):
        return None
    sampled = {"1": True, "d": True, "true": True, "0": False, "false": False}
    return Remote(trace_id, span_id, sampled.get(state.lower()))


_B3_FIELDS = ("b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags")
# Per propagator: the names that it reads, and how. "xray-lambda" reads Lambda's own header, which
# is not in a carrier; baggage is no context.
_FORMATS: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, str]], Remote | None]]] = {
    "tracecontext": ((TRACEPARENT, TRACESTATE), _w3c),
    "b3": (_B3_FIELDS, _b3),
    "b3multi": (_B3_FIELDS, _b3),
    "xray": ((XRAY_HEADER,), _xray),
}


# The answers of `fields_of`; a process has one list of propagators.
_FIELDS: dict[tuple[str, ...], frozenset[str]] = {}


def fields_of(propagators: tuple[str, ...]) -> frozenset[str]:
    """The names that these propagators read."""
    fields = _FIELDS.get(propagators)
    if fields is None:
        found = {name for each in propagators if each in _FORMATS for name in _FORMATS[each][0]}
        if BAGGAGE in propagators:
            found.add(BAGGAGE)
        fields = _FIELDS[propagators] = frozenset(found)
    return fields


def extract(carrier: Mapping[str, str], propagators: Collection[str]) -> Remote | None:
    """The context in a carrier, if there is one that is well formed."""
    found = None
    for each in propagators:
        if each in _FORMATS:
            found = _FORMATS[each][1](carrier) or found
    return found


def names_a_trace(carrier: Mapping[str, str]) -> bool:
    """Whether there is something in a carrier that should be a context, well formed or not."""
    return not carrier.keys() <= {TRACESTATE, BAGGAGE}


def baggage(carrier: Mapping[str, str]) -> str:
    """The baggage of a carrier; nothing where it is longer than anybody has to pass on."""
    text = carrier.get(BAGGAGE, "")
    return text if len(text) <= _MAX_BAGGAGE else ""


def _shortened(trace_state: str) -> str:
    """Without the last members, as far as it is longer than everybody has to pass on."""
    if not trace_state.isascii() or not trace_state.isprintable():
        return ""
    if len(trace_state) > _MAX_TRACE_STATE:
        trace_state = trace_state[: _MAX_TRACE_STATE + 1].rpartition(",")[0]
    return trace_state.strip(" ,")


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and _HEX.issuperset(text)


def _is_id(text: str, zero: str) -> bool:
    return text != zero and _is_hex(text, len(zero))
