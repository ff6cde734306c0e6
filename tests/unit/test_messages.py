"""Spans for the messages of a batch, by the function's own code."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import lambdascope
from lambdascope.runtime.context import current_invocation
from unit.runtime.event_kit import SPAN_ID, Run, sample

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """The function has an SDK of its own."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def handled(event: object) -> list[object]:
    """Handle an event's messages; the records."""
    records = []
    for message in lambdascope.process_messages(event):
        with message as record:
            records.append(record)
    return records


def test_each_message_has_its_span(exporter: InMemorySpanExporter) -> None:
    """A CONSUMER span per message, with its own id and a link to its sender alone."""
    event = sample("sqs")

    assert event["Records"] == handled(event)
    spans = exporter.get_finished_spans()
    assert ["orders process"] * 3 == [span.name for span in spans]
    assert {trace.SpanKind.CONSUMER} == {span.kind for span in spans}
    assert dict(spans[0].attributes) == {
        "faas.trigger": "pubsub",
        "messaging.system": "aws_sqs",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "orders",
        "messaging.message.id": "6f1c2a40-0d1b-4c55-9a3e-000000000001",
    }
    assert [[0x53995C3F42CD8AD8], [0x7D3A1B5E9F204C68], []] == [
        [link.context.span_id for link in span.links] for span in spans
    ]


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("sns", ["orders"]),
        ("sns-in-sqs", ["orders"]),
        ("kinesis", ["orders", "orders"]),
        ("kafka-msk", ["orders", "orders"]),
        ("kafka-self-managed", ["orders", "paid"]),
        ("activemq", ["testQueue"]),
        ("rabbitmq", ["message"]),
        ("dynamodb", ["orders", "orders"]),
        ("documentdb", ["test_collection"]),
        ("s3", ["example-uploads"]),
        ("pipe", ["orders", "orders"]),
    ],
)
def test_other_batches(name: str, places: list[str], exporter: InMemorySpanExporter) -> None:
    """Every event with records is taken apart, in its order."""
    assert len(places) == len(handled(sample(name)))
    assert [f"{place} process" for place in places] == [
        span.name for span in exporter.get_finished_spans()
    ]


def test_links_of_what_senders_put_there(exporter: InMemorySpanExporter) -> None:
    """Contexts in bodies and record headers are linked as for the whole batch."""
    for name in ("sns-in-sqs", "kafka-self-managed"):
        handled(sample(name))

    links = [[link.context.span_id for link in each.links] for each in finished(exporter)]
    assert [[int.from_bytes(SPAN_ID, "big")], [int.from_bytes(SPAN_ID, "big")], []] == links


def finished(exporter: InMemorySpanExporter) -> tuple[ReadableSpan, ...]:
    """The spans that have ended."""
    return exporter.get_finished_spans()


def test_below_the_batch(exporter: InMemorySpanExporter) -> None:
    """Inside an invocation the span of the batch is the parent, and one's own span if there is."""
    run = Run(sample("sqs"))
    token = current_invocation.set(run.times)
    try:
        handled(sample("sqs"))
        with trace.get_tracer("own").start_as_current_span("own") as own:
            handled(sample("sns"))
    finally:
        current_invocation.reset(token)
    batch = run.spans()[2]
    first, below = finished(exporter)[0], finished(exporter)[3]

    assert int.from_bytes(batch.span_id, "big") == first.parent.span_id
    assert int.from_bytes(batch.trace_id, "big") == first.context.trace_id
    assert own.get_span_context().span_id == below.parent.span_id


def test_a_failure_is_the_messages(exporter: InMemorySpanExporter) -> None:
    """An exception is recorded on the span that it leaves, and goes on to the function."""
    messages = lambdascope.process_messages(sample("sqs"))
    with pytest.raises(KeyError), next(messages):
        raise KeyError("order")
    with next(messages):
        pass
    failed, healthy = finished(exporter)

    assert (trace.StatusCode.ERROR, "KeyError") == (
        failed.status.status_code,
        failed.attributes["error.type"],
    )
    assert ["exception"] == [event.name for event in failed.events]
    assert trace.StatusCode.UNSET == healthy.status.status_code


def test_without_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the API is not installed the records are handed out, and that is all."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    event = sample("sqs")

    assert event["Records"] == handled(event)
    with pytest.raises(KeyError), next(lambdascope.process_messages(event)):
        raise KeyError("order")


def test_propagators_choose(
    monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter
) -> None:
    """OTEL_PROPAGATORS says whose contexts are linked."""
    monkeypatch.setenv("OTEL_PROPAGATORS", "none")
    handled(sample("sqs"))

    assert [0, 0, 0] == [len(span.links) for span in finished(exporter)]


def test_event_without_messages() -> None:
    """An event that has none is the caller's mistake; an empty batch is not."""
    for event in ({}, "text", None, sample("eventbridge"), sample("http")):
        with pytest.raises(ValueError, match="this event has no messages: it is "):
            handled(event)
    assert handled({"Records": []}) == []


def test_odd_records(exporter: InMemorySpanExporter) -> None:
    """Whatever a record is, it is handed out."""
    records = [{"eventSource": "aws:sqs"}, None, 1, {"messageId": [], "attributes": 1}]

    assert records == handled({"Records": records})
    assert len(records) == len(finished(exporter))
