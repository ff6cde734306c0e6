"""Turns batches of the Telemetry API into bodies of traces, metrics and logs in the buffer.

The telemetry flusher hands it batches after they have been answered, beside a handler where it can,
and asks it for metrics when an export begins. Everything here is loaded with the first batch. A
record that cannot be understood is counted; nothing raises on what a batch holds.
"""

from __future__ import annotations

from time import time_ns

from lambdascope import __version__
from lambdascope.otlp import names as otel
from lambdascope.otlp.encode import TraceEncoder
from lambdascope.otlp.log_encode import LogEncoder
from lambdascope.otlp.metric_encode import MetricEncoder
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.names import CONTENT_TYPE_PROTOBUF
from lambdascope.wire.telemetry_api import parse_batch
from lambdascope_extension.buffer import Message
from lambdascope_extension.records import record as kinds
from lambdascope_extension.records.aggregate import Aggregates
from lambdascope_extension.records.invocations import Invocations
from lambdascope_extension.records.lines import MAX_WAIT_S, Lines
from lambdascope_extension.records.resource import resource_attributes
from lambdascope_extension.records.self_metrics import SelfMetrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope_extension.buffer import Buffer
    from lambdascope_extension.hold import HoldMeter
    from lambdascope_extension.platform_config import PlatformConfig
    from lambdascope_extension.records.joins import Joins


class Collector:
    """`say` gets a line when the platform dropped records. All times are monotonic seconds."""

    def __init__(
        self,
        buffer: Buffer,
        joins: Joins,
        *,
        meter: HoldMeter,
        config: PlatformConfig,
        environ: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self._buffer = buffer
        self._config = config
        self._interval_s = config.interval_s
        self._environ = environ
        self._say = say
        self._counts = Aggregates(
            time_ns(), is_cumulative=config.is_cumulative, is_exponential=config.is_exponential
        )
        self._invocations = Invocations(joins, self._counts, with_spans=config.spans)
        self._lines = Lines(joins)
        self._self = SelfMetrics(buffer, meter)
        self._instance = ""
        self._encoders: tuple[TraceEncoder, MetricEncoder, LogEncoder] | None = None
        self._collected_at: float | None = None
        self._lines_since: float | None = None

    @property
    def waits(self) -> bool:
        """Whether the platform has more to say of some invocation."""
        return self._invocations.waits_for_report

    def take(self, body: bytes, now: float) -> None:
        """One batch."""
        try:
            items = parse_batch(body)
        except RemoteProtocolError:
            self._problem("not_a_batch")
            return
        for item in items:
            kind = item.get("type")
            if kind in (kinds.FUNCTION, kinds.EXTENSION):
                self._take_line(item)
            else:
                self._take_record(item)
        self._invocations.settle()
        self._put(now)

    def collect(self, now: float, *, everything: bool = False) -> None:
        """Put metrics into the buffer if their interval is over, and lines that waited long.

        `everything`: no more records come.
        """
        if everything:
            self._invocations.settle(everything=True)
        waited_long = self._lines_since is not None and now - self._lines_since >= MAX_WAIT_S
        if self._lines.waiting and (everything or waited_long):
            self._lines.release(self._all_encoders()[2], everything=True)
        self._put(now)
        since = self._collected_at
        # The first go as soon as there is an invocation in them.
        is_due = self._invocations.settled if since is None else now - since >= self._interval_s
        if everything or is_due:
            self._put_metrics(now)

    def _take_record(self, item: dict[str, object]) -> None:
        record = kinds.read_record(item)
        counts = self._counts
        is_known = "" not in record.unknown
        kind = record.kind if is_known else "unknown"
        counts.add(otel.LAMBDASCOPE_TELEMETRY_RECORDS, 1, ((otel.LAMBDASCOPE_RECORD_TYPE, kind),))
        if record.unknown:
            self._problem("unknown_field" if is_known else "unknown_type")
        if record.kind in (kinds.INIT_START, kinds.RESTORE_START):
            self._instance = record.text("instanceId") or self._instance
        elif record.kind == kinds.LOGS_DROPPED:
            self._on_logs_dropped(record)
        self._invocations.take(record)

    def _on_logs_dropped(self, record: kinds.PlatformRecord) -> None:
        count, size = record.number("droppedRecords"), record.number("droppedBytes")
        self._counts.add(otel.LAMBDASCOPE_TELEMETRY_DROPPED_RECORDS, count)
        self._counts.add(otel.LAMBDASCOPE_TELEMETRY_DROPPED_SIZE, size)
        reason = record.text("reason") or "without a reason"
        self._say(f"the platform dropped {count:g} telemetry records, {size:g} bytes: {reason}")

    def _take_line(self, item: dict[str, object]) -> None:
        if self._config.log_types:
            time = item.get("time")
            self._lines.take(
                self._all_encoders()[2],
                item,
                kinds.parse_time(time) if isinstance(time, str) else 0,
                self._invocations.running(),
            )

    def _problem(self, reason: str) -> None:
        about = ((otel.LAMBDASCOPE_REASON, reason),)
        self._counts.add(otel.LAMBDASCOPE_TELEMETRY_PROBLEMS, 1, about)

    def _put(self, now: float) -> None:
        """Put the spans and the lines that are ready into the buffer."""
        spans, lines = self._invocations.spans, self._lines
        if spans:
            body = self._all_encoders()[0].encode(spans)
            self._message("traces", body, len(spans), now)
            spans.clear()
        if lines.waiting:
            lines.release(self._all_encoders()[2])
        self._lines_since = (self._lines_since or now) if lines.waiting else None
        if lines.ready:
            self._message("logs", self._all_encoders()[2].wrap(lines.ready), len(lines.ready), now)
            lines.ready.clear()

    def _put_metrics(self, now: float) -> None:
        self._collected_at = now
        if not self._config.metrics:
            return
        self._self.read(self._counts)
        metrics = self._counts.collect(time_ns())
        self._message("metrics", self._all_encoders()[1].encode(metrics), len(metrics), now)

    def _message(self, signal: str, body: bytes, items: int, now: float) -> None:
        message = Message(
            signal=signal, kind=CONTENT_TYPE_PROTOBUF, body=body, items=items, received=now
        )
        if not self._buffer.put(message):
            ledger = self._buffer.ledger
            ledger.accept(signal, items)
            ledger.drop(signal, items, "buffer_full")

    def _all_encoders(self) -> tuple[TraceEncoder, MetricEncoder, LogEncoder]:
        """Made late: the log stream's name, which the resource has, comes in a record."""
        if self._encoders is None:
            resource = resource_attributes(self._environ, self._instance)
            self._encoders = (
                TraceEncoder(
                    resource=resource,
                    scope_name=otel.SCOPE_EXTENSION,
                    scope_version=__version__,
                    schema_url=otel.SCHEMA_URL,
                ),
                MetricEncoder(
                    resource=resource,
                    scope_name=otel.SCOPE_EXTENSION,
                    scope_version=__version__,
                    schema_url=otel.SCHEMA_URL,
                ),
                LogEncoder(
                    resource=resource,
                    scope_name=otel.SCOPE_EXTENSION,
                    scope_version=__version__,
                    schema_url=otel.SCHEMA_URL,
                ),
            )
        return self._encoders
