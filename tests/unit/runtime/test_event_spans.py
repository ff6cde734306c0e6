"""What the spans say about each documented event: kind, name, attributes and links."""

from __future__ import annotations

import json

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from unit.runtime.event_kit import (
    DATA,
    SAMPLES,
    Run,
    attributes_of,
    sample,
)

SERVER, CONSUMER = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER
API = "abcdef1234.execute-api.us-east-1.amazonaws.com"
URL = "abcdefghijklmnopqrstuvwxyz012345.lambda-url.us-east-1.on.aws"
LOAD_BALANCER = "orders-1234567890.us-east-1.elb.amazonaws.com"
TARGETS = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/orders/0123456789abcdef"
REQUEST = {
    "http.request.method": "POST",
    "url.path": "/orders/17",
    "url.scheme": "https",
    "client.address": "203.0.113.10",
    "user_agent.original": "curl/8.5.0",
    "network.protocol.version": "1.1",
}
PROCESS = {"messaging.operation.name": "process", "messaging.operation.type": "process"}

# Per event: faas.trigger, kind, name, and the attributes that only it has.
EVENTS: dict[str, tuple[str, int, str, dict[str, object]]] = {
    "apigw": (
        "http",
        SERVER,
        "/orders/{id}",
        REQUEST
        | {
            "lambdascope.event.source": "apigateway.rest",
            "http.route": "/orders/{id}",
            "server.address": API,
            "url.query": "dry=true",
        },
    ),
    "http": (
        "http",
        SERVER,
        "/orders/{id}",
        REQUEST
        | {
            "lambdascope.event.source": "apigateway.http",
            "http.route": "/orders/{id}",
            "server.address": API,
            "url.query": "dry=true&tag=a&tag=b",
            "http.response.status_code": 200,
        },
    ),
    "url": (
        "http",
        SERVER,
        "hello",
        REQUEST
        | {
            "lambdascope.event.source": "lambda.url",
            "server.address": URL,
            "url.query": "dry=true&tag=a&tag=b",
            "http.response.status_code": 200,
        },
    ),
    "websocket": (
        "http",
        SERVER,
        "$connect",
        {
            "lambdascope.event.source": "apigateway.websocket",
            "lambdascope.event.type": "CONNECT",
            "client.address": "203.0.113.10",
            "user_agent.original": "wscat/6",
            "server.address": API,
            "url.scheme": "https",
        },
    ),
    "authorizer": (
        "http",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "apigateway.authorizer",
            "http.request.method": "GET",
            "url.path": "/request",
            "url.scheme": "https",
            "url.query": "QueryString1=queryValue1",
            "client.address": "203.0.113.10",
            "user_agent.original": "curl/8.5.0",
            "server.address": API,
        },
    ),
    "alb": (
        "http",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "elb",
            "aws.elb.target_group_arn": TARGETS,
            "http.request.method": "GET",
            "url.path": "/orders/17",
            "url.scheme": "https",
            "url.query": "dry=true",
            "client.address": "203.0.113.10",
            "user_agent.original": "curl/8.5.0",
            "server.address": LOAD_BALANCER,
        },
    ),
    "alb-multi-value": (
        "http",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "elb",
            "aws.elb.target_group_arn": TARGETS,
            "http.request.method": "GET",
            "url.path": "/orders/17",
            "url.scheme": "http",
            "url.query": "tag=a%20b&tag=c&Signature=REDACTED",
            "client.address": "203.0.113.10",
            "user_agent.original": "curl/8.5.0",
            "server.address": LOAD_BALANCER,
        },
    ),
    "vpc-lattice": (
        "http",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "vpc-lattice",
            "http.request.method": "GET",
            "url.path": "/orders/17",
            "url.query": "state=prod",
            "client.address": "10.0.0.9",
            "user_agent.original": "curl/8.5.0",
            "server.address": "orders-0123.7d67968.vpc-lattice-svcs.us-east-1.on.aws",
        },
    ),
    "appsync": (
        "http",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "appsync",
            "lambdascope.event.type": "getOrder",
            "graphql.operation.type": "query",
            "url.scheme": "https",
            "client.address": "203.0.113.10",
            "user_agent.original": "Mozilla/5.0",
            "server.address": "example1234567890000.appsync-api.us-east-1.amazonaws.com",
        },
    ),
    "cloudfront": (
        "http",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "cloudfront",
            "lambdascope.event.type": "viewer-request",
            "http.request.method": "GET",
            "url.path": "/orders/17",
            "url.query": "a=1",
            "client.address": "203.0.113.178",
            "user_agent.original": "curl/7.66.0",
            "server.address": "d111111abcdef8.cloudfront.net",
        },
    ),
    "sqs": ("pubsub", SERVER, "hello", {"lambdascope.event.source": "sqs"}),
    "sns-in-sqs": ("pubsub", SERVER, "hello", {"lambdascope.event.source": "sqs"}),
    "pipe": ("pubsub", SERVER, "hello", {"lambdascope.event.source": "sqs"}),
    "sns": (
        "pubsub",
        CONSUMER,
        "orders process",
        PROCESS
        | {
            "lambdascope.event.source": "sns",
            "messaging.system": "aws.sns",
            "messaging.destination.name": "orders",
            "messaging.message.id": "0f9c1f4e-7a51-5a6e-8f0b-45b2f0c1d2e3",
            "aws.sns.topic.arn": "arn:aws:sns:us-east-1:123456789012:orders",
        },
    ),
    "kinesis": (
        "pubsub",
        CONSUMER,
        "orders process",
        PROCESS
        | {
            "lambdascope.event.source": "kinesis",
            "messaging.system": "aws_kinesis",
            "messaging.destination.name": "orders",
            "messaging.destination.partition.id": "shardId-000000000006",
            "messaging.batch.message_count": 2,
            "aws.kinesis.stream_name": "orders",
        },
    ),
    "dynamodb": (
        "datasource",
        CONSUMER,
        "hello",
        {
            "lambdascope.event.source": "dynamodb",
            "lambdascope.event.type": "INSERT",
            "lambdascope.event.records": 2,
            "faas.document.collection": "orders",
            "faas.document.operation": "insert",
            "faas.document.time": "2026-01-01T10:00:01Z",
        },
    ),
    "documentdb": (
        "datasource",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "documentdb",
            "lambdascope.event.type": "insert",
            "lambdascope.event.records": 1,
            "faas.document.collection": "test_collection",
            "faas.document.operation": "insert",
        },
    ),
    "s3": (
        "datasource",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "s3",
            "lambdascope.event.type": "ObjectCreated:Put",
            "lambdascope.event.records": 1,
            "faas.document.collection": "example-uploads",
            "faas.document.name": "invoices/2026/order 17.pdf",
            "faas.document.operation": "insert",
            "faas.document.time": "2026-01-01T10:00:00.000Z",
        },
    ),
    "eventbridge": (
        "pubsub",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "eventbridge",
            "aws.eventbridge.source": "com.example.orders",
            "aws.eventbridge.detail_type": "Order Paid",
            "aws.eventbridge.event_id": "7bf73129-1428-4cd3-a780-95db273d1602",
        },
    ),
    "schedule": (
        "timer",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "schedule",
            "aws.eventbridge.source": "aws.events",
            "aws.eventbridge.detail_type": "Scheduled Event",
            "aws.eventbridge.event_id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
            "aws.eventbridge.rule_arn": (
                "arn:aws:events:us-east-1:123456789012:rule/every-five-minutes"
            ),
            "faas.time": "2026-01-01T10:00:00Z",
        },
    ),
    "kafka-msk": (
        "pubsub",
        SERVER,
        "hello",
        PROCESS
        | {
            "lambdascope.event.source": "kafka",
            "messaging.system": "kafka",
            "messaging.destination.name": "orders",
            "messaging.destination.partition.id": "0",
            "messaging.batch.message_count": 2,
        },
    ),
    "kafka-self-managed": (
        "pubsub",
        SERVER,
        "hello",
        PROCESS
        | {
            "lambdascope.event.source": "kafka",
            "messaging.system": "kafka",
            "messaging.batch.message_count": 2,
        },
    ),
    "activemq": (
        "pubsub",
        SERVER,
        "hello",
        PROCESS
        | {
            "lambdascope.event.source": "activemq",
            "messaging.system": "activemq",
            "messaging.destination.name": "testQueue",
            "messaging.batch.message_count": 1,
            "messaging.message.id": (
                "ID:b-9bcfa592-423a-4942-879d-eb284b418fc8-1.mq.us-east-1.amazonaws.com-37557"
                "-1234520418293-4:1:1:1:1"
            ),
        },
    ),
    "rabbitmq": (
        "pubsub",
        SERVER,
        "hello",
        PROCESS
        | {
            "lambdascope.event.source": "rabbitmq",
            "messaging.system": "rabbitmq",
            "messaging.destination.name": "pizzaQueue",
            "messaging.batch.message_count": 1,
        },
    ),
    "logs": ("pubsub", SERVER, "hello", {"lambdascope.event.source": "logs"}),
    "stepfunctions": (
        "other",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "stepfunctions",
            "aws.step_functions.state_machine.arn": (
                "arn:aws:states:us-east-1:123456789012:stateMachine:orders"
            ),
        },
    ),
    "cognito": (
        "other",
        SERVER,
        "hello",
        {
            "lambdascope.event.source": "cognito",
            "lambdascope.event.type": "PostConfirmation_ConfirmSignUp",
        },
    ),
    "destination": ("other", SERVER, "hello", {"lambdascope.event.source": "lambda.destination"}),
    "direct-with-headers": ("other", SERVER, "hello", {}),
}
# What every invocation has, whatever its event is; the trigger is compared apart.
COMMON = set(attributes_of(Run({}).invoke())) | {"lambdascope.parent.reason"}


def own(span: Span) -> dict[str, object]:
    """The attributes that the event has brought."""
    return {key: value for key, value in attributes_of(span).items() if key not in COMMON}


@pytest.mark.parametrize("name", EVENTS)
def test_span_of_the_invocation(name: str) -> None:
    """Kind, name and attributes are those of the event's row, and no others."""
    trigger, kind, span_name, attributes = EVENTS[name]

    span = Run(sample(name)).invoke()

    assert trigger == attributes_of(span)["faas.trigger"]
    assert (kind, span_name) == (span.kind, span.name)
    assert attributes == own(span)
    assert span.status.code == Status.STATUS_CODE_UNSET


def test_every_documented_event_has_its_row() -> None:
    """No sample, the command line's or the tests' own, is without a row above."""
    samples = {path.stem for folder in (DATA, SAMPLES) for path in folder.glob("*.json")}

    assert samples == set(EVENTS)
    assert all(json.loads(path.read_text())["page"] for path in DATA.glob("*.json"))


def test_what_the_handler_does_to_the_event_changes_nothing() -> None:
    """What the spans say was taken before the handler ran."""
    for name in EVENTS:
        event, untouched = sample(name), sample(name)
        run = Run(event)
        _spoil(event)

        changed, expected = run.spans(), Run(untouched).spans()

        assert [(s.name, s.kind, own(s)) for s in expected[::2]] == [
            (s.name, s.kind, own(s)) for s in changed[::2]
        ]
        assert [len(s.links) for s in expected] == [len(s.links) for s in changed]


def _spoil(value: object) -> None:
    """Empty everything that can be changed, from the inside out."""
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, (dict, list)):
            _spoil(inner)
    value.clear()


@pytest.mark.parametrize("value", [None, 1, "", [], {}, [None], "x" * 100_000, {"a": {"b": 1}}])
@pytest.mark.parametrize("name", EVENTS)
def test_damaged_events(name: str, value: object) -> None:
    """Each part of each event may be anything: spans are made, and nothing is said."""
    for path in _paths(sample(name)):
        event = sample(name)
        parent = event
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = value

        assert Run(event).spans({"statusCode": value})


def _paths(value: object, depth: int = 4) -> list[tuple[object, ...]]:
    """The places in an event, down to a depth."""
    if depth == 0 or not isinstance(value, (dict, list)):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [
        path
        for key in keys
        for path in [(key,), *((key, *inner) for inner in _paths(value[key], depth - 1))]
    ]
