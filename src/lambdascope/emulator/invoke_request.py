"""What a caller of the invoke endpoint asked for, or why it is refused: pure, no sockets.

`invoke` reads the request and sends the answer. Names, limits and texts are those of the Lambda API
(AWS Lambda API reference, "Invoke"; the texts as the service gives them), because the AWS SDKs make
an exception class of the error type and people search for the words.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdascope.emulator.config import FunctionConfig

FUNCTIONS_PREFIX = "/2015-03-31/functions/"
INVOKE_SUFFIX = "/invocations"
STREAM_PREFIX = "/2021-11-15/functions/"
STREAM_SUFFIX = "/response-streaming-invocations"

INVOCATION_TYPE = "X-Amz-Invocation-Type"
LOG_TYPE = "X-Amz-Log-Type"
LOG_RESULT = "X-Amz-Log-Result"
CLIENT_CONTEXT = "X-Amz-Client-Context"
TENANT_ID = "X-Amz-Tenant-Id"
TRACE_ID = "X-Amzn-Trace-Id"
REQUEST_ID = "x-amzn-RequestId"
ERROR_TYPE = "x-amzn-ErrorType"
FUNCTION_ERROR = "X-Amz-Function-Error"
EXECUTED_VERSION = "X-Amz-Executed-Version"

REQUEST_RESPONSE = "RequestResponse"
EVENT = "Event"
DRY_RUN = "DryRun"
INVOCATION_TYPES = (EVENT, REQUEST_RESPONSE, DRY_RUN)
STREAM_INVOCATION_TYPES = (REQUEST_RESPONSE, DRY_RUN)
LOG_TAIL = "Tail"

MAX_SYNC_BYTES = 6 * 1024 * 1024
MAX_ASYNC_BYTES = 1024 * 1024
MAX_CLIENT_CONTEXT_BYTES = 3583

NOT_FOUND = "ResourceNotFoundException"
INVALID_CONTENT = "InvalidRequestContentException"
INVALID_PARAMETER = "InvalidParameterValueException"
# The service sends this name; the SDKs' models list RequestTooLargeException, which never comes.
TOO_LARGE = "RequestEntityTooLargeException"
TOO_MANY_REQUESTS = "TooManyRequestsException"
CONFLICT = "ResourceConflictException"
ACCESS_DENIED = "AccessDeniedException"
SERVICE_FAULT = "ServiceException"
UNKNOWN_OPERATION = "UnknownOperationException"
SNAP_START = "SnapStartException"
SNAP_START_TIMEOUT = "SnapStartTimeoutException"
# These have their text under a key with a capital letter.
_CAPITAL = (NOT_FOUND, SERVICE_FAULT, SNAP_START, SNAP_START_TIMEOUT)

_NAME = re.compile(
    r"(?:arn:aws[a-zA-Z-]*:lambda:)?(?:(?:eusc-)?[a-z]{2}(?:-[a-z]+)+-\d:)?(?:\d{12}:)?"
    r"(?:function:)?(?P<name>[a-zA-Z0-9_.-]+)"
    r"(?::(?P<qualifier>\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_-]+))?"
)
_QUALIFIER = re.compile(r"\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9_$-]{1,128}")


class InvokeRefused(Exception):
    """The caller gets an error of the Lambda API; nothing was invoked."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type

    def body(self) -> bytes:
        """The error in the form of which SDKs make an exception."""
        key = "Message" if self.error_type in _CAPITAL else "message"
        kind = "Service" if self.status >= 500 else "User"
        return json.dumps({"Type": kind, key: str(self)}).encode()


@dataclass(frozen=True, kw_only=True)
class InvokeRequest:
    """A request that can be carried out, all but its event. `client_context` is JSON text."""

    invocation_type: str
    qualifier: str | None
    wants_log: bool
    client_context: str | None
    trace_header: str | None
    tenant_id: str | None

    @property
    def max_bytes(self) -> int:
        """How large the event may be."""
        return MAX_ASYNC_BYTES if self.invocation_type == EVENT else MAX_SYNC_BYTES

    def too_large(self, size: int) -> InvokeRefused:
        """The refusal of an event of `size` bytes."""
        if self.invocation_type == EVENT:
            limit = f"(limit {MAX_ASYNC_BYTES} bytes)"
            text = f"{size} byte payload is too large for the Event invocation type {limit}"
        else:
            limit = f"{MAX_SYNC_BYTES} bytes for the InvokeFunction operation"
            text = f"Request must be smaller than {limit}"
        return InvokeRefused(413, TOO_LARGE, text)


def function_name(path: str) -> str | None:
    """The function that the path of an invocation names, decoded; None for any other path."""
    for prefix, suffix in ((FUNCTIONS_PREFIX, INVOKE_SUFFIX), (STREAM_PREFIX, STREAM_SUFFIX)):
        if path.startswith(prefix) and path.endswith(suffix):
            name = path[len(prefix) : -len(suffix)]
            return unquote(name) if name and "/" not in name else None
    return None


def parse_invoke(
    name: str,
    query: str,
    headers: Mapping[str, str],
    config: FunctionConfig,
    *,
    types: tuple[str, ...] = INVOCATION_TYPES,
) -> InvokeRequest:
    """A request for the function `name`, of one of `types`. Raises InvokeRefused."""
    kind = headers.get(INVOCATION_TYPE.lower()) or REQUEST_RESPONSE
    qualifier = _qualifier(name, query, config)
    if kind not in types:
        raise InvokeRefused(
            400,
            INVALID_PARAMETER,
            f"1 validation error detected: Value '{kind}' at 'invocationType' failed to satisfy "
            f"constraint: Member must satisfy enum value set: [{', '.join(types)}]",
        )
    context = _client_context(headers.get(CLIENT_CONTEXT.lower()))
    return InvokeRequest(
        invocation_type=kind,
        qualifier=qualifier,
        wants_log=kind == REQUEST_RESPONSE and headers.get(LOG_TYPE.lower()) == LOG_TAIL,
        # Lambda passes it on in synchronous invocations only.
        client_context=None if kind == EVENT else context,
        trace_header=headers.get(TRACE_ID.lower()) or None,
        tenant_id=headers.get(TENANT_ID.lower()) or None,
    )


def check_event(body: bytes) -> bytes:
    """The event's bytes, {} when there are none. Raises InvokeRefused when they are not JSON."""
    if not body:
        return b"{}"
    try:
        json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        reason = "nested too deeply"
    except UnicodeDecodeError as error:
        reason = f"Invalid UTF-8 byte 0x{body[error.start]:02x} at position {error.start}"
    except ValueError as error:
        reason = str(error)
    else:
        return body
    raise InvokeRefused(
        400,
        INVALID_CONTENT,
        f"Could not parse request body into json: Could not parse payload into json: {reason}",
    )


def check_origin(origin: str | None) -> None:
    """A web page from elsewhere, open in the user's browser, must not run the user's function.

    Raises InvokeRefused.
    """
    try:
        host = None if origin is None else urlsplit(origin).hostname
    except ValueError:
        host = None
    if origin is not None and host not in ("127.0.0.1", "localhost"):
        raise InvokeRefused(403, ACCESS_DENIED, f"called by a page of {origin[:200]}")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"Non-standard token '{constant}'")


def _qualifier(name: str, query: str, config: FunctionConfig) -> str | None:
    """The version or alias that is asked for; any is there, and they are all the same function."""
    own = config.function_name
    # First, because a function that is called "function" reads like a part of an ARN.
    if name == own or name.startswith(f"{own}:"):
        found: str | None = own
        in_name = name[len(own) + 1 :] or None
    else:
        match = _NAME.fullmatch(name)
        if match is None:
            raise InvokeRefused(
                400, INVALID_PARAMETER, f"{name[:200]!r} is not a function name or ARN"
            )
        found, in_name = match["name"], match["qualifier"]
    if found != own:
        arn = config.function_arn.removesuffix(own) + str(found)
        raise InvokeRefused(
            404, NOT_FOUND, f"Function not found: {arn} (this emulator runs the function {own})"
        )
    in_query = parse_qs(query).get("Qualifier", [None])[0]
    if in_name and in_query and in_name != in_query:
        raise InvokeRefused(
            400,
            INVALID_PARAMETER,
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
    qualifier = in_query or in_name
    if qualifier is not None and not _QUALIFIER.fullmatch(qualifier):
        raise InvokeRefused(
            400, INVALID_PARAMETER, f"{qualifier[:200]!r} is not a version or an alias"
        )
    return qualifier


def _client_context(header: str | None) -> str | None:
    if not header:
        return None
    if len(header) > MAX_CLIENT_CONTEXT_BYTES:
        raise InvokeRefused(
            400,
            INVALID_CONTENT,
            f"Client context must be no larger than {MAX_CLIENT_CONTEXT_BYTES} bytes.",
        )
    try:
        text = base64.b64decode(header, validate=True).decode("utf-8")
        fields = json.loads(text, parse_constant=_refuse_constant)
    except (binascii.Error, ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise InvokeRefused(
            400, INVALID_CONTENT, "Client context must be a valid Base64-encoded JSON object."
        )
    # It travels in a header, where a line break has no place.
    return text if text.isprintable() else json.dumps(fields)
