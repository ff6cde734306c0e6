"""What the extension holds: accepted bodies, cut into batches, bounded by bytes.

The intake puts, the lifecycle takes a batch, and then exactly one of exported, drop or put_back is
called for it. Bodies of one signal are merged by appending their protobuf bytes, which is legal
because the only field of every OTLP request is repeated; JSON bodies stay alone. Main thread only.
"""

from __future__ import annotations

import posix

from lambdascope.wire.names import CONTENT_TYPE_PROTOBUF
from lambdascope_extension.ledger import SIGNALS, Ledger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

MAX_HELD_BYTES = 8 * 1024 * 1024
# Below the smallest limit that backends are known to have; one larger body still goes out alone.
MAX_BATCH_BYTES = 1_000_000
_ID_BYTES = 16


class Message:
    """One accepted body. `items` is what the ledger counts for it, `received` is monotonic."""

    __slots__ = ("body", "items", "kind", "received", "signal")

    def __init__(self, *, signal: str, kind: str, body: bytes, items: int, received: float) -> None:
        self.signal = signal
        self.kind = kind
        self.body = body
        self.items = items
        self.received = received


class Batch:
    """What one request to the collector carries, with an id that stays the same when it is
    repeated. `received` is that of its oldest message."""

    __slots__ = ("body", "id", "items", "kind", "received", "signal")

    def __init__(self, messages: list[Message]) -> None:
        first = messages[0]
        self.id = posix.urandom(_ID_BYTES).hex()
        self.signal = first.signal
        self.kind = first.kind
        self.received = first.received
        self.items = sum(message.items for message in messages)
        self.body = b"".join([message.body for message in messages])


class _Queue:
    """Messages of one signal and content type that no batch has taken yet."""

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

    __slots__ = ("_batch_bytes", "_fresh", "_max_bytes", "_returned", "held_bytes", "ledger")

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
        self._fresh: dict[tuple[str, str], _Queue] = {}
        self._returned: list[Batch] = []

    def put(self, message: Message) -> bool:
        """Accept a body; False when there is no room, and then nothing is counted.

        What a collector has refused before goes first: it is the oldest, and a sender that is
        turned away would only try again inside the function.
        """
        size = len(message.body)
        while self._returned and self.held_bytes + size > self._max_bytes:
            self.drop(self._returned.pop(0), "buffer_full")
        if self.held_bytes + size > self._max_bytes:
            return False
        self.held_bytes += size
        self.ledger.accept(message.signal, message.items)
        key = (message.signal, message.kind)
        queue = self._fresh.get(key)
        if queue is None:
            queue = self._fresh[key] = _Queue()
        queue.add(message)
        return True

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
        for (signal, _), queue in self._fresh.items():
            if signal not in skip:
                received = queue.messages[0].received
                size += queue.size
                oldest = min(oldest or received, received)
        return size, oldest

    def waiting_signals(self) -> set[str]:
        """The signals of which something could be taken."""
        fresh = {signal for signal, _ in self._fresh}
        return fresh | {batch.signal for batch in self._returned}

    def take(self, skip: Container[str] = ()) -> Batch | None:
        """The next batch of a signal that is not in `skip`; None when there is none."""
        for index, batch in enumerate(self._returned):
            if batch.signal not in skip:
                return self._returned.pop(index)
        keys = [key for key in self._fresh if key[0] not in skip]
        if not keys:
            return None
        key = min(keys, key=lambda one: self._fresh[one].messages[0].received)
        queue = self._fresh[key]
        batch = Batch(queue.cut(self._batch_bytes if key[1] == CONTENT_TYPE_PROTOBUF else 0))
        if not queue.messages:
            del self._fresh[key]
        return batch

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
        self._returned.append(batch)
        self._returned.sort(key=lambda one: one.received)

    def retract(self, batch: Batch) -> bool:
        """Undo `put_back`; False when it was taken or dropped meanwhile."""
        if batch not in self._returned:
            return False
        self._returned.remove(batch)
        return True

    def drop_all(self, reason: str, signals: Container[str] = SIGNALS) -> None:
        """Everything that is held of these signals, and not taken, is lost."""
        while (batch := self.take([one for one in SIGNALS if one not in signals])) is not None:
            self.drop(batch, reason)
