"""What is kept of a service's event: taken before the handler runs, which may change the event.

Texts are kept, nothing that can change; headers and records are looked at up to a bound. Loaded
with the first event that is not a plain one of the function's own. Which attributes are where says
`event_table`, what is made of them after the response `event_spans`.
"""

from __future__ import annotations

from itertools import islice
from os import urandom

from lambdascope.otlp import names
from lambdascope.runtime import triggers as shapes
from lambdascope.runtime.event_records import RECORD_READERS, Message, dict_at, kafka_records
from lambdascope.runtime.event_table import (
    HEADER_PATHS,
    MAY_BE_BARE,
    QUERIES,
    RECORD_LISTS,
    REQUESTS,
    ROWS,
    WHOLE,
    WITH_PAIRS,
)
from lambdascope.runtime.trace_context import fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.event_table import Path

# How many records of a batch are looked at, and how many links a span has at most.
MAX_RECORDS = 128
_MAX_HEADERS = 200
_MAX_PAIRS = 100
_MAX_TEXT = 8192

_ABOUT = frozenset(("host", "user-agent", "x-forwarded-for", "x-forwarded-proto"))


class EventSource:
    """What an event says about where it came from. No part of it is a part of the event.

    `attributes` are texts as the event has them; `headers` have lower-case names, and those of the
    propagators are the `carrier`. `carrier` belongs to the whole event, `messages` are those of a
    batch of `count`. `span_id` is for the span of the batch as a whole. `status` is the HTTP status
    of the answer, 0 if it has none.
    """

    __slots__ = (
        "attributes",
        "carrier",
        "count",
        "headers",
        "messages",
        "query",
        "shape",
        "span_id",
        "status",
    )

    def __init__(self, shape: str) -> None:
        self.shape = shape
        self.attributes: dict[str, object] = {}
        self.carrier: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.query: list[tuple[str, str]] = []
        self.messages: list[Message] = []
        self.count = 0
        self.span_id = urandom(8) if shape == shapes.SQS else b""
        self.status = 0

    def answered(self, result: object) -> None:
        """The handler has returned, for a request over HTTP: keep the answer's status."""
        if isinstance(result, dict):
            key = "status" if self.shape == shapes.CLOUDFRONT else "statusCode"
            status = dict.get(result, key, 200 if self.shape in MAY_BE_BARE else 0)
        else:
            status = 200 if self.shape in MAY_BE_BARE else 0
        if type(status) is str and status.isascii() and status.isdigit() and len(status) == 3:
            status = int(status)
        if isinstance(status, int) and 100 <= status <= 599:
            self.status = int(status)


def capture(shape: str, event: object, config: RuntimeConfig) -> EventSource:
    """Keep what the event of this shape says. Never raises on what JSON can hold."""
    source = EventSource(shape)
    wanted = fields_of(config.propagators)
    root = _root(source, event)
    for name, path in ROWS.get(shape, ()):
        value = _text_at(root, path)
        if value:
            source.attributes[name] = value
    read = RECORD_READERS.get(shape)
    if read is not None:
        source.messages = [read(each, wanted, config) for each in _first(source, event)]
        if shape == shapes.SNS and len(source.messages) == 1:
            source.carrier = source.messages[0].carrier
    elif shape == shapes.EVENTBRIDGE:
        source.carrier = _bus_carrier(root, wanted)
    elif shape == shapes.DYNAMODB:
        changed = dict_at(root, "dynamodb").get("ApproximateCreationDateTime")
        if type(changed) is int or type(changed) is float:
            source.attributes[names.FAAS_DOCUMENT_TIME] = changed
    elif shape == shapes.SCHEDULE:
        _take_rule(source, root)
    elif shape in REQUESTS:
        _take_request(source, root, wanted)
    return source


def _root(source: EventSource, event: object) -> dict[str, object]:
    """The event, or its first record; counts the records."""
    if type(event) is not dict:
        records: object = event
    elif source.shape in WHOLE:
        return event
    else:
        records = event.get(RECORD_LISTS.get(source.shape, "Records"))
        if type(records) is dict:  # queues of RabbitMQ, partitions of Kafka
            source.count = _count(records)
            _take_queue(source, records)
    if type(records) is not list or not records:
        return {}
    source.count = len(records)
    return dict_at(records[0])


def _first(source: EventSource, event: object) -> Iterable[dict[str, object]]:
    """The records that are looked at."""
    if type(event) is list:
        records: object = event
    else:
        records = dict_at(event).get(RECORD_LISTS.get(source.shape, "Records"))
        if type(records) is dict:
            records = list(islice(kafka_records(records), MAX_RECORDS))
    if type(records) is not list:
        return ()
    return (each for each in records[:MAX_RECORDS] if type(each) is dict)


def _count(lists: dict[str, object]) -> int:
    return sum(len(each) for each in islice(lists.values(), MAX_RECORDS) if type(each) is list)


def _take_queue(source: EventSource, lists: dict[str, object]) -> None:
    """The queue or the partition, when there is one only."""
    if len(lists) != 1:
        return
    (key,) = lists
    if source.shape == shapes.KAFKA:
        topic, _, partition = key[:_MAX_TEXT].rpartition("-")
        source.attributes[names.MESSAGING_DESTINATION_PARTITION_ID] = partition
        source.attributes[names.MESSAGING_DESTINATION_NAME] = topic
    else:
        # Virtual host behind the name: "orders::/".
        source.attributes[names.MESSAGING_DESTINATION_NAME] = key[:_MAX_TEXT].partition("::")[0]


def _take_rule(source: EventSource, root: dict[str, object]) -> None:
    resources = root.get("resources")
    if type(resources) is list and resources and type(resources[0]) is str:
        source.attributes[names.AWS_EVENTBRIDGE_RULE_ARN] = resources[0][:_MAX_TEXT]


def _bus_carrier(root: dict[str, object], wanted: frozenset[str]) -> dict[str, str]:
    detail = dict_at(root, "detail")
    return _headers(detail, wanted, exact=True) or _headers(dict_at(detail, "headers"), wanted)


def _take_request(source: EventSource, root: dict[str, object], wanted: frozenset[str]) -> None:
    path = HEADER_PATHS.get(source.shape)
    if path is not None:
        headers = dict_at(root, *path)
    else:
        # With several values per name, if there are both.
        headers = dict_at(root, "multiValueHeaders") or dict_at(root, "headers")
    found = _headers(headers, _ABOUT | wanted)
    source.carrier = {name: found.pop(name) for name in wanted & found.keys()}
    source.headers = found
    if source.shape in WITH_PAIRS:
        values = dict_at(root, QUERIES[0]) or dict_at(root, QUERIES[1])
        source.query = list(islice(_pairs(values), _MAX_PAIRS))


def _pairs(values: dict[str, object]) -> Iterable[tuple[str, str]]:
    for name, value in values.items():
        for each in value if type(value) is list else (value,):
            if type(each) is str:
                yield name[:_MAX_TEXT], each[:_MAX_TEXT]


def _headers(
    headers: Mapping[str, object], wanted: frozenset[str], *, exact: bool = False
) -> dict[str, str]:
    """The headers that are wanted, by their names in lower case; several values are joined."""
    found: dict[str, str] = {}
    if exact:
        pairs: Iterable[tuple[str, object]] = ((name, headers.get(name)) for name in wanted)
    else:
        pairs = islice(headers.items(), _MAX_HEADERS)
    for name, value in pairs:
        lower = name.lower()
        if lower in wanted and lower not in found:
            if type(value) is list:
                value = ",".join(_texts(value[:_MAX_PAIRS]))
            if type(value) is str and value:
                found[lower] = value[:_MAX_TEXT]
    return found


def _texts(values: list[object]) -> Iterable[str]:
    for value in values:
        # CloudFront has an object for each value.
        text = value.get("value") if type(value) is dict else value
        if type(text) is str:
            yield text


def _text_at(root: dict[str, object], path: Path) -> str:
    found: object = root
    for key in path:
        if type(found) is not dict:
            return ""
        found = found.get(key)
    return found[:_MAX_TEXT] if type(found) is str else ""
