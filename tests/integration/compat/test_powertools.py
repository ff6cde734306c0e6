"""Powertools under our runtime: the same answers, logs, metrics and traces as under AWS's client.

The two environments of this module are used by all tests in turn, as one function's would be.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from compat_kit import OURS, THEIRS, Function, XrayDaemon, json_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lambdascope.emulator.records import InvocationRecord

pytestmark = pytest.mark.compat

# Differ between any two runs.
_TIMES = ("timestamp", "exception", "stack_trace")
_SQS = {
    "Records": [
        {
            "messageId": name,
            "body": json.dumps({"bad": name == "second"}),
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:queue",
        }
        for name in ("first", "second", "third")
    ]
}


def http_event(method: str, path: str) -> dict[str, Any]:
    """An event of an HTTP API, version 2.0."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {},
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "isBase64Encoded": False,
    }


class Pair:
    """The function under both clients."""

    def __init__(self, python: Path) -> None:
        self.daemon = {OURS: XrayDaemon(), THEIRS: XrayDaemon()}
        self.side = {
            side: Function(
                python,
                side,
                "powertools_app.handler",
                variables={"AWS_XRAY_DAEMON_ADDRESS": self.daemon[side].address},
            )
            for side in (OURS, THEIRS)
        }

    def both(self, part: str, event: object) -> list[InvocationRecord]:
        """The records of one invocation on each side, ours first."""
        return [self.side[side].invoke({"part": part, "event": event}) for side in (OURS, THEIRS)]

    def same(self, part: str, event: object) -> Any:
        """The value that both sides answer."""
        ours, theirs = self.both(part, event)
        assert theirs.answer == ours.answer
        assert theirs.function_error == ours.function_error
        return json.loads(ours.answer)

    def close(self) -> None:
        """End everything."""
        for side in (OURS, THEIRS):
            self.side[side].__exit__()
            self.daemon[side].__exit__()


@pytest.fixture(scope="module")
def pair(compat_python: Path) -> Iterator[Pair]:
    """Both environments; they live as long as the module's tests."""
    made = Pair(compat_python)
    yield made
    made.close()


def without_times(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Log records without what differs between any two runs."""
    return [{k: v for k, v in record.items() if k not in _TIMES} for record in records]


def test_logger(pair: Pair) -> None:
    """Logger writes the same records: context, correlation id, trace id, own keys, exception."""
    ours, theirs = pair.both("log", {"id": "c-1", "order": 17})

    assert theirs.answer == ours.answer
    records = json_lines(ours)
    assert without_times(json_lines(theirs)) == without_times(records)
    assert ["INFO", "INFO", "ERROR"] == [record["level"] for record in records]
    received = records[1]
    assert ("c-1", 17, "received") == (
        received["correlation_id"],
        received["order"],
        received["message"],
    )
    assert ours.request_id == received["function_request_id"]
    assert "1-5759e988-bd862e3fe1be46a994272793" == received["xray_trace_id"]
    assert "ValueError: no stock" in records[2]["exception"]


def test_tracer(pair: Pair) -> None:
    """Tracer's subsegments hang under the invocation's trace, as under AWS's client."""
    assert {"charged": 5} == pair.same("trace", {"amount": 5})

    ours, theirs = ([pair.daemon[side].next() for _ in range(2)] for side in (OURS, THEIRS))
    assert [told(document) for document in theirs] == [told(document) for document in ours]
    by_name = {document["name"]: document for document in ours}
    assert {"1-5759e988-bd862e3fe1be46a994272793"} == {each["trace_id"] for each in ours}
    assert "53995c3f42cd8ad8" == by_name["## trace"]["parent_id"]
    assert {"amount": 5} == by_name["## powertools_app.charge"]["annotations"]


def test_tracer_of_a_failure(pair: Pair) -> None:
    """A handler that raises is a fault on its subsegment, and the same error to the caller."""
    ours, theirs = pair.both("trace", {"fail": True})

    assert json.loads(theirs.answer) == json.loads(ours.answer)
    assert "Unhandled" == ours.function_error
    documents = [pair.daemon[side].next() for side in (OURS, THEIRS)]
    assert told(documents[1]) == told(documents[0])
    assert documents[0]["fault"] is True
    assert "declined" == documents[0]["cause"]["exceptions"][0]["message"]


def told(document: dict[str, Any]) -> dict[str, Any]:
    """What a subsegment says, without ids and times of its own."""
    kept = ("name", "trace_id", "type", "annotations", "metadata", "fault", "namespace")
    return {key: document.get(key) for key in kept}


def test_metrics(pair: Pair) -> None:
    """Metrics come out as the same embedded-metric lines."""
    ours, theirs = pair.both("measure", {"sold": 3})

    lines = metric_lines(ours)
    assert metric_lines(theirs) == lines
    assert [3.0] == next(line["sold"] for line in lines if "sold" in line)


def metric_lines(record: InvocationRecord) -> list[dict[str, Any]]:
    """The embedded metrics without their times."""
    lines = [line for line in json_lines(record) if "_aws" in line]
    for line in lines:
        del line["_aws"]["Timestamp"]
    return lines


def test_batch(pair: Pair) -> None:
    """The batch processor's partial answer names the one record that failed."""
    answer = pair.same("batch", _SQS)

    assert {"batchItemFailures": [{"itemIdentifier": "second"}]} == answer


def test_async_batch(pair: Pair) -> None:
    """The asynchronous processor, which brings its own event loop, answers the same."""
    assert pair.same("batch", _SQS) == pair.same("async_batch", _SQS)


def test_batches_of_streams(pair: Pair) -> None:
    """Kinesis and DynamoDB batches name the sequence number of the record that failed."""
    data = [base64.b64encode(json.dumps({"n": n}).encode()).decode() for n in (1, 2)]
    kinesis = [
        {"eventSource": "aws:kinesis", "kinesis": {"sequenceNumber": f"s{n}", "data": each}}
        for n, each in enumerate(data, 1)
    ]
    dynamodb = [
        {
            "eventSource": "aws:dynamodb",
            "dynamodb": {"SequenceNumber": f"s{n}", "Keys": {"n": {"N": str(n)}}},
        }
        for n in (1, 2)
    ]

    for records in (kinesis, dynamodb):
        answer = pair.same("stream", {"Records": records})
        assert {"batchItemFailures": [{"itemIdentifier": "s2"}]} == answer


def test_event_handler_of_a_rest_api(pair: Pair) -> None:
    """The resolver of REST APIs finds its route, and makes an answer of its own exceptions."""
    event = {"httpMethod": "GET", "path": "/orders", "headers": {}, "requestContext": {}}

    found = pair.same("http_rest", event | {"queryStringParameters": None})
    refused = pair.same("http_rest", event | {"queryStringParameters": {"bad": "1"}})

    assert ("/orders", 200) == (json.loads(found["body"])["path"], found["statusCode"])
    assert (400, "no such page") == (refused["statusCode"], json.loads(refused["body"])["message"])


def test_event_handler(pair: Pair) -> None:
    """Routes are found, with their parameters, the context and another status."""
    found = pair.same("http", http_event("GET", "/orders/17"))
    made = pair.same("http", http_event("POST", "/orders"))
    missing = pair.same("http", http_event("GET", "/nothing"))

    expected = {"order": "17", "all": "/orders/17", "function": "function"}
    assert expected == json.loads(found["body"])
    assert (201, 404) == (made["statusCode"], missing["statusCode"])


def test_idempotency(pair: Pair) -> None:
    """The same payment is made once; its second answer comes out of DynamoDB (moto's)."""
    first = pair.same("pay", {"payment": "p-1"})
    again = pair.same("pay", {"payment": "p-1"})
    other = pair.same("pay", {"payment": "p-2"})

    assert first == again
    assert (1, 2) == (first["answer"]["receipt"], other["answer"]["receipt"])
    assert ["p-1", "p-2"] == other["payments"]


def test_an_idempotency_key_that_is_missing(pair: Pair) -> None:
    """What Powertools raises reaches the caller as the same error."""
    ours, theirs = pair.both("pay", {"order": 1})

    assert json.loads(theirs.answer) == json.loads(ours.answer)
    assert b"IdempotencyKeyError" in ours.answer
