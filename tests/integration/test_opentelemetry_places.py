"""Where and when handlers use OpenTelemetry: in threads and tasks, in init, after the response."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from observed import named, one, running

if TYPE_CHECKING:
    from pathlib import Path

    from collector import Collector

pytestmark = pytest.mark.collector

SPAN_ID = """
    def span_id():
        from opentelemetry import trace
        return format(trace.get_current_span().get_span_context().span_id, "016x")
"""
NO_SPAN = "0" * 16
IN_A_POOL = f"""
    from concurrent.futures import ThreadPoolExecutor
    {SPAN_ID}
    pool = ThreadPoolExecutor(1)

    def handler(event, context):
        before = pool.submit(span_id).result()
        from opentelemetry import trace
        with trace.get_tracer("orders").start_as_current_span("own"):
            pass
        return before, span_id()
"""
IN_A_TASK = f"""
    import asyncio
    {SPAN_ID}
    async def first():
        from opentelemetry import baggage, context
        context.attach(baggage.set_baggage("of", "the task"))
        return span_id()

    async def handler(event, context):
        told = await asyncio.create_task(first())
        from opentelemetry import baggage
        return told, await asyncio.to_thread(span_id), dict(baggage.get_all())
"""
AFTER_THE_RESPONSE = f"""
    {SPAN_ID}
    def later():
        from opentelemetry import trace
        with trace.get_tracer("orders").start_as_current_span("later"):
            pass

    def handler(event, context):
        context.run_after_response(later)
"""
FAILS_IN_INIT = """
    from opentelemetry import trace
    with trace.get_tracer("orders").start_as_current_span("in init"):
        raise LookupError("no settings")
"""
MEASURES = f"""
    from opentelemetry import metrics
    {SPAN_ID}
    seen = []
    def look(options):
        seen.append(span_id())
        yield metrics.Observation(1)

    metrics.get_meter("orders").create_observable_gauge("waiting", [look])

    def handler(event, context):
        return list(seen)
"""
MAKES_MANY = """
    from opentelemetry import trace

    tracer = trace.get_tracer("orders")

    def handler(event, context):
        for number in range(event):
            tracer.start_span("one").end()
"""


def told_by(tmp_path: Path, collector: Collector, source: str, **settings: Any) -> list[Any]:
    """What a handler returns in two invocations of one environment."""
    with running(tmp_path, source, endpoint=collector.http_endpoint, **settings) as function:
        told = [json.loads(function.invoke().answer) for _ in range(2)]
        function.shutdown()
    return told


def test_first_used_in_a_thread(collector: Collector, tmp_path: Path) -> None:
    """A thread that lives on has no invocation's span, and the handler beside it has its own."""
    told = told_by(tmp_path, collector, IN_A_POOL)
    spans = collector.wait_for_spans(6)
    ids = [span["spanId"] for span in named(spans, "shop")]

    assert [NO_SPAN] * 2 == [before for before, _ in told]
    assert ids == [own for _, own in told]
    assert set(ids) == {span["parentSpanId"] for span in named(spans, "own")}


def test_first_used_in_a_task(collector: Collector, tmp_path: Path) -> None:
    """The handler, its tasks and their threads have the invocation's span, whichever was first, and
    what a task attaches is the task's."""
    told = told_by(tmp_path, collector, IN_A_TASK)
    ids = [span["spanId"] for span in named(collector.wait_for_spans(4), "shop")]

    assert [[span_id, span_id, {}] for span_id in ids] == told


def test_first_used_after_the_response(collector: Collector, tmp_path: Path) -> None:
    """What the handler leaves for afterwards is its invocation's, also in the last one."""
    with running(tmp_path, AFTER_THE_RESPONSE, endpoint=collector.http_endpoint) as function:
        function.invoke()
        function.shutdown()
    spans = collector.wait_for_spans(4)

    assert one(spans, "shop")["spanId"] == one(spans, "later")["parentSpanId"]


def test_an_init_that_fails(collector: Collector, tmp_path: Path) -> None:
    """Spans of the function's arrive although no invocation follows, each time it is tried."""
    with running(tmp_path, FAILS_IN_INIT, endpoint=collector.http_endpoint) as function:
        function.invoke()
        function.shutdown()
    spans = collector.wait_for_spans(3)

    assert len(named(spans, "init shop")) == len(named(spans, "in init")) > 0


def test_metrics_are_read_in_no_invocation(collector: Collector, tmp_path: Path) -> None:
    """What is observed after a response has not the span of an invocation that is over."""
    told = told_by(tmp_path, collector, MEASURES, variables={"OTEL_METRIC_EXPORT_INTERVAL": "0"})

    assert [[], [NO_SPAN]] == told


def test_more_spans_than_are_held(collector: Collector, tmp_path: Path) -> None:
    """Of too many spans in an invocation the first ones arrive, and one line counts the others."""
    with running(
        tmp_path, MAKES_MANY, endpoint=collector.http_endpoint, timeout_ms=30_000
    ) as function:
        function.invoke(b"10007")
        function.invoke(b"1")
        function.shutdown()
        said = [text for text in function.lines.texts() if "dropped" in text]
    spans = collector.wait_for_spans(10_005)

    assert 10_001 == len(named(spans, "one"))
    assert 1 == len(said)
    assert "7 spans are dropped" in said[0]
