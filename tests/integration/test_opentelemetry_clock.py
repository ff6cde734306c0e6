"""One clock: spans of the function lie within the invocation's when the wall clock is stepped.

A `sitecustomize` puts a clock that can be stepped in the place of the runtime's wall clock.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from observed import named, one, running, times

if TYPE_CHECKING:
    from pathlib import Path

    from collector import Collector
    from otlp_recorder import Item

pytestmark = pytest.mark.collector

HOUR_NS = 3_600_000_000_000
MINUTE_NS = 60_000_000_000
STEPPED = """
import time

real_ns = time.time_ns
time.step_ns = 0
time.time_ns = lambda: real_ns() + time.step_ns
"""
STEPS = """
    import time
    from opentelemetry import trace

    tracer = trace.get_tracer("orders")

    def handler(event, context):
        current = trace.get_current_span()
        current.add_event("early")
        with tracer.start_as_current_span("before"):
            pass
        with tracer.start_as_current_span("across") as span:
            span.add_event("first")
            with tracer.start_as_current_span("inner"):
                time.step_ns += event
                with tracer.start_as_current_span("after"):
                    pass
            span.add_event("second")
        current.add_event("late")
"""
PARENTS = {"before": "shop", "across": "shop", "inner": "across", "after": "inner"}


def observe(tmp_path: Path, collector: Collector, source: str, *steps: int) -> list[Item]:
    """The spans of invocations whose events are steps of the clock in ns."""
    tmp_path.joinpath("sitecustomize.py").write_text(STEPPED)
    with running(
        tmp_path,
        source,
        endpoint=collector.http_endpoint,
        variables={"PYTHONPATH": str(tmp_path)},
    ) as function:
        for step in steps:
            function.invoke(json.dumps(step).encode())
        function.shutdown()
    return collector.wait_for_spans(6 * len(steps))


def check_trace(spans: list[Item]) -> None:
    """Each span lies within its parent, after its elder sibling, and so do the events."""
    for name, parent in PARENTS.items():
        start, end = times(one(spans, name))
        begun, ended = times(one(spans, parent))
        assert begun <= start <= end <= ended, name
    assert times(one(spans, "before"))[1] <= times(one(spans, "across"))[0]
    for span in (one(spans, "across"), one(spans, "shop")):
        start, end = times(span)
        at = [int(event["timeUnixNano"]) for event in span["events"]]
        assert [start, *at, end] == sorted([start, *at, end])
        assert end - start < MINUTE_NS


@pytest.mark.parametrize("step_ns", [0, HOUR_NS, -HOUR_NS, 3_000_000, -3_000_000])
def test_stepped_within_a_span(collector: Collector, tmp_path: Path, step_ns: int) -> None:
    """Forward or backward, by an hour or by milliseconds: everything lies within its parent, at the
    time that the invocation began with."""
    spans = observe(tmp_path, collector, STEPS, step_ns)

    check_trace(spans)
    assert abs(times(one(spans, "shop"))[0] - time.time_ns()) < MINUTE_NS


def test_stepped_between_invocations(collector: Collector, tmp_path: Path) -> None:
    """The next invocation is told in the wall clock's time as it is then."""
    spans = observe(tmp_path, collector, STEPS, HOUR_NS, 0)
    first, second = sorted(named(spans, "shop"), key=lambda span: times(span)[0])

    for invoke in (first, second):
        check_trace([span for span in spans if span["traceId"] == invoke["traceId"]])
    assert abs(times(second)[0] - times(first)[0] - HOUR_NS) < MINUTE_NS
    reports = {span["parentSpanId"]: span for span in named(spans, "report shop")}
    assert times(second)[1] == times(reports[second["spanId"]])[0]
