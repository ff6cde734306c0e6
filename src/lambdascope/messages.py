"""Spans for the messages of a batch: `process_messages(event)`, for use in handlers.

A batch is one invocation and one span; how each message fared only the function's own code knows.
Spans are made with the OpenTelemetry API where it is installed; where it is not, the messages are
just handed out. Loaded when it is first asked for. Source: OpenTelemetry semantic conventions 1.44,
faas/aws-lambda, "SQS Message".
"""

from __future__ import annotations

import os

from lambdascope import __version__
from lambdascope.otlp import names
from lambdascope.runtime import triggers as shapes
from lambdascope.runtime.config import read_propagators
from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.event_records import RECORD_READERS, dict_at, kafka_records, remotes_of
from lambdascope.runtime.event_spans import MESSAGING_SYSTEMS, resource_name
from lambdascope.runtime.event_table import RECORD_LISTS
from lambdascope.runtime.trace_context import fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType
    from typing import Any

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, Span

    from lambdascope.runtime.trace_context import Remote


def process_messages(event: object) -> Iterator[MessageSpan]:
    """Each message of a batch, as a context manager that gives the record and is its span::

        for message in lambdascope.process_messages(event):
            with message as record:
                handle(record)

    For events of SQS, SNS, Kinesis, DynamoDB streams, Kafka, Amazon MQ, DocumentDB and S3, in their
    order. The span is a CONSUMER span, below that of the batch, linked to who sent the message; an
    exception that leaves the block is recorded on it and goes on. Raises ValueError for an event
    without messages, when the first one is asked for.
    """
    shape = shapes.shape_of(event)
    if type(event) is list:
        records: object = event
    else:
        records = dict_at(event).get(RECORD_LISTS.get(shape, "Records"))
        if type(records) is dict:
            records = list(kafka_records(records))
    if type(records) is not list:
        known = f"an event of {shape!r}" if shape else "none of a service that is known"
        raise ValueError(f"this event has no messages: it is {known}")
    for record in records:
        yield MessageSpan(shape, record)


class MessageSpan:
    """The span of one message, for the `with` statement. `record` is the message as it came."""

    __slots__ = ("_manager", "_shape", "_span", "record")

    def __init__(self, shape: str, record: Any) -> None:
        self.record = record
        self._shape = shape
        self._manager: AbstractContextManager[Span] | None = None
        self._span: Span | None = None

    def __enter__(self) -> Any:
        """Start the span and make it the current one; the record."""
        try:
            from opentelemetry import trace
        except ImportError:
            return self.record
        name, attributes = self._about()
        self._manager = trace.get_tracer("lambdascope", __version__).start_as_current_span(
            name,
            _parent(),
            trace.SpanKind.CONSUMER,
            attributes,
            [_link(each) for each in self._senders()],
        )
        self._span = self._manager.__enter__()
        return self.record

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        manager, span = self._manager, self._span
        self._manager = self._span = None
        if manager is None or span is None:
            return
        if kind is not None:
            span.set_attribute(names.ERROR_TYPE, _type_name(kind))
        manager.__exit__(kind, error, tb)

    def _about(self) -> tuple[str, dict[str, str]]:
        place = resource_name(_first(self.record, _PLACES))
        attributes = {names.FAAS_TRIGGER: shapes.trigger_of(self._shape)}
        system = MESSAGING_SYSTEMS.get(self._shape)
        if system is not None:
            attributes[names.MESSAGING_SYSTEM] = system
            attributes[names.MESSAGING_OPERATION_NAME] = names.MESSAGING_OPERATION_PROCESS
            attributes[names.MESSAGING_OPERATION_TYPE] = names.MESSAGING_OPERATION_PROCESS
            attributes[names.MESSAGING_DESTINATION_NAME] = place
            attributes[names.MESSAGING_MESSAGE_ID] = _first(self.record, _IDS)
        else:
            attributes[names.FAAS_DOCUMENT_COLLECTION] = place
        name = f"{place or 'message'} {names.MESSAGING_OPERATION_PROCESS}"
        return name, {key: value for key, value in attributes.items() if value}

    def _senders(self) -> list[Remote]:
        read = RECORD_READERS.get(self._shape)
        if read is None or type(self.record) is not dict:
            return []
        reads = _Reads()
        message = read(self.record, fields_of(reads.propagators), reads)
        return remotes_of(message, reads, may_search=True)


# Where records of the several kinds name where they are from, and themselves.
_PLACES = (
    ("eventSourceARN",),
    ("Sns", "TopicArn"),
    ("topic",),
    ("destination", "physicalName"),
    ("s3", "bucket", "name"),
    ("event", "ns", "coll"),
)
_IDS = (("messageId",), ("Sns", "MessageId"), ("messageID",), ("eventID",))


def _first(record: object, paths: tuple[tuple[str, ...], ...]) -> str:
    """The first text that is at one of these places."""
    for path in paths:
        found = dict_at(record, *path[:-1]).get(path[-1])
        if type(found) is str:
            return found
    return ""


class _Reads:
    """What OTEL_PROPAGATORS says now; the runtime has told of its problems."""

    __slots__ = ("propagators", "reads_xray")

    def __init__(self) -> None:
        read = read_propagators(os.environ.get("OTEL_PROPAGATORS", ""), [])
        self.propagators, self.reads_xray = read


def _parent() -> Context | None:
    """The batch's span, else the invocation's; None where a span of the function's is current.

    Threads that the function starts have no current span.
    """
    from opentelemetry import trace

    times = current_invocation.times()
    if times is None or times.trace is None:
        return None
    place = times.trace
    current = trace.get_current_span().get_span_context()
    if current.is_valid and current.span_id != int.from_bytes(place.span_id, "big"):
        return None
    own = times.source.span_id if times.source is not None else b""
    batch = trace.SpanContext(
        int.from_bytes(place.trace_id, "big"),
        int.from_bytes(own or place.span_id, "big"),
        is_remote=False,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
        trace_state=trace.TraceState.from_header([place.trace_state]),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(batch))


def _link(remote: Remote) -> Link:
    from opentelemetry import trace

    sender = trace.SpanContext(
        int.from_bytes(remote.trace_id, "big"),
        int.from_bytes(remote.span_id, "big"),
        is_remote=True,
        trace_flags=trace.TraceFlags(1 if remote.sampled else 0),
        trace_state=trace.TraceState.from_header([remote.trace_state]),
    )
    return trace.Link(sender)


def _type_name(kind: type[BaseException]) -> str:
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
