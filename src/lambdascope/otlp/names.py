"""Every name and number of OpenTelemetry that lambdascope emits, typed once.

The runtime, the extension, the dashboards and the tests take them from here and never spell one
out. A constant for an official attribute has the name that the semantic conventions' generated
constants give it, and a test holds its value equal to theirs. Our own attributes start with
``lambdascope.``. This module must not know how or when a span is made, and it imports nothing.
"""

from __future__ import annotations

# OpenTelemetry semantic conventions 1.44.0: the schema that the names below follow.
SCHEMA_URL = "https://opentelemetry.io/schemas/1.44.0"

# Instrumentation scope of the spans that the runtime records by itself.
SCOPE_RUNTIME = "lambdascope.runtime"
# And of what the extension makes of the platform's records, and of itself.
SCOPE_EXTENSION = "lambdascope.extension"

# OpenTelemetry protocol, trace.proto: Span.SpanKind.
KIND_UNSPECIFIED = 0
KIND_INTERNAL = 1
KIND_SERVER = 2
KIND_CLIENT = 3
KIND_PRODUCER = 4
KIND_CONSUMER = 5

# OpenTelemetry protocol, trace.proto: Status.StatusCode.
STATUS_UNSET = 0
STATUS_OK = 1
STATUS_ERROR = 2

# OpenTelemetry protocol, trace.proto: SpanFlags. The low eight bits are the W3C trace flags. In a
# span the two upper ones speak about its parent, in a link about the linked span.
FLAG_SAMPLED = 0x001
FLAG_HAS_IS_REMOTE = 0x100
FLAG_IS_REMOTE = 0x200
FLAGS_LOCAL = FLAG_SAMPLED | FLAG_HAS_IS_REMOTE
FLAGS_REMOTE = FLAG_SAMPLED | FLAG_HAS_IS_REMOTE | FLAG_IS_REMOTE

# OpenTelemetry protocol, metrics.proto: AggregationTemporality.
TEMPORALITY_UNSPECIFIED = 0
TEMPORALITY_DELTA = 1
TEMPORALITY_CUMULATIVE = 2

# OpenTelemetry protocol, logs.proto: SeverityNumber, the first of the four of each range.
SEVERITY_UNSPECIFIED = 0
SEVERITY_TRACE = 1
SEVERITY_DEBUG = 5
SEVERITY_INFO = 9
SEVERITY_WARN = 13
SEVERITY_ERROR = 17
SEVERITY_FATAL = 21

# Names of the runtime's spans. The function's name follows a prefix that says "function", the
# module's name one that says "module"; the SERVER span of an invocation is the function's bare name
# (semantic conventions 1.44, FaaS on AWS Lambda).
SPAN_INIT_FUNCTION_PREFIX = "init "
SPAN_RESTORE_FUNCTION_PREFIX = "restore "
SPAN_REPORT_FUNCTION_PREFIX = "report "
SPAN_IMPORT_MODULE_PREFIX = "import "
SPAN_INTERPRETER_START = "interpreter start"
SPAN_LOAD_RUNTIME = "load runtime"
SPAN_LOAD_HANDLER = "load handler"
SPAN_CONNECT_EXTENSION = "connect extension"
# SnapStart: one span for each hook, with the hook's module and name behind it.
SPAN_BEFORE_SNAPSHOT_HOOK_PREFIX = "before snapshot "
SPAN_AFTER_RESTORE_HOOK_PREFIX = "after restore "

# What the platform says of a phase once it is over; made by the extension, often much later.
SPAN_PLATFORM_REPORT = "platform report"
SPAN_PLATFORM_INIT = "platform init"
SPAN_PLATFORM_RESTORE = "platform restore"

# Semantic conventions 1.44, resource/service. service.instance.id is the same as faas.instance
# here.
SERVICE_NAME = "service.name"
SERVICE_INSTANCE_ID = "service.instance.id"

# Semantic conventions 1.44, resource/telemetry.
TELEMETRY_SDK_NAME = "telemetry.sdk.name"
TELEMETRY_SDK_LANGUAGE = "telemetry.sdk.language"
TELEMETRY_SDK_VERSION = "telemetry.sdk.version"
TELEMETRY_DISTRO_NAME = "telemetry.distro.name"
TELEMETRY_DISTRO_VERSION = "telemetry.distro.version"
TELEMETRY_SDK_LANGUAGE_PYTHON = "python"
# The page keeps the value "opentelemetry" for OpenTelemetry's own SDKs and asks others for their
# own.
TELEMETRY_NAME_LAMBDASCOPE = "lambdascope"

# Semantic conventions 1.44, resource/process.
PROCESS_RUNTIME_NAME = "process.runtime.name"
PROCESS_RUNTIME_VERSION = "process.runtime.version"

# Semantic conventions 1.44, resource/cloud. The account and the function's ARN are known from the
# first event on, so they are attributes of the invocation's span; cloud.resource_id carries the
# function's version in place of an alias.
CLOUD_PROVIDER = "cloud.provider"
CLOUD_PLATFORM = "cloud.platform"
CLOUD_REGION = "cloud.region"
CLOUD_ACCOUNT_ID = "cloud.account.id"
CLOUD_RESOURCE_ID = "cloud.resource_id"
CLOUD_PROVIDER_AWS = "aws"
CLOUD_PLATFORM_AWS_LAMBDA = "aws_lambda"

# Semantic conventions 1.44, resource/faas. faas.instance is the log stream's name;
# faas.max_memory is in bytes, while AWS_LAMBDA_FUNCTION_MEMORY_SIZE is in MB of 1 048 576 bytes.
FAAS_NAME = "faas.name"
FAAS_VERSION = "faas.version"
FAAS_INSTANCE = "faas.instance"
FAAS_MAX_MEMORY = "faas.max_memory"

# Semantic conventions 1.44, resource/cloud-provider/aws/logs: both are lists of strings.
AWS_LOG_GROUP_NAMES = "aws.log.group.names"
AWS_LOG_STREAM_NAMES = "aws.log.stream.names"

# Semantic conventions 1.44, faas/faas-spans: incoming invocations.
FAAS_TRIGGER = "faas.trigger"
FAAS_INVOCATION_ID = "faas.invocation_id"
FAAS_COLDSTART = "faas.coldstart"
FAAS_TRIGGER_DATASOURCE = "datasource"
FAAS_TRIGGER_HTTP = "http"
FAAS_TRIGGER_PUBSUB = "pubsub"
FAAS_TRIGGER_TIMER = "timer"
FAAS_TRIGGER_OTHER = "other"

# Semantic conventions 1.44, faas/faas-spans: datasource and timer triggers; times in ISO 8601, UTC.
FAAS_DOCUMENT_COLLECTION = "faas.document.collection"
FAAS_DOCUMENT_NAME = "faas.document.name"
FAAS_DOCUMENT_OPERATION = "faas.document.operation"
FAAS_DOCUMENT_TIME = "faas.document.time"
FAAS_DOCUMENT_OPERATION_INSERT = "insert"
FAAS_DOCUMENT_OPERATION_EDIT = "edit"
FAAS_DOCUMENT_OPERATION_DELETE = "delete"
FAAS_TIME = "faas.time"

# Semantic conventions 1.44, http/http-spans: the server's side. A method that the page does not
# list is written as HTTP_METHOD_OTHER, with the original beside it.
HTTP_REQUEST_METHOD = "http.request.method"
HTTP_REQUEST_METHOD_ORIGINAL = "http.request.method_original"
HTTP_RESPONSE_STATUS_CODE = "http.response.status_code"
HTTP_ROUTE = "http.route"
HTTP_METHOD_OTHER = "_OTHER"
URL_PATH = "url.path"
URL_QUERY = "url.query"
URL_SCHEME = "url.scheme"
USER_AGENT_ORIGINAL = "user_agent.original"
CLIENT_ADDRESS = "client.address"
SERVER_ADDRESS = "server.address"
NETWORK_PROTOCOL_VERSION = "network.protocol.version"
GRAPHQL_OPERATION_TYPE = "graphql.operation.type"

# Semantic conventions 1.44, messaging/messaging-spans. The registry has no value for Kinesis; that
# one is ours.
MESSAGING_SYSTEM = "messaging.system"
MESSAGING_OPERATION_NAME = "messaging.operation.name"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
MESSAGING_DESTINATION_NAME = "messaging.destination.name"
MESSAGING_DESTINATION_PARTITION_ID = "messaging.destination.partition.id"
MESSAGING_MESSAGE_ID = "messaging.message.id"
MESSAGING_BATCH_MESSAGE_COUNT = "messaging.batch.message_count"
MESSAGING_OPERATION_PROCESS = "process"
MESSAGING_SYSTEM_ACTIVEMQ = "activemq"
MESSAGING_SYSTEM_AWS_SNS = "aws.sns"
MESSAGING_SYSTEM_AWS_SQS = "aws_sqs"
MESSAGING_SYSTEM_KAFKA = "kafka"
MESSAGING_SYSTEM_RABBITMQ = "rabbitmq"
MESSAGING_SYSTEM_KINESIS = "aws_kinesis"
# The name of a span of a batch that is not from one place (faas/aws-lambda, SQS).
MULTIPLE_SOURCES = "multiple_sources"

# Semantic conventions 1.44, registry/attributes/aws.
AWS_KINESIS_STREAM_NAME = "aws.kinesis.stream_name"
AWS_SNS_TOPIC_ARN = "aws.sns.topic.arn"
AWS_STEP_FUNCTIONS_STATE_MACHINE_ARN = "aws.step_functions.state_machine.arn"

# Not in the conventions: what EventBridge says about an event, and a load balancer's target group.
AWS_EVENTBRIDGE_SOURCE = "aws.eventbridge.source"
AWS_EVENTBRIDGE_DETAIL_TYPE = "aws.eventbridge.detail_type"
AWS_EVENTBRIDGE_EVENT_ID = "aws.eventbridge.event_id"
AWS_EVENTBRIDGE_RULE_ARN = "aws.eventbridge.rule_arn"
AWS_ELB_TARGET_GROUP_ARN = "aws.elb.target_group_arn"

# Our own, on the span of an invocation: the service that the event's shape is of, the service's own
# word for what happened, and for batches of changes how many there are.
LAMBDASCOPE_EVENT_SOURCE = "lambdascope.event.source"
LAMBDASCOPE_EVENT_TYPE = "lambdascope.event.type"
LAMBDASCOPE_EVENT_RECORDS = "lambdascope.event.records"

# Our own, on the span of an invocation: what its parent was taken from, what became of the other
# candidates, and False where the parent's trace is not sampled elsewhere.
LAMBDASCOPE_PARENT_SOURCE = "lambdascope.parent.source"
LAMBDASCOPE_PARENT_REASON = "lambdascope.parent.reason"
LAMBDASCOPE_PARENT_SAMPLED = "lambdascope.parent.sampled"
PARENT_CLIENT_CONTEXT = "client_context"
PARENT_EVENT = "event"
PARENT_XRAY = "xray"
PARENT_NONE = "none"

# Semantic conventions 1.44, faas/aws-lambda: the ARN as it was invoked, with its alias.
AWS_LAMBDA_INVOKED_ARN = "aws.lambda.invoked_arn"

# Semantic conventions 1.44, faas/faas-metrics: names and units. Durations are in seconds, memory in
# bytes; the page advises DURATION_BOUNDS and says nothing about memory.
FAAS_INVOKE_DURATION = "faas.invoke_duration"
FAAS_INIT_DURATION = "faas.init_duration"
FAAS_MEM_USAGE = "faas.mem_usage"
FAAS_COLDSTARTS = "faas.coldstarts"
FAAS_ERRORS = "faas.errors"
FAAS_INVOCATIONS = "faas.invocations"
FAAS_TIMEOUTS = "faas.timeouts"
UNIT_SECONDS = "s"
UNIT_BYTES = "By"
UNIT_COLDSTARTS = "{coldstart}"
UNIT_ERRORS = "{error}"
UNIT_INVOCATIONS = "{invocation}"
UNIT_TIMEOUTS = "{timeout}"
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
# A function may run for 900 s, so the advice goes on up to there; memory doubles from the 64 MiB
# that a small function takes to the 10 GiB that one can have.
LONG_DURATION_BOUNDS = (*DURATION_BOUNDS, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0)
MEMORY_BOUNDS = (*[float(1 << power) for power in range(26, 34)], 10.0 * (1 << 30))

# Semantic conventions 1.44, general/recording-errors and exceptions/exceptions-spans.
ERROR_TYPE = "error.type"
EVENT_EXCEPTION = "exception"
EVENT_FAAS_EXCEPTION = "faas.invocation.exception"
CODE_FILE_PATH = "code.file.path"
CODE_FUNCTION_NAME = "code.function.name"
CODE_LINE_NUMBER = "code.line.number"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_STACKTRACE = "exception.stacktrace"

# Not in the conventions: X-Ray's own form of the trace id (1-8hex-24hex), to find its trace there.
AWS_XRAY_TRACE_ID = "aws.xray.trace_id"

# Our own, on the span of an invocation. deadline_ms is wall time since the epoch; the two remaining
# times are what was left of the deadline when the handler was entered and when it returned.
LAMBDASCOPE_DEADLINE_MS = "lambdascope.deadline_ms"
LAMBDASCOPE_REMAINING_START_MS = "lambdascope.remaining_start_ms"
LAMBDASCOPE_REMAINING_END_MS = "lambdascope.remaining_end_ms"
LAMBDASCOPE_TENANT_ID = "lambdascope.tenant_id"

# Our own, on the report span: the size in bytes of the body that was posted, how it was posted
# (one of the modes below), and the HTTP status with which the Runtime API answered.
LAMBDASCOPE_RESPONSE_SIZE = "lambdascope.response.size"
LAMBDASCOPE_RESPONSE_MODE = "lambdascope.response.mode"
LAMBDASCOPE_RESPONSE_STATUS_CODE = "lambdascope.response.status_code"
# Of a streamed answer also how many pieces it had, how long after the event's receipt the first
# byte left, and for how long the platform took nothing.
LAMBDASCOPE_RESPONSE_PIECES = "lambdascope.response.pieces"
LAMBDASCOPE_RESPONSE_FIRST_BYTE_MS = "lambdascope.response.first_byte_ms"
LAMBDASCOPE_RESPONSE_STALLED_MS = "lambdascope.response.stalled_ms"
RESPONSE_MODE_BUFFERED = "buffered"
RESPONSE_MODE_STREAMED = "streamed"
RESPONSE_MODE_ERROR = "error"

# Our own, on the init and restore spans: the value of AWS_LAMBDA_INITIALIZATION_TYPE.
LAMBDASCOPE_INIT_TYPE = "lambdascope.init.type"

# Our own, on an import span: self is the total without the imports nested in it.
LAMBDASCOPE_IMPORT_MODULE = "lambdascope.import.module"
LAMBDASCOPE_IMPORT_SELF_MS = "lambdascope.import.self_ms"
LAMBDASCOPE_IMPORT_TOTAL_MS = "lambdascope.import.total_ms"

# Our own, on the platform's spans: what its records say. Times are in ms as the platform gives them
# and memory in bytes; overhead is the time that extensions took after the runtime was done.
LAMBDASCOPE_PLATFORM_STATUS = "lambdascope.platform.status"
LAMBDASCOPE_PLATFORM_PHASE = "lambdascope.platform.phase"
LAMBDASCOPE_PLATFORM_DURATION_MS = "lambdascope.platform.duration_ms"
LAMBDASCOPE_PLATFORM_RUNTIME_DURATION_MS = "lambdascope.platform.runtime_duration_ms"
LAMBDASCOPE_PLATFORM_BILLED_DURATION_MS = "lambdascope.platform.billed_duration_ms"
LAMBDASCOPE_PLATFORM_INIT_DURATION_MS = "lambdascope.platform.init_duration_ms"
LAMBDASCOPE_PLATFORM_RESTORE_DURATION_MS = "lambdascope.platform.restore_duration_ms"
LAMBDASCOPE_PLATFORM_BILLED_RESTORE_DURATION_MS = "lambdascope.platform.billed_restore_duration_ms"
LAMBDASCOPE_PLATFORM_MAX_MEMORY_USED = "lambdascope.platform.max_memory_used"
LAMBDASCOPE_PLATFORM_PRODUCED_BYTES = "lambdascope.platform.produced_bytes"
LAMBDASCOPE_PLATFORM_RESPONSE_LATENCY_MS = "lambdascope.platform.response_latency_ms"
LAMBDASCOPE_PLATFORM_RESPONSE_DURATION_MS = "lambdascope.platform.response_duration_ms"
LAMBDASCOPE_PLATFORM_RUNTIME_OVERHEAD_MS = "lambdascope.platform.runtime_overhead_ms"
LAMBDASCOPE_PLATFORM_EXTENSION_OVERHEAD_MS = "lambdascope.platform.extension_overhead_ms"
LAMBDASCOPE_PLATFORM_RUNTIME_VERSION = "lambdascope.platform.runtime_version"
LAMBDASCOPE_PLATFORM_RUNTIME_VERSION_ARN = "lambdascope.platform.runtime_version_arn"
# Of a log line: which program wrote it, "function" or "extension".
LAMBDASCOPE_LOG_SOURCE = "lambdascope.log.source"

# Why an invocation's spans were kept where not all are, and with which probability; and what a user
# sets to true on any span so that they are.
LAMBDASCOPE_SAMPLING_REASON = "lambdascope.sampling.reason"
LAMBDASCOPE_SAMPLING_RATIO = "lambdascope.sampling.ratio"
SAMPLING_KEEP = "sampling.keep"
LAMBDASCOPE_KEEP = "lambdascope.keep"

# Our own metrics, all of the extension: its accounts by signal, with a reason for what was dropped;
# what it costs; what came from the Telemetry API. The hold is how long it kept an environment after
# an invocation, as it measures itself; the overhead is the platform's figure for all extensions.
LAMBDASCOPE_EXTENSION_ACCEPTED = "lambdascope.extension.accepted"
LAMBDASCOPE_EXTENSION_EXPORTED = "lambdascope.extension.exported"
LAMBDASCOPE_EXTENSION_DROPPED = "lambdascope.extension.dropped"
LAMBDASCOPE_EXTENSION_HELD = "lambdascope.extension.held"
LAMBDASCOPE_EXTENSION_HELD_SIZE = "lambdascope.extension.held_size"
LAMBDASCOPE_EXTENSION_REFUSED = "lambdascope.extension.refused"
LAMBDASCOPE_EXTENSION_CPU_TIME = "lambdascope.extension.cpu_time"
LAMBDASCOPE_EXTENSION_MEMORY_USAGE = "lambdascope.extension.memory_usage"
LAMBDASCOPE_EXTENSION_HOLD = "lambdascope.extension.hold"
LAMBDASCOPE_EXTENSION_OVERHEAD = "lambdascope.extension.overhead"
LAMBDASCOPE_TELEMETRY_RECORDS = "lambdascope.telemetry.records"
LAMBDASCOPE_TELEMETRY_PROBLEMS = "lambdascope.telemetry.problems"
LAMBDASCOPE_TELEMETRY_DROPPED_RECORDS = "lambdascope.telemetry.dropped_records"
LAMBDASCOPE_TELEMETRY_DROPPED_SIZE = "lambdascope.telemetry.dropped_size"
LAMBDASCOPE_SIGNAL = "lambdascope.signal"
LAMBDASCOPE_DESTINATION = "lambdascope.destination"
LAMBDASCOPE_REASON = "lambdascope.reason"
LAMBDASCOPE_RECORD_TYPE = "lambdascope.record_type"
UNIT_ITEMS = "{item}"
UNIT_REQUESTS = "{request}"
UNIT_RECORDS = "{record}"
# OpenTelemetry specification, metrics SDK: the series that takes what is beyond the limit.
METRIC_OVERFLOW = "otel.metric.overflow"
