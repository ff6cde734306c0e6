"""Fakes around the real extension process: a scripted platform, a collector, a runtime.

The platform is a fake: it says what a test tells it to say and checks nothing, so that a test can
also make it misbehave. That the extension gets on with a platform that follows the protocol is
shown elsewhere, with the emulator and with AWS's own. Nothing here sleeps; every wait has a limit.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.transport.connection import Connection, split_address
from lambdascope.transport.listener import Exchange, Listener, PeerGone
from lambdascope.wire import names
from lambdascope.wire.http1 import Head, encode_request

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping

EXECUTABLE = Path(__file__).parents[1] / "extension" / "bin" / "lambdascope"
IDENTIFIER = "5b7a0f6e-0000-4000-8000-0123456789ab"
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


class FakePlatform:
    """The Extensions and Telemetry APIs as one extension sees them.

    `telemetry` is the status that a subscription is answered with, None for no answer at all.
    `register` answers each register in turn with (status, body); the last one stays.
    """

    def __init__(
        self,
        *,
        telemetry: int = 202,
        register: tuple[tuple[int, bytes], ...] = ((200, b"{}"),),
    ) -> None:
        self.registered: list[dict[str, Any]] = []
        self.subscriptions: list[dict[str, Any]] = []
        self.asked_at: list[float] = []
        self.next_status = 200
        self._telemetry = telemetry
        self._register = register
        self._until = Until()
        self._events: list[bytes] = []
        self._closed = False
        self._listener = Listener(self._handle, name="platform")

    @property
    def address(self) -> str:
        """What AWS_LAMBDA_RUNTIME_API is."""
        return self._listener.address

    def __enter__(self) -> FakePlatform:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._until.change(lambda: setattr(self, "_closed", True))
        self._listener.close()

    def wait_registered(self, count: int = 1) -> dict[str, Any]:
        """The headers and the body of the last register."""
        self._until.wait(lambda: len(self.registered) >= count, f"register {count}")
        return self.registered[count - 1]

    def wait_next(self, count: int, limit_s: float = LIMIT_S) -> float:
        """Wait until the extension asks for an event for the `count`th time; when it did."""
        self._until.wait(lambda: len(self.asked_at) >= count, f"next {count}", limit_s)
        return self.asked_at[count - 1]

    def send_event(self, event: dict[str, object]) -> None:
        """Answer the present or the next `event/next` with this."""
        body = json.dumps(event).encode()
        self._until.change(lambda: self._events.append(body))

    def invoke(self, request_id: str, *, limit_s: float = 10.0) -> float:
        """Send INVOKE, with a deadline `limit_s` from now; when it was sent (monotonic)."""
        self.send_event(
            {
                "eventType": "INVOKE",
                "deadlineMs": int((time.time() + limit_s) * 1000),
                "requestId": request_id,
                "invokedFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:f",
            }
        )
        return time.monotonic()

    def shut_down(self, reason: str = "spindown", *, limit_s: float = 2.0) -> float:
        """Send SHUTDOWN; when it was sent (monotonic)."""
        self.send_event(
            {
                "eventType": "SHUTDOWN",
                "shutdownReason": reason,
                "deadlineMs": int((time.time() + limit_s) * 1000),
            }
        )
        return time.monotonic()

    def send_records(self, *records: tuple[str, dict[str, object]]) -> int:
        """Deliver telemetry to where the extension wants it; the status of its answer."""
        self._until.wait(lambda: self.subscriptions, "a subscription")
        uri = self.subscriptions[0]["destination"]["URI"]
        authority, _, path = uri.removeprefix("http://").partition("/")
        batch = [
            {"time": "2026-01-01T00:00:00.000Z", "type": kind, "record": record}
            for kind, record in records
        ]
        connection = Connection("127.0.0.1", split_address(authority)[1])
        head, _ = connection.exchange(
            encode_request("POST", f"/{path}", (("Host", authority),), json.dumps(batch).encode()),
            timeout=LIMIT_S,
        )
        connection.close()
        return head.status

    def _handle(self, exchange: Exchange) -> None:
        body = exchange.read_body(MAX_BYTES)
        if exchange.target == names.EXTENSION_REGISTER_PATH:
            index = min(len(self.registered), len(self._register) - 1)
            status, answer = self._register[index]
            said = {**exchange.headers, "body": json.loads(body)}
            self._until.change(lambda: self.registered.append(said))
            exchange.respond(status, ((names.EXTENSION_IDENTIFIER, IDENTIFIER),), answer)
        elif exchange.target == names.TELEMETRY_PATH:
            self._until.change(lambda: self.subscriptions.append(json.loads(body)))
            exchange.respond(self._telemetry, (), b'"OK"')
        elif exchange.target == names.EXTENSION_NEXT_PATH:
            self._next(exchange)
        else:
            exchange.respond(404)

    def _next(self, exchange: Exchange) -> None:
        now = time.monotonic()
        self._until.change(lambda: self.asked_at.append(now))
        status = self.next_status
        if status != 200:
            exchange.respond(status, (), b'{"errorType":"Fake"}')
            return
        self._until.wait(lambda: self._events or self._closed, "an event", 60)
        if self._closed:
            raise PeerGone("the test is over")
        exchange.respond(200, (), self._events.pop(0))


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


class ExtensionProcess:
    """The real extension: `python -IS extension/bin/lambdascope`.

    `variables` are added to its environment. `lines` holds its standard error so far.
    """

    def __init__(
        self,
        platform: FakePlatform,
        folder: Path,
        variables: Mapping[str, str] | None = None,
        *,
        executable: Path = EXECUTABLE,
    ) -> None:
        self.handoff_file = folder / "handoff-directory" / "handoff"
        self.lines: list[str] = []
        self._senders: list[Sender] = []
        self._until = Until()
        environment = {
            "PATH": os.environ.get("PATH", ""),
            names.ENV_RUNTIME_API: platform.address,
            names.ENV_OTLP_PORT: "0",
            names.ENV_HANDOFF_FILE: str(self.handoff_file),
            **(variables or {}),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-IS", str(executable)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, name="extension-stderr")
        self._reader.start()

    def __enter__(self) -> ExtensionProcess:
        return self

    def __exit__(self, *_: object) -> None:
        for sender in self._senders:
            sender.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def wait_exit(self, limit_s: float = LIMIT_S) -> int:
        """The exit code, once the process has ended and its last line is read."""
        code = self._process.wait(limit_s)
        self._reader.join(limit_s)
        return code

    def wait_line(self, part: str, limit_s: float = LIMIT_S) -> str:
        """The first line of standard error that contains `part`."""
        return str(
            self._until.wait(
                lambda: next((line for line in self.lines if part in line), None),
                f"a line with {part!r}",
                limit_s,
            )
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        self._process.send_signal(number)

    def runtime(self) -> Sender:
        """Our runtime, which has found the extension and said hello."""
        sender = self.sender(*self.rendezvous())
        assert sender.hello() == 200
        return sender

    def sender(self, port: int, token: str | None = None) -> Sender:
        """A sender that is closed with the process."""
        self._senders.append(Sender(port, token))
        return self._senders[-1]

    def anybody(self) -> Sender:
        """A sender that knows the port and has no token."""
        return self.sender(self.rendezvous()[0])

    def rendezvous(self) -> tuple[int, str]:
        """Port and token from the rendezvous file."""
        address, token, _ = self.handoff_file.read_text().split()
        return split_address(address)[1], token

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            text = line.rstrip("\n")
            self._until.change(lambda text=text: self.lines.append(text))  # type: ignore[misc]


class Sender:
    """A client of the extension's OTLP port: our runtime when it has a token, else anybody."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.connection = Connection("127.0.0.1", port, io_timeout=LIMIT_S)
        self._token = token

    def hello(self) -> int:
        """Say hello; the status."""
        return self.post(names.HELLO_PATH, b"")[0].status

    def hand_over(self, request_id: str, *spans: str, done: int | None = None) -> int:
        """What our runtime does after an invocation: its spans and the done signal; the status.

        `done` is how many spans are announced, unless it is the number of `spans`.
        """
        headers = (
            (names.HANDOFF_REQUEST_ID, request_id),
            (names.HANDOFF_DONE, str(len(spans) if done is None else done)),
        )
        return self.post(names.TRACES_PATH, traces(*spans), headers)[0].status

    def post(
        self,
        path: str,
        body: bytes,
        headers: tuple[tuple[str, str], ...] = (),
        *,
        content_type: str = names.CONTENT_TYPE_PROTOBUF,
    ) -> tuple[Head, bytes]:
        """One exchange on the kept connection."""
        own = (("Host", "localhost"), ("Content-Type", content_type))
        token = () if self._token is None else ((names.HANDOFF_TOKEN, self._token),)
        request = encode_request("POST", path, (*own, *token, *headers), body)
        return self.connection.exchange(request, timeout=LIMIT_S)

    def close(self) -> None:
        """Close the connection, as a runtime that ends does."""
        self.connection.close()


def traces(*span_names: str, padding: int = 0) -> bytes:
    """An ExportTraceServiceRequest with spans of these names, made by the official encoder."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for name in span_names:
        span = scope.spans.add(name=name, trace_id=b"t" * 16, span_id=b"s" * 8)
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
