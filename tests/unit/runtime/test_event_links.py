"""Links of batches, the status of answers, and events that are nothing that AWS documents."""

from __future__ import annotations

import copy
import json

import hypothesis.strategies as st
import pytest
from hypothesis import given
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from lambdascope.runtime import triggers
from lambdascope.runtime.event_source import MAX_RECORDS, capture
from lambdascope.runtime.triggers import trigger_of
from unit.runtime.event_kit import SPAN_ID, TRACE_ID, TRACEPARENT, Run, attributes_of, sample
from unit.runtime.kit import make_config, make_times

SHAPES = {v for k, v in vars(triggers).items() if k.isupper() and type(v) is str}
CONSUMER = Span.SPAN_KIND_CONSUMER
PROCESS = {"messaging.operation.name": "process", "messaging.operation.type": "process"}


def test_queue_batch_has_a_span_of_its_own() -> None:
    """Below the SERVER span a CONSUMER span stands for the batch, linked to who sent each."""
    invoke, _, batch = Run(sample("sqs")).spans()

    assert (CONSUMER, "orders process") == (batch.kind, batch.name)
    assert (invoke.trace_id, invoke.span_id) == (batch.trace_id, batch.parent_span_id)
    assert (invoke.start_time_unix_nano, invoke.end_time_unix_nano) == (
        batch.start_time_unix_nano,
        batch.end_time_unix_nano,
    )
    assert attributes_of(batch) == PROCESS | {
        "faas.trigger": "pubsub",
        "messaging.system": "aws_sqs",
        "messaging.destination.name": "orders",
        "messaging.batch.message_count": 3,
    }
    assert [
        ("53995c3f42cd8ad8", "6f1c2a40-0d1b-4c55-9a3e-000000000001"),
        ("7d3a1b5e9f204c68", "6f1c2a40-0d1b-4c55-9a3e-000000000002"),
    ] == [(link.span_id.hex(), attributes_of(link)["messaging.message.id"]) for link in batch.links]
    assert [] == list(invoke.links)


def test_batch_from_several_queues() -> None:
    """Where the messages are not from one queue, the span's name says so and none is named."""
    event = sample("sqs")
    event["Records"][1]["eventSourceARN"] += "-2"

    batch = Run(event).spans()[2]

    assert batch.name == "multiple_sources process"
    assert "messaging.destination.name" not in attributes_of(batch)


def test_failure_is_the_batchs_too() -> None:
    """An invocation that was cut off has a batch that was."""
    context = json.dumps({"custom": {"traceparent": TRACEPARENT, "tracestate": "a=1"}})
    run = Run(sample("sqs"), {"lambda_runtime_client_context": context})
    run.telemetry.hand_over_open()

    (body,) = run.handoff.bodies
    request = ExportTraceServiceRequest.FromString(body)
    spans = {span.name: span for span in request.resource_spans[0].scope_spans[0].spans}
    invoke, batch = spans["hello"], spans["orders process"]
    assert "terminated" == attributes_of(batch)["error.type"]
    assert Status.STATUS_CODE_ERROR == batch.status.code
    assert batch.status.message
    assert invoke.status == batch.status
    assert ["a=1"] * 2 == [invoke.trace_state, batch.trace_state]


LINKED = {
    "sns-in-sqs": 2,
    "kafka-msk": 0,
    "kafka-self-managed": 0,
}


@pytest.mark.parametrize(("name", "index"), LINKED.items())
def test_links_by_the_senders_own_context(name: str, index: int) -> None:
    """A context in a topic's message in a queue, and in a record's headers, is linked."""
    span = Run(sample(name)).spans()[index]

    ((trace_id, span_id),) = [(each.trace_id, each.span_id) for each in span.links]
    assert (TRACE_ID, SPAN_ID) == (trace_id, span_id)


def test_queue_message_with_two_contexts() -> None:
    """AWS's header comes first, the sender's own attribute is linked besides if it differs."""
    event = sample("sqs")
    event["Records"] = event["Records"][:1]
    attribute = {"stringValue": TRACEPARENT, "dataType": "String"}
    event["Records"][0]["messageAttributes"] = {"traceparent": attribute}
    same = copy.deepcopy(event)
    same["Records"][0]["attributes"]["AWSTraceHeader"] = (
        f"Root=1-{TRACE_ID.hex()[:8]}-{TRACE_ID.hex()[8:]};Parent={SPAN_ID.hex()}"
    )

    links = [link.span_id.hex() for link in Run(event).spans()[2].links]
    once = [link.span_id.hex() for link in Run(same).spans()[2].links]

    assert ["53995c3f42cd8ad8", SPAN_ID.hex()] == links
    assert [SPAN_ID.hex()] == once


@pytest.mark.parametrize("pad", ["", "x", "xx"])
def test_stream_record_with_a_context_in_its_data(pad: str) -> None:
    """A JSON object with a traceparent links, wherever that falls in the base64 text."""
    from base64 import b64encode

    event = sample("kinesis")
    data = json.dumps({"pad": pad, "traceparent": TRACEPARENT})
    event["Records"][1]["kinesis"]["data"] = b64encode(data.encode()).decode()

    links = [link.span_id for link in Run(event).invoke().links]

    assert [SPAN_ID] == links


def test_parent_is_no_link() -> None:
    """The context of a topic's one message is the parent, and is not linked besides."""
    event = sample("sns")
    attribute = {"Type": "String", "Value": TRACEPARENT}
    event["Records"][0]["Sns"]["MessageAttributes"] = {"traceparent": attribute}

    invoke = Run(event).invoke()

    assert (TRACE_ID, SPAN_ID) == (invoke.trace_id, invoke.parent_span_id)
    assert [] == [link for link in invoke.links if link.span_id == SPAN_ID]


@pytest.mark.parametrize("seconds", [0, -5, 1e11, float("inf"), float("nan")])
def test_time_of_a_change_that_is_none(seconds: float) -> None:
    """A time before 1970 or beyond the year 5138 is left out, and is no fault."""
    event = sample("dynamodb")
    event["Records"][0]["dynamodb"]["ApproximateCreationDateTime"] = seconds

    assert "faas.document.time" not in attributes_of(Run(event).invoke())


def test_links_have_a_bound() -> None:
    """Of a huge batch the first records are looked at, and the rest is counted as dropped."""
    event = sample("sqs")
    event["Records"] = [copy.deepcopy(event["Records"][0]) for _ in range(MAX_RECORDS + 30)]

    batch = Run(event).spans()[2]

    assert (MAX_RECORDS, 30) == (len(batch.links), batch.dropped_links_count)
    assert attributes_of(batch)["messaging.batch.message_count"] == MAX_RECORDS + 30


STATUS = [
    ("apigw", {"statusCode": 201}, 201),
    ("apigw", {"statusCode": "404"}, 404),
    ("apigw", {"body": "no status"}, None),
    ("http", {"body": "no status"}, 200),
    ("url", "text", 200),
    ("alb", {"statusCode": 503, "statusDescription": "503"}, 503),
    ("cloudfront", {"status": "403"}, 403),
    ("apigw", {"statusCode": 99999}, None),
    ("apigw", {"statusCode": []}, None),
    ("sqs", {"statusCode": 500}, None),
]


@pytest.mark.parametrize(("name", "result", "status"), STATUS)
def test_status_of_the_answer(name: str, result: object, status: int | None) -> None:
    """The answer's status is on the span of a request; from 500 on it is an error."""
    span = Run(sample(name)).invoke(result)

    attributes = attributes_of(span)
    failed = status is not None and status >= 500
    assert status == attributes.get("http.response.status_code")
    assert (str(status) if failed else None) == attributes.get("error.type")
    expected = Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET
    assert expected == span.status.code


def test_odd_method() -> None:
    """A method that the conventions do not list is written as such."""
    event = sample("apigw")
    event["httpMethod"] = "BREW"

    attributes = attributes_of(Run(event).invoke())

    assert ("_OTHER", "BREW") == (
        attributes["http.request.method"],
        attributes["http.request.method_original"],
    )


WORDS = st.sampled_from(
    [
        *("Records", "records", "messages", "events", "rmqMessagesByQueue", "requestContext"),
        *("headers", "multiValueHeaders", "traceparent", "host", "detail", "resources", "info"),
        *("messageAttributes", "attributes", "AWSTraceHeader", "Sns", "MessageAttributes", "body"),
        *("kinesis", "data", "eventSourceARN", "cf", "request", "queryStringParameters"),
        *("x-forwarded-proto", "http", "stringValue", TRACEPARENT, "arn:aws:sqs:a:b:c", "HTTP/"),
    ]
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(WORDS, st.text()), inner, max_size=4)
    ),
)
WARM = Run({})


@given(shape=st.sampled_from(sorted(SHAPES)), event=ANYTHING, result=ANYTHING)
def test_anything_under_any_shape(shape: str, event: object, result: object) -> None:
    """Whatever is behind a service's keys, it is read and described without a fault."""
    config = make_config()
    times = make_times()
    times.trigger = trigger_of(shape)
    times.source = source = capture(shape, event, config)
    source.answered(result)
    invoke = WARM.phases._invoke_span(times, WARM.phases._trace(times), None)

    assert invoke.name
    assert all(isinstance(value, str | int | float) for value in invoke.attributes.values())
    assert len(WARM.phases._batch_spans(times, invoke)) == (shape == "sqs")
