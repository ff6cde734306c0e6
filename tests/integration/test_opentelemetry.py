"""Handlers that use OpenTelemetry: what they get of it, and what arrives behind a real collector.

The handler's own SDK is the one that the project is installed with.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lambdascope.emulator.config import TELEMETRY_MISSING, TELEMETRY_ON
from observed import named, one, running

if TYPE_CHECKING:
    from pathlib import Path

    from collector import Collector
    from otlp_recorder import Item

pytestmark = pytest.mark.collector

USES_NONE = """
    import logging, sys

    def handler(event, context):
        return sorted(name for name in sys.modules if name.startswith("opentelemetry"))
"""
AT_IMPORT = """
    from opentelemetry import trace

    tracer = trace.get_tracer("orders", "1.2")

    def handler(event, context):
        with tracer.start_as_current_span("outer", attributes={"order": 17}):
            with tracer.start_as_current_span("inner") as span:
                span.add_event("looked", {"where": ["here", "there"]})
        return trace.get_current_span().get_span_context().span_id
"""
IN_THE_HANDLER = """
    def handler(event, context):
        from opentelemetry import trace

        with trace.get_tracer("late").start_as_current_span("outer"):
            pass
        trace.get_current_span().set_attribute("order", 17)
"""
ANNOTATES = """
    from opentelemetry import trace

    def handler(event, context):
        span = trace.get_current_span()
        span.set_attribute("order", 17)
        span.add_event("accepted", {"by": "us"})
        span.set_status(trace.StatusCode.ERROR, "sold out")
        span.end()
        if event:
            raise LookupError("no such order")
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        provider = trace.get_tracer_provider()
        return [
            span.is_recording(), span.name, span.attributes["order"],
            isinstance(span, ReadableSpan), isinstance(provider, TracerProvider),
        ]
"""
ASYNCHRONOUS = """
    import asyncio
    from opentelemetry import trace

    tracer = trace.get_tracer("orders")

    async def part(number):
        with tracer.start_as_current_span(f"part {number}"):
            await asyncio.sleep(0)

    async def handler(event, context):
        await asyncio.gather(part(1), part(2))
"""
BY_HAND = """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    early = trace.get_tracer("early")

    class Keep(SpanProcessor):
        ended = []
        flushed = 0
        def on_end(self, span):
            ids = span.parent
            self.ended.append([span.name, f"{ids.trace_id:032x}", f"{ids.span_id:016x}"])
        def force_flush(self, timeout_millis=0):
            Keep.flushed += 1
            return True

    provider = TracerProvider()
    provider.add_span_processor(Keep())
    trace.set_tracer_provider(provider)

    def handler(event, context):
        with early.start_as_current_span("by an early tracer"):
            pass
        with trace.get_tracer("late").start_as_current_span("by a late one"):
            pass
        return [Keep.ended, Keep.flushed, trace.get_tracer_provider() is provider]
"""
WITHOUT_AN_SDK = """
    import sys
    sys.modules["opentelemetry.sdk.trace"] = None
    from opentelemetry import trace

    def handler(event, context):
        with trace.get_tracer("orders").start_as_current_span("outer"):
            trace.get_current_span().set_attribute("a", 1)
        return "answered"
"""
AFTER_THE_RESPONSE = """
    from opentelemetry import trace

    tracer = trace.get_tracer("orders")

    def later():
        with tracer.start_as_current_span("later"):
            pass

    def handler(event, context):
        if event:
            context.run_after_response(later)
"""
LOGS = """
    import logging
    from opentelemetry import trace

    tracer = trace.get_tracer("orders")

    def handler(event, context):
        with tracer.start_as_current_span("outer") as span:
            logging.getLogger().warning("inside")
"""
STREAMS = """
    from opentelemetry import trace

    tracer = trace.get_tracer("orders")

    def handler(event, context):
        for number in range(2):
            with tracer.start_as_current_span(f"piece {number}"):
                yield b"x"
"""


def answer(record: Any) -> Any:
    """What the handler returned."""
    return json.loads(record.answer)


def spans_of(tmp_path: Path, collector: Collector, source: str, *events: bytes) -> list[Item]:
    """The spans of an environment that served these events."""
    with running(tmp_path, source, endpoint=collector.http_endpoint) as function:
        for event in events or (b"{}",):
            function.invoke(event)
        function.shutdown()
    return collector.wait_for_spans(3)


def test_a_handler_without_it_loads_nothing_of_it(collector: Collector, tmp_path: Path) -> None:
    """Neither init nor invocations load a module of OpenTelemetry."""
    with running(tmp_path, USES_NONE, endpoint=collector.http_endpoint) as function:
        seen = [answer(function.invoke()) for _ in range(3)]

    assert [[], [], []] == seen


def test_own_spans_are_children_of_the_invoke_span(collector: Collector, tmp_path: Path) -> None:
    """Spans of a tracer made at import form one trace with the invoke span, scope and all."""
    spans = spans_of(tmp_path, collector, AT_IMPORT)
    invoke, outer, inner = (one(spans, name) for name in ("shop", "outer", "inner"))

    assert invoke["spanId"] == outer["parentSpanId"]
    assert outer["spanId"] == inner["parentSpanId"]
    assert {invoke["traceId"]} == {outer["traceId"], inner["traceId"]}
    assert 17 == outer["attributes"]["order"]
    assert ["looked"] == [event["name"] for event in inner["events"]]
    assert int(invoke["startTimeUnixNano"]) <= int(outer["startTimeUnixNano"])
    assert int(inner["endTimeUnixNano"]) <= int(outer["endTimeUnixNano"])


def test_every_invocation_has_its_own(collector: Collector, tmp_path: Path) -> None:
    """Warm invocations do not share a trace, and lose none of their spans."""
    spans = spans_of(tmp_path, collector, AT_IMPORT, *[b"{}"] * 4)
    by_id = {span["spanId"]: span for span in named(spans, "shop")}

    outers = named(spans, "outer")
    assert 4 == len(by_id) == len(outers)
    assert set(by_id) == {span["parentSpanId"] for span in outers}
    assert all(by_id[span["parentSpanId"]]["traceId"] == span["traceId"] for span in outers)


def test_first_used_inside_the_handler(collector: Collector, tmp_path: Path) -> None:
    """An API that the handler itself imports has the invocation's span as the current one."""
    spans = spans_of(tmp_path, collector, IN_THE_HANDLER, b"{}", b"{}")
    invokes = named(spans, "shop")

    assert [17, 17] == [span["attributes"]["order"] for span in invokes]
    assert {span["spanId"] for span in invokes} == {
        span["parentSpanId"] for span in named(spans, "outer")
    }


def test_the_invoke_span_can_be_annotated(collector: Collector, tmp_path: Path) -> None:
    """It is a recording span of the SDK; what is written to it arrives beside our attributes."""
    with running(tmp_path, ANNOTATES, endpoint=collector.http_endpoint) as function:
        told = answer(function.invoke(b"null"))
        function.shutdown()
    invoke = one(collector.wait_for_spans(3), "shop")

    assert [True, "shop", 17, True, True] == told
    assert 17 == invoke["attributes"]["order"]
    assert invoke["attributes"]["faas.coldstart"] is True
    assert ["accepted"] == [event["name"] for event in invoke["events"]]
    assert {"code": 2, "message": "sold out"} == invoke["status"]


def test_a_failure_wins_over_what_was_written(collector: Collector, tmp_path: Path) -> None:
    """The handler's exception is the status; its annotations are kept."""
    invoke = one(spans_of(tmp_path, collector, ANNOTATES, b'"x"'), "shop")

    assert "no such order" == invoke["status"]["message"]
    assert (17, "LookupError") == (
        invoke["attributes"]["order"],
        invoke["attributes"]["error.type"],
    )
    assert ["accepted", "exception"] == [event["name"] for event in invoke["events"]]


def test_tasks_of_an_async_handler(collector: Collector, tmp_path: Path) -> None:
    """Spans of concurrent tasks are children of the invocation that began them."""
    spans = spans_of(tmp_path, collector, ASYNCHRONOUS)

    parents = {one(spans, f"part {number}")["parentSpanId"] for number in (1, 2)}
    assert {one(spans, "shop")["spanId"]} == parents


def test_pieces_of_a_stream(collector: Collector, tmp_path: Path) -> None:
    """A generator's spans are children too, though it runs after the handler has returned it."""
    with running(tmp_path, STREAMS, endpoint=collector.http_endpoint) as function:
        function.invoke()
        function.shutdown()
    spans = collector.wait_for_spans(4)

    parents = {one(spans, f"piece {number}")["parentSpanId"] for number in (0, 1)}
    assert {one(spans, "shop")["spanId"]} == parents


def test_an_sdk_that_was_set_up_by_hand(collector: Collector, tmp_path: Path) -> None:
    """Its provider serves all tracers, its spans join our trace, and it is flushed afterwards."""
    with running(tmp_path, BY_HAND, endpoint=collector.http_endpoint) as function:
        first, second = answer(function.invoke()), answer(function.invoke())
        function.shutdown()
    spans = collector.wait_for_spans(3)
    places = {(span["traceId"], span["spanId"]) for span in named(spans, "shop")}

    names = [name for name, *_ in second[0]]
    assert ["by an early tracer", "by a late one"] * 2 == names
    assert places == {(trace_id, span_id) for _, trace_id, span_id in second[0]}
    assert [0, 1] == [first[1], second[1]]
    assert [True, True] == [first[2], second[2]]
    assert [] == named(spans, "by a late one")


def test_without_an_sdk(collector: Collector, tmp_path: Path) -> None:
    """Where only the API is installed the function runs, and one line says what is missing."""
    with running(tmp_path, WITHOUT_AN_SDK, endpoint=collector.http_endpoint) as function:
        told = [answer(function.invoke()) for _ in range(2)]
        function.shutdown()
        said = [text for text in function.lines.texts() if "OpenTelemetry SDK" in text]

    assert ["answered", "answered"] == told
    assert 1 == len(said)
    assert "cannot be used" in said[0]
    assert 2 == len(named(collector.wait_for_spans(4), "shop"))


def test_spans_after_the_response(collector: Collector, tmp_path: Path) -> None:
    """What runs after the response belongs to its invocation; its spans leave with the next."""
    spans = spans_of(tmp_path, collector, AFTER_THE_RESPONSE, b'"x"', b"null")

    later = one(spans, "later")
    (invoke,) = [span for span in named(spans, "shop") if span["spanId"] == later["parentSpanId"]]
    assert invoke["attributes"]["faas.coldstart"] is True


def test_records_have_the_current_span(collector: Collector, tmp_path: Path) -> None:
    """A log record inside a span has that span's ids."""
    with running(
        tmp_path,
        LOGS,
        endpoint=collector.http_endpoint,
        log_format="JSON",
    ) as function:
        function.invoke()
        function.shutdown()
        (line,) = [text for text in function.lines.texts() if '"inside"' in text]
    outer = one(collector.wait_for_spans(4), "outer")

    fields = json.loads(line[line.index("{") :])
    assert (outer["traceId"], outer["spanId"]) == (fields["trace_id"], fields["span_id"])


DIES = """
    import os, time
    from opentelemetry import trace

    tracer = trace.get_tracer("orders", "1.2")

    def handler(event, context):
        for number in range(5):
            with tracer.start_as_current_span(f"part {number}") as span:
                span.set_attribute("number", number)
        with tracer.start_as_current_span("open one", attributes={"order": 17}):
            if event == "kill":
                os.kill(os.getpid(), 9)
            elif event == "exit":
                os._exit(3)
            time.sleep(60)
"""


@pytest.mark.parametrize("telemetry", [TELEMETRY_ON, TELEMETRY_MISSING])
@pytest.mark.parametrize("how", ["kill", "exit", "sleep"])
def test_spans_of_an_invocation_that_dies(
    collector: Collector, tmp_path: Path, how: str, telemetry: str
) -> None:
    """Killed, ended or timed out: what had finished, what was open and the invoke span arrive,
    once, whether the platform says more of it or not."""
    with running(
        tmp_path, DIES, endpoint=collector.http_endpoint, timeout_ms=1500, telemetry=telemetry
    ) as function:
        function.invoke(json.dumps(how).encode())
        function.shutdown()
    spans = collector.wait_for_spans(7)
    invoke, left_open = one(spans, "shop"), one(spans, "open one")
    parts = [one(spans, f"part {number}") for number in range(5)]

    assert list(range(5)) == [part["attributes"]["number"] for part in parts]
    assert {invoke["spanId"]} == {span["parentSpanId"] for span in [*parts, left_open]}
    assert 17 == left_open["attributes"]["order"]
    assert (2, 2) == (invoke["status"]["code"], left_open["status"]["code"])
    assert invoke["attributes"]["error.type"] == left_open["attributes"]["error.type"]
    assert int(left_open["endTimeUnixNano"]) > int(left_open["startTimeUnixNano"])


@pytest.mark.parametrize(
    ("sampler", "parent", "recorded"),
    [
        ("always_off", None, False),
        ("parentbased_always_off", None, False),
        ("parentbased_always_off", "01", True),
        ("", "00", True),
        ("parentbased_always_on", "00", False),
        ("always_on", "00", True),
    ],
)
def test_samplers(
    collector: Collector, tmp_path: Path, sampler: str, parent: str | None, recorded: bool
) -> None:
    """What a sampler, or the caller, does not want recorded is not sent, also not by our phases."""
    event: dict[str, Any] = {"rawPath": "/", "version": "2.0", "requestContext": {"http": {}}}
    if parent is not None:
        event["headers"] = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-{parent}"}
    with running(
        tmp_path,
        AT_IMPORT,
        endpoint=collector.http_endpoint,
        telemetry=TELEMETRY_MISSING,
        variables={"OTEL_TRACES_SAMPLER": sampler} if sampler else {},
    ) as function:
        function.invoke(json.dumps(event).encode())
        function.shutdown()
    spans = collector.wait_for_spans(5 if recorded else 0)

    assert recorded == bool(spans)
    if recorded:
        assert one(spans, "shop")["spanId"] == one(spans, "outer")["parentSpanId"]


def test_limits_that_are_none(collector: Collector, tmp_path: Path) -> None:
    """A limit that is no number is said and left out; one that is a number is kept to."""
    limits = {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "few", "OTEL_SPAN_EVENT_COUNT_LIMIT": "0"}
    with running(
        tmp_path, AT_IMPORT, endpoint=collector.http_endpoint, variables=limits
    ) as function:
        function.invoke()
        function.shutdown()
        said = [text for text in function.lines.texts() if "COUNT_LIMIT='few'" in text]
    inner = one(collector.wait_for_spans(5), "inner")

    assert 1 == len(said)
    assert ([], 1) == (inner.get("events", []), inner["droppedEventsCount"])


def test_limits_of_the_invocation(collector: Collector, tmp_path: Path) -> None:
    """They are kept to by the invocation's own span too, cold and warm; the function's attributes
    stay."""
    limits = {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "4", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "8"}
    with running(
        tmp_path, ANNOTATES, endpoint=collector.http_endpoint, variables=limits
    ) as function:
        for event in (b'"x"', b"null"):
            function.invoke(event)
        function.shutdown()
    cold, warm = named(collector.wait_for_spans(6), "shop")

    assert {"order", "error.type", "faas.invocation_id", "faas.coldstart"} == set(
        cold["attributes"]
    )
    assert (4, 17) == (len(warm["attributes"]), warm["attributes"]["order"])
    assert cold["droppedAttributesCount"] > 8
    exception = cold["events"][-1]["attributes"]
    assert ("no such ", 8) == (
        exception["exception.message"],
        len(exception["exception.stacktrace"]),
    )
