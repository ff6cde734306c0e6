"""Fakes around the real extension process: a scripted platform, and senders to its OTLP port.

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

from fake_collector import LIMIT_S, MAX_BYTES, Until, traces
from lambdascope.transport.connection import Connection, split_address
from lambdascope.transport.listener import Exchange, Listener, PeerGone
from lambdascope.wire import names
from lambdascope.wire.http1 import Head, encode_request

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping

EXECUTABLE = Path(__file__).parents[1] / "extension" / "bin" / "lambdascope"
IDENTIFIER = "5b7a0f6e-0000-4000-8000-0123456789ab"


class FakePlatform:
    """The Extensions and Telemetry APIs as one extension sees them.

    `telemetry` is the status that a subscription is answered with; of several, each in turn.
    `register` answers each register in turn with (status, body); the last one stays. With
    `closes_connections` set every answer is the last on its connection.
    """

    def __init__(
        self,
        *,
        telemetry: int | tuple[int, ...] = 202,
        register: tuple[tuple[int, bytes], ...] = ((200, b"{}"),),
    ) -> None:
        self.registered: list[dict[str, Any]] = []
        self.subscriptions: list[dict[str, Any]] = []
        self.asked_at: list[float] = []
        self.next_status = 200
        self.closes_connections = False
        self._telemetry = telemetry if isinstance(telemetry, tuple) else (telemetry,)
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

    def shut_down(self, reason: str = "spindown", *, limit_s: float = 8.0) -> float:
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
        exchange.keep_alive = not self.closes_connections
        if exchange.target == names.EXTENSION_REGISTER_PATH:
            index = min(len(self.registered), len(self._register) - 1)
            status, answer = self._register[index]
            said = {**exchange.headers, "body": json.loads(body)}
            self._until.change(lambda: self.registered.append(said))
            exchange.respond(status, ((names.EXTENSION_IDENTIFIER, IDENTIFIER),), answer)
        elif exchange.target == names.TELEMETRY_PATH:
            status = self._telemetry[min(len(self.subscriptions), len(self._telemetry) - 1)]
            self._until.change(lambda: self.subscriptions.append(json.loads(body)))
            exchange.respond(status, (), b'"OK"')
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
            # Loading the sender takes long on a busy machine, and most tests want its first export.
            names.ENV_HOLD_BUDGET: "8000",
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


class Function:
    """A function with our runtime: platform, extension and a runtime that has said hello."""

    def __init__(self, platform: FakePlatform, extension: ExtensionProcess) -> None:
        self.platform = platform
        self.extension = extension
        self.count = 0
        platform.wait_next(1)
        self.runtime = extension.runtime()

    def invoke(self, *spans: str, limit_s: float = 30.0) -> float:
        """One invocation; how long (seconds) next was held after its done signal."""
        self.count += 1
        request_id = f"r{self.count}"
        self.platform.invoke(request_id, limit_s=limit_s)
        assert self.runtime.hand_over(request_id, *(spans or (request_id,))) == 200
        done = time.monotonic()
        return self.platform.wait_next(self.count + 1) - done

    def shut_down(self, limit_s: float = 8.0) -> str:
        """SHUTDOWN and the end with code 0; the last line that was said, or ""."""
        self.runtime.close()
        self.platform.shut_down(limit_s=limit_s)
        assert 0 == self.extension.wait_exit()
        return self.extension.lines[-1] if self.extension.lines else ""
