"""One subscriber of the Telemetry API: its buffer, and the thread that delivers from it.

`telemetry` puts events in and knows nothing of delivery; this module knows nothing of other
subscribers. At most one batch is on its way. When the listener is slower than the events come in,
the newest are dropped and counted, as on Lambda (AWS Lambda developer guide, "Lambda Telemetry API
reference"). How often and how fast a failed delivery is repeated is not documented; `Delivery` says
what is done here.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambdascope.emulator.telemetry_delivery import Channel, DeliveryFailed
from lambdascope.emulator.telemetry_event import Event, encode_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.emulator.telemetry_delivery import Destination
    from lambdascope.wire.telemetry_api import Subscribe

_LOGS_DROPPED = "platform.logsDropped"
_PLATFORM = "platform"
_SLOW = "the listener takes the records more slowly than they come in"
_JOIN_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How hard delivery tries: pauses double from `backoff_s`; `answer_s` bounds one attempt."""

    attempts: int = 5
    backoff_s: float = 0.1
    answer_s: float = 5.0


class Subscriber:
    """Events in from any thread, batches out from its own.

    One batch is on its way, one may be ready, and one is being collected at any time. `objects`
    says that log lines which are JSON objects are delivered as such. `on_dropped` gets one line of
    text the first time that records are lost, and one with the total at the end.
    """

    def __init__(
        self,
        request: Subscribe,
        *,
        destination: Destination,
        delivery: Delivery,
        objects: bool,
        now_ns: Callable[[], int],
        on_dropped: Callable[[str], None],
    ) -> None:
        self._request = request
        self._objects = objects
        self._destination = destination
        self._delivery = delivery
        self._now_ns = now_ns
        self._on_dropped = on_dropped
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._due = 0.0
        self._ready: deque[list[bytes]] = deque()
        self._busy = False
        self._paused = False
        self._flushing = False
        self._closed = False
        self._drops: dict[str, list[int]] = {}
        self._total_dropped = 0
        self._channel = Channel(
            destination, answer_s=delivery.answer_s, is_frozen=lambda: self._paused
        )
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def put(self, event: Event, *, replay: bool = False) -> None:
        """Take an event, if it is of a type that was asked for. Never waits for the listener.

        With `replay` it is from before the subscription, for which the listener is not to blame.
        """
        if event.category not in self._request.types:
            return
        whole = event.as_object if self._objects else None
        with self._changed:
            self._announce_drops()
            if self._is_full() and self._ready and not replay:
                self._drop(1, len(event.text), _SLOW)
            else:
                self._append(whole or event.text)

    def drop(self, records: int, size_bytes: int, reason: str) -> None:
        """Count what was lost before it came here."""
        with self._changed:
            self._drop(records, size_bytes, reason)

    def pause(self) -> None:
        """Start no delivery, and let no time pass for the one on its way."""
        with self._changed:
            self._paused = True

    def resume(self) -> None:
        """Go on after a pause."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    def start_flush(self) -> None:
        """Deliver what is here without waiting for more; ends a pause."""
        with self._changed:
            self._paused = False
            self._flushing = True
            self._announce_drops()
            self._changed.notify_all()

    def wait_flushed(self, deadline: float) -> bool:
        """Whether nothing was left to deliver before `deadline` (of the monotonic clock)."""
        with self._changed:
            done = self._changed.wait_for(self._is_idle, max(0.0, deadline - time.monotonic()))
            self._flushing = False
            return done

    def close(self) -> None:
        """Stop. What is undelivered is lost, as the listener is."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._channel.abort()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
        if self._total_dropped:
            self._on_dropped(
                f"telemetry for {self._destination.text}: {self._total_dropped} records dropped"
            )

    def _is_idle(self) -> bool:
        return self._closed or not (self._waiting or self._ready or self._busy)

    def _append(self, item: bytes) -> None:
        if self._is_full():
            self._ready.append(self._take_waiting())
        if not self._waiting:
            self._due = time.monotonic() + self._request.timeout_ms / 1000
        self._waiting.append(item)
        self._waiting_bytes += len(item)
        if len(self._waiting) == 1 or self._is_full():
            self._changed.notify_all()

    def _is_full(self) -> bool:
        request = self._request
        return len(self._waiting) >= request.max_items or self._waiting_bytes >= request.max_bytes

    def _take_waiting(self) -> list[bytes]:
        batch, self._waiting, self._waiting_bytes = self._waiting, [], 0
        return batch

    def _drop(self, records: int, size_bytes: int, reason: str) -> None:
        counts = self._drops.setdefault(reason, [0, 0])
        counts[0] += records
        counts[1] += size_bytes
        if not self._total_dropped:
            self._on_dropped(f"telemetry for {self._destination.text}: records dropped: {reason}")
        self._total_dropped += records

    def _announce_drops(self) -> None:
        """Say what was lost, ahead of the next event: a dead listener is not told of its death."""
        if not self._drops or (self._is_full() and self._ready):
            return
        drops, self._drops = self._drops, {}
        if _PLATFORM not in self._request.types:
            return
        for reason, (records, size) in drops.items():
            record = {"reason": reason, "droppedRecords": records, "droppedBytes": size}
            self._append(encode_event(_LOGS_DROPPED, record, self._now_ns()).text)

    def _run(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._deliver(batch)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
        self._channel.close()

    def _next_batch(self) -> list[bytes] | None:
        """Wait for the next batch; None at the end."""
        with self._changed:
            while not self._closed:
                batch = None if self._paused else self._due_batch()
                if batch is not None:
                    self._busy = True
                    return batch
                self._changed.wait(self._wait_s())
        return None

    def _due_batch(self) -> list[bytes] | None:
        if self._ready:
            return self._ready.popleft()
        is_due = self._flushing or self._is_full() or time.monotonic() >= self._due
        return self._take_waiting() if self._waiting and is_due else None

    def _wait_s(self) -> float | None:
        if self._paused or not self._waiting:
            return None
        return max(0.0, self._due - time.monotonic())

    def _deliver(self, batch: list[bytes]) -> None:
        attempts = self._delivery.attempts
        for attempt in range(1, attempts + 1):
            try:
                self._channel.post(batch)
            except DeliveryFailed as error:
                reason = f"{attempts} deliveries failed, the last one with: {error}"
            else:
                return
            if attempt < attempts and self._pause_between(attempt):
                return
        with self._changed:
            if not self._closed:
                self._drop(len(batch), sum(map(len, batch)), reason)

    def _pause_between(self, attempt: int) -> bool:
        """Wait before the next attempt, and as long as the environment is frozen; True at the end.

        Frozen time does not count: the listener had no chance.
        """
        until = time.monotonic() + self._delivery.backoff_s * 2 ** (attempt - 1)
        with self._changed:
            while not self._closed:
                left = until - time.monotonic()
                if left <= 0 and not self._paused:
                    return False
                self._changed.wait(None if self._paused else left)
        return True
