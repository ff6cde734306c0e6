"""Every path, header, version, limit and variable name of the protocols that lambdascope speaks,
once.

Facts come from the AWS Lambda developer guide (pages "Using the Lambda runtime API", "Using the
Lambda Extensions API", "Lambda Telemetry API reference", "Defined runtime environment variables")
and from the source of AWS's Runtime Interface Emulator. This module holds values only and imports
nothing.
"""

from __future__ import annotations

# --- Runtime API -------------------------------------------------------------------------------
RUNTIME_API_VERSION = "2018-06-01"
RUNTIME_BASE = "/2018-06-01/runtime"
NEXT_PATH = "/2018-06-01/runtime/invocation/next"
INVOCATION_PREFIX = "/2018-06-01/runtime/invocation/"
RESPONSE_SUFFIX = "/response"
ERROR_SUFFIX = "/error"
INIT_ERROR_PATH = "/2018-06-01/runtime/init/error"
RESTORE_NEXT_PATH = "/2018-06-01/runtime/restore/next"
RESTORE_ERROR_PATH = "/2018-06-01/runtime/restore/error"
PING_PATH = "/2018-06-01/ping"
# Where a function that is started from a snapshot finds its credentials.
CREDENTIALS_PATH = "/2021-04-23/credentials"

REQUEST_ID = "Lambda-Runtime-Aws-Request-Id"
DEADLINE_MS = "Lambda-Runtime-Deadline-Ms"
FUNCTION_ARN = "Lambda-Runtime-Invoked-Function-Arn"
TRACE_ID = "Lambda-Runtime-Trace-Id"
CLIENT_CONTEXT = "Lambda-Runtime-Client-Context"
COGNITO_IDENTITY = "Lambda-Runtime-Cognito-Identity"
TENANT_ID = "Lambda-Runtime-Aws-Tenant-Id"
INVOCATION_ID = "Lambda-Runtime-Invocation-Id"
FUNCTION_ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
FUNCTION_ERROR_BODY = "Lambda-Runtime-Function-Error-Body"
XRAY_ERROR_CAUSE = "Lambda-Runtime-Function-XRay-Error-Cause"
RESPONSE_MODE = "Lambda-Runtime-Function-Response-Mode"
RESPONSE_MODE_STREAMING = "streaming"
# A streamed HTTP answer begins with JSON (statusCode, headers, cookies) and these eight bytes.
HTTP_INTEGRATION_TYPE = "application/vnd.awslambda.http-integration-response"
HTTP_PRELUDE_END = b"\0" * 8

# --- Extensions API ----------------------------------------------------------------------------
EXTENSION_BASE = "/2020-01-01/extension"
EXTENSION_REGISTER_PATH = "/2020-01-01/extension/register"
EXTENSION_NEXT_PATH = "/2020-01-01/extension/event/next"
EXTENSION_INIT_ERROR_PATH = "/2020-01-01/extension/init/error"
EXTENSION_EXIT_ERROR_PATH = "/2020-01-01/extension/exit/error"

EXTENSION_NAME = "Lambda-Extension-Name"
EXTENSION_IDENTIFIER = "Lambda-Extension-Identifier"
EXTENSION_EVENT_IDENTIFIER = "Lambda-Extension-Event-Identifier"
EXTENSION_ACCEPT_FEATURE = "Lambda-Extension-Accept-Feature"
EXTENSION_ERROR_TYPE = "Lambda-Extension-Function-Error-Type"
ACCOUNT_ID_FEATURE = "accountId"

EVENT_INVOKE = "INVOKE"
EVENT_SHUTDOWN = "SHUTDOWN"
# Lower case on the wire, whatever the documentation's tables say.
SHUTDOWN_SPINDOWN = "spindown"
SHUTDOWN_TIMEOUT = "timeout"
SHUTDOWN_FAILURE = "failure"
MAX_EXTENSIONS = 10

# --- Telemetry API -----------------------------------------------------------------------------
TELEMETRY_PATH = "/2022-07-01/telemetry"
LOGS_PATH = "/2020-08-15/logs"
TELEMETRY_SCHEMA_VERSIONS = ("2022-07-01", "2022-12-13", "2025-01-29")
TELEMETRY_SCHEMA_VERSION = "2025-01-29"
TELEMETRY_TYPES = ("platform", "function", "extension")
TELEMETRY_HOSTS = ("sandbox.localdomain", "sandbox")
# (minimum, maximum, default) of the buffering fields.
TELEMETRY_MAX_ITEMS = (1000, 10000, 10000)
TELEMETRY_MAX_BYTES = (262144, 1048576, 262144)
TELEMETRY_TIMEOUT_MS = (25, 30000, 1000)
TELEMETRY_NOT_SUPPORTED = "Telemetry.NotSupported"
TELEMETRY_SUBSCRIPTION_CLOSED = "Telemetry.SubscriptionClosed"

# --- Status codes and error types of AWS's servers -----------------------------------------------
OK = 200
ACCEPTED = 202
BAD_REQUEST = 400
FORBIDDEN = 403
GONE = 410
PAYLOAD_TOO_LARGE = 413
SERVER_ERROR = 500

TOO_MANY_IDLE_RUNTIMES = "TooManyIdleRuntimes"
INVOKE_TIMEOUT = "InvokeTimeout"
INVALID_STATE_TRANSITION = "InvalidStateTransition"
INVALID_REQUEST_ID = "InvalidRequestID"
INVALID_RESPONSE_MODE = "InvalidFunctionResponseMode"
REQUEST_ENTITY_TOO_LARGE = "RequestEntityTooLarge"
INVALID_REQUEST_FORMAT = "InvalidRequestFormat"
INVALID_EXTENSION_NAME = "Extension.InvalidExtensionName"
INVALID_EXTENSION_EVENT = "Extension.InvalidEventType"
INVALID_EXTENSION_STATE = "Extension.InvalidExtensionState"
REGISTRATION_CLOSED = "Extension.RegistrationClosed"
TOO_MANY_EXTENSIONS = "Extension.TooManyExtensions"
MISSING_EXTENSION_IDENTIFIER = "Extension.MissingExtensionIdentifier"
INVALID_EXTENSION_IDENTIFIER = "Extension.InvalidExtensionIdentifier"
UNKNOWN_EXTENSION_IDENTIFIER = "Extension.UnknownExtensionIdentifier"
MISSING_HEADER = "Extension.MissingHeader"

# Error types that a runtime reports, as AWS's Python client does.
FAULT_MARSHAL = "Runtime.MarshalError"
FAULT_UNMARSHAL = "Runtime.UnmarshalError"
FAULT_SYNTAX = "Runtime.UserCodeSyntaxError"
FAULT_HANDLER_NOT_FOUND = "Runtime.HandlerNotFound"
FAULT_IMPORT_MODULE = "Runtime.ImportModuleError"
FAULT_BUILTIN_CONFLICT = "Runtime.BuiltInModuleConflict"
FAULT_MALFORMED_HANDLER = "Runtime.MalformedHandlerName"
FAULT_CONTEXT = "Runtime.LambdaContextUnmarshalError"
FAULT_BEFORE_SNAPSHOT = "Runtime.BeforeSnapshotError"
FAULT_AFTER_RESTORE = "Runtime.AfterRestoreError"
# Error types that the platform sets.
FAULT_EXIT = "Runtime.ExitError"
FAULT_RESTORE_TIMEOUT = "Runtime.RestoreHookUserTimeout"
FAULT_OUT_OF_MEMORY = "Runtime.OutOfMemory"
FAULT_INVALID_ENTRYPOINT = "Runtime.InvalidEntrypoint"
FAULT_RUNTIME_UNAVAILABLE = "Runtime.Unavailable"
FAULT_RUNTIME_UNKNOWN = "Runtime.Unknown"
FAULT_FUNCTION_UNKNOWN = "Function.Unknown"
FAULT_RESPONSE_SIZE = "Function.ResponseSizeTooLarge"
FAULT_SANDBOX_TIMEOUT = "Sandbox.Timedout"
FAULT_SANDBOX_FAILURE = "Sandbox.Failure"
FAULT_EXTENSION_CRASH = "Extension.Crash"
FAULT_EXTENSION_INIT = "Extension.InitError"
FAULT_EXTENSION_EXIT = "Extension.ExitError"
FAULT_EXTENSION_LAUNCH = "Extension.LaunchError"

# --- Limits --------------------------------------------------------------------------------------
# 6 MiB plus 100 bytes: the buffered response limit that the Runtime API enforces.
MAX_PAYLOAD_BYTES = 6 * 1024 * 1024 + 100
# What a client of ours takes as an answer to any request: far more than any event has.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
# A streamed response may have 200 MB, the first 6 MiB at full speed and the rest at 2 MiB/s.
MAX_STREAM_BYTES = 200 * 1024 * 1024
STREAM_BURST_BYTES = 6 * 1024 * 1024
STREAM_BYTES_PER_S = 2 * 1024 * 1024
# The X-Ray error cause may have 64 KiB; a margin is left for the JSON around it.
MAX_XRAY_CAUSE_BYTES = 60 * 1024
# Go's default limit for a request head, which AWS's server uses.
MAX_HEAD_BYTES = 1024 * 1024
INIT_TIMEOUT_MS = 10_000
# SnapStart: init may take this or the function's timeout, the longer; then restoring 10 s.
SNAP_START_INIT_TIMEOUT_MS = 130_000
RESTORE_TIMEOUT_MS = 10_000
SHUTDOWN_BUDGET_MS = 2_000
SHUTDOWN_BUDGET_INTERNAL_MS = 500
# The runtime's part of the shutdown budget beside external extensions, by the documentation of the
# execution environment; AWS's emulator gives it 30 % of the budget.
SHUTDOWN_RUNTIME_SHARE_MS = 300
# Lambda Managed Instances, from AWS's documentation and the source of its emulator: init may take
# 15 minutes; at the end the runtime has 600 ms, then telemetry about a second.
MANAGED_INIT_TIMEOUT_MS = 900_000
MANAGED_MIN_MEMORY_MB = 2048
MANAGED_SHUTDOWN_RUNTIME_SHARE_MS = 600
MANAGED_SHUTDOWN_FLUSH_MS = 1_000

# --- Environment variables ------------------------------------------------------------------------
ENV_RUNTIME_API = "AWS_LAMBDA_RUNTIME_API"
ENV_HANDLER = "_HANDLER"
ENV_TASK_ROOT = "LAMBDA_TASK_ROOT"
ENV_RUNTIME_DIR = "LAMBDA_RUNTIME_DIR"
ENV_TRACE_ID = "_X_AMZN_TRACE_ID"
ENV_REGION = "AWS_REGION"
ENV_DEFAULT_REGION = "AWS_DEFAULT_REGION"
ENV_EXECUTION_ENV = "AWS_EXECUTION_ENV"
ENV_FUNCTION_NAME = "AWS_LAMBDA_FUNCTION_NAME"
ENV_FUNCTION_VERSION = "AWS_LAMBDA_FUNCTION_VERSION"
ENV_MEMORY_SIZE = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
ENV_LOG_GROUP = "AWS_LAMBDA_LOG_GROUP_NAME"
ENV_LOG_STREAM = "AWS_LAMBDA_LOG_STREAM_NAME"
ENV_LOG_FORMAT = "AWS_LAMBDA_LOG_FORMAT"
ENV_LOG_LEVEL = "AWS_LAMBDA_LOG_LEVEL"
ENV_LOG_FD = "_LAMBDA_TELEMETRY_LOG_FD"
ENV_LOG_SOCKET = "_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET"
ENV_INIT_TYPE = "AWS_LAMBDA_INITIALIZATION_TYPE"
ENV_MAX_CONCURRENCY = "AWS_LAMBDA_MAX_CONCURRENCY"
ENV_CREDENTIALS_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
ENV_CREDENTIALS_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 - a variable's name

INIT_ON_DEMAND = "on-demand"
INIT_PROACTIVE = "proactive"  # ours: Lambda says "on-demand" of these too
INIT_SNAP_START = "snap-start"
INIT_MANAGED_INSTANCES = "lambda-managed-instances"

ENV_HANDOFF_FILE = "LAMBDASCOPE_HANDOFF_FILE"
ENV_OTLP_PORT = "LAMBDASCOPE_OTLP_PORT"
ENV_HOLD_BUDGET = "LAMBDASCOPE_HOLD_BUDGET_MS"
# How the extension times its exports, what it promises about holds, and how long it keeps things.
ENV_FLUSH = "LAMBDASCOPE_FLUSH"
ENV_HOLD_P99 = "LAMBDASCOPE_HOLD_P99_MS"
ENV_QUEUE_AGE = "LAMBDASCOPE_QUEUE_AGE_S"
# How much of what could not be exported may go to a file in /tmp, and to standard output.
ENV_SPOOL_BYTES = "LAMBDASCOPE_SPOOL_BYTES"
# Before a line on standard output: which of several destinations it is for.
LEFTOVER_LABEL = "to="
ENV_STDOUT_BYTES = "LAMBDASCOPE_STDOUT_BYTES"
# What the extension makes of the platform's own records, and which log lines it forwards.
ENV_PLATFORM = "LAMBDASCOPE_PLATFORM"
ENV_LOGS = "LAMBDASCOPE_LOGS"
# Where telemetry goes, the same for the extension alone where a stock SDK in the function reads the
# standard variable, and a secret that holds the headers for it.
ENV_DESTINATION = "LAMBDASCOPE_DESTINATION"
ENV_EXTENSION_ENDPOINT = "LAMBDASCOPE_OTLP_ENDPOINT"
ENV_HEADERS_SECRET = "LAMBDASCOPE_HEADERS_SECRET_ARN"  # noqa: S105 - a variable's name
# What is taken out of everything that leaves, and which share of the invocations leaves at all.
ENV_SCRUB = "LAMBDASCOPE_SCRUB"
ENV_SAMPLE = "LAMBDASCOPE_SAMPLE"
ENV_SAMPLE_SLOW = "LAMBDASCOPE_SAMPLE_SLOW_MS"
# Of AWS's command line and libraries, and of OpenSSL.
ENV_ACCESS_KEY_ID = "AWS_ACCESS_KEY_ID"
ENV_SECRET_ACCESS_KEY = "AWS_SECRET_ACCESS_KEY"  # noqa: S105 - as above
ENV_SESSION_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - as above
ENV_ENDPOINT_URL = "AWS_ENDPOINT_URL"
ENV_SSL_CERT_FILE = "SSL_CERT_FILE"

# OpenTelemetry specification, "OTLP Exporter Configuration".
OTLP_ENV_PREFIX = "OTEL_EXPORTER_OTLP_"
ENV_OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
ENV_OTLP_TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
ENV_OTLP_METRICS_ENDPOINT = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
ENV_OTLP_LOGS_ENDPOINT = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"
ENV_OTLP_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
ENV_OTLP_CERTIFICATE = "OTEL_EXPORTER_OTLP_CERTIFICATE"
ENV_OTLP_TEMPORALITY = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
ENV_OTLP_HISTOGRAMS = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
# OpenTelemetry specification, "Environment Variable Specification".
ENV_TRACES_EXPORTER = "OTEL_TRACES_EXPORTER"
ENV_METRICS_EXPORTER = "OTEL_METRICS_EXPORTER"
ENV_EXEMPLAR_FILTER = "OTEL_METRICS_EXEMPLAR_FILTER"
ENV_METRIC_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
ENV_SDK_DISABLED = "OTEL_SDK_DISABLED"
ENV_LOGS_EXPORTER = "OTEL_LOGS_EXPORTER"
ENV_PYTHON_LOGGING = "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED"
ENV_EXCEPTION_SIGNAL = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"
ENV_SERVICE_NAME = "OTEL_SERVICE_NAME"
ENV_RESOURCE_ATTRIBUTES = "OTEL_RESOURCE_ATTRIBUTES"
ENV_PROPAGATORS = "OTEL_PROPAGATORS"
ENV_DISABLED_INSTRUMENTATIONS = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"

# --- Instrumentation of the function's libraries --------------------------------------------------
ENV_INSTRUMENT = "LAMBDASCOPE_INSTRUMENT"
ENV_INSTRUMENT_INDEX = "LAMBDASCOPE_INSTRUMENT_INDEX"
# Beside the package `lambdascope`: one "module package.module:Class" in a line.
INSTRUMENT_INDEX_FILE = "lambdascope.instruments"
# Beside it too, in a layer: OpenTelemetry's packages for functions that have none.
PACKAGES_FOLDER = "lambdascope_packages"
# Modules whose import has OpenTelemetry's instrumentor of the library applied, if it is installed
# (runtime/otel/instruments.py has which). `logging`, `threading`, `asyncio`, `click` and the like
# are in too many functions, and Django's configures the settings: only on request.
INSTRUMENTED = (
    "aio_pika aiobotocore.client aiohttp aiohttp.web aiokafka aiopg asyncpg boto3 botocore.client "
    "cassandra.cluster celery confluent_kafka elasticsearch falcon fastapi flask grpc grpc.aio "
    "httpx httpx2 jinja2 kafka mysql.connector MySQLdb openai pika psycopg psycopg2 pymemcache "
    "pymongo pymssql pymysql pyramid.config redis remoulade requests sqlalchemy sqlite3 starlette "
    "tornado.web tortoise urllib.request urllib3 vertexai"
)

# --- Handoff from our runtime to our extension (OTLP/HTTP plus these) -----------------------------
TRACES_PATH = "/v1/traces"
METRICS_PATH = "/v1/metrics"
LOGS_SIGNAL_PATH = "/v1/logs"
HELLO_PATH = "/lambdascope/v1/hello"
# Where the extension publishes its address: in a directory of the effective user alone. Both sides
# check its owner and mode.
DEFAULT_HANDOFF_FILE = "/tmp/.lambdascope-{euid}/handoff"  # noqa: S108 - see the line above
# Appended to the handoff file's name: what the runtime notes for the case that it dies.
FLIGHT_SUFFIX = ".flight"
HANDOFF_HEADER_PREFIX = "lambdascope-"
HANDOFF_TOKEN = "Lambdascope-Token"  # noqa: S105 - the name of a header, not a secret
HANDOFF_REQUEST_ID = "Lambdascope-Request-Id"
HANDOFF_DONE = "Lambdascope-Done"
# From the extension to the collector: the same for each attempt to deliver one batch.
BATCH_ID = "Lambdascope-Batch-Id"
DEFAULT_OTLP_PORT = 4318
CONTENT_TYPE_PROTOBUF = "application/x-protobuf"
CONTENT_TYPE_JSON = "application/json"
CONTENT_TYPE_BINARY = "application/octet-stream"
