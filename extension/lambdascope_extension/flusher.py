"""Runs rounds of exports: which batch goes next, what its result means, what is said about it.

The lifecycle starts a round when the flush policy says so, lets it go on whenever the exporter has
something to tell, and ends it before it asks for the next event. A round exports what was there
when it began. All times are monotonic seconds; nothing here blocks.
"""

from __future__ import annotations

from lambdascope_extension import flush_policy as policy
from lambdascope_extension.exporter import BROKEN, BUSY, COLD, READY, Exporter, Job
from lambdascope_extension.flush_policy import State, hold_for_end
from lambdascope_extension.flush_settings import FlushSettings
from lambdascope_extension.health import Health
from lambdascope_extension.hold import HoldMeter
from lambdascope_extension.ledger import SIGNALS
from lambdascope_extension.reporter import Reporter
from lambdascope_extension.settlement import Settlement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from lambdascope_extension.answers import Result
    from lambdascope_extension.buffer import Buffer
    from lambdascope_extension.export_config import ExportConfig

NO_SENDER = "no_sender"
_NONE: AbstractSet[str] = frozenset()
_FOR_EVER = float("inf")
# What is due and cannot be sent is looked at again, but not all the time.
_LEAST_WAIT_S = 0.1


class Flusher:
    """`last_flush` is when an export ended last, None before the first; `meter` measures holds.

    `last_attempts`: how often the last round asks the collector of a signal that fails.
    """

    def __init__(
        self,
        buffer: Buffer,
        exporter: Exporter,
        config: ExportConfig,
        say: Callable[[str], None],
        settings: FlushSettings | None = None,
    ) -> None:
        self.settings = settings or FlushSettings(hold_s=config.hold_s)
        self.meter = HoldMeter(self.settings.hold_p99_s)
        self.last_flush: float | None = None
        self._buffer = buffer
        self._exporter = exporter
        self._destinations = config.destinations
        self._reporter = Reporter(say)
        self._is_failing = False
        self._latency: float | None = None
        self._health = {signal: Health() for signal in SIGNALS}
        self._settlement = Settlement(buffer, self._health, self._reporter)
        self._wants_new_connection = False
        self._is_taken_back = False
        # The round.
        self._until = 0.0
        self._newest = 0.0
        self._tried: set[str] = set()
        self._sent: set[str] = set()  # the signals of this round
        self._exports = 1  # how many there were in the last one
        self.last_attempts = 1
        self._failed_attempts: dict[str, int] = {}

    @property
    def holds_anything(self) -> bool:
        """Whether there is anything that is not exported or dropped."""
        return self._buffer.held_bytes > 0

    def is_quiet(self, now: float) -> bool:
        """Whether the flush policy would find nothing due beside a handler."""
        return (
            not self._is_failing
            and policy.is_quiet(
                now, self.last_flush, self._buffer.held_bytes, self.settings.interval_s
            )
            and not self._buffer.has_urgent()
        )

    @property
    def is_sending(self) -> bool:
        """Whether a request may be under way to the collector."""
        return self._exporter.state == BUSY

    @property
    def is_working(self) -> bool:
        """Whether that is so, or the way to the collector is being loaded."""
        return self._exporter.is_working

    def state(
        self, now: float, deadline: float | None, invocations: int, arrivals: Sequence[float]
    ) -> State:
        """What the flush policy is to know."""
        waiting = self._waiting(now)
        size, oldest = self._buffer.pending(waiting)
        state = State(
            now=now,
            deadline=deadline,
            pending_bytes=size,
            oldest=oldest,
            invocations=invocations,
            arrivals=arrivals,
        )
        state.last_flush = self.last_flush
        if self._latency is not None:
            state.latency = self._latency * self._exports
        state.has_failures = self._buffer.has_urgent(waiting)
        state.allowance = self.meter.allowance
        state.least_duration = self.meter.least_duration
        if self._is_failing:
            asked = self._buffer.waiting_signals() - waiting
            state.failures = min([self._health[signal].outage for signal in asked], default=0)
        return state

    def wake_at(self, now: float, deadline: float) -> float:
        """When data becomes due in a running invocation by time alone."""
        if not self._buffer.held_bytes or self._exporter.is_working:
            return _FOR_EVER
        _, oldest = self._buffer.pending()
        if not oldest:
            return _FOR_EVER
        due_at = policy.wake_at(oldest, deadline, self._latency)
        if self._waiting(now) >= (waiting := self._buffer.waiting_signals()):
            due_at = max(due_at, min(self._health[signal].retry_at for signal in waiting))
        return max(due_at, now + _LEAST_WAIT_S)

    def after_thaw(self) -> None:
        """The environment was probably frozen for long: connections to others are dead by now."""
        self._wants_new_connection = True

    def begin(self, now: float, until: float, *, everything: bool = False) -> None:
        """Begin a round that is over at `until`; with `everything`, also take what comes later."""
        self._until = until
        self._newest = _FOR_EVER if everything else now
        self._tried.clear()
        self._exports = len(self._sent) or self._exports
        self._sent.clear()
        self._buffer.expire(now - self.settings.queue_age_s)
        if everything:
            # However long the pause would have been: there is no later. All attempts are to fit.
            for health in self._health.values():
                health.answered()
                health.longest_pause_s = max(0.0, until - now) / self.last_attempts
            self._failed_attempts.clear()
            self._note_health()
        self.resume(now)

    def resume(self, now: float) -> bool:
        """Go on with the round; whether something is under way now."""
        exporter = self._exporter
        if exporter.state == BUSY:
            return True
        if now >= self._until:
            return False
        skip = self._waiting(now) | self._tried
        _, oldest = self._buffer.pending(skip)
        if not oldest or oldest > self._newest:
            return self.retry_at(now) < self._until
        if exporter.state == COLD:
            exporter.warm_up()
        elif exporter.state == BROKEN:
            self._buffer.drop_all(NO_SENDER)
        elif exporter.state == READY:
            self._send(now, skip)
        return exporter.is_working

    def retry_at(self, now: float) -> float:
        """When the last round asks a collector again that failed in it; in other rounds never."""
        if self._newest != _FOR_EVER or not self._is_failing:
            return _FOR_EVER
        waiting = (self._waiting(now) & self._buffer.waiting_signals()) - self._tried
        return min([self._health[signal].retry_at for signal in waiting], default=_FOR_EVER)

    def on_wake(self, now: float) -> None:
        """The exporter has something to tell."""
        was_broken = self._exporter.state == BROKEN
        finished = self._exporter.collect()
        if self._exporter.state == BROKEN and not was_broken:
            self._reporter.on_no_sender(self._exporter.problem)
        if finished is not None:
            job, result = finished
            self._settle(job, result, now)

    def cut(self) -> None:
        """Stop the export that is under way; its result follows at once, usually."""
        self._exporter.cut()

    def take_back(self) -> None:
        """The result does not follow: put the batch back and do not wait for it."""
        job = self._exporter.job
        if job is not None and not self._is_taken_back:
            self._is_taken_back = True
            self._buffer.put_back(job.batch)

    def _send(self, now: float, skip: AbstractSet[str]) -> None:
        batch = self._buffer.take(skip)
        while batch is not None and self._settlement.is_known_too_large(batch, now):
            batch = self._buffer.take(skip)
        if batch is None:
            return
        destination = self._destinations[batch.signal]
        health = self._health[batch.signal]
        timeout_s = min(destination.timeout_s, self._until - now)
        if health.outage and self._newest != _FOR_EVER:
            probe_s = hold_for_end(health.outage, self.settings.hold_s)
            # One that is only slow gets its time beside a handler; next is not held for it.
            timeout_s = min(timeout_s, max(probe_s, 2 * (health.latency or 0.0)))
        batch.was_sent = True
        self._sent.add(batch.signal)
        self._exporter.start(
            Job(
                batch,
                destination,
                timeout_s=max(timeout_s, 0.001),
                started=now,
                wants_new_connection=self._wants_new_connection,
            )
        )
        self._wants_new_connection = False

    def _settle(self, job: Job, result: Result, now: float) -> None:
        """Account for a finished job."""
        self.last_flush = now
        taken_back, self._is_taken_back = self._is_taken_back, False
        if taken_back and not self._buffer.retract(job.batch):
            return  # it has been dropped meanwhile, and is accounted for
        if not self._settlement.settle(job, result, now, was_frozen=taken_back):
            self._on_failed_attempt(job.batch.signal)
        self._note_health()

    def _on_failed_attempt(self, signal: str) -> None:
        """Not again in this round, unless it is the last one and there is time for it."""
        count = self._failed_attempts[signal] = self._failed_attempts.get(signal, 0) + 1
        is_last = self._newest == _FOR_EVER
        if not (is_last and count < self.last_attempts) or (
            self._health[signal].retry_at >= self._until
        ):
            self._tried.add(signal)

    def _note_health(self) -> None:
        """Keep what every decision needs of the three signals' health."""
        all_health = self._health.values()
        self._is_failing = any(health.failures for health in all_health)
        latencies = [health.latency for health in all_health if health.latency is not None]
        self._latency = max(latencies, default=None)

    def _waiting(self, now: float) -> AbstractSet[str]:
        """The signals whose collector is not to be asked yet."""
        if not self._is_failing:
            return _NONE
        return {signal for signal, health in self._health.items() if not health.is_ready(now)}
