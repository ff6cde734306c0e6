"""The X-Ray trace header: text to ids and back.

Form: `Root=1-<8 hex>-<24 hex>;Parent=<16 hex>;Sampled=0|1`, in any order, with optional further
parts such as Lineage. Parsing never fails: a part that does not fit is treated as absent and the
raw text is kept. Source: AWS X-Ray developer guide, "Tracing header".
"""

from __future__ import annotations

from lambdascope.wire.message import Message

_HEX = frozenset("0123456789abcdef")
_ZERO_TRACE = "0" * 32
_ZERO_SPAN = "0" * 16


class TraceHeader(Message):
    """A parsed header. `trace_id` is 32 hex digits or "", `parent_id` 16 or "".

    `sampled` is None when the part is missing or "?" (the decision is left to the receiver).
    `lineage` is what Lambda finds loops by, to be passed on as it is, or "".
    """

    __slots__ = ("lineage", "parent_id", "raw", "sampled", "trace_id")

    def __init__(
        self, *, raw: str, trace_id: str, parent_id: str, sampled: bool | None, lineage: str = ""
    ) -> None:
        self.raw = raw
        self.trace_id = trace_id
        self.parent_id = parent_id
        self.sampled = sampled
        self.lineage = lineage


def parse_trace_header(raw: str) -> TraceHeader:
    """Read a header; unknown parts are ignored, malformed ones count as absent."""
    trace_id = parent_id = lineage = ""
    sampled: bool | None = None
    for part in raw.split(";"):
        key, _, value = part.strip().partition("=")
        if key == "Root":
            version, _, rest = value.partition("-")
            candidate = rest.replace("-", "", 1).lower()
            if version == "1" and rest[8:9] == "-" and _is_id(candidate, 32, _ZERO_TRACE):
                trace_id = candidate
        elif key == "Parent":
            candidate = value.lower()
            if _is_id(candidate, 16, _ZERO_SPAN):
                parent_id = candidate
        elif key == "Sampled":
            sampled = {"1": True, "0": False}.get(value)
        elif key == "Lineage":
            lineage = value
    return TraceHeader(
        raw=raw, trace_id=trace_id, parent_id=parent_id, sampled=sampled, lineage=lineage
    )


def format_trace_header(trace_id: str, parent_id: str, *, sampled: bool, lineage: str = "") -> str:
    """The header for 32 and 16 hex digits."""
    flag = "1" if sampled else "0"
    header = f"Root=1-{trace_id[:8]}-{trace_id[8:]};Parent={parent_id};Sampled={flag}"
    return f"{header};Lineage={lineage}" if lineage else header


def _is_id(text: str, length: int, zero: str) -> bool:
    return len(text) == length and text != zero and _HEX.issuperset(text)
