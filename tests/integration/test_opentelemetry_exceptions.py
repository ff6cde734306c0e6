"""Exceptions as span events, as log records, or as both, read back behind a real collector."""

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

RAISES = """
    from opentelemetry import trace

    tracer = trace.get_tracer("orders", "1.2")

    def handler(event, context):
        with tracer.start_as_current_span("survives") as span:
            try:
                raise KeyError("gone")
            except KeyError as error:
                span.record_exception(error, {"order": 17})
                span.add_event("went on")
        trace.get_current_span().record_exception(TimeoutError("slow"))
        with tracer.start_as_current_span("fails"):
            raise LookupError("no order 17")
"""
PLAIN = """
    import sys

    def handler(event, context):
        if event:
            raise LookupError("no order 17")
        return [name for name in sys.modules if name.startswith("opentelemetry")]
"""
FAILS = """
    raise LookupError("no orders at all")
"""
VARIABLE = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"


def events(span: Item) -> list[str]:
    """The names of the events of a span."""
    return [event["name"] for event in span.get("events", [])]


def observe(
    tmp_path: Path, collector: Collector, source: str, *, records: int, **variables: str
) -> tuple[list[Item], dict[str, Item], list[str]]:
    """Spans, log records by exception.message and lines of a function that was invoked once."""
    with running(
        tmp_path, source, endpoint=collector.http_endpoint, variables=variables
    ) as function:
        function.invoke(b"1")
        function.shutdown()
        lines = [text for text in function.lines.texts() if VARIABLE in text]
    # The handler's records, and no more.
    found = collector.wait_for_log_records(records) if records else []
    spans = collector.wait_for_spans(3)
    assert records == len(collector.wait_for_log_records(records))
    return spans, {each["attributes"]["exception.message"]: each for each in found}, lines


@pytest.mark.parametrize(
    ("value", "as_events", "as_logs"),
    [("", True, False), ("logs", False, True), (" LOGS/dup ", True, True)],
)
def test_where_exceptions_go(
    collector: Collector, tmp_path: Path, value: str, *, as_events: bool, as_logs: bool
) -> None:
    """The invocation's failure, and what spans of the function record, by the switch; what else is
    an event stays one."""
    spans, logs, _ = observe(
        tmp_path, collector, RAISES, records=4 if as_logs else 0, **{VARIABLE: value}
    )
    invoke, fails, survives = (one(spans, name) for name in ("shop", "fails", "survives"))
    exception = ["exception"] * as_events

    assert [*exception, "went on"] == events(survives)
    assert exception == events(fails)
    assert exception * 2 == events(invoke)
    assert ("LookupError", 2) == (invoke["attributes"]["error.type"], invoke["status"]["code"])
    if as_logs:
        check_survivors(logs, survives, invoke)


def check_survivors(logs: dict[str, Item], survives: Item, invoke: Item) -> None:
    """What did not fail its span is a warning with the span's ids and scope."""
    gone, slow = logs["'gone'"], logs["slow"]
    assert (survives["traceId"], survives["spanId"]) == (gone["traceId"], gone["spanId"])
    assert (13, "exception") == (gone["severityNumber"], gone["eventName"])
    assert ("KeyError", 17) == (gone["attributes"]["exception.type"], gone["attributes"]["order"])
    assert "KeyError: 'gone'" in gone["attributes"]["exception.stacktrace"]
    assert (invoke["spanId"], "exception") == (slow["spanId"], slow["eventName"])


def test_the_failure_of_an_invocation(collector: Collector, tmp_path: Path) -> None:
    """It has the name, severity and attributes of the conventions, also without OpenTelemetry."""
    spans, logs, _ = observe(tmp_path, collector, PLAIN, records=1, **{VARIABLE: "logs"})
    invoke, record = one(spans, "shop"), logs["no order 17"]

    assert [] == events(invoke)
    assert (invoke["traceId"], invoke["spanId"]) == (record["traceId"], record["spanId"])
    assert ("faas.invocation.exception", 17) == (record["eventName"], record["severityNumber"])
    attributes = record["attributes"]
    assert "LookupError" == attributes["exception.type"]
    assert "LookupError" in attributes["exception.stacktrace"]
    assert invoke["attributes"]["faas.invocation_id"] == attributes["faas.invocation_id"]
    assert invoke["endTimeUnixNano"] == record["timeUnixNano"]


def test_the_failure_of_init(collector: Collector, tmp_path: Path) -> None:
    """A function that cannot be loaded says it in a record too; its init is tried twice."""
    spans, logs, _ = observe(tmp_path, collector, FAILS, records=2, **{VARIABLE: "logs"})
    record = logs["no orders at all"]

    assert record["spanId"] in {span["spanId"] for span in spans if span["name"] == "init shop"}
    assert ("exception", 17) == (record["eventName"], record["severityNumber"])


@pytest.mark.parametrize(
    ("value", "exporter", "why"),
    [("logs", "none", "OTEL_LOGS_EXPORTER is none"), ("log", "otlp", "not one of logs, logs/dup")],
)
def test_what_cannot_be(
    collector: Collector, tmp_path: Path, value: str, exporter: str, why: str
) -> None:
    """Without logs, or with another value, nothing is lost: span events, and one line."""
    variables = {VARIABLE: value, "OTEL_LOGS_EXPORTER": exporter}
    spans, _, lines = observe(tmp_path, collector, PLAIN, records=0, **variables)

    assert ["exception"] == events(one(spans, "shop"))
    assert 1 == len(lines)
    assert why in lines[0]


DIES = """
    import os
    from opentelemetry import trace

    tracer = trace.get_tracer("orders")

    def handler(event, context):
        try:
            with tracer.start_as_current_span("fails"):
                raise LookupError("no order 17")
        except LookupError:
            os._exit(3)
"""


def test_nothing_is_lost_with_the_process(collector: Collector, tmp_path: Path) -> None:
    """A record that dies with the process is still an event of its span."""
    variables: dict[str, Any] = {VARIABLE: "logs"}
    with running(tmp_path, DIES, endpoint=collector.http_endpoint, variables=variables) as function:
        function.invoke(json.dumps(1).encode())
        function.shutdown()
    fails = one(collector.wait_for_spans(3), "fails")

    assert ["exception"] == events(fails)
