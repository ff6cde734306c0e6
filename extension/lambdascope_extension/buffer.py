"""What the extension holds: accepted bodies, cut into batches, bounded by bytes and by age.

The intake puts, the flusher takes a batch, and then exactly one of exported, drop, put_back and
split is called for it. What tells of failed invocations is taken first and given up last. Main
thread only.
"""

from __future__ import annotations

from lambdascope.wire.names import CONTENT_TYPE_PROTOBUF
from lambdascope_extension.batch import Batch, Message
from lambdascope_extension.ledger import SIGNALS, Ledger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    from lambdascope_extension.scrubber import Scrubber

__all__ = ["MAX_BATCH_BYTES", "MAX_HELD_BYTES", "Batch", "Buffer", "Message"]

MAX_HELD_BYTES = 8 * 1024 * 1024
# Below the smallest limit that backends are known to have; one larger body still goes out alone.
MAX_BATCH_BYTES = 1_000_000
# Smaller requests than this would cost more than they save.
LEAST_BATCH_BYTES = 16_384
NOT_SCRUBBED = "not_scrubbed"


class _Queue:
    """Messages of one signal, content type and urgency that no batch has taken yet."""

    __slots__ = ("messages", "size")

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.size = 0

    def add(self, message: Message) -> None:
        self.messages.append(message)
        self.size += len(message.body)

    def cut(self, limit: int) -> list[Message]:
        """The first messages, at least one, as many as fit into `limit` bytes."""
        size = count = 0
        for message in self.messages:
            if count and size + len(message.body) > limit:
                break
            size += len(message.body)
            count += 1
        self.size -= size
        taken, self.messages = self.messages[:count], self.messages[count:]
        return taken


class Buffer:
    """Holds at most `max_bytes`, counted as they are sent, without what Python adds."""

    __slots__ = (
        "_batch_bytes",
        "_fresh",
        "_limits",
        "_max_bytes",
        "_returned",
        "held_bytes",
        "ledger",
        "scrubber",
    )

    def __init__(
        self,
        ledger: Ledger,
        *,
        max_bytes: int = MAX_HELD_BYTES,
        batch_bytes: int = MAX_BATCH_BYTES,
    ) -> None:
        self.ledger = ledger
        self.held_bytes = 0
        self._max_bytes = max_bytes
        self._batch_bytes = batch_bytes
        self._limits: dict[str, int] = {}
        self._fresh: dict[tuple[str, str, bool], _Queue] = {}
        self._returned: list[Batch] = []
        self.scrubber: Scrubber | None = None

    def prepare(self, message: Message) -> None:
        """What `take` would do and takes long; any thread may do it before."""
        if self.scrubber is not None:
            self.scrubber.prepare(message)

    def put(self, message: Message) -> bool:
        """Accept a body; False when there is no room, and then nothing is counted.

        What a collector has refused before goes first: it is the oldest, and a sender that is
        turned away would only try again inside the function.
        """
        size = len(message.body)
        while self.held_bytes + size > self._max_bytes:
            victim = self._victim(urgent=message.urgent)
            if victim is None:
                return False
            self.drop(victim, "buffer_full")
        self.held_bytes += size
        self.ledger.accept(message.signal, message.items)
        key = (message.signal, message.kind, message.urgent)
        queue = self._fresh.get(key)
        if queue is None:
            queue = self._fresh[key] = _Queue()
        queue.add(message)
        return True

    def restore(self, batch: Batch) -> None:
        """Accept a batch that was held by a process before this one; dropped without room."""
        self.ledger.accept(batch.signal, batch.items)
        self.held_bytes += len(batch.body)
        if self.held_bytes > self._max_bytes:
            self.drop(batch, "buffer_full")
        else:
            self.put_back(batch)

    def pending(self, skip: Container[str] = ()) -> tuple[int, float]:
        """Bytes that could be taken, without the signals in `skip`, and since when they wait.

        The time is monotonic and 0 when nothing waits.
        """
        size = 0
        oldest = 0.0
        for batch in self._returned:
            if batch.signal not in skip:
                size += len(batch.body)
                oldest = min(oldest or batch.received, batch.received)
        for (signal, _, _), queue in self._fresh.items():
            if signal not in skip:
                received = queue.messages[0].received
                size += queue.size
                oldest = min(oldest or received, received)
        return size, oldest

    def has_urgent(self, skip: Container[str] = ()) -> bool:
        """Whether something of a failed invocation could be taken."""
        return any(urgent and signal not in skip for signal, _, urgent in self._fresh) or any(
            batch.urgent and batch.signal not in skip for batch in self._returned
        )

    def waiting_signals(self) -> set[str]:
        """The signals of which something could be taken."""
        fresh = {signal for signal, _, _ in self._fresh}
        return fresh | {batch.signal for batch in self._returned}

    def take(self, skip: Container[str] = ()) -> Batch | None:
        """The next batch of a signal that is not in `skip`; None when there is none.

        It has passed the scrubber: nothing leaves in another way.
        """
        return self._next(skip, self.scrubber)

    def _next(self, skip: Container[str], scrubber: Scrubber | None) -> Batch | None:
        returned = next((one for one in self._returned if one.signal not in skip), None)
        while True:
            key = self._oldest([key for key in self._fresh if key[0] not in skip])
            if returned is not None and (returned.urgent or key is None or not key[2]):
                self._returned.remove(returned)
                return returned
            if key is None:
                return None
            limit = min(self._batch_bytes, self._limits.get(key[0], self._batch_bytes))
            messages = self._cut(key, limit if key[1] == CONTENT_TYPE_PROTOBUF else 0)
            if scrubber is not None:
                messages = self._cleaned(messages, scrubber)
            if messages:
                return Batch(messages)

    def limit(self, signal: str, size: int) -> None:
        """From now on, batches of a signal have at most `size` bytes, if that is sensible."""
        self._limits[signal] = max(LEAST_BATCH_BYTES, size)

    def exported(self, batch: Batch, *, rejected: int = 0) -> None:
        """The collector took it, except for `rejected` items."""
        rejected = max(0, min(rejected, batch.items))
        self.held_bytes -= len(batch.body)
        self.ledger.export(batch.signal, batch.items - rejected)
        self.ledger.drop(batch.signal, rejected, "rejected")

    def drop(self, batch: Batch, reason: str) -> None:
        """It is lost."""
        self.held_bytes -= len(batch.body)
        self.ledger.drop(batch.signal, batch.items, reason)

    def put_back(self, batch: Batch) -> None:
        """It was not exported and is to be taken again, before everything that came later."""
        self._return([*self._returned, batch])

    def split(self, batch: Batch) -> bool:
        """Put it back as two; False when it is a single item, and then it is still the caller's.

        What both halves need a copy of may exceed the bound by as much.
        """
        halves = batch.halves()
        if not halves:
            return False
        self.held_bytes += sum(len(half.body) for half in halves) - len(batch.body)
        # Depth first: halves before all that came at the same time.
        self._return([*halves, *self._returned])
        return True

    def retract(self, batch: Batch) -> bool:
        """Undo `put_back`; False when it was taken or dropped meanwhile."""
        if batch not in self._returned:
            return False
        self._returned.remove(batch)
        return True

    def expire(self, before: float) -> None:
        """What came before that time, was tried and came back is too old to try again."""
        for batch in [one for one in self._returned if one.received < before]:
            self._returned.remove(batch)
            self.drop(batch, "too_old")

    def drop_all(self, reason: str, signals: Container[str] = SIGNALS) -> None:
        """Everything that is held of these signals, and not taken, is lost."""
        skip = [one for one in SIGNALS if one not in signals]
        while (batch := self._next(skip, None)) is not None:
            self.drop(batch, reason)

    def _return(self, batches: list[Batch]) -> None:
        batches.sort(key=lambda one: (not one.urgent, one.received))
        self._returned = batches

    def _victim(self, *, urgent: bool) -> Batch | None:
        """What to give up for a newcomer; None when nothing is worth less than it."""
        ordinary = next((one for one in self._returned if not one.urgent), None)
        if ordinary is None and urgent:
            key = self._oldest([key for key in self._fresh if not key[2]])
            if key is not None:
                return Batch(self._cut(key, 0))
            ordinary = next(iter(self._returned), None)
        if ordinary is not None:
            self._returned.remove(ordinary)
        return ordinary

    def _oldest(self, keys: list[tuple[str, str, bool]]) -> tuple[str, str, bool] | None:
        """The queue that is next: urgent ones, then by age."""
        fresh = self._fresh
        return min(
            keys, key=lambda one: (not one[2], fresh[one].messages[0].received), default=None
        )

    def _cut(self, key: tuple[str, str, bool], limit: int) -> list[Message]:
        queue = self._fresh[key]
        messages = queue.cut(limit)
        if not queue.messages:
            del self._fresh[key]
        return messages

    def _cleaned(self, messages: list[Message], scrubber: Scrubber) -> list[Message]:
        cleaned, lost = scrubber.clean(messages)
        if cleaned is not messages:
            self.held_bytes += _size(cleaned) - _size(messages)
            for message in lost:
                self.ledger.drop(message.signal, message.items, NOT_SCRUBBED)
        return cleaned


def _size(messages: list[Message]) -> int:
    return sum([len(one.body) for one in messages])
