"""The function's own URL: any HTTP request invokes it, and its answer is the HTTP response.

A port of its own, so that paths are the function's from the root on, as on Lambda, and redirects
and cookies work. Streamed responses go to the client as they come; buffered ones follow payload
format 2.0, whatever the client. There is no authentication, and no CORS but the function's own.
Source: AWS Lambda developer guide, "Invoking Lambda function URLs".
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from typing import TYPE_CHECKING

from lambdascope.emulator import invoke_request as api
from lambdascope.emulator.calls import Call
from lambdascope.emulator.http_answer import (
    MalformedAnswer,
    buffered_answer,
    streamed_answer,
)
from lambdascope.emulator.http_event import HttpRequest, http_event
from lambdascope.emulator.invoke_request import InvokeRefused
from lambdascope.emulator.trace import complete_trace_header
from lambdascope.transport.listener import Listener, PeerGone
from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdascope.emulator.calls import Invoker
    from lambdascope.emulator.environment import InvokeOptions
    from lambdascope.emulator.records import InvocationRecord
    from lambdascope.emulator.stream import ResponseStream
    from lambdascope.transport.listener import Exchange

_BAD_GATEWAY = 502
# These have no body, so none can be begun.
_BODYLESS = (204, 304)
_JSON = ("content-type", names.CONTENT_TYPE_JSON)


class FunctionUrl:
    """Listens on loopback and invokes `environment`, which stays the caller's to shut down."""

    def __init__(self, environment: Invoker, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """Binds; raises OSError when the port is taken."""
        self._environment = environment
        self._listener = Listener(self._handle, host=host, port=port, name="function-url")

    @property
    def url(self) -> str:
        """What a browser takes."""
        return f"http://{self._listener.address}/"

    def start(self) -> None:
        """Begin to answer; until then clients wait."""
        self._listener.start()

    def close(self) -> None:
        """Stop answering, and drop every client."""
        self._listener.close()

    def _handle(self, exchange: Exchange) -> None:
        try:
            api.check_origin(exchange.headers.get("origin"))
            event, options = self._event(exchange)
            record, stream = Call(self._environment, event, options, streams=True).answer()
        except InvokeRefused as refusal:
            exchange.respond(
                refusal.status, (_JSON,), json.dumps({"Message": str(refusal)}).encode()
            )
            return
        added = _identity(record)
        try:
            if stream is not None:
                _respond_streamed(exchange, stream, added)
            else:
                _respond_buffered(exchange, record, added)
        except MalformedAnswer as error:
            where = f"{exchange.method} {exchange.target[:200]}"
            print(f"lambdascope: {where}: {error}; Lambda answers this with 502", file=sys.stderr)
            _respond_error(exchange, added)
        finally:
            # Nobody stops the function because its client has gone.
            if stream is not None:
                stream.leave()

    def _event(self, exchange: Exchange) -> tuple[bytes, InvokeOptions]:
        """The event, and what else is said about the invocation. Raises InvokeRefused."""
        try:
            body = exchange.read_body(api.MAX_SYNC_BYTES)
        except RemoteProtocolError as error:
            if error.status != names.PAYLOAD_TOO_LARGE:
                raise
            raise _too_large() from None
        request = HttpRequest(
            method=exchange.method,
            target=exchange.target,
            headers=exchange.headers,
            body=body,
            # Only this machine can reach a loopback address.
            source_ip=self._listener.host,
            port=self._listener.port,
        )
        now_ns = time.time_ns()
        request_id = str(uuid.uuid4())
        given = exchange.headers.get(api.TRACE_ID.lower())
        trace_header = complete_trace_header(given, now_ns / 1e9)
        fields = http_event(
            request,
            self._environment.config,
            request_id=request_id,
            trace_header=trace_header,
            time_ns=now_ns,
        )
        event = json.dumps(fields).encode()
        if len(event) > api.MAX_SYNC_BYTES:
            raise _too_large()
        return event, {"request_id": request_id, "trace_header": trace_header}


def _too_large() -> InvokeRefused:
    return InvokeRefused(
        names.PAYLOAD_TOO_LARGE,
        api.TOO_LARGE,
        f"Request must be smaller than {api.MAX_SYNC_BYTES} bytes, as an event",
    )


def _identity(record: InvocationRecord) -> tuple[tuple[str, str], ...]:
    root = record.trace_header.partition(";")[0]
    return ((api.REQUEST_ID, record.request_id), (api.TRACE_ID, root))


def _respond_buffered(
    exchange: Exchange, record: InvocationRecord, added: tuple[tuple[str, str], ...]
) -> None:
    if record.function_error:
        _respond_error(exchange, added)
        return
    head, body = buffered_answer(record.answer)
    exchange.respond(
        head.status, (*head.headers, *added), b"" if head.status in _BODYLESS else body
    )


def _respond_error(exchange: Exchange, added: tuple[tuple[str, str], ...]) -> None:
    """What a client gets for every error of the function; the details are in the log."""
    exchange.respond(_BAD_GATEWAY, (_JSON, *added), b"Internal Server Error")


def _respond_streamed(
    exchange: Exchange, stream: ResponseStream, added: tuple[tuple[str, str], ...]
) -> None:
    pieces = stream.pieces()
    try:
        head, begun = streamed_answer(stream.content_type, pieces)
    except MalformedAnswer:
        if stream.error_type:
            # It failed before it could be well-formed, and its own error is in the log.
            _respond_error(exchange, added)
            return
        raise
    headers = (*head.headers, *added)
    if head.status in _BODYLESS:
        exchange.respond(head.status, headers)
        return
    exchange.respond_chunked(head.status, headers, _body(exchange, stream, begun, pieces))


def _body(
    exchange: Exchange, stream: ResponseStream, begun: bytes, pieces: Iterator[bytes]
) -> Iterator[bytes]:
    """The body; when the response fails in the middle, the connection ends in the middle of it."""
    if begun:
        yield begun
    yield from pieces
    if stream.error_type:
        where = f"{exchange.method} {exchange.target[:200]}"
        print(
            f"lambdascope: {where}: the streamed response broke off: {stream.error_type}",
            file=sys.stderr,
        )
        exchange.abort()
        raise PeerGone(stream.error_type)
