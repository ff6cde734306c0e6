"""Runs rounds of exports: which batch goes next, what its result means, what is said about it.

The lifecycle starts a round when the flush policy says so, lets it go on whenever the exporter has
something to tell, and ends it before it asks for the next event. A round exports what was there
when it began. All times are monotonic seconds; nothing here blocks.
"""

from __future__ import annotations

from lambdascope_extension.answers import CUT, EXPORTED, RETRY, Result
from lambdascope_extension.exporter import BROKEN, BUSY, COLD, READY, Exporter, Job
from lambdascope_extension.flush_policy import State, hold_for_end
from lambdascope_extension.health import Health
from lambdascope_extension.ledger import SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lambdascope_extension.buffer import Buffer
    from lambdascope_extension.export_config import Destination, ExportConfig

NO_SENDER = "no_sender"
_MAX_LINES = 8
_FOR_EVER = float("inf")


class Flusher:
    """`hold_s` is the longest hold that the user allows, `last_flush` when an export ended last,
    None before the first.
    """

    def __init__(
        self,
        buffer: Buffer,
        exporter: Exporter,
        config: ExportConfig,
        say: Callable[[str], None],
    ) -> None:
        self.hold_s = config.hold_s
        self.last_flush: float | None = None
        self._buffer = buffer
        self._exporter = exporter
        self._destinations = config.destinations
        self._say = say
        self._said: set[str] = set()
        self._health = {signal: Health() for signal in SIGNALS}
        self._wants_new_connection = False
        self._is_taken_back = False
        # The round.
        self._until = 0.0
        self._newest = 0.0
        self._tried: set[str] = set()

    @property
    def holds_anything(self) -> bool:
        """Whether there is anything that is not exported or dropped."""
        return self._buffer.held_bytes > 0

    @property
    def is_sending(self) -> bool:
        """Whether a request may be under way to the collector."""
        return self._exporter.state == BUSY

    def state(
        self, now: float, deadline: float | None, invocations: int, arrivals: Sequence[float]
    ) -> State:
        """What the flush policy is to know."""
        waiting = self._waiting(now)
        size, oldest = self._buffer.pending(waiting) if self._buffer.held_bytes else (0, 0.0)
        state = State(
            now=now,
            deadline=deadline,
            pending_bytes=size,
            oldest=oldest,
            invocations=invocations,
            arrivals=arrivals,
        )
        asked = [health for signal, health in self._health.items() if signal not in waiting]
        state.last_flush = self.last_flush
        state.failures = min([health.failures for health in asked], default=0)
        state.latency = max([one.latency for one in asked if one.latency is not None], default=None)
        return state

    def after_thaw(self) -> None:
        """The environment was probably frozen for long: connections to others are dead by now."""
        self._wants_new_connection = True

    def begin(self, now: float, until: float, *, everything: bool = False) -> None:
        """Begin a round that is over at `until`; with `everything`, also take what comes later."""
        self._until = until
        self._newest = _FOR_EVER if everything else now
        self._tried.clear()
        if everything:
            for health in self._health.values():
                health.retry_at = 0.0
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
            return False
        if exporter.state == COLD:
            exporter.warm_up()
        elif exporter.state == BROKEN:
            self._buffer.drop_all(NO_SENDER)
        elif exporter.state == READY:
            self._send(now, skip)
        return exporter.is_working

    def on_wake(self, now: float) -> None:
        """The exporter has something to tell."""
        was_broken = self._exporter.state == BROKEN
        finished = self._exporter.collect()
        if self._exporter.state == BROKEN and not was_broken:
            self._say(
                "cannot load the sender, telemetry is counted and dropped: "
                f"{self._exporter.problem}; add the package `requests` to the layer or environment "
                "of the extension"
            )
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

    def _send(self, now: float, skip: set[str]) -> None:
        batch = self._buffer.take(skip)
        if batch is None:
            return
        destination = self._destinations[batch.signal]
        health = self._health[batch.signal]
        timeout_s = min(destination.timeout_s, self._until - now)
        if health.failures and self._newest != _FOR_EVER:
            timeout_s = min(timeout_s, hold_for_end(health.failures, self.hold_s))
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
        batch, signal, health = job.batch, job.batch.signal, self._health[job.batch.signal]
        self.last_flush = now
        taken_back, self._is_taken_back = self._is_taken_back, False
        if taken_back and not self._buffer.retract(batch):
            return  # it has been dropped meanwhile, and is accounted for
        if result.outcome == EXPORTED:
            self._buffer.exported(batch, rejected=result.rejected if signal == "traces" else 0)
            health.succeeded(result.elapsed)
            self._say_partial(job.destination, result)
        elif result.outcome in (RETRY, CUT):
            self._buffer.put_back(batch)
            self._tried.add(signal)
            if result.outcome == CUT:
                health.was_cut(now, now - job.started)
                result.reason = f"no answer within {now - job.started:.1f} s"
                result.hint = "look at the collector and the way to it"
            else:
                health.failed(now, result.retry_after)
            self._say_failure(job.destination, result, "kept for another try")
        else:
            self._buffer.drop(batch, f"status_{result.status}" if result.status else "failed")
            health.answered()
            self._say_failure(job.destination, result, f"{batch.items} dropped")

    def _waiting(self, now: float) -> set[str]:
        """The signals whose collector is not to be asked yet."""
        return {signal for signal, health in self._health.items() if not health.is_ready(now)}

    def _say_failure(self, destination: Destination, result: Result, what: str) -> None:
        text = f"{result.status or result.reason}"
        if text.startswith("no answer"):
            text = "no answer"
        if text not in self._said and len(self._said) < _MAX_LINES:
            self._said.add(text)
            self._say(
                f"export of {destination.signal} to {destination.shown} failed: {result.reason}; "
                f"{what}; {result.hint}"
            )

    def _say_partial(self, destination: Destination, result: Result) -> None:
        if (result.rejected or result.message) and "partial" not in self._said:
            self._said.add("partial")
            self._say(
                f"{destination.shown} rejected {result.rejected} items of a request for "
                f"{destination.signal}: {result.message or 'without a reason'}"
            )
