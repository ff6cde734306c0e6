"""Metrics and logs of handlers that use OpenTelemetry, read back behind a real collector."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from observed import one, running

if TYPE_CHECKING:
    from pathlib import Path

    from collector import Collector
    from otlp_recorder import Item

pytestmark = pytest.mark.collector

COUNTS = """
    import sys
    from opentelemetry import metrics

    meter = metrics.get_meter("orders", "1.2")
    taken = meter.create_counter("orders.taken", unit="{order}", description="Orders")
    sizes = meter.create_histogram("orders.size", unit="By")
    open_orders = meter.create_up_down_counter("orders.open")

    def handler(event, context):
        before = "opentelemetry.sdk.metrics" in sys.modules
        if event:
            taken.add(2, {"kind": "new"})
            sizes.record(17.5)
            open_orders.add(1)
        return before, "opentelemetry.sdk.metrics" in sys.modules
"""
OBSERVES = """
    from opentelemetry import metrics

    def look(options):
        yield metrics.Observation(42, {"queue": "a"})

    metrics.get_meter("orders").create_observable_gauge("orders.waiting", [look])

    def handler(event, context):
        pass
"""
LOGS_OF_THE_API = """
    from opentelemetry import trace
    from opentelemetry._logs import SeverityNumber, get_logger

    logger = get_logger("orders", "1.2")
    tracer = trace.get_tracer("orders")

    def handler(event, context):
        with tracer.start_as_current_span("outer"):
            logger.emit(
                body={"order": 17}, severity_number=SeverityNumber.WARN, severity_text="WARN",
                attributes={"where": "here"}, event_name="order.taken",
            )
"""
PYTHON_LOGGING = """
    import logging

    class Odd:
        def __repr__(self):
            raise ValueError("no text")

    def handler(event, context):
        logger = logging.getLogger("orders")
        logger.warning("taken %s", 17, extra={"customer": 7, "odd": Odd()})
        try:
            raise KeyError("gone")
        except KeyError:
            logger.exception("failed")
"""


def metrics_of(tmp_path: Path, collector: Collector, source: str, **variables: str) -> list[Item]:
    """The metrics of an environment that served three events, and how they were asked for."""
    with running(
        tmp_path, source, endpoint=collector.http_endpoint, variables=variables
    ) as function:
        for _ in range(3):
            function.invoke(b"1")
        function.shutdown()
    return collector.wait_for_metrics(1)


def points(metrics: list[Item], name: str) -> list[Any]:
    """The points of all metrics of a name, in the order in which they came."""
    kinds = ("sum", "gauge", "histogram")
    found = [metric for metric in metrics if metric["name"] == name]
    return [
        point
        for metric in found
        for kind in kinds
        for point in metric.get(kind, {}).get("dataPoints", ())
    ]


def test_meters_are_not_one_point_a_call(collector: Collector, tmp_path: Path) -> None:
    """Deltas are collected after the first response and at the end: their sum is what was added."""
    metrics = metrics_of(tmp_path, collector, COUNTS)
    taken = points(metrics, "orders.taken")

    assert [2, 4] == [int(point["asInt"]) for point in taken]
    assert ["{order}", "Orders"] == [one_of(metrics, "orders.taken")[k] for k in KEYS]
    assert {1} == {m["sum"]["aggregationTemporality"] for m in metrics if m["name"] == TAKEN}
    assert 3 == sum(int(point["count"]) for point in points(metrics, "orders.size"))
    assert 3 == int(points(metrics, "orders.open")[-1]["asInt"])


TAKEN = "orders.taken"
KEYS = ("unit", "description")


def one_of(metrics: list[Item], name: str) -> Item:
    """The first metric of that name."""
    return next(metric for metric in metrics if metric["name"] == name)


def test_an_interval_of_nothing_is_a_point_a_call(collector: Collector, tmp_path: Path) -> None:
    """Whoever wants a point for each invocation asks for it with the standard variable."""
    metrics = metrics_of(tmp_path, collector, COUNTS, OTEL_METRIC_EXPORT_INTERVAL="0")

    assert [2, 2, 2] == [int(point["asInt"]) for point in points(metrics, TAKEN)]


def test_cumulative_when_asked(collector: Collector, tmp_path: Path) -> None:
    """The preference of the exporter's variable is honoured."""
    preference = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "cumulative"}
    metrics = metrics_of(tmp_path, collector, COUNTS, **preference)

    assert [2, 6] == [int(point["asInt"]) for point in points(metrics, TAKEN)]


def test_the_sdk_comes_with_the_first_measurement(collector: Collector, tmp_path: Path) -> None:
    """Instruments that are not used load nothing; the caller does not wait for the others."""
    with running(tmp_path, COUNTS, endpoint=collector.http_endpoint) as function:
        seen = [json.loads(function.invoke(event).answer) for event in (b"0", b"0", b"1", b"0")]

    assert [[False, False], [False, False], [False, False], [True, True]] == seen


def test_observed_when_collected(collector: Collector, tmp_path: Path) -> None:
    """An instrument with callbacks is asked when metrics are collected."""
    metrics = metrics_of(tmp_path, collector, OBSERVES)

    assert {42} == {int(point["asInt"]) for point in points(metrics, "orders.waiting")}


def test_records_of_the_logs_api(collector: Collector, tmp_path: Path) -> None:
    """A record has its span's ids, its scope, severity, event name and structured body."""
    with running(tmp_path, LOGS_OF_THE_API, endpoint=collector.http_endpoint) as function:
        function.invoke()
        function.shutdown()
    (record,) = collector.wait_for_log_records(1)
    outer = one(collector.wait_for_spans(4), "outer")

    assert (outer["traceId"], outer["spanId"]) == (record["traceId"], record["spanId"])
    assert (13, "WARN") == (record["severityNumber"], record["severityText"])
    assert "order.taken" == record["eventName"]
    assert {"where": "here"} == record["attributes"]
    assert {"order": 17} == record["body"]


def test_python_logging_when_asked(collector: Collector, tmp_path: Path) -> None:
    """Records of `logging` arrive with the invocation's ids, extras and exception."""
    asked = {"OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true"}
    with running(
        tmp_path, PYTHON_LOGGING, endpoint=collector.http_endpoint, variables=asked
    ) as function:
        function.invoke()
        function.shutdown()
    taken, failed = collector.wait_for_log_records(2)
    invoke = one(collector.wait_for_spans(3), "shop")

    assert ("taken 17", 13, "WARNING") == (
        taken["body"],
        taken["severityNumber"],
        taken["severityText"],
    )
    assert (invoke["traceId"], invoke["spanId"]) == (taken["traceId"], taken["spanId"])
    assert 7 == taken["attributes"]["customer"]
    assert "handler" == taken["attributes"]["code.function.name"]
    assert "KeyError" == failed["attributes"]["exception.type"]
    assert "KeyError: 'gone'" in failed["attributes"]["exception.stacktrace"]
