"""The flusher that makes telemetry of the platform's records: when it works on them."""

from __future__ import annotations

import pytest

from lambdascope.wire.names import CONTENT_TYPE_PROTOBUF
from lambdascope_extension.buffer import Buffer, Message
from lambdascope_extension.export_config import read_export_config
from lambdascope_extension.exporter import READY
from lambdascope_extension.ledger import Ledger
from lambdascope_extension.telemetry_flusher import (
    LAST_REPORT_S,
    MAX_PENDING_BYTES,
    TelemetryFlusher,
)
from unit.extension.flusher_bench import FakeExporter


class FakeCollector:
    """Notes what it is asked for; `waits` as the test says; puts one body at the end."""

    def __init__(self, buffer: Buffer) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.waits = False
        self.fault = ""
        self._buffer = buffer

    def take(self, body: bytes, now: float) -> None:
        """One batch."""
        if self.fault:
            raise LookupError(self.fault)
        self.calls.append(("take", body, now))

    def collect(self, now: float, *, everything: bool = False) -> None:
        """Metrics."""
        self.calls.append(("collect", now, everything))
        message = Message(
            signal="metrics", kind=CONTENT_TYPE_PROTOBUF, body=b"m", items=1, received=now
        )
        assert self._buffer.put(message)


class Bench:
    """A telemetry flusher with a fake exporter and a fake collector; `made` counts collectors."""

    def __init__(self) -> None:
        self.buffer = Buffer(Ledger())
        self.exporter = FakeExporter()
        self.exporter.state = READY
        config = read_export_config({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}, own_port=4318)
        lines: list[str] = []
        self.flusher = TelemetryFlusher(self.buffer, self.exporter, config, lines.append)  # type: ignore[arg-type]
        self.collector = FakeCollector(self.buffer)
        self.made = 0
        self.flusher.use(self._make)  # type: ignore[arg-type]

    def _make(self) -> FakeCollector:
        self.made += 1
        return self.collector


def test_a_batch_is_worked_on_later() -> None:
    """Taking a batch only keeps it; it is worked on, and the collector made, when time is given."""
    bench = Bench()
    bench.flusher.take_batch(b"one")
    assert 0 == bench.made
    bench.flusher.resume(2.0)
    bench.flusher.resume(3.0)

    assert [("take", b"one", 2.0)] == bench.collector.calls


def test_an_export_takes_the_metrics_along() -> None:
    """When an export begins the collector is asked for metrics, which go with it."""
    bench = Bench()
    bench.flusher.take_batch(b"one")
    bench.flusher.begin(2.0, 3.0)

    assert [("take", b"one", 2.0), ("collect", 2.0, False)] == bench.collector.calls
    assert ["metrics"] == [job.batch.signal for job in bench.exporter.sent]


def test_without_records_nothing_is_made() -> None:
    """A platform without telemetry costs nothing: no collector is loaded, no metrics are sent."""
    bench = Bench()
    bench.flusher.begin(1.0, 2.0)
    bench.flusher.begin(5.0, 6.0, everything=True)
    assert not bench.flusher.resume(5.01)

    assert (0, []) == (bench.made, bench.exporter.sent)


def test_what_is_kept_is_bounded() -> None:
    """Batches that nobody has had time for are worked on before they take too much memory."""
    bench = Bench()
    half = b"x" * (MAX_PENDING_BYTES // 2)
    for _ in range(3):
        bench.flusher.take_batch(half)

    assert 2 == len(bench.collector.calls)


@pytest.mark.parametrize("comes", [False, True])
def test_the_last_report_is_waited_for(*, comes: bool) -> None:
    """At shutdown the collector is emptied when the last report is there, or after a limit."""
    bench = Bench()
    bench.flusher.take_batch(b"one")
    bench.collector.waits = True
    bench.flusher.begin(2.0, 3.8, everything=True)
    assert bench.flusher.resume(2.01)
    assert [("take", b"one", 2.0)] == bench.collector.calls
    assert 2.0 + LAST_REPORT_S == bench.flusher.retry_at(2.01)
    if comes:
        bench.flusher.take_batch(b"report")
        bench.collector.waits = False
    now = 2.02 if comes else 2.0 + LAST_REPORT_S
    assert bench.flusher.resume(now)

    assert ("collect", now, True) == bench.collector.calls[-1]
    assert ["metrics"] == [job.batch.signal for job in bench.exporter.sent]
    bench.flusher.resume(now + 0.01)
    assert bench.flusher.retry_at(now + 0.01) > 3.8
    assert 1 == [call[0] for call in bench.collector.calls].count("collect")


@pytest.mark.parametrize("comes", [True, False])
def test_the_first_batch_is_waited_for_too(*, comes: bool) -> None:
    """An environment of one short invocation ends before any record of it has come."""
    bench = Bench()
    bench.flusher.use(bench._make, lambda: True)  # type: ignore[arg-type]
    bench.flusher.begin(2.0, 3.8, everything=True)
    assert bench.flusher.resume(2.01)
    if comes:
        bench.flusher.take_batch(b"all")
    now = 2.02 if comes else 2.0 + LAST_REPORT_S
    bench.flusher.resume(now)

    assert int(comes) == bench.made
    assert comes == (("collect", now, True) in bench.collector.calls)


def test_a_fault_ends_this_part_alone(capfd: pytest.CaptureFixture[str]) -> None:
    """After a fault in the collector spans are exported as before, and one line says so."""
    bench = Bench()
    bench.collector.fault = "nobody thought of this"
    bench.flusher.take_batch(b"one")
    bench.flusher.take_batch(b"two")
    bench.flusher.resume(1.0)
    bench.flusher.take_batch(b"three")
    bench.flusher.begin(2.0, 3.0)
    bench.flusher.begin(4.0, 5.0, everything=True)
    assert not bench.flusher.resume(4.1)

    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("lambdascope: the platform's records are not used any more: LookupError")
    assert [] == bench.collector.calls
