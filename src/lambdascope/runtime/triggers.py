"""Which kind of source an event came from, for `faas.trigger`, in constant time and never raising.

Looks at the keys that AWS documents for each event source (AWS Lambda developer guide, "Invoking
Lambda with events from other AWS services"); values are those of OpenTelemetry's FaaS conventions.
"""

from __future__ import annotations

from lambdascope.otlp import names

_RECORD_SOURCES = {
    "aws:sqs": names.FAAS_TRIGGER_PUBSUB,
    "aws:sns": names.FAAS_TRIGGER_PUBSUB,
    "aws:kinesis": names.FAAS_TRIGGER_PUBSUB,
    "aws:kafka": names.FAAS_TRIGGER_PUBSUB,
    "SelfManagedKafka": names.FAAS_TRIGGER_PUBSUB,
    "aws:mq": names.FAAS_TRIGGER_PUBSUB,
    "aws:rmq": names.FAAS_TRIGGER_PUBSUB,
    "aws:s3": names.FAAS_TRIGGER_DATASOURCE,
    "aws:dynamodb": names.FAAS_TRIGGER_DATASOURCE,
    "aws:docdb": names.FAAS_TRIGGER_DATASOURCE,
}


def trigger_of(event: object) -> str:
    """The value of `faas.trigger`; "other" for a direct invocation and for what is not known."""
    if type(event) is not dict:
        return names.FAAS_TRIGGER_OTHER
    if "requestContext" in event:
        # The record of an asynchronous invocation, sent to a destination, has the same key.
        sent_on = "requestPayload" in event
        return names.FAAS_TRIGGER_OTHER if sent_on else names.FAAS_TRIGGER_HTTP
    records = event.get("Records")
    if type(records) is list and records and type(records[0]) is dict:
        source = records[0].get("eventSource") or records[0].get("EventSource")
        return _known(source)
    if "detail-type" in event:
        scheduled = event.get("source") == "aws.events"
        return names.FAAS_TRIGGER_TIMER if scheduled else names.FAAS_TRIGGER_PUBSUB
    return _known(event.get("eventSource"))


def _known(source: object) -> str:
    if isinstance(source, str):
        return _RECORD_SOURCES.get(source, names.FAAS_TRIGGER_OTHER)
    return names.FAAS_TRIGGER_OTHER
