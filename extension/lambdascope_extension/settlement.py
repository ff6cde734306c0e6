"""What the result of an export means for its batch: counted, kept, cut in two, or dropped.

The flusher calls it once for every finished export. It is the only place where a result moves
anything in the ledger. All times are monotonic seconds. Source: OTLP specification 1.11, "OTLP/HTTP
Response".
"""

from __future__ import annotations

from lambdascope.wire.names import BAD_REQUEST, CONTENT_TYPE_PROTOBUF, PAYLOAD_TOO_LARGE
from lambdascope_extension.answers import CUT, EXPORTED, REFUSED, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope_extension.batch import Batch
    from lambdascope_extension.buffer import Buffer
    from lambdascope_extension.exporter import Job
    from lambdascope_extension.health import Health
    from lambdascope_extension.reporter import Reporter

TOO_LARGE = "too_large"
# A collector that refuses everything is not asked about every single message: so many batches in a
# row are cut in two before one is taken, or else dropped whole.
_MAX_SPLITS = 64
# How long a size that was refused is taken for refused.
_REMEMBER_S = 60.0


class Settlement:
    """`health` is per signal and is told about every result."""

    __slots__ = ("_buffer", "_health", "_reporter", "_splits", "_too_large")

    def __init__(self, buffer: Buffer, health: dict[str, Health], reporter: Reporter) -> None:
        self._buffer = buffer
        self._health = health
        self._reporter = reporter
        self._splits = dict.fromkeys(health, 0)
        # The smallest size that was refused as too large, and when, for each signal.
        self._too_large: dict[str, tuple[int, float]] = {}

    def is_known_too_large(self, batch: Batch, now: float) -> bool:
        """Cut or drop a batch that is as large as one that was refused; whether that was done.

        Not one that was sent before: only under its id can a collector recognise it.
        """
        size, since = self._too_large.get(batch.signal, (0, 0.0))
        if not size or batch.was_sent or len(batch.body) < size or now - since > _REMEMBER_S:
            return False
        if not self._buffer.split(batch):
            self._buffer.drop(batch, TOO_LARGE)
        return True

    def settle(self, job: Job, result: Result, now: float, *, was_frozen: bool) -> bool:
        """Account for a finished job; whether its signal may go on at once.

        `was_frozen`: the environment may have been frozen in the middle of it, so that a broken
        connection says nothing about the collector.
        """
        if result.outcome == EXPORTED:
            self._on_exported(job, result)
        elif result.outcome == REFUSED:
            self._on_refused(job, result, now)
        else:
            self._on_not_taken(job, result, now, was_frozen=was_frozen)
            return False
        return True

    def _on_exported(self, job: Job, result: Result) -> None:
        batch = job.batch
        # The collector counts spans and log records as the ledger does, but of metrics the points.
        is_counted = batch.signal != "metrics" and (
            batch.signal == "traces" or batch.kind == CONTENT_TYPE_PROTOBUF
        )
        self._buffer.exported(batch, rejected=result.rejected if is_counted else 0)
        self._splits[batch.signal] = 0
        self._health[batch.signal].succeeded(result.elapsed)
        self._reporter.on_exported(job.destination, result)

    def _on_refused(self, job: Job, result: Result, now: float) -> None:
        batch, signal = job.batch, job.batch.signal
        self._health[signal].answered()
        is_too_large = result.status == PAYLOAD_TOO_LARGE
        if is_too_large:
            self._buffer.limit(signal, len(batch.body) // 2)
            self._too_large[signal] = len(batch.body), now
        # Only one of several senders may have sent garbage; a message is one sender's.
        may_split = is_too_large or (
            result.status == BAD_REQUEST
            and len(batch.parts) > 1
            and self._splits[signal] < _MAX_SPLITS
        )
        if may_split and self._buffer.split(batch):
            self._splits[signal] += 1
            self._reporter.on_failed(job.destination, result, "cut in two and sent again")
            return
        reason = f"status_{result.status}" if result.status else "failed"
        self._buffer.drop(batch, TOO_LARGE if is_too_large else reason)
        self._reporter.on_failed(job.destination, result, f"{batch.items} dropped", is_final=True)

    def _on_not_taken(self, job: Job, result: Result, now: float, *, was_frozen: bool) -> None:
        batch = job.batch
        self._buffer.put_back(batch)
        if was_frozen and not result.status:
            return
        if result.outcome == CUT:
            self._health[batch.signal].was_cut(now, now - job.started)
        else:
            self._health[batch.signal].failed(now, result.retry_after)
        self._reporter.on_failed(job.destination, result, "kept for another try")
