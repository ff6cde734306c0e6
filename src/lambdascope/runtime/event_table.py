"""Where in the events of each service the attributes of its spans are.

Each kind of event has a row of attributes and of where they are in it, so that taking them is a few
dict look-ups. Texts are taken as they are, and completed elsewhere. Source: AWS Lambda developer
guide and the guides of the services, their pages on what Lambda gets; the sample events in the
tests name each page.
"""

from __future__ import annotations

from lambdascope.otlp import names
from lambdascope.runtime import triggers as shapes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    # The key, or the keys one below the other.
    Path: TypeAlias = tuple[str, ...]
    Row: TypeAlias = tuple[tuple[str, Path], ...]

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
ROWS: dict[str, Row] = {
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
HEADER_PATHS: dict[str, Path] = {
    shapes.APPSYNC: ("request", "headers"),
    shapes.CLOUDFRONT: ("cf", "request", "headers"),
}
QUERIES = (
    "multiValueQueryStringParameters",
    "queryStringParameters",
)
# A v2 answer that does not say what it is, is a 200; the others have to say it.
MAY_BE_BARE = (shapes.HTTP_API, shapes.FUNCTION_URL)
# Where an event has its records, if not under "Records".
RECORD_LISTS = {
    shapes.KAFKA: "records",
    shapes.ACTIVEMQ: "messages",
    shapes.RABBITMQ: "rmqMessagesByQueue",
    shapes.DOCUMENTDB: "events",
}
# Events with requests: with headers of their own.
REQUESTS = frozenset(
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
WHOLE = REQUESTS - {shapes.CLOUDFRONT} | {
    shapes.EVENTBRIDGE,
    shapes.SCHEDULE,
    shapes.LOGS,
    shapes.STEP_FUNCTIONS,
    shapes.COGNITO,
    shapes.DESTINATION,
}
# Whose query comes taken apart.
WITH_PAIRS = (shapes.REST_API, shapes.AUTHORIZER, shapes.ALB, shapes.LATTICE)
