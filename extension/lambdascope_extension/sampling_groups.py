"""What the sampling gate holds together: spans of one invocation or trace, found by their bytes.

The gate makes these of messages that come in, any thread may of large ones beforehand. It must not
know what is decided about them.
"""

from __future__ import annotations

from lambdascope.otlp import names as otel
from lambdascope.otlp.span_walk import ERROR, EXPLICIT, TIMEOUT, SpanFacts, iter_spans, parted
from lambdascope.wire.names import CONTENT_TYPE_JSON
from lambdascope_extension.batch import Message

# Decisions on more traces of others are not remembered.
MAX_TRACES = 512
_FAILURES = (ERROR, TIMEOUT)
_JSON_TRACE_ID = b'"traceId":'
_JSON_MARKS = tuple(
    f'"key":"{key}","value":{{"boolValue":true}}'.encode()
    for key in (otel.SAMPLING_KEEP, otel.LAMBDASCOPE_KEEP, otel.FAAS_COLDSTART)
)


class Group:
    """What is held of one invocation or trace. `root` is the span to mark, in message `root_in`."""

    __slots__ = ("messages", "root", "root_in", "since", "trace_id")

    def __init__(self, message: Message) -> None:
        self.since = message.received
        self.messages = [message]
        self.trace_id = b""
        self.root: SpanFacts | None = None
        self.root_in: Message | None = None
        self._look_for_root(message)

    def join(self, other: Group) -> None:
        """Hold what another one holds, too."""
        self.messages += other.messages
        self.trace_id = self.trace_id or other.trace_id
        is_root = other.root is not None and other.root.is_root
        if self.root is None or (is_root and not self.root.is_root):
            self.root, self.root_in, self.trace_id = other.root, other.root_in, other.trace_id

    def _look_for_root(self, message: Message) -> None:
        """Note its first span that is one, or the first of all, if it has any."""
        if message.kind == CONTENT_TYPE_JSON:
            self.trace_id = next(iter(_json_trace_ids(message.body)), b"")
            return
        for span in iter_spans(message.body):
            if self.root is None or span.is_root:
                self.root, self.root_in = span, message
                self.trace_id = span.trace_id
            if span.is_root:
                return


class Loose:
    """What is in a message of another sender: `groups` of its spans by trace id, each with what
    speaks for keeping it.

    JSON, and a message of more than MAX_TRACES, is not taken apart: `reason` and
    `trace_ids` are of the whole.
    """

    __slots__ = ("groups", "reason", "trace_ids")

    def __init__(self, message: Message) -> None:
        self.groups: list[tuple[str, Group]] = []
        self.reason = ERROR if message.urgent else ""
        if message.kind == CONTENT_TYPE_JSON:
            self.trace_ids = _json_trace_ids(message.body)
            if any(mark in message.body for mark in _JSON_MARKS):
                self.reason = self.reason or EXPLICIT
            return
        reasons: dict[bytes, str] = {}
        for span in iter_spans(message.body):
            known = reasons.get(span.trace_id, "")
            reasons[span.trace_id] = known or span.reason(message.body, failed=message.urgent)
        self.trace_ids = list(reasons)
        if len(reasons) > MAX_TRACES:
            self.reason = next(filter(None, reasons.values()), "")
        elif len(reasons) == 1:
            self.groups = [(reasons[self.trace_ids[0]], Group(message))]
        else:
            self._part(message, reasons)

    def _part(self, message: Message, reasons: dict[bytes, str]) -> None:
        parts = parted(message.body, bytes.hex)
        for trace_id, reason in reasons.items():
            body, items = parts[trace_id.hex()]
            part = Message(
                signal=message.signal,
                kind=message.kind,
                body=body,
                items=items,
                received=message.received,
                urgent=reason in _FAILURES,
            )
            part.scrub_fault = message.scrub_fault
            self.groups.append((reason, Group(part)))


def _json_trace_ids(body: bytes) -> list[bytes]:
    """The trace ids in a JSON request, once each."""
    found: dict[bytes, None] = {}
    position = body.find(_JSON_TRACE_ID)
    while position >= 0:
        position += len(_JSON_TRACE_ID)
        text = body[position : position + 40].split(b'"')
        if len(text) > 2 and len(text[1]) == 32:
            try:
                found[bytes.fromhex(text[1].decode())] = None
            except ValueError:
                pass  # no trace id, which whoever receives it will say
        position = body.find(_JSON_TRACE_ID, position)
    return list(found)
