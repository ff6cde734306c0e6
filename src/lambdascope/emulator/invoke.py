"""The endpoint that callers invoke the function through: AWS's command line and every SDK, with
`--endpoint-url`, and curl.

One environment runs one invocation at a time, so callers queue. The caller of a synchronous
invocation has its answer as soon as it is complete, while extensions may still be at work; one that
asked for the log's tail waits for the REPORT line. Events of type Event are run in the background,
once: Lambda's two retries are not made. Source: AWS Lambda API reference, "Invoke".
"""

from __future__ import annotations

import base64
import uuid
from typing import TYPE_CHECKING

from lambdascope.emulator import invoke_request as api
from lambdascope.emulator.answers import FAULT_TRUNCATED
from lambdascope.emulator.async_events import EventQueue
from lambdascope.emulator.calls import Call
from lambdascope.emulator.event_stream import EVENT_STREAM_TYPE, invoke_complete, payload_chunk
from lambdascope.emulator.invoke_request import InvokeRefused, InvokeRequest
from lambdascope.emulator.records import FUNCTION_ERROR, INIT_ERROR
from lambdascope.transport.listener import Listener
from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdascope.emulator.calls import Invoker
    from lambdascope.emulator.environment import InvokeOptions
    from lambdascope.emulator.records import InvocationRecord
    from lambdascope.emulator.stream import ResponseStream
    from lambdascope.transport.listener import Exchange

_JSON = ("Content-Type", names.CONTENT_TYPE_JSON)
_TEXT = ("Content-Type", "text/plain; charset=utf-8")
_LOG_TAIL_BYTES = 4096
_UNHANDLED = "Unhandled"


class InvokeEndpoint:
    """Listens on loopback and invokes `environment`, which stays the caller's to shut down."""

    def __init__(self, environment: Invoker, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Binds; raises OSError when the port is taken."""
        self._environment = environment
        self._listener = Listener(self._handle, host=host, port=port, name="invoke")
        self._events = EventQueue(environment)

    @property
    def url(self) -> str:
        """What `--endpoint-url` takes."""
        return f"http://{self._listener.address}"

    def start(self) -> None:
        """Begin to answer; until then callers wait."""
        self._listener.start()

    def close(self) -> None:
        """Stop answering; events that still queue are not run, and that is said."""
        self._listener.close()
        self._events.close()

    def _handle(self, exchange: Exchange) -> None:
        path, _, query = exchange.target.partition("?")
        name = api.function_name(path)
        try:
            api.check_origin(exchange.headers.get("origin"))
            if name is not None:
                _check_method(exchange.method, "POST")
                if path.startswith(api.STREAM_PREFIX):
                    self._invoke_with_stream(exchange, name, query)
                else:
                    self._invoke(exchange, name, query)
            elif path in ("/", names.PING_PATH):
                _check_method(exchange.method, "GET")
                body = b"pong" if path == names.PING_PATH else self._hint()
                exchange.respond(names.OK, (_TEXT,), body)
            else:
                raise InvokeRefused(404, api.UNKNOWN_OPERATION, f"only Invoke is here, not {path}")
        except InvokeRefused as refusal:
            _refuse(exchange, refusal)

    def _hint(self) -> bytes:
        name = self._environment.config.function_name
        text = f"aws lambda invoke --endpoint-url {self.url} --function-name {name} out.json"
        return f"{text}  # or POST {api.FUNCTIONS_PREFIX}{name}{api.INVOKE_SUFFIX}\n".encode()

    def _invoke(self, exchange: Exchange, name: str, query: str) -> None:
        request = api.parse_invoke(name, query, exchange.headers, self._environment.config)
        event = api.check_event(_read_body(exchange, request))
        if request.invocation_type == api.DRY_RUN:
            exchange.respond(204, ((api.REQUEST_ID, str(uuid.uuid4())),))
        elif request.invocation_type == api.EVENT:
            request_id = self._events.submit(event, _options(request))
            exchange.respond(names.ACCEPTED, ((api.REQUEST_ID, request_id),))
        else:
            call = Call(self._environment, event, _options(request))
            record = call.end() if request.wants_log else call.answer()[0]
            exchange.respond(names.OK, self._headers(record, request), record.answer)

    def _invoke_with_stream(self, exchange: Exchange, name: str, query: str) -> None:
        types = api.STREAM_INVOCATION_TYPES
        request = api.parse_invoke(
            name, query, exchange.headers, self._environment.config, types=types
        )
        event = api.check_event(_read_body(exchange, request))
        if request.invocation_type == api.DRY_RUN:
            exchange.respond(204, ((api.REQUEST_ID, str(uuid.uuid4())),))
            return
        call = Call(self._environment, event, _options(request), streams=True)
        record, stream = call.answer()
        headers = (
            ("Content-Type", EVENT_STREAM_TYPE),
            (api.REQUEST_ID, record.request_id),
            (api.TRACE_ID, record.trace_header),
            (api.EXECUTED_VERSION, self._environment.config.version),
        )
        try:
            frames = _frames(call, record, stream, wants_log=request.wants_log)
            exchange.respond_chunked(names.OK, headers, frames)
        finally:
            # Nobody stops the function because its caller has gone.
            if stream is not None:
                stream.leave()

    def _headers(self, record: InvocationRecord, request: InvokeRequest) -> list[tuple[str, str]]:
        headers = [
            ("Content-Type", record.content_type or names.CONTENT_TYPE_JSON),
            (api.REQUEST_ID, record.request_id),
            (api.TRACE_ID, record.trace_header),
            (api.EXECUTED_VERSION, self._environment.config.version),
        ]
        if record.function_error:
            headers.append((api.FUNCTION_ERROR, record.function_error))
        if request.wants_log:
            headers.append((api.LOG_RESULT, base64.b64encode(log_tail(record)).decode()))
        return headers


def _frames(
    call: Call, record: InvocationRecord, stream: ResponseStream | None, *, wants_log: bool
) -> Iterator[bytes]:
    """The event stream of one invocation: the payload as it comes, then how it ended."""
    if stream is not None:
        for piece in stream.pieces():
            yield payload_chunk(piece)
        error_type, error = stream.error_type, stream.error
    else:
        error_type, error = record.error_type, record.answer
        if not record.function_error and record.answer:
            yield payload_chunk(record.answer)
    code = _error_code(record, error_type)
    log = log_tail(call.end()) if wants_log else None
    yield invoke_complete(code, error, log)


def _error_code(record: InvocationRecord, error_type: str) -> str:
    """The platform's error type if the platform broke the answer off; Unhandled for the function's.

    The type of an error that the function reported is in its JSON.
    """
    of_the_platform = error_type in (FAULT_TRUNCATED, names.FAULT_RESPONSE_SIZE)
    if error_type and not of_the_platform and record.status in (FUNCTION_ERROR, INIT_ERROR):
        return _UNHANDLED
    return error_type


def log_tail(record: InvocationRecord) -> bytes:
    """The last 4 KiB of the invocation's log lines, with whole characters."""
    text = "".join(f"{line.text}\n" for line in record.logs)
    tail = text.encode("utf-8", "replace")[-_LOG_TAIL_BYTES:]
    return tail.decode("utf-8", "ignore").encode()


def _options(request: InvokeRequest) -> InvokeOptions:
    return {
        "client_context": request.client_context,
        "trace_header": request.trace_header,
        "tenant_id": request.tenant_id,
        "qualifier": request.qualifier,
    }


def _read_body(exchange: Exchange, request: InvokeRequest) -> bytes:
    try:
        return exchange.read_body(request.max_bytes)
    except RemoteProtocolError as error:
        if error.status != names.PAYLOAD_TOO_LARGE:
            raise
        declared = exchange.headers.get("content-length", "")
        size = int(declared) if declared.isdigit() else request.max_bytes + 1
        raise request.too_large(size) from None


def _check_method(method: str, wanted: str) -> None:
    if method != wanted:
        raise InvokeRefused(405, api.UNKNOWN_OPERATION, f"{method} is not allowed here: {wanted}")


def _refuse(exchange: Exchange, refusal: InvokeRefused) -> None:
    headers = (_JSON, (api.REQUEST_ID, str(uuid.uuid4())), (api.ERROR_TYPE, refusal.error_type))
    exchange.respond(refusal.status, headers, refusal.body())
