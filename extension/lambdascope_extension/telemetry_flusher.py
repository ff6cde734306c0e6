"""The flusher of an extension that makes telemetry of the platform's records.

A batch is only kept when it comes, because the platform waits for the answer and an invocation may
wait for us; it is worked on when the lifecycle next lets the flusher go on, which is beside a
handler most of the time. Metrics are made when an export begins. Where the platform has no
telemetry, as AWS's emulators do not, nothing of all this is loaded and no metrics are made. At
shutdown the last report is waited for, within the lifecycle's limits.
"""

from __future__ import annotations

from lambdascope_extension.flusher import Flusher
from lambdascope_extension.say import describe_fault, say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope_extension.records.collector import Collector

# Records that nobody has worked on for so long that they would take too much memory.
MAX_PENDING_BYTES = 1_048_576
# How long the platform may take at shutdown to say what it has to say of the last invocation; it
# takes 5 ms on average. It is longer than the flight file waits, whose spans are joined too.
LAST_REPORT_S = 0.35


class TelemetryFlusher(Flusher):
    """A flusher as any other until `use` is called; nothing is loaded before the first batch."""

    _make: Callable[[], Collector] | None = None
    _hopes: Callable[[], bool] | None = None
    _collector: Collector | None = None
    _last_records_until: float | None = None
    _is_settled = False
    _pending: list[bytes]
    _pending_bytes = 0

    def use(self, make: Callable[[], Collector], hopes: Callable[[], bool] | None = None) -> None:
        """Make telemetry of records with the collector that `make` gives.

        `hopes` tells whether records must be on their way, though none has come: an environment
        that lives for one short invocation is told to end before the first batch.
        """
        self._make = make
        self._hopes = hopes
        self._pending = []

    def take_batch(self, body: bytes) -> None:
        """A batch of records has come and been answered."""
        if self._make is None:
            return
        if self._pending_bytes + len(body) > MAX_PENDING_BYTES:
            self._work(0.0)
        self._pending.append(body)
        self._pending_bytes += len(body)

    def begin(self, now: float, until: float, *, everything: bool = False) -> None:
        """Begin a round, with the metrics that are due."""
        super().begin(now, until, everything=everything)
        if self._make is None:
            return
        self._work(now)
        if everything:
            self._last_records_until = min(until, now + LAST_REPORT_S)
        elif self._collector is not None:
            self._guarded(lambda collector: collector.collect(now))
        self.resume(now)

    def resume(self, now: float) -> bool:
        """Work on what has come, and go on with the round."""
        if self._pending_bytes:
            self._work(now)
        if self._last_records_until is not None and not self._is_settled:
            return self._resume_last(now, self._last_records_until)
        return super().resume(now)

    def retry_at(self, now: float) -> float:
        """When something may be due by time alone at shutdown: also the end of that wait."""
        retry_at = super().retry_at(now)
        limit = self._last_records_until
        return retry_at if limit is None or self._is_settled else min(retry_at, limit)

    def _resume_last(self, now: float, limit: float) -> bool:
        """While records may come at shutdown, wait for them beside the export."""
        collector = self._collector
        if collector is None and now < limit and self._hopes is not None and self._hopes():
            super().resume(now)
            return True
        if collector is not None:
            if collector.waits and now < limit:
                super().resume(now)
                return True
            self._guarded(lambda known: known.collect(now, everything=True))
        self._is_settled = True
        return super().resume(now)

    def _work(self, now: float) -> None:
        bodies, self._pending = self._pending, []
        self._pending_bytes = 0
        for body in bodies:
            self._guarded(lambda collector, body=body: collector.take(body, now))  # type: ignore[misc]

    def _guarded(self, step: Callable[[Collector], None]) -> None:
        """A fault in here must not stop the export of spans, so it ends this part alone."""
        try:
            if self._collector is None and self._make is not None:
                self._collector = self._make()
            if self._collector is not None:
                step(self._collector)
        except Exception as error:  # noqa: BLE001 - the edge to a part that others do without
            say(f"the platform's records are not used any more: {describe_fault(error)}")
            self._make = self._collector = None
