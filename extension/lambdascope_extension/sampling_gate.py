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
from lambdascope.otlp.span_walk import COLD_START, reason_to_keep, with_fields
from lambdascope.wire.names import SHUTDOWN_FAILURE, SHUTDOWN_TIMEOUT
from lambdascope_extension.gate import Gate
from lambdascope_extension.ledger import SAMPLED
from lambdascope_extension.sampling import RATIO, SLOW, UNFINISHED
from lambdascope_extension.sampling_groups import MAX_TRACES, Group, Loose

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope_extension.batch import Message
    from lambdascope_extension.buffer import Buffer
    from lambdascope_extension.sampling import Sampling

MAX_OPEN_BYTES = 1_000_000
MAX_OPEN = 256
MAX_AGE_S = 60.0
# Without events of invocations, for what carries no request id.
LOOSE_S = 10.0
# A request id as a key is told from a trace id by its type.
_DROPPED = ""


class SamplingGate(Gate):
    """`end` is to be called when all spans of an invocation have come."""

    __slots__ = ("_decided", "_is_ending", "_marks", "_open", "_open_bytes", "_sampling")

    def __init__(self, buffer: Buffer, sampling: Sampling, say: Callable[[str], None]) -> None:
        super().__init__(buffer, say)
        self._sampling = sampling
        self._open: dict[str | bytes, Group] = {}
        self._open_bytes = 0
        self._decided: dict[str | bytes, str] = {}
        self._marks: dict[str, bytes] = {}
        self._is_ending = False

    def prepare(self, message: Message) -> None:
        """As behind the gate, and look at what another sender's spans are."""
        super().prepare(message)
        if message.signal == "traces" and not message.request_id:
            try:
                message.loose = Loose(message)
            except ValueError:
                pass  # as in `put`

    def put(self, message: Message) -> bool:
        """As in the base class; spans are held, kept or dropped."""
        if message.signal != "traces":
            return self._buffer.put(message)
        try:
            if message.request_id:
                reason = reason_to_keep(message.body, failed=message.urgent)
                self._take(message.request_id, Group(message), reason)
            else:
                self._take_loose(message)
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

    def _take(self, key: str | bytes, found: Group, reason: str) -> None:
        """A message all of whose spans share a decision; `reason` speaks for keeping them."""
        decided = self._decided.get(key)
        group = self._open.get(key)
        if group is None:
            if not decided and found.trace_id != key:
                decided = self._decided.get(found.trace_id) or decided
            # A request id and a trace may have another invocation, which is decided for itself.
            is_anew = reason or (found.root is not None and found.root.is_entry)
            if decided or (decided == _DROPPED and not is_anew):
                self._close(found, decided, is_late=True)
                return
            self._open[key] = found
        else:
            group.join(found)
        self._open_bytes += len(found.messages[0].body)
        if reason or self._is_ending:
            self._decide(key, reason)

    def _take_loose(self, message: Message) -> None:
        """What others send: each trace for itself; if one of a whole is kept, all are."""
        loose, message.loose = message.loose or Loose(message), None
        for reason, group in loose.groups:
            self._take(group.trace_id, group, reason)
            self._keep_bounds(message.received)
        if loose.groups:
            return
        if loose.reason or any(
            self._decided.get(one) or self._sampling.is_kept(one) for one in loose.trace_ids
        ):
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
        self._close(group, reason)
        if reason:
            for other in [one for one, its in self._open.items() if its.trace_id == trace_id]:
                if other in self._open:
                    self._decide(other, reason)

    def _pop(self, key: str | bytes) -> Group:
        group = self._open.pop(key)
        self._open_bytes -= sum(len(message.body) for message in group.messages)
        return group

    def _close(self, group: Group, reason: str, *, is_late: bool = False) -> None:
        """Let the messages go on, or drop them."""
        if not reason:
            for message in group.messages:
                self._lose(message, SAMPLED)
            return
        root, root_in = group.root, group.root_in
        if root is not None and root_in is not None and (root.is_root or not is_late):
            root_in.body = with_fields(root_in.body, root, self._mark(reason))
        for message in group.messages:
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
        if len(self._decided) > MAX_TRACES:
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
