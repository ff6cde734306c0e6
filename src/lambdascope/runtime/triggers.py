"""Which service an event came from, in constant time and never raising.

Looks at the keys that AWS documents for each event source (AWS Lambda developer guide, "Invoking
Lambda with events from other AWS services"). It runs before every handler: an event of one's own
costs one look for the keys, and what more a service's event has to say is read elsewhere.
"""

from __future__ import annotations

from lambdascope.otlp.names import (
    FAAS_TRIGGER_DATASOURCE,
    FAAS_TRIGGER_HTTP,
    FAAS_TRIGGER_OTHER,
    FAAS_TRIGGER_PUBSUB,
    FAAS_TRIGGER_TIMER,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Shapes: also the values of `lambdascope.event.source`.
REST_API = "apigateway.rest"
HTTP_API = "apigateway.http"
WEBSOCKET = "apigateway.websocket"
AUTHORIZER = "apigateway.authorizer"
FUNCTION_URL = "lambda.url"
ALB = "elb"
LATTICE = "vpc-lattice"
APPSYNC = "appsync"
CLOUDFRONT = "cloudfront"
SQS = "sqs"
SNS = "sns"
KINESIS = "kinesis"
DYNAMODB = "dynamodb"
S3 = "s3"
DOCUMENTDB = "documentdb"
KAFKA = "kafka"
ACTIVEMQ = "activemq"
RABBITMQ = "rabbitmq"
EVENTBRIDGE = "eventbridge"
SCHEDULE = "schedule"
LOGS = "logs"
STEP_FUNCTIONS = "stepfunctions"
COGNITO = "cognito"
DESTINATION = "lambda.destination"
# A direct invocation, without and with headers in the event.
DIRECT = ""
DIRECT_WITH_HEADERS = "headers"

_TRIGGERS = {
    REST_API: FAAS_TRIGGER_HTTP,
    HTTP_API: FAAS_TRIGGER_HTTP,
    WEBSOCKET: FAAS_TRIGGER_HTTP,
    AUTHORIZER: FAAS_TRIGGER_HTTP,
    FUNCTION_URL: FAAS_TRIGGER_HTTP,
    ALB: FAAS_TRIGGER_HTTP,
    LATTICE: FAAS_TRIGGER_HTTP,
    APPSYNC: FAAS_TRIGGER_HTTP,
    CLOUDFRONT: FAAS_TRIGGER_HTTP,
    SQS: FAAS_TRIGGER_PUBSUB,
    SNS: FAAS_TRIGGER_PUBSUB,
    KINESIS: FAAS_TRIGGER_PUBSUB,
    DYNAMODB: FAAS_TRIGGER_DATASOURCE,
    S3: FAAS_TRIGGER_DATASOURCE,
    DOCUMENTDB: FAAS_TRIGGER_DATASOURCE,
    KAFKA: FAAS_TRIGGER_PUBSUB,
    ACTIVEMQ: FAAS_TRIGGER_PUBSUB,
    RABBITMQ: FAAS_TRIGGER_PUBSUB,
    EVENTBRIDGE: FAAS_TRIGGER_PUBSUB,
    SCHEDULE: FAAS_TRIGGER_TIMER,
    LOGS: FAAS_TRIGGER_PUBSUB,
}
_SOURCES = {
    "aws:sqs": SQS,
    "aws:sns": SNS,
    "aws:kinesis": KINESIS,
    "aws:dynamodb": DYNAMODB,
    "aws:s3": S3,
    "aws:docdb": DOCUMENTDB,
    "aws:kafka": KAFKA,
    "SelfManagedKafka": KAFKA,
    "aws:mq": ACTIVEMQ,
    "aws:rmq": RABBITMQ,
}
_CLOCKS = ("aws.events", "aws.scheduler")


def trigger_of(shape: str) -> str:
    """The value of `faas.trigger`; "other" for a direct invocation and for what is not known."""
    return _TRIGGERS.get(shape, FAAS_TRIGGER_OTHER)


def shape_of(event: object) -> str:
    """The event's shape, one of the names above; DIRECT for what is not known."""
    if type(event) is dict:
        # Looks for the few keys in the event, not for all of the event's among the few.
        if event.keys().isdisjoint(_LOOKS):
            return DIRECT
        for key, look in _LOOKS.items():
            if key in event:
                shape = look(event)
                if shape:
                    return shape
    elif type(event) is list and event and type(event[0]) is dict:
        # A pipe's batch, and a batch of AppSync's.
        first = event[0]
        return _of_record(first) or (_appsync(first) if "info" in first else DIRECT)
    return DIRECT


def _http(event: dict[str, object]) -> str:
    context = event["requestContext"]
    if type(context) is not dict:
        return DIRECT
    if "requestPayload" in event:
        return DESTINATION
    if "methodArn" in event or "routeArn" in event:
        return AUTHORIZER
    for key, shape in (("elb", ALB), ("connectionId", WEBSOCKET), ("serviceNetworkArn", LATTICE)):
        if key in context:
            return shape
    if "http" not in context:
        return REST_API
    domain = context.get("domainName")
    return FUNCTION_URL if type(domain) is str and ".lambda-url." in domain else HTTP_API


def _records(event: dict[str, object]) -> str:
    records = event["Records"]
    if type(records) is list and records and type(records[0]) is dict:
        return _of_record(records[0])
    return DIRECT


def _of_record(record: dict[str, object]) -> str:
    source = record.get("eventSource") or record.get("EventSource")
    if type(source) is str:
        return _SOURCES.get(source, DIRECT)
    return CLOUDFRONT if type(record.get("cf")) is dict else DIRECT


def _bus(event: dict[str, object]) -> str:
    return SCHEDULE if event.get("source") in _CLOCKS else EVENTBRIDGE


def _appsync(event: dict[str, object]) -> str:
    info = event["info"]
    known = type(info) is dict and ("parentTypeName" in info or "channel" in info)
    return APPSYNC if known else DIRECT


# In the order in which they are tried.
_LOOKS: dict[str, Callable[[dict[str, object]], str]] = {
    "requestContext": _http,
    "Records": _records,
    "detail-type": _bus,
    "eventSource": _of_record,
    "awslogs": lambda _event: LOGS,
    "info": _appsync,
    "StateMachine": lambda event: STEP_FUNCTIONS if "Execution" in event else DIRECT,
    "triggerSource": lambda event: COGNITO if "userPoolId" in event else DIRECT,
    "methodArn": lambda _event: AUTHORIZER,
    "headers": lambda event: DIRECT_WITH_HEADERS if type(event["headers"]) is dict else DIRECT,
}
