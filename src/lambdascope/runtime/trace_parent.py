"""An invocation's place in a trace: its own ids, and its parent, or a link, from the X-Ray header.

Lambda's own segment is the header's parent and lives in X-Ray alone, so it is the parent only where
X-Ray is the backend; elsewhere the trace has its own root and a link to the segment. Sampled=0
never switches recording off: Lambda sends it also when tracing is not configured (OpenTelemetry
semantic conventions 1.44, "Instrumenting AWS Lambda").
"""

from __future__ import annotations

from os import urandom

from lambdascope.otlp.model import Link
from lambdascope.otlp.names import FLAG_HAS_IS_REMOTE, FLAG_IS_REMOTE, FLAGS_LOCAL, FLAGS_REMOTE
from lambdascope.runtime.config import XRAY_PARENT
from lambdascope.wire.trace_header import parse_trace_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.wire.trace_header import TraceHeader

_REMOTE = FLAG_HAS_IS_REMOTE | FLAG_IS_REMOTE


class TraceParent:
    """`trace_id` (16 bytes), `parent_span_id` (8 or none), links and flags of the invoke span.

    `span_id` and `report_span_id` are the invoke and the report span's own. `xray_trace_id` is the
    header's Root as X-Ray writes it ("1-8hex-24hex"), or "".
    """

    __slots__ = (
        "flags",
        "links",
        "parent_span_id",
        "report_span_id",
        "span_id",
        "trace_id",
        "xray_trace_id",
    )

    def __init__(self, header: str | None, policy: str) -> None:
        self.trace_id = b""
        self.parent_span_id = b""
        self.links: list[Link] = []
        self.flags = FLAGS_LOCAL
        self.xray_trace_id = ""
        parsed = parse_trace_header(header) if header else None
        if parsed is not None and parsed.trace_id:
            self._use(parsed, may_be_parent=policy == XRAY_PARENT and bool(parsed.sampled))
        ids = urandom(32)
        self.span_id, self.report_span_id = ids[:8], ids[8:16]
        if not self.trace_id:
            self.trace_id = ids[16:]

    def hex_ids(self) -> tuple[str, str]:
        """Trace id and the invoke span's id, as logs and headers write them."""
        return self.trace_id.hex(), self.span_id.hex()

    def _use(self, header: TraceHeader, *, may_be_parent: bool) -> None:
        hex_id = header.trace_id
        self.xray_trace_id = f"1-{hex_id[:8]}-{hex_id[8:]}"
        trace_id, span_id = bytes.fromhex(hex_id), bytes.fromhex(header.parent_id)
        if may_be_parent:
            # A header that was passed through may have no Parent: then the trace is still the same.
            self.trace_id = trace_id
            self.parent_span_id = span_id
            self.flags = FLAGS_REMOTE if span_id else FLAGS_LOCAL
        elif span_id:
            flags = FLAGS_REMOTE if header.sampled else _REMOTE
            self.links = [Link(trace_id=trace_id, span_id=span_id, flags=flags)]
