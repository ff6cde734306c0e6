"""What is kept of a service's event: taken before the handler runs, which may change the event.

Each kind of event has a row that says which attributes are where in it, so that taking them is a
few dict look-ups. Texts are kept, nothing that can change; headers and records are looked at up to
a bound. Loaded with the first event that is not a plain one of the function's own. What is made of
it after the response is in `event_spans`. Source: AWS Lambda developer guide and the guides of the
services, their pages on what Lambda gets; the sample events in the tests name each page.
"""

from __future__ import annotations

from itertools import islice
from os import urandom

from lambdascope.otlp import names
from lambdascope.runtime import triggers as shapes
from lambdascope.runtime.event_records import RECORD_READERS, Message, dict_at, kafka_records
from lambdascope.runtime.trace_context import fields_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

    from lambdascope.runtime.config import RuntimeConfig

    # Where something is in an event: the key, or the keys one below the other.
    Path: TypeAlias = tuple[str, ...]
    Row: TypeAlias = tuple[tuple[str, Path], ...]

# How many records of a batch are looked at, and how many links a span has at most.
MAX_RECORDS = 128
_MAX_HEADERS = 200
_MAX_PAIRS = 100
_MAX_TEXT = 8192

# Stands for the span's name among the attributes.
SPAN_NAME = ""

_CONTEXT = "requestContext"
_REST: Row = (
    (names.HTTP_REQUEST_METHOD, ("httpMethod",)),
    (names.URL_PATH, ("path",)),
    (names.HTTP_ROUTE, ("resource",)),
    (names.CLIENT_ADDRESS, (_CONTEXT, "identity", "sourceIp")),
    (names.USER_AGENT_ORIGINAL, (_CONTEXT, "identity", "userAgent")),
    (names.SERVER_ADDRESS, (_CONTEXT, "domainName")),
    (names.NETWORK_PROTOCOL_VERSION, (_CONTEXT, "protocol")),
)
_HTTP_API: Row = (
    (names.HTTP_REQUEST_METHOD, (_CONTEXT, "http", "method")),
    (names.URL_PATH, ("rawPath",)),
    (names.URL_QUERY, ("rawQueryString",)),
    (names.HTTP_ROUTE, ("routeKey",)),
    (names.CLIENT_ADDRESS, (_CONTEXT, "http", "sourceIp")),
    (names.USER_AGENT_ORIGINAL, (_CONTEXT, "http", "userAgent")),
    (names.SERVER_ADDRESS, (_CONTEXT, "domainName")),
    (names.NETWORK_PROTOCOL_VERSION, (_CONTEXT, "http", "protocol")),
)
_BUS: Row = (
    (names.AWS_EVENTBRIDGE_SOURCE, ("source",)),
    (names.AWS_EVENTBRIDGE_DETAIL_TYPE, ("detail-type",)),
    (names.AWS_EVENTBRIDGE_EVENT_ID, ("id",)),
)
_ARN = ("eventSourceARN",)
# For events with records, the rows are about the first one.
_ROWS: dict[str, Row] = {
    shapes.REST_API: _REST,
    shapes.HTTP_API: _HTTP_API,
    shapes.FUNCTION_URL: tuple(each for each in _HTTP_API if each[0] != names.HTTP_ROUTE),
    shapes.AUTHORIZER: tuple(each for each in _REST if each[0] != names.HTTP_ROUTE),
    shapes.WEBSOCKET: (
        (SPAN_NAME, (_CONTEXT, "routeKey")),
        (names.LAMBDASCOPE_EVENT_TYPE, (_CONTEXT, "eventType")),
        (names.CLIENT_ADDRESS, (_CONTEXT, "identity", "sourceIp")),
        (names.USER_AGENT_ORIGINAL, (_CONTEXT, "identity", "userAgent")),
        (names.SERVER_ADDRESS, (_CONTEXT, "domainName")),
    ),
    shapes.ALB: (
        (names.HTTP_REQUEST_METHOD, ("httpMethod",)),
        (names.URL_PATH, ("path",)),
        (names.AWS_ELB_TARGET_GROUP_ARN, (_CONTEXT, "elb", "targetGroupArn")),
    ),
    shapes.LATTICE: (
        (names.HTTP_REQUEST_METHOD, ("method",)),
        (names.URL_PATH, ("path",)),
    ),
    shapes.APPSYNC: (
        (names.GRAPHQL_OPERATION_TYPE, ("info", "parentTypeName")),
        (names.LAMBDASCOPE_EVENT_TYPE, ("info", "fieldName")),
        (names.SERVER_ADDRESS, ("request", "domainName")),
    ),
    shapes.CLOUDFRONT: (
        (names.HTTP_REQUEST_METHOD, ("cf", "request", "method")),
        (names.URL_PATH, ("cf", "request", "uri")),
        (names.URL_QUERY, ("cf", "request", "querystring")),
        (names.CLIENT_ADDRESS, ("cf", "request", "clientIp")),
        (names.SERVER_ADDRESS, ("cf", "config", "distributionDomainName")),
        (names.LAMBDASCOPE_EVENT_TYPE, ("cf", "config", "eventType")),
    ),
    shapes.SQS: ((names.MESSAGING_DESTINATION_NAME, _ARN),),
    shapes.SNS: (
        (names.MESSAGING_DESTINATION_NAME, ("Sns", "TopicArn")),
        (names.AWS_SNS_TOPIC_ARN, ("Sns", "TopicArn")),
    ),
    shapes.KINESIS: (
        (names.MESSAGING_DESTINATION_NAME, _ARN),
        (names.MESSAGING_DESTINATION_PARTITION_ID, ("eventID",)),
    ),
    shapes.DYNAMODB: (
        (names.FAAS_DOCUMENT_COLLECTION, _ARN),
        (names.LAMBDASCOPE_EVENT_TYPE, ("eventName",)),
    ),
    shapes.S3: (
        (names.FAAS_DOCUMENT_COLLECTION, ("s3", "bucket", "name")),
        (names.FAAS_DOCUMENT_NAME, ("s3", "object", "key")),
        (names.FAAS_DOCUMENT_TIME, ("eventTime",)),
        (names.LAMBDASCOPE_EVENT_TYPE, ("eventName",)),
    ),
    shapes.DOCUMENTDB: (
        (names.FAAS_DOCUMENT_COLLECTION, ("event", "ns", "coll")),
        (names.LAMBDASCOPE_EVENT_TYPE, ("event", "operationType")),
    ),
    shapes.ACTIVEMQ: (
        (names.MESSAGING_DESTINATION_NAME, ("destination", "physicalName")),
        (names.MESSAGING_MESSAGE_ID, ("messageID",)),
    ),
    shapes.EVENTBRIDGE: _BUS,
    shapes.SCHEDULE: (*_BUS, (names.FAAS_TIME, ("time",))),
    shapes.STEP_FUNCTIONS: ((names.AWS_STEP_FUNCTIONS_STATE_MACHINE_ARN, ("StateMachine", "Id")),),
    shapes.COGNITO: ((names.LAMBDASCOPE_EVENT_TYPE, ("triggerSource",)),),
}
# Where the headers of a request are; AppSync's and CloudFront's are one level down.
_HEADERS: dict[str, Path] = {
    shapes.APPSYNC: ("request", "headers"),
    shapes.CLOUDFRONT: ("cf", "request", "headers"),
}
_QUERIES = (
    "multiValueQueryStringParameters",
    "queryStringParameters",
)
_ABOUT = frozenset(("host", "user-agent", "via", "x-forwarded-for", "x-forwarded-proto"))


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
            # A v2 answer that does not say what it is, is a 200; the others have to say it.
            status = dict.get(result, key, 200 if self.shape in _MAY_BE_BARE else 0)
        else:
            status = 200 if self.shape in _MAY_BE_BARE else 0
        if type(status) is str and status.isascii() and status.isdigit() and len(status) == 3:
            status = int(status)
        if isinstance(status, int) and 100 <= status <= 599:
            self.status = int(status)


_MAY_BE_BARE = (shapes.HTTP_API, shapes.FUNCTION_URL)


def capture(shape: str, event: object, config: RuntimeConfig) -> EventSource:
    """Keep what the event of this shape says. Never raises on what JSON can hold."""
    source = EventSource(shape)
    wanted = fields_of(config.propagators)
    root = _root(source, event)
    for name, path in _ROWS.get(shape, ()):
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
    elif shape in _SOLO:
        _take_request(source, root, wanted)
    return source


def _root(source: EventSource, event: object) -> dict[str, object]:
    """The event, or its first record; counts the records."""
    if type(event) is not dict:
        records: object = event
    elif source.shape in _WHOLE:
        return event
    else:
        records = event.get(_LISTS.get(source.shape, "Records"))
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
        records = dict_at(event).get(_LISTS.get(source.shape, "Records"))
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
    path = _HEADERS.get(source.shape)
    if path is not None:
        headers = dict_at(root, *path)
    else:
        # With several values per name, if there are both.
        headers = dict_at(root, "multiValueHeaders") or dict_at(root, "headers")
    found = _headers(headers, _ABOUT | wanted)
    source.carrier = {name: found.pop(name) for name in wanted & found.keys()}
    source.headers = found
    if source.shape in _WITH_PAIRS:
        values = dict_at(root, _QUERIES[0]) or dict_at(root, _QUERIES[1])
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


# Where an event has its records, if not under "Records".
_LISTS = {
    shapes.KAFKA: "records",
    shapes.ACTIVEMQ: "messages",
    shapes.RABBITMQ: "rmqMessagesByQueue",
    shapes.DOCUMENTDB: "events",
}
# Events with requests: with headers of their own.
_SOLO = frozenset(
    (
        shapes.REST_API,
        shapes.HTTP_API,
        shapes.WEBSOCKET,
        shapes.AUTHORIZER,
        shapes.FUNCTION_URL,
        shapes.ALB,
        shapes.LATTICE,
        shapes.APPSYNC,
        shapes.CLOUDFRONT,
        shapes.DIRECT_WITH_HEADERS,
    )
)
# Of these a list named "Records" would be the user's own.
_WHOLE = _SOLO - {shapes.CLOUDFRONT} | {
    shapes.EVENTBRIDGE,
    shapes.SCHEDULE,
    shapes.LOGS,
    shapes.STEP_FUNCTIONS,
    shapes.COGNITO,
    shapes.DESTINATION,
}
# Whose query comes taken apart.
_WITH_PAIRS = (shapes.REST_API, shapes.AUTHORIZER, shapes.ALB, shapes.LATTICE)
