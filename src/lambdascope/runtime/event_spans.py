"""What the spans of an invocation say about the event: name, kind, attributes, links, status.

Works on what `event_source` has kept, after the response. The span of the invocation itself says
it, except for a batch from a queue, which has a span of its own below that one. Sources:
OpenTelemetry semantic conventions 1.44, faas/aws-lambda ("API Gateway", "SQS"), faas/faas-spans,
http/http-spans (methods, scrubbed query values, status) and messaging/messaging-spans.
"""

from __future__ import annotations

from time import gmtime, strftime

from lambdascope.otlp import names
from lambdascope.otlp.model import Span
from lambdascope.runtime import triggers as shapes
from lambdascope.runtime.config import percent_decode
from lambdascope.runtime.event_records import links_of
from lambdascope.runtime.event_source import MAX_RECORDS
from lambdascope.runtime.event_table import SPAN_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.event_source import EventSource
    from lambdascope.runtime.telemetry import InvokeTimes

    Found: TypeAlias = dict[str, object]

_METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)
# Values of these are not to be shown (http/http-spans, url.query).
_SECRETS = frozenset(("AWSAccessKeyId", "Signature", "X-Goog-Signature", "sig"))
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_OPERATIONS = ("query", "mutation", "subscription")
MESSAGING_SYSTEMS = {
    shapes.SQS: names.MESSAGING_SYSTEM_AWS_SQS,
    shapes.SNS: names.MESSAGING_SYSTEM_AWS_SNS,
    shapes.KINESIS: names.MESSAGING_SYSTEM_KINESIS,
    shapes.KAFKA: names.MESSAGING_SYSTEM_KAFKA,
    shapes.ACTIVEMQ: names.MESSAGING_SYSTEM_ACTIVEMQ,
    shapes.RABBITMQ: names.MESSAGING_SYSTEM_RABBITMQ,
}
# Nothing is said about these in the conventions.
_NAMED_AFTER_FUNCTION = (shapes.KAFKA, shapes.ACTIVEMQ, shapes.RABBITMQ)
_CONSUMERS = (shapes.SNS, shapes.KINESIS, shapes.DYNAMODB)
_CHANGES = {
    "INSERT": names.FAAS_DOCUMENT_OPERATION_INSERT,
    "MODIFY": names.FAAS_DOCUMENT_OPERATION_EDIT,
    "REMOVE": names.FAAS_DOCUMENT_OPERATION_DELETE,
    "insert": names.FAAS_DOCUMENT_OPERATION_INSERT,
    "update": names.FAAS_DOCUMENT_OPERATION_EDIT,
    "replace": names.FAAS_DOCUMENT_OPERATION_EDIT,
    "delete": names.FAAS_DOCUMENT_OPERATION_DELETE,
}


def describe(invoke: Span, times: InvokeTimes, config: RuntimeConfig) -> None:
    """Tell the span of the invocation what the event says, but for what its batch span says."""
    source = times.source
    if source is None:
        return
    shape = source.shape
    if shape != shapes.DIRECT_WITH_HEADERS:
        invoke.attributes[names.LAMBDASCOPE_EVENT_SOURCE] = shape
    if source.span_id:
        return
    found = dict(source.attributes)
    name = found.pop(SPAN_NAME, "")
    if times.trigger == names.FAAS_TRIGGER_HTTP:
        name = _request(source, found) or name
        if times.stream is not None and times.stream.started:
            source.status = times.stream.http_status
        _answer(invoke, source)
    else:
        name = _complete(source, found)
    if name:
        invoke.name = str(name)
    if shape in _CONSUMERS:
        invoke.kind = names.KIND_CONSUMER
    invoke.attributes.update(found)
    _add_links(invoke, source, config)


def _complete(source: EventSource, found: Found) -> str:
    """Complete the attributes of what is no request; its name, if it is not the function's."""
    shape = source.shape
    if shape in MESSAGING_SYSTEMS:
        name = _messages(source, found)
        return "" if shape in _NAMED_AFTER_FUNCTION else name
    if shape in _DATA:
        _DATA[shape](found)
        if source.count:
            found[names.LAMBDASCOPE_EVENT_RECORDS] = source.count
    return ""


def batch_span(invoke: Span, source: EventSource, config: RuntimeConfig) -> Span:
    """The span of a queue's batch, below that of the invocation, which is complete."""
    found: Found = {names.FAAS_TRIGGER: names.FAAS_TRIGGER_PUBSUB, **source.attributes}
    if names.ERROR_TYPE in invoke.attributes:
        found[names.ERROR_TYPE] = invoke.attributes[names.ERROR_TYPE]
    span = Span(
        name=_messages(source, found),
        trace_id=invoke.trace_id,
        span_id=source.span_id,
        parent_span_id=invoke.span_id,
        kind=names.KIND_CONSUMER,
        start_ns=invoke.start_ns,
        end_ns=invoke.end_ns,
        attributes=found,
        status_code=invoke.status_code,
        status_message=invoke.status_message,
        trace_state=invoke.trace_state,
    )
    _add_links(span, source, config)
    return span


def _add_links(span: Span, source: EventSource, config: RuntimeConfig) -> None:
    most = MAX_RECORDS - len(span.links)
    links, more = links_of(source.messages, config, names.MESSAGING_MESSAGE_ID, most)
    if source.carrier:
        # It may be the parent, or linked already as not chosen.
        known = {each.span_id for each in span.links} | {span.parent_span_id}
        links = [each for each in links if each.span_id not in known]
    if links:
        span.links += links
        # What has not been looked at would have had links too, as far as one can tell.
        span.dropped_links += more + source.count - len(source.messages)


def _messages(source: EventSource, found: Found) -> str:
    """Complete the attributes of a batch; the name of its span."""
    place = resource_name(str(found.pop(names.MESSAGING_DESTINATION_NAME, "")))
    if len({each.origin for each in source.messages}) > 1:
        place = ""
    found[names.MESSAGING_SYSTEM] = MESSAGING_SYSTEMS[source.shape]
    found[names.MESSAGING_OPERATION_NAME] = names.MESSAGING_OPERATION_PROCESS
    found[names.MESSAGING_OPERATION_TYPE] = names.MESSAGING_OPERATION_PROCESS
    if place:
        found[names.MESSAGING_DESTINATION_NAME] = place
    if source.shape == shapes.KINESIS:
        found[names.AWS_KINESIS_STREAM_NAME] = place
        shard = str(found.get(names.MESSAGING_DESTINATION_PARTITION_ID, ""))
        found[names.MESSAGING_DESTINATION_PARTITION_ID] = shard.partition(":")[0]
    # A topic's message comes alone; the others come in batches, also of one.
    if source.shape != shapes.SNS or source.count > 1:
        found[names.MESSAGING_BATCH_MESSAGE_COUNT] = source.count
    if source.count == 1 and source.messages and source.messages[0].id:
        found[names.MESSAGING_MESSAGE_ID] = source.messages[0].id
    elif source.count > 1:
        found.pop(names.MESSAGING_MESSAGE_ID, None)
    return f"{place or names.MULTIPLE_SOURCES} {names.MESSAGING_OPERATION_PROCESS}"


def resource_name(arn: str) -> str:
    """The name in an ARN: what is behind the account and the type, or the text itself."""
    parts = arn.split(":", 5)
    name = parts[5] if len(parts) == 6 and parts[0] == "arn" else arn
    kind, slash, rest = name.partition("/")
    return rest.partition("/")[0] if slash and kind in ("stream", "table") else name


def _dynamodb(found: Found) -> None:
    found[names.FAAS_DOCUMENT_COLLECTION] = resource_name(
        str(found.get(names.FAAS_DOCUMENT_COLLECTION, ""))
    )
    changed = found.pop(names.FAAS_DOCUMENT_TIME, None)
    if isinstance(changed, (int, float)) and 0 < changed < 1e11:
        found[names.FAAS_DOCUMENT_TIME] = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(changed))
    _change(found)


def _change(found: Found) -> None:
    operation = _CHANGES.get(str(found.get(names.LAMBDASCOPE_EVENT_TYPE)))
    if operation:
        found[names.FAAS_DOCUMENT_OPERATION] = operation


def _s3(found: Found) -> None:
    if names.FAAS_DOCUMENT_NAME in found:
        # As in a form: a blank is a plus.
        key = str(found[names.FAAS_DOCUMENT_NAME]).replace("+", " ")
        found[names.FAAS_DOCUMENT_NAME] = percent_decode(key)
    event = str(found.get(names.LAMBDASCOPE_EVENT_TYPE, ""))
    if event.startswith("ObjectCreated"):
        operation = names.FAAS_DOCUMENT_OPERATION_INSERT
    elif event.startswith("ObjectRemoved") or event.endswith(":Delete"):
        operation = names.FAAS_DOCUMENT_OPERATION_DELETE
    else:
        operation = names.FAAS_DOCUMENT_OPERATION_EDIT
    found[names.FAAS_DOCUMENT_OPERATION] = operation


_DATA: dict[str, Callable[[Found], None]] = {
    shapes.DYNAMODB: _dynamodb,
    shapes.DOCUMENTDB: _change,
    shapes.S3: _s3,
}


def _request(source: EventSource, found: Found) -> str:
    """Complete the attributes of a request; its route, if it has one."""
    headers = source.headers
    method = found.get(names.HTTP_REQUEST_METHOD)
    if method is not None and method not in _METHODS:
        found[names.HTTP_REQUEST_METHOD] = names.HTTP_METHOD_OTHER
        found[names.HTTP_REQUEST_METHOD_ORIGINAL] = method
    for name, value in (
        (names.URL_SCHEME, headers.get("x-forwarded-proto", "").lower()),
        (names.USER_AGENT_ORIGINAL, headers.get("user-agent")),
        (names.SERVER_ADDRESS, _host(headers.get("host", ""))),
        (names.CLIENT_ADDRESS, headers.get("x-forwarded-for", "").partition(",")[0].strip()),
    ):
        if value:
            found.setdefault(name, value)
    version = str(found.pop(names.NETWORK_PROTOCOL_VERSION, ""))
    if version.startswith("HTTP/"):
        found[names.NETWORK_PROTOCOL_VERSION] = version[5:].removesuffix(".0")
    query = _query(source, str(found.pop(names.URL_QUERY, "")))
    if query:
        found[names.URL_QUERY] = query
    kind = str(found.pop(names.GRAPHQL_OPERATION_TYPE, "")).lower()
    if kind in _OPERATIONS:
        found[names.GRAPHQL_OPERATION_TYPE] = kind
    return _route(source, found)


def _route(source: EventSource, found: Found) -> str:
    route = str(found.pop(names.HTTP_ROUTE, ""))
    if source.shape == shapes.HTTP_API:
        # "POST /orders/{id}", or "$default" for a request that no route is for.
        route = route.partition(" ")[2]
    if route:
        found[names.HTTP_ROUTE] = route
    return route


def _host(text: str) -> str:
    """A host without its port; an IPv6 address is in brackets."""
    name, colon, port = text.rpartition(":")
    return name if colon and port.isdigit() else text


def _query(source: EventSource, query: str) -> str:
    if source.query:
        # A load balancer gives the values as they were sent, the others decoded.
        write = str if source.shape == shapes.ALB else _quoted
        query = "&".join(f"{write(name)}={write(value)}" for name, value in source.query)
    if not any(secret in query for secret in _SECRETS):
        return query
    parts = [part.partition("=") for part in query.split("&")]
    return "&".join(
        f"{name}=REDACTED" if equals and percent_decode(name) in _SECRETS else name + equals + value
        for name, equals, value in parts
    )


def _quoted(text: str) -> str:
    data = text.encode("utf-8", "replace")
    return "".join(chr(each) if each in _UNRESERVED else f"%{each:02X}" for each in data)


def _answer(invoke: Span, source: EventSource) -> None:
    status = source.status
    if status:
        invoke.attributes[names.HTTP_RESPONSE_STATUS_CODE] = status
    if status >= 500:
        invoke.status_code = names.STATUS_ERROR
        invoke.attributes[names.ERROR_TYPE] = str(status)
