"""Partial-batch responses: calls a function for each record, and tells Lambda which have failed.

For SQS (standard and FIFO), Kinesis and DynamoDB streams, whose event source mapping has
`FunctionResponseTypes: [ReportBatchItemFailures]`; without it Lambda ignores the answer. What there
is no time for is reported as failed, so that it is delivered again. Sources: AWS Lambda developer
guide, "Implementing partial batch responses" (SQS), "Configuring partial batch response with
Kinesis Data Streams and Lambda", and the same for DynamoDB.
"""

from __future__ import annotations

from lambdascope.otlp import names
from lambdascope.runtime.budget import Budget
from lambdascope.runtime.deadline import DEFAULT_RESERVE, DeadlineExceeded, deadline_of
from lambdascope.runtime.iterate import WhileTime

TYPE_CHECKING = False
if not TYPE_CHECKING:

    def overload(function):
        """Nothing: typing's is for the type checker, and is not imported at run time."""
        return function


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator
    from typing import Any, overload  # noqa: TC004 - at run time it is the one above

    from lambdascope.runtime.deadline import Deadline

    Record = dict[str, Any]


# Why a record was not done.
ERROR = "error"
OUT_OF_TIME = "out_of_time"
EARLIER_FAILURE = "earlier_failure"

SQS = "aws:sqs"
KINESIS = "aws:kinesis"
DYNAMODB = "aws:dynamodb"
# Where each source keeps the identifier that the answer has to name.
_IDENTIFIERS = {
    SQS: ("messageId",),
    KINESIS: ("kinesis", "sequenceNumber"),
    DYNAMODB: ("dynamodb", "SequenceNumber"),
}
_CO_COROUTINE = 0x80


class RecordFailure:
    """A record that was not done: `reason` is one of the above, `error` what the function raised.

    `error` is None for a record that was not tried.
    """

    __slots__ = ("error", "identifier", "reason", "record")

    def __init__(
        self, identifier: str, record: Record, *, reason: str, error: Exception | None
    ) -> None:
        self.identifier = identifier
        self.record = record
        self.reason = reason
        self.error = error

    def attributes(self) -> dict[str, str]:
        """The attributes of an `exception` event on a span; none for a record not tried."""
        if self.error is None:
            return {}
        from lambdascope.runtime.faults import ErrorReport

        report = ErrorReport(self.error, "")
        return {
            names.EXCEPTION_TYPE: report.name,
            names.EXCEPTION_MESSAGE: report.message,
            names.EXCEPTION_STACKTRACE: report.stack_text(),
        }

    def __repr__(self) -> str:
        return f"RecordFailure({self.identifier!r}, reason={self.reason!r}, error={self.error!r})"


class BatchResult(dict[str, list[dict[str, str]]]):
    """The answer to return from the handler (`batchItemFailures`), and what happened beside it.

    `results` are the values that the function returned, in the order of the records; `failures`
    has each record that was not done, tried or not.
    """

    __slots__ = ("failures", "results")

    def __init__(self) -> None:
        super().__init__(batchItemFailures=[])
        self.results: list[object] = []
        self.failures: list[RecordFailure] = []

    @property
    def out_of_time(self) -> bool:
        """Whether records were left because of the deadline."""
        return any(failure.reason is OUT_OF_TIME for failure in self.failures)


class _Item:
    """One record on its way."""

    __slots__ = ("done", "group", "identifier", "record", "result")

    def __init__(self, record: Record, identifier: str, group: str | None) -> None:
        self.record = record
        self.identifier = identifier
        self.group = group
        self.done = False
        self.result: object = None


class _Batch:
    """The records of one event, the order that they need, and what became of them."""

    def __init__(self, event: Record, deadline: Deadline, *, reserve: float) -> None:
        records = event.get("Records") if isinstance(event, dict) else None
        if not isinstance(records, list):
            raise ValueError("not a batch: the event has no list of Records")
        source = _source(records)
        self._is_stream = source != SQS
        self._items = [_item(record, source) for record in records]
        self._timed = WhileTime(self._items, deadline, reserve=reserve)
        self._failed_groups: set[str] = set()
        self.result = BatchResult()

    def __iter__(self) -> Iterator[_Item]:
        """The items to be tried; the others are noted as failed."""
        for item in self._timed:
            if item.group is not None and item.group in self._failed_groups:
                self._fail(item, EARLIER_FAILURE)
                continue
            yield item
            if self._is_stream and self.result.failures:
                # Lambda delivers everything from the first failure on again.
                break
        reason = OUT_OF_TIME if self._timed.stopped else EARLIER_FAILURE
        for item in self._timed.unprocessed:  # type: ignore[union-attr]  # of a list, so plain
            self._fail(item, reason)
        self._answer()

    def over(self, item: _Item, error: Exception | None) -> None:
        """The function returned, or raised."""
        if error is None or (item.done and isinstance(error, DeadlineExceeded)):
            # It may have returned too late: it has done its work all the same.
            self.result.results.append(item.result)
        else:
            self._fail(item, ERROR, error)

    def _fail(self, item: _Item, reason: str, error: Exception | None = None) -> None:
        failure = RecordFailure(item.identifier, item.record, reason=reason, error=error)
        self.result.failures.append(failure)
        if item.group is not None:
            self._failed_groups.add(item.group)

    def _answer(self) -> None:
        failed = self.result.failures[:1] if self._is_stream else self.result.failures
        self.result["batchItemFailures"] = [{"itemIdentifier": f.identifier} for f in failed]


@overload
def process_batch(  # type: ignore[overload-overlap]  # a coroutine is an object as well
    event: Record,
    record_handler: Callable[[Record], Coroutine[Any, Any, object]],
    context: object = None,
    *,
    reserve: float = DEFAULT_RESERVE,
    interrupt: bool = True,
) -> Coroutine[Any, Any, BatchResult]: ...
@overload
def process_batch(
    event: Record,
    record_handler: Callable[[Record], object],
    context: object = None,
    *,
    reserve: float = DEFAULT_RESERVE,
    interrupt: bool = True,
) -> BatchResult: ...
def process_batch(
    event: Record,
    record_handler: Callable[[Record], object],
    context: object = None,
    *,
    reserve: float = DEFAULT_RESERVE,
    interrupt: bool = True,
) -> BatchResult | Coroutine[Any, Any, BatchResult]:
    """Call `record_handler` with each record; return the answer for Lambda.

    A record has failed when the function raises an Exception. With an `async def` function the
    result has to be awaited; records are done one after the other in both cases.

    - SQS: the other records go on.
    - SQS FIFO: the later records of the same message group are not tried.
    - Kinesis, DynamoDB: nothing after the first failure is tried; its sequence number is the
      checkpoint from which Lambda delivers again.

    No record is begun unless there is more time than `reserve` and the longest record so far took.
    With `interrupt` each one runs inside a budget: one that hangs is stopped `reserve` seconds
    before the deadline and fails. `context` is the handler's; None takes the deadline of the
    invocation that is running. Raises ValueError for an event that is not such a batch and for a
    record without an identifier, before any record is tried.
    """
    deadline = deadline_of(context)
    batch = _Batch(event, deadline, reserve=reserve)
    limit = (lambda: Budget(deadline, reserve=reserve)) if interrupt else None
    if is_async(record_handler):
        return _run_async(batch, record_handler, limit)  # type: ignore[arg-type]  # as was asked
    return _run(batch, record_handler, limit)


def _run(
    batch: _Batch, handler: Callable[[Record], object], limit: Callable[[], Budget] | None
) -> BatchResult:
    for item in batch:
        error = None
        try:
            if limit is None:
                _call(handler, item)
            else:
                with limit():
                    _call(handler, item)
        except Exception as raised:  # noqa: BLE001 - whatever the function raises is its failure
            error = raised
        batch.over(item, error)
    return batch.result


async def _run_async(
    batch: _Batch,
    handler: Callable[[Record], Awaitable[object]],
    limit: Callable[[], Budget] | None,
) -> BatchResult:
    for item in batch:
        error = None
        try:
            if limit is None:
                item.result = await handler(item.record)
            else:
                async with limit():
                    item.result = await handler(item.record)
                    item.done = True
        except Exception as raised:  # noqa: BLE001 - as above
            error = raised
        batch.over(item, error)
    return batch.result


def _call(handler: Callable[[Record], object], item: _Item) -> None:
    # Nothing interrupts between the return of a Python function and the next two statements.
    item.result = handler(item.record)
    item.done = True
    if hasattr(item.result, "__await__"):
        item.done = False
        if hasattr(item.result, "close"):
            item.result.close()
        raise TypeError("the record handler returned an awaitable but is not an async function")


def is_async(function: object) -> bool:
    """Whether calling it makes a coroutine: `async def`, also as method, partial or __call__."""
    while hasattr(function, "func"):
        function = function.func
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is None:
        call = getattr(type(function), "__call__", None)  # noqa: B004 - its code is wanted
        code = getattr(call, "__code__", None)
    return bool(getattr(code, "co_flags", 0) & _CO_COROUTINE)


def _source(records: list[Any]) -> str:
    """What kind of batch it is, told by the first record; an empty one is of any kind."""
    if not records:
        return SQS
    source = records[0].get("eventSource") if isinstance(records[0], dict) else None
    if isinstance(source, str) and source in _IDENTIFIERS:
        return source
    known = ", ".join(_IDENTIFIERS)
    raise ValueError(f"batches of {source!r} have no partial answers; these have: {known}")


def _item(record: Record, source: str) -> _Item:
    found: Any = record
    if not isinstance(record, dict) or record.get("eventSource") != source:
        raise ValueError(f"the batch is of {source}, but has a record that is not")
    for key in _IDENTIFIERS[source]:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, str) or not found:
        path = ".".join(_IDENTIFIERS[source])
        raise ValueError(f"a record of {source} has no {path}: it cannot be reported as failed")
    return _Item(record, found, _group(record) if source == SQS else None)


def _group(record: Record) -> str | None:
    """The message group, for a FIFO queue. Standard queues may have groups too, without order."""
    if not str(record.get("eventSourceARN", "")).endswith(".fifo"):
        return None
    attributes = record.get("attributes")
    return str(attributes.get("MessageGroupId")) if isinstance(attributes, dict) else ""
