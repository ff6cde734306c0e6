"""Partial-batch responses: which records Lambda is told to deliver again.

The shapes of events and answers are those of the AWS Lambda developer guide: "Implementing partial
batch responses", "Configuring partial batch response with Kinesis Data Streams and Lambda" and the
page for DynamoDB of the same name.
"""

from __future__ import annotations

import asyncio
import functools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadline_kit import FakeClock
from lambdascope.runtime.batch import (
    EARLIER_FAILURE,
    ERROR,
    OUT_OF_TIME,
    BatchResult,
    is_async,
    process_batch,
)
from lambdascope.runtime.deadline import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.runtime.deadline import Deadline

QUEUE = "arn:aws:sqs:eu-central-1:123456789012:orders"
Record = dict[str, Any]


class Context:
    """A context with a deadline by the clock of a test."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline


def _sqs(bodies: list[str], *, groups: list[str] | None = None) -> Record:
    """Return an event of a standard queue, or of a FIFO queue when groups are given."""
    records = []
    for number, body in enumerate(bodies):
        record: Record = {
            "messageId": f"id-{number}",
            "receiptHandle": "handle",
            "body": body,
            "attributes": {"ApproximateReceiveCount": "1"},
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": QUEUE if groups is None else f"{QUEUE}.fifo",
            "awsRegion": "eu-central-1",
        }
        if groups is not None:
            record["attributes"]["MessageGroupId"] = groups[number]
        records.append(record)
    return {"Records": records}


def _kinesis(bodies: list[str]) -> Record:
    return {
        "Records": [
            {
                "kinesis": {"partitionKey": "1", "sequenceNumber": f"4959{number}", "data": body},
                "eventSource": "aws:kinesis",
                "eventID": f"shardId-0:4959{number}",
                "body": body,
            }
            for number, body in enumerate(bodies)
        ]
    }


def _dynamodb(bodies: list[str]) -> Record:
    return {
        "Records": [
            {
                "eventID": str(number),
                "eventSource": "aws:dynamodb",
                "dynamodb": {"Keys": {"Id": {"N": "101"}}, "SequenceNumber": f"11{number}"},
                "body": body,
            }
            for number, body in enumerate(bodies)
        ]
    }


class Handler:
    """Fails for "bad", takes as many seconds as the body says otherwise, and notes what it got."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.tried: list[str] = []
        self._clock = clock

    def __call__(self, record: Record) -> str:
        """Handle a record."""
        self.tried.append(record["body"])
        if record["body"].startswith("bad"):
            raise ValueError(f"cannot do {record['body']}")
        if self._clock is not None:
            self._clock.pass_by(float(record["body"]))
        return f"done {record['body']}"

    async def later(self, record: Record) -> str:
        """Handle a record in a task."""
        await asyncio.sleep(0)
        return self(record)


def _in_time(event: Record, handler: Callable[[Record], object]) -> BatchResult:
    return process_batch(event, handler, Context(FakeClock().deadline(60)), interrupt=False)


def _named(result: BatchResult) -> list[str]:
    """Return the identifiers in the answer as Lambda reads it."""
    answer = json.loads(json.dumps(result))
    assert list(answer) == ["batchItemFailures"]
    assert all(list(item) == ["itemIdentifier"] for item in answer["batchItemFailures"])
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


def test_sqs_names_the_failed_messages() -> None:
    """A standard queue gets its failed messages again, and only those."""
    handler = Handler()

    result = _in_time(_sqs(["a", "bad", "b", "bad"]), handler)

    assert handler.tried == ["a", "bad", "b", "bad"]
    assert _named(result) == ["id-1", "id-3"]
    assert result.results == ["done a", "done b"]
    assert [(f.identifier, f.reason) for f in result.failures] == [("id-1", ERROR), ("id-3", ERROR)]
    assert not result.out_of_time


def test_complete_success_is_an_empty_list() -> None:
    """Lambda takes an empty list for complete success."""
    assert _in_time(_sqs(["a"]), Handler()) == {"batchItemFailures": []}
    assert _in_time({"Records": []}, Handler()) == {"batchItemFailures": []}


def test_fifo_keeps_the_order_of_each_group() -> None:
    """After a failure the later messages of the group wait for it; other groups go on."""
    handler = Handler()
    event = _sqs(["a1", "bad b1", "a2", "b2", "b3", "c1"], groups=["a", "b", "a", "b", "b", "c"])

    result = _in_time(event, handler)

    assert handler.tried == ["a1", "bad b1", "a2", "c1"]
    assert _named(result) == ["id-1", "id-3", "id-4"]
    reasons = [f.reason for f in result.failures]
    assert reasons == [ERROR, EARLIER_FAILURE, EARLIER_FAILURE]


def test_groups_of_a_standard_queue_have_no_order() -> None:
    """A standard queue may have message groups as well (fair queues), which keep no order."""
    event = _sqs(["bad", "a"], groups=["g", "g"])
    for record in event["Records"]:
        record["eventSourceARN"] = QUEUE

    assert _named(_in_time(event, Handler())) == ["id-0"]


@pytest.mark.parametrize(
    ("make", "first", "second"), [(_kinesis, "49591", "49592"), (_dynamodb, "111", "112")]
)
def test_streams_go_on_from_a_checkpoint(
    make: Callable[[list[str]], Record], first: str, second: str
) -> None:
    """A stream names the first failure; what follows is delivered again, so it is not tried."""
    handler = Handler()

    result = _in_time(make(["a", "bad", "b"]), handler)

    assert handler.tried == ["a", "bad"]
    assert _named(result) == [first]
    assert [(f.identifier, f.reason) for f in result.failures] == [
        (first, ERROR),
        (second, EARLIER_FAILURE),
    ]


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (_sqs(["2", "2", "2", "2"]), ["id-2", "id-3"]),
        (_sqs(["2", "2", "2", "2"], groups=["a", "b", "a", "b"]), ["id-2", "id-3"]),
        (_kinesis(["2", "2", "2", "2"]), ["49592"]),
        (_dynamodb(["2", "2", "2", "2"]), ["112"]),
    ],
)
def test_what_there_is_no_time_for_is_delivered_again(event: Record, named: list[str]) -> None:
    """Records that would not be done in time are not begun, and are reported as failed."""
    clock = FakeClock()
    handler = Handler(clock)

    result = process_batch(event, handler, Context(clock.deadline(6)), reserve=0.5, interrupt=False)

    assert handler.tried == ["2", "2"]
    assert _named(result) == named
    assert [f.reason for f in result.failures] == [OUT_OF_TIME, OUT_OF_TIME]
    assert all(f.error is None and f.attributes() == {} for f in result.failures)
    assert result.out_of_time


def test_failures_can_be_put_on_a_span() -> None:
    """A failure has the attributes of an exception event, with the stack of the user's code."""
    failure = _in_time(_sqs(["bad"]), Handler()).failures[0]

    attributes = failure.attributes()

    assert attributes["exception.type"] == "ValueError"
    assert attributes["exception.message"] == "cannot do bad"
    assert "raise ValueError" in attributes["exception.stacktrace"]
    assert "process_batch" not in attributes["exception.stacktrace"]
    assert failure.record["body"] == "bad"
    assert "ValueError('cannot do bad')" in repr(failure)


def test_async_functions() -> None:
    """With an async function the answer is awaited; the rules are the same."""
    handler = Handler()
    event = _sqs(["a1", "bad b1", "b2"], groups=["a", "b", "b"])
    context = Context(FakeClock().deadline(60))

    result = asyncio.run(process_batch(event, handler.later, context, interrupt=False))

    assert handler.tried == ["a1", "bad b1"]
    assert _named(result) == ["id-1", "id-2"]
    assert result.results == ["done a1"]


def test_what_ends_the_process_is_no_failure_of_a_record() -> None:
    """SystemExit and cancellation go through; the invocation has to end."""

    def leave(_record: Record) -> None:
        raise SystemExit(3)

    async def cancelled(_record: Record) -> None:
        raise asyncio.CancelledError

    with pytest.raises(SystemExit):
        _in_time(_sqs(["a"]), leave)
    context = Context(FakeClock().deadline(60))
    coroutine = process_batch(_sqs(["a"]), cancelled, context, interrupt=False)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(coroutine)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({}, "no list of Records"),
        ("text", "no list of Records"),
        ({"Records": [{"eventSource": "aws:s3"}]}, "batches of 'aws:s3' have no partial answers"),
        ({"Records": [{"EventSource": "aws:sns"}]}, "batches of None have no partial answers"),
        ({"Records": ["text"]}, "batches of None have no partial answers"),
        ({"Records": [{"eventSource": "aws:sqs"}]}, "aws:sqs has no messageId"),
        ({"Records": [{"eventSource": "aws:sqs", "messageId": ""}]}, "has no messageId"),
        ({"Records": [{"eventSource": "aws:kinesis", "kinesis": 1}]}, "no kinesis.sequenceNumber"),
        ({"Records": [{"eventSource": ["aws:sqs"]}]}, "have no partial answers"),
        (
            {"Records": [*_sqs(["a"])["Records"], *_kinesis(["b"])["Records"]]},
            "has a record that is not",
        ),
    ],
)
def test_what_cannot_be_reported_is_refused_before_it_is_tried(event: Any, said: str) -> None:
    """An event without partial answers fails as a whole, so that no record is lost or doubled."""
    handler = Handler()

    with pytest.raises(ValueError, match=said):
        _in_time(event, handler)

    assert handler.tried == []


def test_a_forgotten_await_is_a_failure() -> None:
    """A plain function that returns a coroutine has not done its work: the record fails."""
    handler = Handler()

    result = _in_time(_sqs(["a"]), lambda record: handler.later(record))

    assert handler.tried == []
    assert "not an async function" in str(result.failures[0].error)


def test_which_functions_are_async() -> None:
    """An async function is known also as a method, a partial, or an object that is called."""

    class Called:
        async def __call__(self, _record: Record) -> None:
            """Do nothing."""

    handler = Handler()
    asynchronous = (handler.later, functools.partial(handler.later), Called(), Handler.later)
    plain = (handler, _in_time, functools.partial(_in_time), print, int, Handler)

    assert [is_async(function) for function in asynchronous] == [True] * 4
    assert [is_async(function) for function in plain] == [False] * 6


def test_a_record_that_raises_a_time_out_of_its_own_fails() -> None:
    """A used-up budget inside the function is a failure like any other."""

    def late(_record: Record) -> None:
        raise DeadlineExceeded("mine")

    assert _named(_in_time(_sqs(["a"]), late)) == ["id-0"]


RECORDS = st.lists(
    st.tuples(st.sampled_from("abc"), st.booleans(), st.floats(0, 2)), min_size=0, max_size=15
)
KINDS = st.sampled_from(["sqs", "fifo", "kinesis", "dynamodb"])


@given(records=RECORDS, kind=KINDS, left=st.floats(0, 15), as_task=st.booleans())
def test_no_record_is_lost_or_out_of_order(
    records: list[tuple[str, bool, float]], kind: str, left: float, as_task: bool
) -> None:
    """Every record is done or delivered again; what is delivered again keeps the promised order."""
    clock = FakeClock()
    bodies = [f"{'bad ' if bad else ''}{seconds}" for _, bad, seconds in records]
    groups = [group for group, _, _ in records]
    event = {
        "sqs": lambda: _sqs(bodies),
        "fifo": lambda: _sqs(bodies, groups=groups),
        "kinesis": lambda: _kinesis(bodies),
        "dynamodb": lambda: _dynamodb(bodies),
    }[kind]()
    identifiers = [f"{prefix}{n}" for n in range(len(bodies)) for prefix in [_PREFIX[kind]]]
    handler = Handler(clock)
    context = Context(clock.deadline(left))
    if as_task:
        coroutine = process_batch(event, handler.later, context, reserve=1, interrupt=False)
        result = asyncio.run(coroutine)
    else:
        result = process_batch(event, handler, context, reserve=1, interrupt=False)

    named = _named(result)
    failed = [failure.identifier for failure in result.failures]
    tried = len(result.results) + sum(f.reason == ERROR for f in result.failures)
    # Everything is accounted for, once.
    assert len(handler.tried) == tried
    assert len(result.results) + len(failed) == len(records)
    assert len(set(failed)) == len(failed)
    assert failed == [name for name in identifiers if name in set(failed)]
    # Lambda is told of all of it.
    if kind in ("kinesis", "dynamodb"):
        assert named == failed[:1]
        # From the checkpoint on everything comes again, before it everything is done.
        assert failed == identifiers[len(identifiers) - len(failed) :]
    else:
        assert named == failed
    if kind == "fifo":
        for group in "abc":
            own = [i in failed for i, g in zip(identifiers, groups, strict=True) if g == group]
            assert own == sorted(own)


_PREFIX = {"sqs": "id-", "fifo": "id-", "kinesis": "4959", "dynamodb": "11"}
