"""Events of services behind a real collector: whose child the invocation is, and what it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lambdascope.otlp import names
from observed import one, running
from unit.runtime.event_kit import SPAN_ID, TRACE_ID, TRACEPARENT, sample

if TYPE_CHECKING:
    from pathlib import Path

    from collector import Collector

pytestmark = pytest.mark.collector

BATCH = """
    import lambdascope

    def handler(event, context):
        for message in lambdascope.process_messages(event):
            with message as record:
                record.clear()
        event.clear()
"""
REFUSES = """
    def handler(event, context):
        event["headers"].clear()
        event["requestContext"].clear()
        return {"statusCode": 503}
"""
PASSES_ON = """
    import json
    from opentelemetry import baggage, propagate

    def handler(event, context):
        carrier = {}
        propagate.inject(carrier)
        return {"statusCode": 200, "body": json.dumps([carrier, dict(baggage.get_all())])}
"""
STREAMS = """
    import lambdascope

    def handler(event, context):
        yield lambdascope.HttpPrelude(502)
        yield b"x"
"""


def test_a_batch_and_its_messages(collector: Collector, tmp_path: Path) -> None:
    """Invocation, batch and messages are one tree, linked to the senders, all of it exported."""
    with running(tmp_path, BATCH, endpoint=collector.http_endpoint) as function:
        function.invoke(json.dumps(sample("sqs")).encode())
        function.shutdown()
    spans = collector.wait_for_spans(6)

    invoke = one(spans, "shop")
    below = [span for span in spans if span["name"] == "orders process"]
    (batch,) = [span for span in below if span["parentSpanId"] == invoke["spanId"]]
    messages = [span for span in below if span["parentSpanId"] == batch["spanId"]]
    assert (names.KIND_SERVER, names.KIND_CONSUMER) == (invoke["kind"], batch["kind"])
    assert {invoke["traceId"]} == {span["traceId"] for span in below}
    assert ["53995c3f42cd8ad8", "7d3a1b5e9f204c68"] == [link["spanId"] for link in batch["links"]]
    assert len(messages) == 3
    assert sorted(link["spanId"] for span in messages for link in span.get("links", [])) == [
        "53995c3f42cd8ad8",
        "7d3a1b5e9f204c68",
    ]


def test_a_request(collector: Collector, tmp_path: Path) -> None:
    """The caller's span is the parent, the route is the name, and a 5xx answer is an error."""
    event = sample("apigw")
    event["headers"]["Traceparent"] = TRACEPARENT
    event["multiValueHeaders"]["Traceparent"] = [TRACEPARENT]
    with running(tmp_path, REFUSES, endpoint=collector.http_endpoint) as function:
        function.invoke(json.dumps(event).encode())
        function.shutdown()

    invoke = one(collector.wait_for_spans(3), "/orders/{id}")
    assert (TRACE_ID.hex(), SPAN_ID.hex()) == (invoke["traceId"], invoke["parentSpanId"])
    assert {"code": names.STATUS_ERROR} == invoke["status"]
    attributes = invoke["attributes"]
    assert (503, "503", "event") == (
        attributes["http.response.status_code"],
        attributes["error.type"],
        attributes["lambdascope.parent.source"],
    )


def test_a_streamed_answer(collector: Collector, tmp_path: Path) -> None:
    """The status of a streamed answer is that of its prelude."""
    with running(tmp_path, STREAMS, endpoint=collector.http_endpoint) as function:
        function.invoke(json.dumps(sample("url")).encode())
        function.shutdown()

    invoke = one(collector.wait_for_spans(3), "shop")
    assert 502 == invoke["attributes"]["http.response.status_code"]


def test_what_the_caller_sent_is_passed_on(collector: Collector, tmp_path: Path) -> None:
    """Outbound calls carry the trace, its state and the baggage that came with the request."""
    event = sample("url")
    event["headers"] |= {"traceparent": TRACEPARENT, "tracestate": "a=1", "baggage": "k=v,l=w"}
    with running(tmp_path, PASSES_ON, endpoint=collector.http_endpoint) as function:
        record = function.invoke(json.dumps(event).encode())
        second = function.invoke(b"{}")
        function.shutdown()
    carrier, found = json.loads(json.loads(record.answer)["body"])
    invoke = next(
        span for span in collector.wait_for_spans(5) if span.get("parentSpanId") == SPAN_ID.hex()
    )

    assert {"k": "v", "l": "w"} == found
    assert f"00-{TRACE_ID.hex()}-{invoke['spanId']}-01" == carrier["traceparent"]
    assert ("a=1", "k=v,l=w") == (carrier["tracestate"], carrier["baggage"])
    later, found = json.loads(json.loads(second.answer)["body"])
    assert ({"traceparent", "X-Amzn-Trace-Id"}, {}) == (set(later), found)
