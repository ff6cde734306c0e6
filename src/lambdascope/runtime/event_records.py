"""The records of a batch: who sent each, as the link of the span that processes them.

Before the handler a reader per service takes the texts in which senders put their context; after
the response they become links. Bodies are never parsed before the handler, and after it only those
in which the name of a context is seen. Sources: Amazon SQS developer guide, "Message system
attributes" (AWSTraceHeader) and Amazon SNS developer guide, "Raw message delivery" (messages of a
topic in a queue); AWS Lambda developer guide, "Using Lambda with Amazon Kinesis" and "... with
Apache Kafka".
"""

from __future__ import annotations

from lambdascope.runtime import triggers as shapes
from lambdascope.runtime.trace_context import TRACEPARENT, extract, xray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Protocol

    from lambdascope.otlp.model import Link
    from lambdascope.runtime.trace_context import Remote

    class Reads(Protocol):
        """Whose contexts are read: the part of the configuration that is needed here."""

        propagators: tuple[str, ...]
        reads_xray: bool


_MAX_TEXT = 8192
# So much is searched in all payloads together.
_MAX_PAYLOAD = 262_144
# The word as it is in base64, at each of the three places that it can have in a group.
_IN_BASE64 = ("dHJhY2VwYXJlbn", "RyYWNlcGFyZW50", "0cmFjZXBhcmVud")


class Message:
    """One record's `id`, `carrier`, X-Ray header and, where a context may be inside, `payload`."""

    __slots__ = ("carrier", "id", "origin", "payload", "xray")

    def __init__(self, message_id: object, carrier: dict[str, str], origin: object = "") -> None:
        self.id = message_id[:_MAX_TEXT] if type(message_id) is str else ""
        self.origin = origin if type(origin) is str else ""
        self.carrier = carrier
        self.xray = ""
        self.payload = ""


def dict_at(found: object, *path: str) -> dict[str, object]:
    """The dict below these keys; an empty one where there is none."""
    for key in path:
        if type(found) is not dict:
            return {}
        found = found.get(key)
    return found if type(found) is dict else {}


def kafka_records(partitions: dict[str, object]) -> Iterator[object]:
    """The records of all partitions."""
    for records in partitions.values():
        if type(records) is list:
            yield from records


def _sqs(record: dict[str, object], wanted: frozenset[str], config: Reads) -> Message:
    carrier = _values(record.get("messageAttributes"), wanted, "stringValue")
    message = Message(record.get("messageId"), carrier, record.get("eventSourceARN"))
    if config.reads_xray:
        header = dict_at(record, "attributes").get("AWSTraceHeader")
        if type(header) is str:
            message.xray = header[:_MAX_TEXT]
    body = record.get("body")
    if not carrier and type(body) is str and len(body) <= _MAX_PAYLOAD:
        message.payload = body
    return message


def _sns(record: dict[str, object], wanted: frozenset[str], _config: Reads) -> Message:
    sns = dict_at(record, "Sns")
    return Message(sns.get("MessageId"), _values(sns.get("MessageAttributes"), wanted, "Value"))


def _kinesis(record: dict[str, object], _wanted: frozenset[str], _config: Reads) -> Message:
    message = Message(record.get("eventID"), {})
    data = dict_at(record, "kinesis").get("data")
    if type(data) is str and len(data) <= _MAX_PAYLOAD:
        message.payload = data
    return message


def _kafka(record: dict[str, object], wanted: frozenset[str], _config: Reads) -> Message:
    carrier: dict[str, str] = {}
    headers = record.get("headers")
    for header in headers[:100] if type(headers) is list else ():
        if type(header) is dict:
            for name in wanted & header.keys():
                carrier[name] = _from_bytes(header[name])
    # Kafka has no id of a message but its place.
    return Message("", carrier)


def _from_bytes(values: object) -> str:
    """A header of Kafka's: a list of bytes, signed ones."""
    if type(values) is str:
        return values[:_MAX_TEXT]
    if type(values) is not list:
        return ""
    try:
        return bytes(values[:1024]).decode("latin-1")
    except (TypeError, ValueError):  # no bytes, or signed ones beyond ASCII: no context is
        return ""


def _values(attributes: object, wanted: frozenset[str], key: str) -> dict[str, str]:
    """The wanted ones of message attributes, whose values are under `key`."""
    found: dict[str, str] = {}
    if type(attributes) is dict and attributes:
        for name in wanted & attributes.keys():
            value = dict_at(attributes[name]).get(key)
            if type(value) is str:
                found[name] = value[:_MAX_TEXT]
    return found


RECORD_READERS: dict[str, Callable[[dict[str, object], frozenset[str], Reads], Message]] = {
    shapes.SQS: _sqs,
    shapes.SNS: _sns,
    shapes.KINESIS: _kinesis,
    shapes.KAFKA: _kafka,
}


def links_of(
    messages: list[Message], config: Reads, id_name: str, most: int
) -> tuple[list[Link], int]:
    """Links to who sent the messages, with their ids as attribute `id_name`; how many more."""
    links: list[Link] = []
    more = 0
    searched = _MAX_PAYLOAD
    for message in messages:
        if message.payload:
            searched -= len(message.payload)
        for remote in remotes_of(message, config, may_search=searched >= 0):
            if len(links) < most:
                links.append(remote.link({id_name: message.id} if message.id else None))
            else:
                more += 1
    return links, more


def remotes_of(message: Message, config: Reads, *, may_search: bool) -> list[Remote]:
    """Who sent the message: by AWS's header and by the sender's own, once if they agree."""
    found = xray(message.xray) if message.xray else None
    carrier: Mapping[str, str] = message.carrier
    if message.payload and may_search and "tracecontext" in config.propagators:
        carrier = _inside(message.payload)
    own = extract(carrier, config.propagators) if carrier else None
    if found is None or own is None or found.is_same(own):
        return [each for each in (found or own,) if each is not None]
    return [found, own]


def _inside(payload: str) -> Mapping[str, str]:
    """The carrier in a payload: SNS's in a queue, EventBridge's, or a JSON object of one's own."""
    if payload[:8].lstrip().startswith("{"):
        if TRACEPARENT not in payload:
            return {}
    elif not any(word in payload for word in _IN_BASE64):
        return {}
    else:
        from binascii import a2b_base64

        try:
            payload = a2b_base64(payload).decode()
        except ValueError:
            return {}
    import json

    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    wanted = frozenset((TRACEPARENT, "tracestate"))
    for path in ((), ("headers",), ("detail",), ("detail", "headers")):
        found = dict_at(body, *path)
        if TRACEPARENT in found:
            return {k: v for k, v in found.items() if k in wanted and type(v) is str}
    return _values(dict_at(body).get("MessageAttributes"), wanted, "Value")
