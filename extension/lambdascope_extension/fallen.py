"""The spans of an invocation that had no end, made from what its runtime had noted of it.

Loaded when a runtime has died: by its time-out, for want of memory, by a signal or by its own exit.
The invoke span is made of the head, open spans get an end, a status and an `error.type` by fields
that are appended to their bytes, finished ones are taken as they are. The notes may be cut off
anywhere; what is whole is used. Source of the fields: opentelemetry-proto 1.11, trace.proto (of a
field that is there twice the last one counts; repeated fields add up).
"""

from __future__ import annotations

import posix
from time import monotonic

from lambdascope import __version__
from lambdascope.otlp import names
from lambdascope.otlp.attributes import AttributeWriter
from lambdascope.otlp.encode import TraceEncoder
from lambdascope.otlp.model import Span
from lambdascope.otlp.protobuf import fixed32, fixed64, length_field, text_field, varint
from lambdascope.otlp.resource import arn_attributes, resource_of
from lambdascope.wire import flight as layout
from lambdascope.wire import names as wire
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.telemetry_api import parse_batch
from lambdascope_extension.batch import Message
from lambdascope_extension.config import environment
from lambdascope_extension.notes import Head, Notes, number, start_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdascope_extension.buffer import Buffer

TIMEOUT = "timeout"
# As the runtime has it, when it can still tell.
TERMINATED = "terminated"
_FATAL = "Fatal Python error: "
_RECORDS = ("platform.runtimeDone", "platform.report")
_MAX_64 = 0xFFFF_FFFF_FFFF_FFFF


class Story:
    """What became of one invocation: its spans as the body of a request, how many, and why.

    `lost` is how many spans had no room in the notes.
    """

    __slots__ = ("body", "error_type", "lost", "request_id", "spans")

    def __init__(self, request_id: str, error_type: str, body: bytes, *, spans: int, lost: int):
        self.request_id = request_id
        self.error_type = error_type
        self.body = body
        self.spans = spans
        self.lost = lost


class Fallen:
    """Tells the stories of one environment's end.

    `batches` are the platform's records of failures, `text` and `resource` parts of the flight
    file, `gone_ns` the Unix time when the runtime was last heard of, `died_first` whether that was
    before the platform began to end the environment.
    """

    def __init__(
        self,
        *,
        shutdown_reason: str,
        batches: Sequence[bytes],
        text: bytes,
        resource: bytes,
        gone_ns: int,
        died_first: bool,
    ) -> None:
        self._died_first = died_first
        self._reason = shutdown_reason.lower()
        self._records = _failures(batches)
        self._text = text.rstrip(b"\0").decode("utf-8", "replace").strip()
        self._gone_ns = gone_ns
        frames = layout.read_frames(resource, layout.RESOURCE)
        facts = frames[0][1].decode("utf-8", "replace").split("\0") if frames else []
        self._facts = facts if len(facts) >= 9 else [""] * 9
        self._name = self._facts[0] or "function"
        attributes = resource_of(self._facts, __version__)
        self._encoder = TraceEncoder(
            resource=attributes,
            scope_name=names.SCOPE_RUNTIME,
            scope_version=__version__,
            schema_url=names.SCHEMA_URL,
        )
        self._attributes = AttributeWriter()
        chunks: list[bytes] = []
        self._attributes.write(b"\x0a", attributes, chunks)
        self._resource = length_field(b"\x0a", b"".join(chunks))

    def tell(self, slot: bytes) -> Story:
        """The story of a slot. Raises ValueError when nothing can be made of it."""
        notes = Notes(slot)
        head = notes.head
        error_type = self._error_type(head, notes)
        message = self._message(error_type, head)
        end_ns = self._end_ns(error_type, notes)
        stacks = self._stacks(notes)
        own_scope, own = notes.open.pop(head.span_id, (b"", b""))
        own = own or self._invoke_span(head)
        left_ms = max(0, head.deadline_ms - end_ns // 1_000_000)
        own += self._encoder.attributes({names.LAMBDASCOPE_REMAINING_END_MS: left_ms})
        own += self._ending(error_type, message, end_ns, stacks)
        init = self._init_spans(notes)
        if init and init[0].trace_id != head.trace_id:
            own += length_field(b"\x6a", _ids(init[0]))
        # The invoke span first: what is joined to it later looks there.
        by_scope = {own_scope: [own]}
        by_scope.setdefault(b"", []).extend([self._encoder.span(span) for span in init])
        for scope, span in notes.closed.values():
            by_scope.setdefault(scope, []).append(span)
        for scope, span in notes.open.values():
            ending = self._ending(error_type, message, max(end_ns, start_of(span)), "")
            by_scope.setdefault(scope, []).append(span + ending)
        spans = sum(len(found) for found in by_scope.values())
        body = b"".join(self._wrap(scope, found) for scope, found in by_scope.items() if found)
        return Story(head.request_id, error_type, body, spans=spans, lost=notes.lost)

    def _error_type(self, head: Head, notes: Notes) -> str:
        done = self._records.get((_RECORDS[0], head.request_id), {})
        report = self._records.get((_RECORDS[1], head.request_id), {})
        if TIMEOUT in (done.get("status"), report.get("status"), self._reason, notes.cause):
            return TIMEOUT
        said = str(done.get("errorType") or report.get("errorType") or "")
        if said in ("", wire.FAULT_EXIT) and _is_out_of_memory(report):
            return wire.FAULT_OUT_OF_MEMORY
        if said:
            return said
        if notes.cause:
            return notes.cause
        return wire.FAULT_EXIT if self._died_first else TERMINATED

    def _message(self, error_type: str, head: Head) -> str:
        if error_type == TIMEOUT:
            limit_s = max(0, head.deadline_ms * 1_000_000 - head.start_ns) / 1e9
            return f"the invocation did not end within {limit_s:.2f} s"
        if self._text.startswith(_FATAL):
            fatal = self._text.partition("\n")[0].removeprefix(_FATAL)
            return f"the runtime process ended: {fatal}"
        if error_type == wire.FAULT_OUT_OF_MEMORY:
            return "the runtime process was ended because it had used up the memory"
        if error_type == TERMINATED:
            return "ended by the platform"
        return "the runtime process ended before the invocation did"

    def _end_ns(self, error_type: str, notes: Notes) -> int:
        head = notes.head
        end_ns = self._gone_ns
        if error_type == TIMEOUT and head.deadline_ms:
            end_ns = min(end_ns, head.deadline_ms * 1_000_000)
        return min(max(end_ns, head.start_ns), _MAX_64)

    def _stacks(self, notes: Notes) -> str:
        if self._text.startswith(_FATAL):
            return self._text
        return notes.stacks or self._text

    def _invoke_span(self, head: Head) -> bytes:
        left_ms = max(0, head.deadline_ms - head.start_ns // 1_000_000)
        attributes: dict[str, object] = {
            names.FAAS_TRIGGER: head.trigger,
            names.FAAS_COLDSTART: head.cold,
            **arn_attributes(head.arn, self._facts[1]),
            names.FAAS_INVOCATION_ID: head.request_id,
            names.LAMBDASCOPE_DEADLINE_MS: head.deadline_ms,
            names.LAMBDASCOPE_REMAINING_START_MS: left_ms,
        }
        destinations = environment().get(wire.ENV_DESTINATION, "")
        if destinations:
            from lambdascope.otlp import datadog

            if datadog.is_among(destinations):
                attributes |= datadog.invoke_attributes(head.arn, self._name, is_cold=head.cold)
        if head.parent_source:
            attributes[names.LAMBDASCOPE_PARENT_SOURCE] = head.parent_source
        if head.parent_reason:
            attributes[names.LAMBDASCOPE_PARENT_REASON] = head.parent_reason
        if head.xray_trace_id:
            attributes[names.AWS_XRAY_TRACE_ID] = head.xray_trace_id
        if head.tenant_id:
            attributes[names.LAMBDASCOPE_TENANT_ID] = head.tenant_id
        span = Span(
            name=self._name,
            trace_id=head.trace_id,
            span_id=head.span_id,
            parent_span_id=head.parent_span_id,
            kind=names.KIND_SERVER,
            trace_state=head.trace_state,
            start_ns=head.start_ns,
            attributes=attributes,
            links=head.links,
            flags=head.flags,
        )
        return self._encoder.span(span)

    def _init_spans(self, notes: Notes) -> list[Span]:
        """Init, first, and its parts; none where this was not the first invocation."""
        if len(notes.init) < 5:
            return []
        is_of_trace, init_type = notes.init[:2]
        head = notes.head
        trace_id, parent = posix.urandom(16), b""
        if is_of_trace == "1":
            trace_id, parent = head.trace_id, head.span_id
        spans: list[Span] = []
        texts = notes.init[2:]
        for name, start, end in zip(texts[::3], texts[1::3], texts[2::3], strict=False):
            span = Span(
                name=name or f"{names.SPAN_INIT_FUNCTION_PREFIX}{self._name}",
                trace_id=trace_id,
                span_id=posix.urandom(8),
                parent_span_id=spans[0].span_id if spans else parent,
                start_ns=number(start),
                end_ns=number(end),
            )
            spans.append(span)
        spans[0].attributes = {names.FAAS_COLDSTART: True, names.LAMBDASCOPE_INIT_TYPE: init_type}
        return spans

    def _ending(self, error_type: str, message: str, end_ns: int, stacks: str) -> bytes:
        """The fields that close a span: end, error.type, an event with the stacks, status."""
        attributes = self._encoder.attributes({names.ERROR_TYPE: error_type})
        event = b""
        if stacks:
            exception: dict[str, object] = {
                names.EXCEPTION_TYPE: error_type,
                names.EXCEPTION_MESSAGE: message,
                names.EXCEPTION_STACKTRACE: stacks,
            }
            event = self._event(names.EVENT_EXCEPTION, end_ns, exception)
        status = text_field(b"\x12", message) + b"\x18" + varint(names.STATUS_ERROR)
        return b"".join(
            (b"\x41", fixed64(end_ns), attributes, event, length_field(b"\x7a", status))
        )

    def _event(self, name: str, time_ns: int, attributes: dict[str, object]) -> bytes:
        chunks = [b"\x09", fixed64(time_ns), text_field(b"\x12", name)]
        self._attributes.write(b"\x1a", attributes, chunks)
        return length_field(b"\x5a", b"".join(chunks))

    def _wrap(self, scope: bytes, spans: list[bytes]) -> bytes:
        if not scope:
            return self._encoder.wrap(spans)
        fields = [scope, *[length_field(b"\x12", span) for span in spans]]
        return length_field(b"\x0a", self._resource + length_field(b"\x12", b"".join(fields)))


def put(buffer: Buffer, story: Story, drop_reason: str | None, say: Callable[[str], None]) -> int:
    """Put a story into the buffer and account for all of it; how many spans are in there now."""
    ledger = buffer.ledger
    if story.lost:
        ledger.accept("traces", story.lost)
        ledger.drop("traces", story.lost, "flight_full")
    message = Message(
        signal="traces",
        kind=wire.CONTENT_TYPE_PROTOBUF,
        body=story.body,
        items=story.spans,
        received=monotonic(),
        urgent=True,
    )
    reason = drop_reason
    if reason is None:
        if buffer.put(message):
            return story.spans
        reason = "buffer_full"
        say(f"no room for the {story.spans} spans of {story.request_id}, which had no end")
    ledger.accept("traces", story.spans)
    ledger.drop("traces", story.spans, reason)
    return 0


def _failures(batches: Sequence[bytes]) -> dict[tuple[str, str], dict[str, object]]:
    """The records of invocations in the platform's batches, by type and request id."""
    found: dict[tuple[str, str], dict[str, object]] = {}
    for body in batches:
        try:
            items = parse_batch(body)
        except RemoteProtocolError:
            continue
        for item in items:
            kind, record = str(item.get("type")), item.get("record")
            if kind in _RECORDS and isinstance(record, dict):
                found[(kind, str(record.get("requestId", "")))] = record
    return found


def _is_out_of_memory(report: dict[str, object]) -> bool:
    metrics = report.get("metrics")
    if not isinstance(metrics, dict):
        return False
    size, used = metrics.get("memorySizeMB"), metrics.get("maxMemoryUsedMB")
    return isinstance(size, (int, float)) and isinstance(used, (int, float)) and used >= size > 0


def _ids(span: Span) -> bytes:
    """The fields of a link to a span of ours."""
    flags = b"\x35" + fixed32(names.FLAGS_LOCAL)
    return b"".join((b"\x0a\x10", span.trace_id, b"\x12\x08", span.span_id, flags))
