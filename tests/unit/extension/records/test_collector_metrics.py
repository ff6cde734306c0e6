"""From the platform's records to metrics, the extension's own figures among them."""

from __future__ import annotations

import pytest

from lambdascope.otlp import names
from lambdascope.wire.names import ENV_METRIC_INTERVAL, ENV_OTLP_TEMPORALITY
from lambdascope_extension.hold import BOUNDS_S
from unit.extension.records.platform_kit import (
    SPAN_ID,
    TRACE_ID,
    WARM,
    Kit,
    cold,
    done,
    handed_over_spans,
    report,
    start,
)


def test_metrics_of_a_cold_and_a_warm_invocation() -> None:
    """Everything that the conventions name and the platform knows is counted once each."""
    kit = cold(Kit())
    kit.handed_over.remember("r2", handed_over_spans("r2", **{"faas.trigger": "timer"}))
    kit.take(start("r2", 900), done("r2", 913), report("r2", 940, **WARM))
    made = kit.finish()

    assert {("http",): (1, 0.0131), ("timer",): (1, 0.0131)} == made.values(
        names.FAAS_INVOKE_DURATION
    )
    assert {("http",): 1, ("timer",): 1} == made.values(names.FAAS_INVOCATIONS)
    assert {("http",): 1} == made.values(names.FAAS_COLDSTARTS)
    assert {(): (1, 0.1205)} == made.values(names.FAAS_INIT_DURATION)
    assert {("http",): (1, 41.0 * (1 << 20)), ("timer",): (1, 50.0 * (1 << 20))} == made.values(
        names.FAAS_MEM_USAGE
    )
    assert {(): (2, 0.0522)} == made.values(names.LAMBDASCOPE_EXTENSION_OVERHEAD)
    assert names.FAAS_ERRORS not in made.metrics
    (point,) = made.metrics[names.FAAS_INIT_DURATION].histogram.data_points
    assert list(names.LONG_DURATION_BOUNDS) == list(point.explicit_bounds)
    exemplar = made.metrics[names.FAAS_INVOKE_DURATION].histogram.data_points[0].exemplars[0]
    assert (TRACE_ID, SPAN_ID) == (exemplar.trace_id, exemplar.span_id)


def test_metrics_wait_for_their_interval() -> None:
    """After the first ones there is one export of metrics an interval, and not one a call."""
    kit = Kit(**{ENV_METRIC_INTERVAL: "5000"})
    kit.collector.collect(1.0)
    assert {} == kit.made().metrics
    cold(kit)
    kit.collector.collect(2.0)
    assert {("http",): 1} == kit.made().values(names.FAAS_INVOCATIONS)
    for number in range(20):
        kit.handed_over.remember(f"r{number}", handed_over_spans(f"r{number}"))
        kit.take(start(f"r{number}"), done(f"r{number}"), report(f"r{number}", **WARM), now=3.0)
        kit.collector.collect(3.0 + number / 10)
    assert {} == kit.made().metrics
    kit.collector.collect(7.0)
    assert {("http",): 20} == kit.made().values(names.FAAS_INVOCATIONS)
    assert names.FAAS_INVOCATIONS not in kit.finish().metrics


def test_cumulative_metrics_when_asked() -> None:
    """The standard's preference keeps the counts from one export to the next."""
    kit = Kit(**{ENV_OTLP_TEMPORALITY: "CUMULATIVE", ENV_METRIC_INTERVAL: "0"})
    cold(kit)
    kit.collector.collect(2.0)
    kit.made()
    made = kit.finish(3.0)

    assert {("http",): 1} == made.values(names.FAAS_INVOCATIONS)
    assert (
        names.TEMPORALITY_CUMULATIVE
        == made.metrics[names.FAAS_INVOCATIONS].sum.aggregation_temporality
    )


def test_own_figures_are_metrics() -> None:
    """What was accepted, exported, dropped by reason, held and refused, and the own cost."""
    kit = cold(Kit())
    ledger = kit.buffer.ledger
    ledger.accept("traces", 10)
    ledger.export("traces", 6)
    ledger.drop("traces", 3, "status_400")
    ledger.refuse("wrong_token")
    kit.collector.collect(2.0)
    first = kit.made()
    ledger.export("traces", 1)
    second = kit.finish(3.0)

    assert 12 == first.values(names.LAMBDASCOPE_EXTENSION_ACCEPTED)[("traces",)]
    assert 6 == first.values(names.LAMBDASCOPE_EXTENSION_EXPORTED)[("traces",)]
    assert {("traces", "status_400"): 3} == first.values(names.LAMBDASCOPE_EXTENSION_DROPPED)
    assert 3 == first.values(names.LAMBDASCOPE_EXTENSION_HELD)[("traces",)]
    assert {("wrong_token",): 1} == first.values(names.LAMBDASCOPE_EXTENSION_REFUSED)
    assert first.values(names.LAMBDASCOPE_EXTENSION_CPU_TIME)[()] > 0
    assert first.values(names.LAMBDASCOPE_EXTENSION_MEMORY_USAGE)[()] > 1_000_000
    assert 1 == second.values(names.LAMBDASCOPE_EXTENSION_EXPORTED)[("traces",)]
    assert names.LAMBDASCOPE_EXTENSION_REFUSED not in second.metrics


def test_own_holds_are_a_histogram() -> None:
    """How long the extension kept environments is exported as it was measured, in its buckets."""
    kit = cold(Kit(**{ENV_METRIC_INTERVAL: "0"}))
    hold(kit, 0.0015)
    hold(kit, 0.3)
    kit.collector.collect(2.0)
    first = kit.made()
    hold(kit, 5.0)
    second = kit.finish(3.0)

    assert {(): (2, 0.3015)} == first.values(names.LAMBDASCOPE_EXTENSION_HOLD)
    (point,) = second.metrics[names.LAMBDASCOPE_EXTENSION_HOLD].histogram.data_points
    assert list(BOUNDS_S) == list(point.explicit_bounds)
    assert [*[0] * len(BOUNDS_S), 1] == list(point.bucket_counts)
    assert 5.0 == pytest.approx(point.sum)
    assert not point.HasField("max")


def hold(kit: Kit, seconds: float) -> None:
    """An invocation after which next was asked for so much later."""
    kit.meter.on_begin(1.0)
    kit.meter.on_end(2.0)
    kit.meter.on_next(2.0 + seconds, is_busy=False)
