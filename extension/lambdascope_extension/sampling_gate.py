"""Holds the spans of each invocation until it is over, and keeps or drops all of them together.

In front of the buffer, only where a ratio is set. What our runtime hands over belongs together by
its request id; what others send, and the platform's own spans, by trace id. Whatever speaks for
keeping decides at once; the rest is decided when the invocation is over, or when what is held is
too much or too old. Decisions are remembered, so that what comes late follows them; a failure that
comes late is kept all the same. Logs and metrics pass.
"""

from __future__ import annotations

from lambdascope.otlp import names as otel
from lambdascope.otlp.attributes import AttributeWriter
from lambdascope.otlp.span_walk import (
    COLD_START,
    ERROR,
    TIMEOUT,
    SpanFacts,
    iter_spans,
    parted,
    reason_to_keep,
    with_fields,
)
from lambdascope.wire.names import (
    CONTENT_TYPE_JSON,
    SHUTDOWN_FAILURE,
    SHUTDOWN_TIMEOUT,
)
from lambdascope_extension.batch import Message
from lambdascope_extension.gate import Gate
from lambdascope_extension.ledger import SAMPLED
from lambdascope_extension.sampling import RATIO, SLOW, UNFINISHED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope_extension.buffer import Buffer
    from lambdascope_extension.sampling import Sampling

MAX_OPEN_BYTES = 1_000_000
MAX_OPEN = 256
MAX_AGE_S = 60.0
# Without events of invocations, for what carries no request id.
LOOSE_S = 10.0
_MAX_REMEMBERED = 512
# A request id as a key is told from a trace id by its type.
_DROPPED = ""
_FAILURES = (ERROR, TIMEOUT)
_JSON_TRACE_ID = b'"traceId":'
_JSON_MARKS = tuple(
    f'"key":"{key}","value":{{"boolValue":true}}'.encode()
    for key in (otel.SAMPLING_KEEP, otel.LAMBDASCOPE_KEEP, otel.FAAS_COLDSTART)
)


class _Group:
    """What is held of one invocation or trace. `root` is the span to mark, in message `root_in`."""

    __slots__ = ("messages", "root", "root_in", "since", "trace_id")

    def __init__(self, since: float) -> None:
        self.since = since
        self.messages: list[Message] = []
        self.trace_id = b""
        self.root: SpanFacts | None = None
        self.root_in: Message | None = None

    def look_for_root(self, message: Message) -> None:
        """Note its first span that is one, or the first of all, if it has any."""
        if message.kind == CONTENT_TYPE_JSON:
            self.trace_id = self.trace_id or next(iter(_json_trace_ids(message.body)), b"")
            return
        for span in iter_spans(message.body):
            if self.root is None or span.is_root:
                self.root, self.root_in = span, message
                self.trace_id = span.trace_id
            if span.is_root:
                return


class SamplingGate(Gate):
    """`end` is to be called when all spans of an invocation have come."""

    __slots__ = ("_decided", "_is_ending", "_marks", "_open", "_open_bytes", "_sampling")

    def __init__(self, buffer: Buffer, sampling: Sampling, say: Callable[[str], None]) -> None:
        super().__init__(buffer, say)
        self._sampling = sampling
        self._open: dict[str | bytes, _Group] = {}
        self._open_bytes = 0
        self._decided: dict[str | bytes, str] = {}
        self._marks: dict[str, bytes] = {}
        self._is_ending = False

    def put(self, message: Message) -> bool:
        """As in the base class; spans are held, kept or dropped."""
        if message.signal != "traces":
            return self._buffer.put(message)
        try:
            if message.request_id:
                self._take(message.request_id, message)
            elif message.kind == CONTENT_TYPE_JSON:
                self._take_json(message)
            else:
                self._take_traces(message)
        except ValueError:
            return self._buffer.put(message)  # whoever receives it will say what is wrong with it
        self._keep_bounds(message.received)
        return True

    def end(self, request_id: str) -> None:
        """All spans of an invocation have come; "" for one whose id nobody has handed over."""
        if request_id in self._open:
            self._decide(request_id)
        # A trace that belongs to an invocation that still runs waits for it.
        running = {group.trace_id for key, group in self._open.items() if isinstance(key, str)}
        for key in [key for key in self._open if isinstance(key, bytes) and key not in running]:
            if key in self._open:
                self._decide(key)

    def end_loose(self, now: float) -> None:
        """Decide the traces that nobody else ends, some time after they began to come."""
        for key, group in list(self._open.items()):
            if isinstance(key, bytes) and now - group.since > LOOSE_S and key in self._open:
                self._decide(key)

    def end_all(self, shutdown_reason: str) -> None:
        """No invocation goes on; what comes from now on is decided at once."""
        self._is_ending = True
        has_failed = shutdown_reason in (SHUTDOWN_TIMEOUT, SHUTDOWN_FAILURE)
        for key in sorted(self._open, key=lambda one: isinstance(one, bytes)):
            if key in self._open:
                self._decide(key, UNFINISHED if has_failed or isinstance(key, str) else "")

    def drop_all(self, reason: str, signals: object = None) -> None:
        """Everything that is held is lost, here and behind."""
        for key in list(self._open):
            for message in self._pop(key).messages:
                self._lose(message, reason)
        self._buffer.drop_all(reason)

    def _take(self, key: str | bytes, message: Message, reason: str | None = None) -> None:
        """A message all of whose spans share a decision; `reason` speaks for keeping them."""
        if reason is None:
            reason = reason_to_keep(message.body, failed=message.urgent)
        decided = self._decided.get(key)
        group = self._open.get(key)
        if group is None:
            group = _Group(message.received)
            group.look_for_root(message)
            if not decided and group.trace_id != key:
                decided = self._decided.get(group.trace_id) or decided
            # A request id and a trace may have another invocation, which is decided for itself.
            is_anew = reason or (group.root is not None and group.root.is_entry)
            if decided or (decided == _DROPPED and not is_anew):
                self._close(group, [message], decided, is_late=True)
                return
            self._open[key] = group
        elif group.root is None or not group.root.is_root:
            group.look_for_root(message)
        group.messages.append(message)
        self._open_bytes += len(message.body)
        if reason or self._is_ending:
            self._decide(key, reason)

    def _take_traces(self, message: Message) -> None:
        """What others send: each trace for itself."""
        reasons: dict[bytes, str] = {}
        for span in iter_spans(message.body):
            known = reasons.get(span.trace_id, "")
            reasons[span.trace_id] = known or span.reason(message.body, failed=message.urgent)
        if len(reasons) <= 1:
            for trace_id, reason in reasons.items():
                self._take(trace_id, message, reason)
            return
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
            self._take(trace_id, part, reason)

    def _take_json(self, message: Message) -> None:
        """JSON is not taken apart: if one of its traces is kept, all are."""
        reason = ERROR if message.urgent else ""
        traces = _json_trace_ids(message.body)
        keeps = [one for one in traces if self._decided.get(one) or self._sampling.is_kept(one)]
        if reason or keeps or any(mark in message.body for mark in _JSON_MARKS):
            self._pass(message)
        else:
            self._lose(message, SAMPLED)

    def _decide(self, key: str | bytes, reason: str = "") -> None:
        group = self._pop(key)
        trace_id = group.trace_id
        reason = reason or self._decided.get(trace_id, "")
        root = group.root
        if root is not None and root.is_root and reason != COLD_START:
            # Asked in any case, because it learns from each.
            is_slow = self._sampling.slow.is_slow(root.duration_ms)
            reason = reason or (SLOW if is_slow else "")
        if not reason and self._sampling.is_kept(trace_id):
            reason = RATIO
        self._remember(key, reason)
        self._remember(trace_id, reason)
        self._close(group, group.messages, reason)
        if reason:
            for other in [one for one, its in self._open.items() if its.trace_id == trace_id]:
                if other in self._open:
                    self._decide(other, reason)

    def _pop(self, key: str | bytes) -> _Group:
        group = self._open.pop(key)
        self._open_bytes -= sum(len(message.body) for message in group.messages)
        return group

    def _close(
        self, group: _Group, messages: list[Message], reason: str, *, is_late: bool = False
    ) -> None:
        """Let the messages go on, or drop them."""
        if not reason:
            for message in messages:
                self._lose(message, SAMPLED)
            return
        root, root_in = group.root, group.root_in
        if root is not None and root_in is not None and (root.is_root or not is_late):
            root_in.body = with_fields(root_in.body, root, self._mark(reason))
        for message in messages:
            self._pass(message)

    def _pass(self, message: Message) -> None:
        if not self._buffer.put(message):
            self._lose(message, "buffer_full")

    def _mark(self, reason: str) -> bytes:
        """The attributes of a root span that is kept, as fields of it."""
        mark = self._marks.get(reason)
        if mark is None:
            chunks: list[bytes] = []
            ratio = self._sampling.ratio if reason == RATIO else 1.0
            about = {
                otel.LAMBDASCOPE_SAMPLING_REASON: reason,
                otel.LAMBDASCOPE_SAMPLING_RATIO: ratio,
            }
            AttributeWriter().write(b"\x4a", about, chunks)
            mark = self._marks[reason] = b"".join(chunks)
        return mark

    def _remember(self, key: str | bytes, reason: str) -> None:
        self._decided.pop(key, None)
        self._decided[key] = reason
        if len(self._decided) > _MAX_REMEMBERED:
            del self._decided[next(iter(self._decided))]

    def _keep_bounds(self, now: float) -> None:
        """Decide the oldest where there is too much, or what nobody has ended for long."""
        while self._open:
            key, oldest = next(iter(self._open.items()))
            if (
                len(self._open) <= MAX_OPEN
                and self._open_bytes <= MAX_OPEN_BYTES
                and now - oldest.since <= MAX_AGE_S
            ):
                return
            self._decide(key)


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
