"""Which kind of source an event came from."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lambdascope.otlp import names
from lambdascope.runtime.triggers import DIRECT, shape_of, trigger_of

EVENTS = {
    "http: REST API": ({"resource": "/", "requestContext": {"stage": "x"}}, "http"),
    "http: HTTP API or function URL": ({"version": "2.0", "requestContext": {"http": {}}}, "http"),
    "http: load balancer": ({"requestContext": {"elb": {}}}, "http"),
    "sqs": ({"Records": [{"eventSource": "aws:sqs"}]}, "pubsub"),
    "sns": ({"Records": [{"EventSource": "aws:sns"}]}, "pubsub"),
    "kinesis": ({"Records": [{"eventSource": "aws:kinesis"}]}, "pubsub"),
    "managed kafka": ({"eventSource": "aws:kafka", "records": {}}, "pubsub"),
    "own kafka": ({"eventSource": "SelfManagedKafka", "records": {}}, "pubsub"),
    "rabbit": ({"eventSource": "aws:rmq"}, "pubsub"),
    "s3": ({"Records": [{"eventSource": "aws:s3"}]}, "datasource"),
    "dynamodb": ({"Records": [{"eventSource": "aws:dynamodb"}]}, "datasource"),
    "documentdb": ({"eventSource": "aws:docdb"}, "datasource"),
    "eventbridge": ({"detail-type": "Order", "source": "shop", "detail": {}}, "pubsub"),
    "schedule": ({"detail-type": "Scheduled Event", "source": "aws.events"}, "timer"),
    "destination": ({"requestContext": {"functionArn": "a"}, "requestPayload": {}}, "other"),
    "authorizer": ({"type": "TOKEN", "methodArn": "a"}, "http"),
    "odd context": ({"requestContext": 1}, "other"),
    "pipe": ([{"eventSource": "aws:sqs"}], "pubsub"),
    "appsync batch": ([{"info": {"parentTypeName": "Query"}}], "http"),
    "not appsync": ({"info": {}}, "other"),
    "direct": ({"a": 1}, "other"),
    "text": ("text", "other"),
    "bytes": (b"\x00", "other"),
    "no records": ({"Records": []}, "other"),
    "odd records": ({"Records": [1]}, "other"),
    "odd source": ({"Records": [{"eventSource": ["aws:sqs"]}]}, "other"),
    "unknown source": ({"Records": [{"eventSource": "aws:new"}]}, "other"),
}


@pytest.mark.parametrize(("event", "trigger"), EVENTS.values(), ids=EVENTS)
def test_known_sources(event: object, trigger: str) -> None:
    """Each documented source has its value of `faas.trigger`; others are "other"."""
    assert trigger == trigger_of(shape_of(event))


words = st.sampled_from(
    [
        "Records",
        "records",
        "requestContext",
        "requestPayload",
        "eventSource",
        "EventSource",
        "detail-type",
        "source",
        "aws:sqs",
        "aws:kafka",
        "aws.events",
        "awslogs",
        "info",
        "parentTypeName",
        "StateMachine",
        "Execution",
        "triggerSource",
        "userPoolId",
        "methodArn",
        "headers",
        "elb",
        "http",
        "connectionId",
        "domainName",
        "cf",
    ]
)
events = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), words),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(words, st.text()), inner, max_size=3)
    ),
)
TRIGGERS = {value for name, value in vars(names).items() if name.startswith("FAAS_TRIGGER_")}


@given(events)
def test_never_raises(event: object) -> None:
    """Any JSON gives one of the values of the conventions."""
    assert trigger_of(shape_of(event)) in TRIGGERS


def test_large_event_of_ones_own_is_not_searched() -> None:
    """The look for a service's keys does not depend on how many keys an event has."""
    looked: list[object] = []

    class Key(str):
        """A key that tells when it is compared or hashed again."""

        __slots__ = ()

        def __hash__(self) -> int:
            looked.append(self)
            return super().__hash__()

    event = {Key(number): number for number in range(1000)}
    looked.clear()

    assert shape_of(event) == DIRECT
    assert [] == looked
