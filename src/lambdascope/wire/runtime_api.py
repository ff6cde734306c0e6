"""The messages of the Lambda Runtime API, version 2018-06-01, for both sides.

The runtime encodes requests (`to_request`) and reads an answer to next by making an `Invocation` of
it; a server of the API reads requests (`parse_request`) and encodes responses (`to_response`).
Payload bytes pass untouched; what a streamed answer adds is in `streaming`. Source: AWS Lambda
developer guide, "Using the Lambda runtime API for custom runtimes".
"""

from __future__ import annotations

from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.heads import encode_request, encode_response
from lambdascope.wire.message import Message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_REQUEST_ID = names.REQUEST_ID.lower()
_DEADLINE_MS = names.DEADLINE_MS.lower()
_FUNCTION_ARN = names.FUNCTION_ARN.lower()
_TRACE_ID = names.TRACE_ID.lower()
_CLIENT_CONTEXT = names.CLIENT_CONTEXT.lower()
_COGNITO_IDENTITY = names.COGNITO_IDENTITY.lower()
_TENANT_ID = names.TENANT_ID.lower()
_INVOCATION_ID = names.INVOCATION_ID.lower()
_ERROR_TYPE = names.FUNCTION_ERROR_TYPE.lower()
_XRAY_CAUSE = names.XRAY_ERROR_CAUSE.lower()
_RESPONSE_MODE = names.RESPONSE_MODE.lower()
# What belongs to one hop and is written anew by the encoder.
_HOP_BY_HOP = frozenset(("content-length", "transfer-encoding", "trailer", "connection", "date"))
_HEX = frozenset("0123456789abcdefABCDEF")
# The year 2255. Later ones are taken for it: their nanoseconds would not fit into the 64 bits that
# Python's time-outs have.
_MAX_DEADLINE_MS = 9_000_000_000_000
# Anything else is percent-encoded in a path (RFC 3986, 2.3).
_PATH_SAFE = frozenset("-_.~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


class Invocation(Message):
    """One event handed out by `next`.

    `deadline_ms` is Unix time in ms; 0, long past, when it is missing or no number, because an
    event that has an id can be answered (AWS's client takes a missing one for 0, too). Optional
    headers are None when absent or empty, because managed instances send them empty. `headers`
    keeps all of them, lower case, also the unknown ones. Raises RemoteProtocolError when there is
    no request id, or more than one.
    """

    __slots__ = (
        "body",
        "client_context",
        "cognito_identity",
        "content_type",
        "deadline_ms",
        "headers",
        "invocation_id",
        "invoked_function_arn",
        "request_id",
        "tenant_id",
        "trace_id",
    )

    def __init__(self, *, headers: dict[str, str], body: bytes) -> None:
        get = headers.get
        self.headers = headers
        self.body = body
        self.request_id = get(_REQUEST_ID, "")
        if not self.request_id:
            raise RemoteProtocolError(f"next answered without {names.REQUEST_ID}")
        if ", " in self.request_id:
            raise RemoteProtocolError(f"next answered with several {names.REQUEST_ID}")
        deadline = get(_DEADLINE_MS, "")
        is_number = deadline.isascii() and deadline.isdigit()
        self.deadline_ms = min(int(deadline[:20]), _MAX_DEADLINE_MS) if is_number else 0
        self.invoked_function_arn = get(_FUNCTION_ARN, "")
        self.trace_id = get(_TRACE_ID) or None
        self.client_context = get(_CLIENT_CONTEXT) or None
        self.cognito_identity = get(_COGNITO_IDENTITY) or None
        self.tenant_id = get(_TENANT_ID) or None
        self.invocation_id = get(_INVOCATION_ID) or None
        self.content_type = get("content-type") or names.CONTENT_TYPE_JSON

    def to_response(self) -> bytes:
        """The server's answer to `next`."""
        headers = [(_display(k), v) for k, v in self.headers.items() if k not in _HOP_BY_HOP]
        return encode_response(names.OK, headers, self.body)


def _display(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))


# What is around id and body of a response, by the common headers and the content type.
_USUAL: dict[tuple[tuple[tuple[str, str], ...], str], tuple[bytes, bytes]] = {}
_MAX_USUAL = 16


class InvocationResponse(Message):
    """The function's answer, buffered or streamed (`mode` is "" or "streaming")."""

    __slots__ = ("body", "content_type", "invocation_id", "mode", "request_id")

    def __init__(
        self,
        *,
        request_id: str,
        body: bytes,
        content_type: str = names.CONTENT_TYPE_JSON,
        invocation_id: str | None = None,
        mode: str = "",
    ) -> None:
        self.request_id = request_id
        self.body = body
        self.content_type = content_type
        self.invocation_id = invocation_id
        self.mode = mode

    def to_request(self, common: Iterable[tuple[str, str]]) -> bytes:
        """The buffered POST. `common` are the headers of every request (Host, User-Agent)."""
        if type(common) is tuple and not self.mode and self.invocation_id is None:
            return self._usual_request(common)
        headers = [*common, ("Content-Type", self.content_type)]
        if self.mode:
            headers.append((names.RESPONSE_MODE, self.mode))
        if self.invocation_id is not None:
            headers.append((names.INVOCATION_ID, self.invocation_id))
        return encode_request("POST", self.target(), headers, self.body)

    def _usual_request(self, common: tuple[tuple[str, str], ...]) -> bytes:
        """The same bytes, of which only the id and the body are new: the caller is waiting."""
        key = (common, self.content_type)
        parts = _USUAL.get(key)
        if parts is None:
            if len(_USUAL) >= _MAX_USUAL:
                _USUAL.clear()
            target = f"{names.INVOCATION_PREFIX}0{names.RESPONSE_SUFFIX}"
            headers = [*common, ("Content-Type", self.content_type)]
            whole = encode_request("POST", target, headers)
            before = f"POST {names.INVOCATION_PREFIX}".encode()
            parts = _USUAL[key] = before, whole[len(before) + 1 : -len(b"0\r\n\r\n")]
        body = self.body
        request_id = quote(self.request_id).encode()
        return b"".join((parts[0], request_id, parts[1], b"%d\r\n\r\n" % len(body), body))

    def target(self) -> str:
        """Where the answer goes."""
        return f"{names.INVOCATION_PREFIX}{quote(self.request_id)}{names.RESPONSE_SUFFIX}"


class InvocationError(Message):
    """What the runtime posts when the handler failed. `body` is the error JSON."""

    __slots__ = ("body", "content_type", "error_type", "invocation_id", "request_id", "xray_cause")

    def __init__(
        self,
        *,
        request_id: str,
        body: bytes,
        error_type: str = "",
        xray_cause: str = "",
        invocation_id: str | None = None,
        content_type: str = names.CONTENT_TYPE_JSON,
    ) -> None:
        self.request_id = request_id
        self.body = body
        self.error_type = error_type
        self.xray_cause = xray_cause
        self.invocation_id = invocation_id
        self.content_type = content_type

    def to_request(self, common: Iterable[tuple[str, str]]) -> bytes:
        """The POST. Raises LocalProtocolError when a header would carry a line break."""
        headers = [*common, ("Content-Type", self.content_type)]
        if self.error_type:
            headers.append((names.FUNCTION_ERROR_TYPE, self.error_type))
        if self.xray_cause:
            headers.append((names.XRAY_ERROR_CAUSE, self.xray_cause))
        if self.invocation_id is not None:
            headers.append((names.INVOCATION_ID, self.invocation_id))
        target = f"{names.INVOCATION_PREFIX}{quote(self.request_id)}{names.ERROR_SUFFIX}"
        return encode_request("POST", target, headers, self.body)


class InitError(Message):
    """A failed init (or, with `restore`, a failed restore hook). `body` is the error JSON."""

    __slots__ = ("body", "error_type", "restore", "xray_cause")

    def __init__(
        self, *, body: bytes, error_type: str = "", xray_cause: str = "", restore: bool = False
    ) -> None:
        self.body = body
        self.error_type = error_type
        self.xray_cause = xray_cause
        self.restore = restore

    def to_request(self, common: Iterable[tuple[str, str]]) -> bytes:
        """The POST. Raises LocalProtocolError when a header would carry a line break."""
        headers = [*common, ("Content-Type", names.CONTENT_TYPE_JSON)]
        if self.error_type:
            headers.append((names.FUNCTION_ERROR_TYPE, self.error_type))
        if self.xray_cause:
            headers.append((names.XRAY_ERROR_CAUSE, self.xray_cause))
        target = names.RESTORE_ERROR_PATH if self.restore else names.INIT_ERROR_PATH
        return encode_request("POST", target, headers, self.body)


class Next(Message):
    """GET next: the runtime is ready for an event (or, with `restore`, to be snapshotted)."""

    __slots__ = ("restore",)

    def __init__(self, *, restore: bool = False) -> None:
        self.restore = restore

    def to_request(self, common: Iterable[tuple[str, str]]) -> bytes:
        """The GET."""
        target = names.RESTORE_NEXT_PATH if self.restore else names.NEXT_PATH
        return encode_request("GET", target, common)


RuntimeRequest = Next | InvocationResponse | InvocationError | InitError


def parse_request(
    method: str, target: str, headers: Mapping[str, str], body: bytes
) -> RuntimeRequest | None:
    """What a server received, as a message; None when the path or method is not of this API.

    An InvocationResponse keeps the raw mode header in `mode`, so that the server can refuse it.
    """
    path = target.partition("?")[0]
    if method == "GET":
        if path == names.NEXT_PATH:
            return Next()
        return Next(restore=True) if path == names.RESTORE_NEXT_PATH else None
    if method != "POST":
        return None
    error_type = headers.get(_ERROR_TYPE, "")
    cause = headers.get(_XRAY_CAUSE, "")
    if path in (names.INIT_ERROR_PATH, names.RESTORE_ERROR_PATH):
        restore = path == names.RESTORE_ERROR_PATH
        return InitError(body=body, error_type=error_type, xray_cause=cause, restore=restore)
    if not path.startswith(names.INVOCATION_PREFIX):
        return None
    raw_id, _, kind = path[len(names.INVOCATION_PREFIX) :].partition("/")
    request_id = unquote(raw_id)
    content_type = headers.get("content-type", "")
    nonce = headers.get(_INVOCATION_ID) or None
    if request_id and kind == "response":
        mode = headers.get(_RESPONSE_MODE, "")
        return InvocationResponse(
            request_id=request_id,
            body=body,
            content_type=content_type,
            invocation_id=nonce,
            mode=mode,
        )
    if request_id and kind == "error":
        return InvocationError(
            request_id=request_id,
            body=body,
            error_type=error_type,
            xray_cause=cause,
            invocation_id=nonce,
            content_type=content_type,
        )
    return None


def quote(text: str) -> str:
    """Percent-encode what is not safe in a path segment."""
    # The usual id is a UUID; this test is the fast one.
    if (text.isascii() and text.replace("-", "").isalnum()) or _PATH_SAFE.issuperset(text):
        return text
    return "".join(
        chr(b) if chr(b) in _PATH_SAFE else f"%{b:02X}" for b in text.encode("utf-8", "replace")
    )


def unquote(text: str) -> str:
    """Undo `quote`; malformed escapes stay as they are."""
    first, *rest = text.split("%")
    out = bytearray(first.encode("utf-8", "replace"))
    for part in rest:
        digits, tail = part[:2], part[2:]
        if len(digits) == 2 and _HEX.issuperset(digits):
            out.append(int(digits, 16))
            out += tail.encode("utf-8", "replace")
        else:
            out += b"%" + part.encode("utf-8", "replace")
    return out.decode("utf-8", "replace")


def status_response(status: int) -> bytes:
    """The server's 202 (or other success) with AWS's body."""
    return encode_response(status, (("Content-Type", "application/json"),), b'{"status":"OK"}\n')


def error_response(status: int, error_type: str, message: str) -> bytes:
    """The server's error answer, in the shape of AWS's Runtime and Extensions APIs."""
    import json

    body = json.dumps({"errorMessage": message, "errorType": error_type}).encode()
    return encode_response(status, (("Content-Type", "application/json"),), body)
