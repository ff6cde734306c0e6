"""The messages of the Lambda Extensions API, version 2020-01-01, for both sides.

An extension encodes `Register`, `Next` and `ExtensionError` and reads `Registered` and events; a
server of the API does the opposite. Source: AWS Lambda developer guide, "Using the Lambda
Extensions API". What reads or writes JSON is imported inside the functions: an extension registers
before it needs it.
"""

from __future__ import annotations

from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.heads import encode_request, encode_response
from lambdascope.wire.message import Message, plain_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NAME = names.EXTENSION_NAME.lower()
_IDENTIFIER = names.EXTENSION_IDENTIFIER.lower()
_FEATURE = names.EXTENSION_ACCEPT_FEATURE.lower()
_ERROR_TYPE = names.EXTENSION_ERROR_TYPE.lower()
_JSON = ("Content-Type", names.CONTENT_TYPE_JSON)


class Register(Message):
    """POST register. `events` are INVOKE and SHUTDOWN; `account_id` asks for that feature."""

    __slots__ = ("account_id", "events", "name")

    def __init__(self, *, name: str, events: tuple[str, ...], account_id: bool = False) -> None:
        self.name = name
        self.events = events
        self.account_id = account_id

    def to_request(self, common: Iterable[tuple[str, str]]) -> bytes:
        """The POST. Raises LocalProtocolError for a name or event that cannot be sent as it is."""
        headers = [*common, _JSON, (names.EXTENSION_NAME, self.name)]
        if self.account_id:
            headers.append((names.EXTENSION_ACCEPT_FEATURE, names.ACCOUNT_ID_FEATURE))
        listed = ",".join(plain_json(event) for event in self.events)
        body = f'{{"events":[{listed}]}}'.encode()
        return encode_request("POST", names.EXTENSION_REGISTER_PATH, headers, body)


class Registered(Message):
    """The answer to register. `account_id` is None unless it was asked for."""

    __slots__ = ("account_id", "function_name", "function_version", "handler", "identifier")

    def __init__(
        self,
        *,
        identifier: str,
        function_name: str,
        function_version: str,
        handler: str,
        account_id: str | None = None,
    ) -> None:
        self.identifier = identifier
        self.function_name = function_name
        self.function_version = function_version
        self.handler = handler
        self.account_id = account_id

    @classmethod
    def from_response(cls, headers: Mapping[str, str], body: bytes) -> Registered:
        """Read the answer. Raises RemoteProtocolError when the identifier is missing."""
        identifier = headers.get(_IDENTIFIER, "")
        if not identifier:
            raise RemoteProtocolError(f"register answered without {names.EXTENSION_IDENTIFIER}")
        fields = _json_object(body, "register")
        account = fields.get("accountId")
        return cls(
            identifier=identifier,
            function_name=str(fields.get("functionName", "")),
            function_version=str(fields.get("functionVersion", "")),
            handler=str(fields.get("handler", "")),
            account_id=None if account is None else str(account),
        )

    def to_response(self) -> bytes:
        """The server's answer."""
        fields = {
            "functionName": self.function_name,
            "functionVersion": self.function_version,
            "handler": self.handler,
        }
        if self.account_id is not None:
            fields["accountId"] = self.account_id
        headers = (_JSON, (names.EXTENSION_IDENTIFIER, self.identifier))
        return encode_response(names.OK, headers, _compact(fields))


class ExtensionNext(Message):
    """GET event/next: the extension is ready for the next event."""

    __slots__ = ("identifier",)

    def __init__(self, *, identifier: str) -> None:
        self.identifier = identifier

    def to_request(self, common: Iterable[tuple[str, str]]) -> bytes:
        """The GET."""
        headers = (*common, (names.EXTENSION_IDENTIFIER, self.identifier))
        return encode_request("GET", names.EXTENSION_NEXT_PATH, headers)


class Invoke(Message):
    """The INVOKE event. `deadline_ms` is Unix time in ms; `trace_id` the X-Ray header or None."""

    __slots__ = ("deadline_ms", "invoked_function_arn", "request_id", "trace_id")

    def __init__(
        self,
        *,
        request_id: str,
        deadline_ms: int,
        invoked_function_arn: str,
        trace_id: str | None = None,
    ) -> None:
        self.request_id = request_id
        self.deadline_ms = deadline_ms
        self.invoked_function_arn = invoked_function_arn
        self.trace_id = trace_id

    def to_response(self, event_identifier: str) -> bytes:
        """The server's answer to event/next. `tracing` is left out without a trace header."""
        fields: dict[str, object] = {
            "eventType": names.EVENT_INVOKE,
            "deadlineMs": self.deadline_ms,
            "requestId": self.request_id,
            "invokedFunctionArn": self.invoked_function_arn,
        }
        if self.trace_id is not None:
            fields["tracing"] = {"type": "X-Amzn-Trace-Id", "value": self.trace_id}
        headers = (_JSON, (names.EXTENSION_EVENT_IDENTIFIER, event_identifier))
        return encode_response(names.OK, headers, _compact(fields))


class Shutdown(Message):
    """The SHUTDOWN event. `reason` is lower case (spindown, timeout, failure) or unknown text."""

    __slots__ = ("deadline_ms", "reason")

    def __init__(self, *, reason: str, deadline_ms: int) -> None:
        self.reason = reason
        self.deadline_ms = deadline_ms

    def to_response(self, event_identifier: str) -> bytes:
        """The server's answer to event/next."""
        fields: dict[str, object] = {
            "eventType": names.EVENT_SHUTDOWN,
            "shutdownReason": self.reason,
            "deadlineMs": self.deadline_ms,
        }
        headers = (_JSON, (names.EXTENSION_EVENT_IDENTIFIER, event_identifier))
        return encode_response(names.OK, headers, _compact(fields))


class ExtensionError(Message):
    """POST init/error or, with `exiting`, exit/error. `body` is optional JSON."""

    __slots__ = ("body", "error_type", "exiting", "identifier")

    def __init__(
        self, *, identifier: str, error_type: str, exiting: bool, body: bytes = b""
    ) -> None:
        self.identifier = identifier
        self.error_type = error_type
        self.exiting = exiting
        self.body = body

    def to_request(self, common: Iterable[tuple[str, str]]) -> bytes:
        """The POST. Raises LocalProtocolError when the type would carry a line break."""
        headers = (
            *common,
            _JSON,
            (names.EXTENSION_IDENTIFIER, self.identifier),
            (names.EXTENSION_ERROR_TYPE, self.error_type),
        )
        path = names.EXTENSION_EXIT_ERROR_PATH if self.exiting else names.EXTENSION_INIT_ERROR_PATH
        return encode_request("POST", path, headers, self.body)


_INVOKE_BEGINS = b'{"eventType":"INVOKE","deadlineMs":'
_ID_FOLLOWS = b',"requestId":"'
_MAX_DIGITS = 15


def glance_at_invoke(body: bytes) -> tuple[str, int] | None:
    """Request id and deadline (Unix ms) of an INVOKE event in the form that Lambda writes it.

    None for any other body, which is for `parse_event`. It takes a tenth of the time, and an
    extension that wants no more than these two pays it with every invocation.
    """
    if not body.startswith(_INVOKE_BEGINS) or b"\\" in body:
        return None
    deadline, has_id, rest = body[len(_INVOKE_BEGINS) :].partition(_ID_FOLLOWS)
    request_id, is_closed, rest = rest.partition(b'"')
    is_whole = has_id and is_closed and rest[:1] in (b",", b"}") and rest.endswith(b"}")
    if not is_whole or not deadline.isdigit() or len(deadline) > _MAX_DIGITS:
        return None
    return request_id.decode("utf-8", "replace"), int(deadline)


def parse_event(body: bytes) -> Invoke | Shutdown:
    """The body of an event/next answer. Raises RemoteProtocolError for anything else.

    The shutdown reason is lowered, because documentation and wire differ in case.
    """
    fields = _json_object(body, "event/next")
    kind = fields.get("eventType")
    deadline = fields.get("deadlineMs")
    if not isinstance(deadline, int) or isinstance(deadline, bool):
        raise RemoteProtocolError(f"event/next answered with deadlineMs {str(deadline)[:40]!r}")
    if kind == names.EVENT_INVOKE:
        tracing = fields.get("tracing")
        trace_id = tracing.get("value") if isinstance(tracing, dict) else None
        return Invoke(
            request_id=str(fields.get("requestId", "")),
            deadline_ms=deadline,
            invoked_function_arn=str(fields.get("invokedFunctionArn", "")),
            trace_id=trace_id if isinstance(trace_id, str) and trace_id else None,
        )
    if kind == names.EVENT_SHUTDOWN:
        reason = str(fields.get("shutdownReason", "")).lower()
        return Shutdown(reason=reason, deadline_ms=deadline)
    raise RemoteProtocolError(f"event/next answered with eventType {str(kind)[:40]!r}")


ExtensionRequest = Register | ExtensionNext | ExtensionError


def parse_request(
    method: str, target: str, headers: Mapping[str, str], body: bytes
) -> ExtensionRequest | None:
    """What a server received, as a message; None when path or method is not of this API.

    Raises RemoteProtocolError when the body of register is not a JSON object or asks for
    `configurationKeys`, as AWS's server does. Header checks are the server's: absent ones are "".
    """
    path = target.partition("?")[0]
    identifier = headers.get(_IDENTIFIER, "")
    if method == "GET" and path == names.EXTENSION_NEXT_PATH:
        return ExtensionNext(identifier=identifier)
    if method != "POST":
        return None
    if path == names.EXTENSION_REGISTER_PATH:
        fields = _json_object(body, "register request")
        if fields.get("configurationKeys"):
            raise RemoteProtocolError("configurationKeys are not supported", status=403)
        events = fields.get("events") or []
        if not isinstance(events, list):
            raise RemoteProtocolError("events is not a list", status=403)
        features = [part.strip() for part in headers.get(_FEATURE, "").split(",")]
        return Register(
            name=headers.get(_NAME, ""),
            events=tuple(str(event) for event in events),
            account_id=names.ACCOUNT_ID_FEATURE in features,
        )
    if path in (names.EXTENSION_INIT_ERROR_PATH, names.EXTENSION_EXIT_ERROR_PATH):
        return ExtensionError(
            identifier=identifier,
            error_type=headers.get(_ERROR_TYPE, ""),
            exiting=path == names.EXTENSION_EXIT_ERROR_PATH,
            body=body,
        )
    return None


def _compact(fields: Mapping[str, object]) -> bytes:
    # Loaded by servers only. Without spaces, as Go writes it.
    import json

    return json.dumps(fields, separators=(",", ":")).encode()


def _json_object(body: bytes, where: str) -> dict[str, object]:
    from lambdascope.wire.json_text import loads

    try:
        fields = loads(body)
    except RemoteProtocolError:
        fields = None
    if not isinstance(fields, dict):
        raise RemoteProtocolError(f"{where}: body is not a JSON object: {body[:60]!r}", status=403)
    return fields
