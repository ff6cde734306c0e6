"""An invocation's place in a trace: its own ids, and its parent, or links.

What a sender put into the client context or the event is the parent, else maybe the X-Ray header.
Lambda's own segment is that header's parent and lives in X-Ray alone, so it is the parent only
where X-Ray is the backend; elsewhere the trace has its own root and a link to the segment.
Sampled=0 never switches recording off: Lambda sends it also when tracing is not configured
(OpenTelemetry semantic conventions 1.44, "Instrumenting AWS Lambda").
"""

from __future__ import annotations

from os import urandom

from lambdascope.otlp.names import FLAGS_LOCAL, FLAGS_REMOTE, PARENT_NONE, PARENT_XRAY
from lambdascope.runtime.config import XRAY_PARENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.otlp.model import Link
    from lambdascope.runtime.senders import Senders
    from lambdascope.wire.trace_header import TraceHeader


class TraceParent:
    """`trace_id` (16 bytes), `parent_span_id` (8 or none), links and flags of the invoke span.

    `span_id` and `report_span_id` are the invoke and the report span's own. `xray_trace_id` is the
    header's Root as X-Ray writes it ("1-8hex-24hex"), or "". `source` is where the parent is from,
    `reason` what became of the other candidates, `sampled` what the parent's sender says of its
    own recording (None if nothing). `trace_state`, `baggage` and `lineage` are for passing on.
    `is_plain`: there was nothing but the X-Ray header. Where that cannot be the parent it is not
    even read before the response (`is_read`): only then somebody asks for what is in it.
    """

    __slots__ = (
        "baggage",
        "flags",
        "header",
        "is_plain",
        "is_read",
        "lineage",
        "links",
        "parent_span_id",
        "reason",
        "report_span_id",
        "sampled",
        "source",
        "span_id",
        "trace_id",
        "trace_state",
        "xray_trace_id",
    )

    def __init__(
        self, header: str | None = None, policy: str = "", senders: Senders | None = None
    ) -> None:
        ids = urandom(32)
        self.span_id, self.report_span_id, self.trace_id = ids[:8], ids[8:16], ids[16:]
        self.parent_span_id = b""
        self.flags = FLAGS_LOCAL
        self.is_read = False
        self.find(header, policy, senders)

    def find(self, header: str | None, policy: str, senders: Senders | None) -> None:
        """Find the parent; for a place that was made before anything of the event was known."""
        self.header = header
        self.is_plain = senders is None
        if policy == XRAY_PARENT or senders is not None:
            self._read(policy, senders)

    def __getattr__(self, name: str) -> object:
        # Of the slots, those that only `_read` sets.
        if name in TraceParent.__slots__ and not self.is_read:
            self._read("", None)
            return getattr(self, name)
        raise AttributeError(name)

    def hex_ids(self) -> tuple[str, str]:
        """Trace id and the invoke span's id, as logs and headers write them."""
        return self.trace_id.hex(), self.span_id.hex()

    def _read(self, policy: str, senders: Senders | None) -> None:
        self.is_read = True
        self.links: list[Link] = []
        self.xray_trace_id = self.lineage = self.reason = self.trace_state = self.baggage = ""
        self.source = PARENT_NONE
        self.sampled: bool | None = None
        if self.header:
            from lambdascope.wire.trace_header import parse_trace_header

            parsed = parse_trace_header(self.header)
            may_be_parent = policy == XRAY_PARENT and bool(parsed.sampled)
            free = senders is None or senders.remote is None or senders.yields
            self._use(parsed, may_be_parent=may_be_parent and free)
        if senders is not None:
            self._use_senders(senders)

    def _use(self, header: TraceHeader, *, may_be_parent: bool) -> None:
        from lambdascope.otlp.xray_link import link_of, xray_id

        self.lineage = header.lineage
        hex_id = header.trace_id
        self.xray_trace_id = xray_id(hex_id)
        if may_be_parent and hex_id:
            # A header that was passed through may have no Parent: then the trace is still the same.
            self.trace_id = bytes.fromhex(hex_id)
            self.parent_span_id = bytes.fromhex(header.parent_id)
            self.flags = FLAGS_REMOTE if self.parent_span_id else FLAGS_LOCAL
            self.source, self.sampled = PARENT_XRAY, True
        else:
            self.links, self.reason = link_of(hex_id, header.parent_id, sampled=header.sampled)

    def _use_senders(self, senders: Senders) -> None:
        self.baggage = senders.baggage
        remote, others, reasons = senders.remote, senders.others, senders.reasons
        if remote is not None and self.source == PARENT_XRAY:
            others = [remote, *others]
            reasons = [*reasons, f"{senders.source}: linked"]
        elif remote is not None:
            self.source, self.sampled = senders.source, remote.sampled
            self.trace_id, self.parent_span_id = remote.trace_id, remote.span_id
            self.trace_state, self.flags = remote.trace_state, FLAGS_REMOTE
            # The same header may have come both ways.
            self.links = [each for each in self.links if each.span_id != remote.span_id]
        self.links += [each.link() for each in others]
        self.reason = "; ".join([*reasons, self.reason] if self.reason else reasons)
