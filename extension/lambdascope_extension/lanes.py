"""Several destinations at once: a lane for each, with its own queue, thread, health and ledger.

Loaded by the assembly where more than one destination, or one with limits, is set. To the others
all lanes together look like one buffer and one flusher. A message is held once and is in the queues
of all lanes that want its signal; what one destination does not take is no concern of the others.
"""

from __future__ import annotations

import posix

from lambdascope_extension.buffer import MAX_HELD_BYTES, Buffer
from lambdascope_extension.flusher import Flusher
from lambdascope_extension.ledger import Ledger
from lambdascope_extension.leftovers import Leftovers
from lambdascope_extension.telemetry_flusher import TelemetryFlusher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from lambdascope_extension.batch import Batch, Message
    from lambdascope_extension.destination import Destination, ExportConfig
    from lambdascope_extension.flush_policy import State
    from lambdascope_extension.flush_settings import FlushSettings
    from lambdascope_extension.scrubber import Scrubber

# A lane's share, however many there are: what a dead destination may have waiting.
LEAST_HELD_BYTES = 2 * 1024 * 1024


class LaneBuffer(Buffer):
    """The queue of one lane, whose batches keep to the limits of their destinations."""

    __slots__ = ("_limited",)

    def __init__(
        self, destinations: Iterable[Destination], *, max_bytes: int = MAX_HELD_BYTES
    ) -> None:
        super().__init__(Ledger(), max_bytes=max_bytes)
        self._limited = {one.signal: one for one in destinations if one.max_bytes or one.max_items}

    def take(self, skip: Container[str] = ()) -> Batch | None:
        """As in the base class; one message over the limit is cut on the borders of its items."""
        batch = super().take(skip)
        while batch is not None and self._is_over(batch) and self.split(batch):
            batch = super().take(skip)
        return batch

    def _is_over(self, batch: Batch) -> bool:
        limit = self._limited.get(batch.signal)
        return limit is not None and (
            0 < limit.max_bytes < len(batch.body) or 0 < limit.max_items < batch.items
        )


class Lane:
    """One destination: `name` is that of its preset, `signals` are those that it wants."""

    __slots__ = ("buffer", "flusher", "name", "signals")

    def __init__(self, config: ExportConfig, buffer: LaneBuffer, flusher: Flusher) -> None:
        self.name = config.name
        self.signals = frozenset(config.destinations)
        self.buffer = buffer
        self.flusher = flusher


class LanesLedger(Ledger):
    """What reached no lane, and the ledgers of all lanes beside it."""

    __slots__ = ("_lanes",)

    def __init__(self, lanes: Sequence[Lane]) -> None:
        super().__init__()
        self._lanes = lanes

    def parts(self) -> list[tuple[str, Ledger]]:
        """As in the base class, with the lanes' names."""
        return [("", self), *((lane.name, lane.buffer.ledger) for lane in self._lanes)]

    def summary(self) -> str:
        """One line about everything that did not get through, by destination."""
        own = super().summary()
        parts = [
            f"to {lane.name}: {text}"
            for lane in self._lanes
            if (text := lane.buffer.ledger.summary())
        ]
        return "; ".join([own, *parts] if own else parts)


class LanesBuffer(Buffer):
    """Puts what comes into all lanes that want it. Batches are taken from the lanes alone."""

    __slots__ = ("_lanes",)

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        super().__init__(LanesLedger(lanes), max_bytes=0)

    @property
    def held_bytes(self) -> int:
        """What all lanes hold; a message in two of them counts twice."""
        return sum(lane.buffer.held_bytes for lane in self._lanes)

    @held_bytes.setter
    def held_bytes(self, size: int) -> None:
        """Nothing is held here."""

    @property
    def scrubber(self) -> Scrubber | None:
        """That of every lane."""
        return self._lanes[0].buffer.scrubber

    @scrubber.setter
    def scrubber(self, scrubber: Scrubber | None) -> None:
        for lane in self._lanes:
            lane.buffer.scrubber = scrubber

    def put(self, message: Message) -> bool:
        """Accept a body for all lanes that have room; False when none has any."""
        lanes = [lane for lane in self._lanes if message.signal in lane.signals]
        full = [lane for lane in lanes if not lane.buffer.put(message)]
        if len(full) == len(lanes):
            return False
        for lane in full:
            ledger = lane.buffer.ledger
            ledger.accept(message.signal, message.items)
            ledger.drop(message.signal, message.items, "buffer_full")
        return True

    def drop_all(self, reason: str, signals: Container[str] | None = None) -> None:
        """Everything that is held is lost."""
        for lane in self._lanes:
            if signals is None:
                lane.buffer.drop_all(reason)
            else:
                lane.buffer.drop_all(reason, signals)


class _Fan(Flusher):
    """Runs the rounds of all lanes side by side."""

    def __init__(self, lanes: Sequence[Lane], settings: FlushSettings) -> None:
        self.settings = settings
        self._flushers = [lane.flusher for lane in lanes]
        self.meter = self._flushers[0].meter
        for flusher in self._flushers:
            flusher.meter = self.meter

    @property
    def last_attempts(self) -> int:
        """How often the last round asks a collector that fails."""
        return self._flushers[0].last_attempts

    @last_attempts.setter
    def last_attempts(self, count: int) -> None:
        for flusher in self._flushers:
            flusher.last_attempts = count

    @property
    def holds_anything(self) -> bool:
        """Whether any lane holds anything."""
        return any(one.holds_anything for one in self._flushers)

    @property
    def is_sending(self) -> bool:
        """Whether any request may be under way."""
        return any(one.is_sending for one in self._flushers)

    @property
    def is_working(self) -> bool:
        """Whether any lane is sending or loading what it sends with."""
        return any(one.is_working for one in self._flushers)

    def is_quiet(self, now: float) -> bool:
        """Whether nothing is due in any lane."""
        return all(one.is_quiet(now) for one in self._flushers)

    def state(
        self, now: float, deadline: float | None, invocations: int, arrivals: Sequence[float]
    ) -> State:
        """What the flush policy is to know: of the lanes that have something to send, the most
        pressing of all; a failure only where all of them fail."""
        every = [one.state(now, deadline, invocations, arrivals) for one in self._flushers]
        states = [one for one in every if one.oldest] or every[:1]
        first = states[0]
        first.pending_bytes = sum(one.pending_bytes for one in states)
        first.oldest = min(one.oldest for one in states)
        flushed = [one.last_flush for one in states if one.last_flush is not None]
        first.last_flush = min(flushed) if len(flushed) == len(states) else None
        first.latency = max(
            [one.latency for one in states if one.latency is not None], default=None
        )
        first.failures = min(one.failures for one in states)
        first.has_failures = any(one.has_failures for one in states)
        return first

    def wake_at(self, now: float, deadline: float) -> float:
        """When data becomes due in any lane by time alone."""
        return min(one.wake_at(now, deadline) for one in self._flushers)

    def after_thaw(self) -> None:
        """Connections to others are dead by now."""
        for one in self._flushers:
            one.after_thaw()

    def begin(self, now: float, until: float, *, everything: bool = False) -> None:
        """Begin a round in all lanes."""
        for one in self._flushers:
            one.begin(now, until, everything=everything)

    def resume(self, now: float) -> bool:
        """Go on with the rounds; whether something is under way in any lane."""
        busy = [one.resume(now) for one in self._flushers]
        return any(busy)

    def retry_at(self, now: float) -> float:
        """When the last round of any lane asks again."""
        return min(one.retry_at(now) for one in self._flushers)

    def on_wake(self, now: float) -> None:
        """One of the exporters has something to tell."""
        for one in self._flushers:
            one.on_wake(now)

    def cut(self) -> None:
        """Stop all exports that are under way."""
        for one in self._flushers:
            one.cut()

    def take_back(self) -> None:
        """The results do not follow."""
        for one in self._flushers:
            one.take_back()


class LanesFlusher(TelemetryFlusher, _Fan):
    """All lanes' flushers, and the platform's records as in the base class."""


class LanesLeftovers:
    """What every lane leaves: a spool in a folder of its own, and lines."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        folder: str,
        environ: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._every = []
        for lane in lanes:
            own = f"{folder}/{lane.name}"
            leftovers = Leftovers(lane.buffer, own, environ, say, destination=lane.name)
            leftovers.restore()
            self._every.append((lane.buffer, own, leftovers))

    def keep(self, shutdown_reason: str, until: float) -> None:
        """Put what is held where it outlives this process, and be done at `until`."""
        for buffer, folder, leftovers in self._every:
            if buffer.held_bytes:
                try:
                    posix.mkdir(folder, 0o700)
                except OSError:
                    pass  # it is there already, or the spool will say why not
            leftovers.keep(shutdown_reason, until)


def make_lanes(
    configs: Sequence[ExportConfig],
    make: Callable[[LaneBuffer, ExportConfig], Flusher],
) -> list[Lane]:
    """A lane for each destination; `make` makes its flusher."""
    share = max(LEAST_HELD_BYTES, MAX_HELD_BYTES // len(configs))
    lanes = []
    for config in configs:
        buffer = LaneBuffer(config.destinations.values(), max_bytes=share)
        lanes.append(Lane(config, buffer, make(buffer, config)))
    return lanes
