"""Without an extension: the runtime exports by itself after the response, to a real collector."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from observed import named, one, running

if TYPE_CHECKING:
    from pathlib import Path

    from collector import Collector

pytestmark = pytest.mark.collector

ALL_SIGNALS = """
    import logging
    from opentelemetry import metrics, trace

    tracer = trace.get_tracer("orders", "1.2")
    taken = metrics.get_meter("orders").create_counter("orders.taken")
    sizes = metrics.get_meter("orders").create_histogram("orders.size")

    def handler(event, context):
        with tracer.start_as_current_span("outer", kind=trace.SpanKind.CLIENT) as span:
            span.add_event("looked", {"where": ["here", "there"]})
            span.set_status(trace.StatusCode.ERROR, "sold out")
            logging.getLogger("orders").warning("inside")
        taken.add(2)
        sizes.record(17.5)
        return event
"""
PLAIN = """
    import sys

    def handler(event, context):
        return "opentelemetry.sdk" in sys.modules
"""
RAISES = """
    def handler(event, context):
        raise LookupError("no order 17")
"""


def settings(collector: Collector, protocol: str) -> dict[str, Any]:
    """The settings of a function that has a collector and no extension."""
    grpc = protocol == "grpc"
    variables = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.grpc_endpoint if grpc else collector.http_endpoint,
        "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
    }
    return {"endpoint": None, "own_extension": False, "variables": variables}


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_all_signals(collector: Collector, tmp_path: Path, protocol: str) -> None:
    """Our phases, the function's spans, metrics and logs arrive over either protocol."""
    with running(tmp_path, ALL_SIGNALS, **settings(collector, protocol)) as function:
        assert b"{}" == function.invoke().answer
        spans = collector.wait_for_spans(4)
        metrics = collector.wait_for_metrics(2)
        (record,) = collector.wait_for_log_records(1)
    invoke, outer, init = (one(spans, name) for name in ("shop", "outer", "init shop"))

    assert invoke["spanId"] == outer["parentSpanId"] == init["parentSpanId"]
    assert invoke["attributes"]["faas.coldstart"] is True
    assert 3 == outer["kind"]
    assert {"code": 2, "message": "sold out"} == outer["status"]
    assert ["looked"] == [event["name"] for event in outer["events"]]
    taken, size = one(metrics, "orders.taken"), one(metrics, "orders.size")
    assert ["2"] == [point["asInt"] for point in taken["sum"]["dataPoints"]]
    assert [17.5] == [point["sum"] for point in size["histogram"]["dataPoints"]]
    assert [{"where": ["here", "there"]}] == [event["attributes"] for event in outer["events"]]
    assert ("orders", "1.2") == (outer["scope"]["name"], outer["scope"]["version"])
    assert (outer["traceId"], outer["spanId"]) == (record["traceId"], record["spanId"])
    assert "inside" == record["body"]


def test_nothing_is_loaded_before_the_answer(collector: Collector, tmp_path: Path) -> None:
    """A plain handler has its answer out before the exporter is loaded, and every span arrives."""
    with running(tmp_path, PLAIN, **settings(collector, "http/protobuf")) as function:
        first, *_ = [json.loads(function.invoke().answer) for _ in range(3)]
        spans = collector.wait_for_spans(3 * 2 + 1)

    assert first is False
    assert 3 == len(named(spans, "shop"))


def test_a_failure(collector: Collector, tmp_path: Path) -> None:
    """The exception arrives as the status, attribute and event that conventions ask for."""
    with running(tmp_path, RAISES, **settings(collector, "http/protobuf")) as function:
        function.invoke()
        invoke = one(collector.wait_for_spans(3), "shop")

    assert "LookupError" == invoke["attributes"]["error.type"]
    assert {"code": 2, "message": "no order 17"} == invoke["status"]
    assert ["exception"] == [event["name"] for event in invoke["events"]]


def test_a_collector_that_takes_nothing(tmp_path: Path) -> None:
    """A collector that accepts and never answers: the caller has its answer, one line says why."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with running(
            tmp_path,
            PLAIN,
            endpoint=None,
            own_extension=False,
            variables=variables,
            timeout_ms=2000,
        ) as function:
            record = function.invoke()
            second = function.invoke()
        said = [text for text in function.lines.texts() if "direct export did not end" in text]

    assert (b"false", b"true") == (record.answer, second.answer)
    assert 1 == len(said)


def test_console(tmp_path: Path) -> None:
    """With the console exporter spans are written to the function's log as JSON."""
    variables = {"OTEL_TRACES_EXPORTER": "console"}
    with running(
        tmp_path, PLAIN, endpoint=None, own_extension=False, variables=variables
    ) as function:
        function.invoke()
        function.shutdown()
        text = "\n".join(function.lines.texts())

    assert '"name": "shop"' in text
    assert '"faas.coldstart": true' in text
