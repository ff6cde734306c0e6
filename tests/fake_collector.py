"""A scripted OTLP/HTTP receiver on loopback, and bodies for it made by the official encoder.

It answers as a test planned, also late, broken or not at all, and keeps what it was sent. Nothing
here sleeps; every wait has a limit.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from lambdascope.transport.listener import Listener
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope.transport.listener import Exchange

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
# Variables with which the extension does not send by itself but with `requests`: a proxy, which is
# not for the hosts of these tests.
BY_REQUESTS = {"ALL_PROXY": "http://127.0.0.1:9", "no_proxy": "127.0.0.1,collector.invalid"}
LIMIT_S = 10.0
MAX_BYTES = 64 * 1024 * 1024


class Until:
    """A condition that threads wait for, with a limit."""

    def __init__(self) -> None:
        self._changed = threading.Condition()

    def change(self, action: Callable[[], Any]) -> None:
        """Do something that waiting threads may be waiting for."""
        with self._changed:
            action()
            self._changed.notify_all()

    def wait(self, condition: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
        """The first true value of `condition`. AssertionError naming `what` after the limit."""
        with self._changed:
            value = self._changed.wait_for(condition, limit_s)
        assert value, f"waited {limit_s} s for {what}"
        return value


class Answer:
    """How the collector answers one request.

    `hold`: not before this is set, unless the client goes away. `cut`: only so many bytes of the
    answer, and then the connection is dropped. `close`: the connection ends with the answer.
    """

    def __init__(
        self,
        status: int = 200,
        *,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        hold: threading.Event | None = None,
        cut: int | None = None,
        close: bool = False,
    ) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.hold = hold
        self.cut = cut
        self.close = close


class Received:
    """One request that reached the collector. `status` is what it was answered with, 0 if it was
    not; `left_at` is when the client went away instead of waiting."""

    def __init__(self, path: str, headers: Mapping[str, str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.body = body
        self.at = time.monotonic()
        self.status = 0
        self.left_at = 0.0

    @property
    def batch_id(self) -> str:
        """What makes a retry recognisable."""
        return self.headers.get("lambdascope-batch-id", "")

    @property
    def spans(self) -> list[str]:
        """The names of the spans in a body of traces, by the official decoder."""
        return span_names(self.body)


class FakeCollector:
    """An OTLP/HTTP receiver that answers as planned: `answers` in turn, then 200 for ever."""

    def __init__(self, *answers: Answer) -> None:
        self.requests: list[Received] = []
        self._answers = list(answers)
        self._until = Until()
        self._listener = Listener(self._handle, name="collector")

    @property
    def endpoint(self) -> str:
        """The base URL for OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://{self._listener.address}"

    @property
    def spans(self) -> list[str]:
        """The names of all spans that were acknowledged with 200."""
        with_traces = [one for one in self.accepted if one.path == names.TRACES_PATH]
        return [name for request in with_traces for name in request.spans]

    @property
    def accepted(self) -> list[Received]:
        """The requests that were answered with 200."""
        return [one for one in self.requests if one.status == 200]

    def __enter__(self) -> FakeCollector:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def plan(self, *answers: Answer) -> None:
        """Answer the next requests like this."""
        self._until.change(lambda: self._answers.extend(answers))

    def wait_requests(self, count: int, limit_s: float = LIMIT_S) -> list[Received]:
        """All requests, as soon as there are `count`."""
        what = f"{count} requests at the collector"
        self._until.wait(lambda: len(self.requests) >= count, what, limit_s)
        return self.requests

    def wait_left(self, index: int, limit_s: float = LIMIT_S) -> float:
        """When (monotonic) the client of the request with this index gave up waiting."""
        self._until.wait(lambda: self.requests[index].left_at, "a client that leaves", limit_s)
        return self.requests[index].left_at

    def _handle(self, exchange: Exchange) -> None:
        received = Received(exchange.target, exchange.headers, exchange.read_body(MAX_BYTES))
        answer = self._answers.pop(0) if self._answers else Answer()
        if answer.hold is None and answer.cut is None:
            received.status = answer.status
        self._until.change(lambda: self.requests.append(received))
        if answer.hold is not None and not self._held(exchange, answer.hold):
            self._until.change(lambda: setattr(received, "left_at", time.monotonic()))
            exchange.abort()
        elif answer.cut is not None:
            exchange.send_raw(
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5"[: answer.cut]
            )
            exchange.abort()
        else:
            received.status = answer.status
            exchange.keep_alive = exchange.keep_alive and not answer.close
            exchange.respond(answer.status, answer.headers, answer.body)

    def _held(self, exchange: Exchange, hold: threading.Event) -> bool:
        """Wait for the test; False when the client leaves first."""
        while not hold.wait(0.005):
            if exchange.peer_closed():
                return False
        return True


def traces(*span_names: str, padding: int = 0, error: bool = False) -> bytes:
    """An ExportTraceServiceRequest with spans of these names, made by the official encoder."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for name in span_names:
        span = scope.spans.add(name=name, trace_id=b"t" * 16, span_id=b"s" * 8)
        if error:
            span.status.code = Status.STATUS_CODE_ERROR
        if padding:
            span.attributes.add(key="padding").value.string_value = "x" * padding
    return request.SerializeToString()


def span_names(body: bytes) -> list[str]:
    """The names of the spans in a body, by the official decoder."""
    request = ExportTraceServiceRequest.FromString(body)
    return [
        span.name
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
