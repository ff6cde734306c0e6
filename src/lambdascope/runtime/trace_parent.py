"""Where an invocation's trace begins: the X-Ray header becomes the parent, or a link.

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

_REMOTE = FLAG_HAS_IS_REMOTE | FLAG_IS_REMOTE


class TraceParent:
    """The start of a trace: `trace_id` (16 bytes), `parent_span_id` (8 or none), links, flags.

    `xray_trace_id` is the header's Root as X-Ray writes it ("1-8hex-24hex"), or "".
    """

    __slots__ = ("flags", "links", "parent_span_id", "trace_id", "xray_trace_id")

    def __init__(self, header: str | None, policy: str) -> None:
        self.parent_span_id = b""
        self.links: list[Link] = []
        self.flags = FLAGS_LOCAL
        self.xray_trace_id = ""
        if header:
            parsed = parse_trace_header(header)
            if parsed.trace_id:
                hex_id = parsed.trace_id
                self.xray_trace_id = f"1-{hex_id[:8]}-{hex_id[8:]}"
                if parsed.parent_id:
                    trace_id, span_id = bytes.fromhex(hex_id), bytes.fromhex(parsed.parent_id)
                    if policy == XRAY_PARENT and parsed.sampled:
                        self.trace_id = trace_id
                        self.parent_span_id = span_id
                        self.flags = FLAGS_REMOTE
                        return
                    flags = FLAGS_REMOTE if parsed.sampled else _REMOTE
                    self.links = [Link(trace_id=trace_id, span_id=span_id, flags=flags)]
        self.trace_id = urandom(16)
