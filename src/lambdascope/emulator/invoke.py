"""The endpoint that callers invoke the function through: AWS's command line and every SDK, with
`--endpoint-url`, and curl.

One environment runs one invocation at a time, so callers queue. The caller of a synchronous
invocation has its answer as soon as it is complete, while extensions may still be at work; one that
asked for the log's tail waits for the REPORT line. Events of type Event are run in the background,
once: Lambda's two retries are not made. Source: AWS Lambda API reference, "Invoke".
"""

from __future__ import annotations

import base64
import sys
import threading
import uuid
from queue import Empty, Full, Queue, SimpleQueue
from typing import TYPE_CHECKING, Protocol, Unpack
from urllib.parse import urlsplit

from lambdascope.emulator import invoke_request as api
from lambdascope.emulator.environment import EnvironmentClosed, InvokeOptions
from lambdascope.emulator.invoke_request import InvokeRefused, InvokeRequest
from lambdascope.transport.listener import Listener
from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError

if TYPE_CHECKING:
    from lambdascope.emulator.config import FunctionConfig
    from lambdascope.emulator.records import InvocationRecord
    from lambdascope.transport.listener import Exchange

_JSON = ("Content-Type", names.CONTENT_TYPE_JSON)
_TEXT = ("Content-Type", "text/plain; charset=utf-8")
_LOG_TAIL_BYTES = 4096
_QUEUED_EVENTS = 1000
_JOIN_S = 0.5


class Invoker(Protocol):
    """What the endpoint needs of an ExecutionEnvironment."""

    config: FunctionConfig

    def invoke(self, event: bytes, **options: Unpack[InvokeOptions]) -> InvocationRecord:
        """Run one invocation to its end."""


class InvokeEndpoint:
    """Listens on loopback and invokes `environment`, which stays the caller's to shut down."""

    def __init__(self, environment: Invoker, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Binds; raises OSError when the port is taken."""
        self._environment = environment
        self._listener = Listener(self._handle, host=host, port=port, name="invoke")
        self._events = _Background(environment)

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
            _check_origin(exchange.headers.get("origin"))
            if name is not None:
                _check_method(exchange.method, "POST")
                if path.startswith(api.STREAM_PREFIX):
                    raise InvokeRefused(
                        501, api.NOT_IMPLEMENTED, "InvokeWithResponseStream is not emulated yet"
                    )
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
            record = _run(self._environment, event, request)
            exchange.respond(names.OK, self._headers(record, request), record.answer)

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


def _run(environment: Invoker, event: bytes, request: InvokeRequest) -> InvocationRecord:
    """Invoke, and return when the caller may have its answer. Raises InvokeRefused."""
    outcome: SimpleQueue[InvocationRecord | Exception] = SimpleQueue()
    options = _options(request)
    if not request.wants_log:
        options["on_response"] = outcome.put

    def to_the_end() -> None:
        try:
            outcome.put(environment.invoke(event, **options))
        except Exception as error:  # noqa: BLE001 - it is raised again where it can be answered
            outcome.put(error)

    # A thread of its own, because `invoke` goes on after the answer is there.
    threading.Thread(target=to_the_end, name="invocation", daemon=True).start()
    result = outcome.get()
    if isinstance(result, EnvironmentClosed):
        # Not a 5xx, which SDKs would send again and again.
        raise InvokeRefused(409, api.CONFLICT, str(result))
    if isinstance(result, Exception):
        print(f"lambdascope: an invocation failed in the emulator: {result!r}", file=sys.stderr)
        raise InvokeRefused(500, api.SERVICE_FAULT, f"fault of the emulator: {result!r}")
    return result


class _Background:
    """Runs events one after the other. Its thread starts with the first of them."""

    def __init__(self, environment: Invoker) -> None:
        self._environment = environment
        self._queue: Queue[tuple[bytes, InvokeOptions] | None] = Queue(_QUEUED_EVENTS)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, event: bytes, options: InvokeOptions) -> str:
        """Queue an event; its request id. Raises InvokeRefused when the queue is full."""
        request_id = str(uuid.uuid4())
        options["request_id"] = request_id
        with self._lock:
            if self._closed:
                raise InvokeRefused(409, api.CONFLICT, "the emulator is being stopped")
            try:
                self._queue.put_nowait((event, options))
            except Full:
                text = f"{_QUEUED_EVENTS} events are waiting already"
                raise InvokeRefused(429, api.TOO_MANY_REQUESTS, text) from None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
        return request_id

    def close(self) -> None:
        """Take no more; what waits is not run. An invocation under way is not waited for long."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            waiting = self._clear()
            self._queue.put_nowait(None)
            thread = self._thread
        if waiting:
            print(f"lambdascope: stopped with {waiting} queued events not run", file=sys.stderr)
        if thread is not None:
            thread.join(_JOIN_S)

    def _clear(self) -> int:
        removed = 0
        while True:
            try:
                self._queue.get_nowait()
            except Empty:
                return removed
            removed += 1

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            event, options = item
            try:
                record = self._environment.invoke(event, **options)
            except EnvironmentClosed as error:
                what = str(error)
            except Exception as error:  # noqa: BLE001 - one bad event must not end the queue
                what = f"a fault of the emulator: {error!r}"
            else:
                if not record.function_error:
                    continue
                what = "a function error; Lambda would retry it up to twice, the emulator does not"
            request_id = options["request_id"]
            print(f"lambdascope: event {request_id} ended with {what}", file=sys.stderr)


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


def _check_origin(origin: str | None) -> None:
    """A web page from elsewhere, open in the user's browser, must not run the user's function."""
    try:
        host = None if origin is None else urlsplit(origin).hostname
    except ValueError:
        host = None
    if origin is not None and host not in ("127.0.0.1", "localhost"):
        raise InvokeRefused(403, api.ACCESS_DENIED, f"called by a page of {origin[:200]}")


def _refuse(exchange: Exchange, refusal: InvokeRefused) -> None:
    headers = (_JSON, (api.REQUEST_ID, str(uuid.uuid4())), (api.ERROR_TYPE, refusal.error_type))
    exchange.respond(refusal.status, headers, refusal.body())
