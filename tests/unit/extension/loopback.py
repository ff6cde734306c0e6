"""A server of the extension under a test's control: raw bytes in, raw bytes out, no waiting.

Clients are socket pairs that a fake listener hands out, so there is no port and no thread.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from lambdascope_extension.buffer import Buffer
from lambdascope_extension.end_tracker import EndTracker
from lambdascope_extension.intake import Intake
from lambdascope_extension.ledger import Ledger
from lambdascope_extension.reactor import Reactor
from lambdascope_extension.server import HttpServer

if TYPE_CHECKING:
    from lambdascope_extension.ledger import Account
    from lambdascope_extension.server import Handler

TOKEN = "0123456789abcdef" * 2


class FakeListener:
    """Hands out one side of a socket pair for each waiting client."""

    def __init__(self) -> None:
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._waiting: list[int] = []

    def fileno(self) -> int:
        """Readable while a client waits."""
        return self._bell.fileno()

    def _accept(self) -> tuple[int, str]:
        if not self._waiting:
            raise BlockingIOError
        self._bell.recv(1)
        return self._waiting.pop(0), ""

    def connect(self) -> socket.socket:
        """A client's side of a new connection."""
        ours, theirs = socket.socketpair()
        self._waiting.append(theirs.detach())
        self._ringer.send(b"x")
        return ours

    def close(self) -> None:
        """No more clients."""
        self._bell.close()
        self._ringer.close()


class Loopback:
    """A server with a handler, its reactor and its clients."""

    def __init__(self, handler: Handler) -> None:
        self.listener = FakeListener()
        self.reactor = Reactor()
        self.server = HttpServer(self.reactor, self.listener, handler)  # type: ignore[arg-type]
        self._clients: list[socket.socket] = []

    def close(self) -> None:
        """End everything."""
        self.server.stop()
        for client in self._clients:
            client.close()

    def connect(self) -> socket.socket:
        """A new client, which does not block."""
        client = self.listener.connect()
        client.setblocking(False)
        self._clients.append(client)
        self.run()
        return client

    def run(self) -> None:
        """Let the server do everything that it can do without waiting."""
        while self.reactor._poll.poll(0):
            self.reactor.run_once(0)

    def exchange(self, client: socket.socket, data: bytes) -> bytes:
        """Send bytes, a little at a time where the kernel wants that, and take the answer."""
        answer = b""
        while data:
            try:
                data = data[client.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                break  # the server has closed; what it said before can still be read
            self.run()
        self.run()
        return answer + received(client)


class Receiver(Loopback):
    """The OTLP receiver with an empty buffer."""

    def __init__(self, *, max_bytes: int = 100_000_000, **reasons: str) -> None:
        self.lines: list[str] = []
        self.ledger = Ledger()
        self.buffer = Buffer(self.ledger, max_bytes=max_bytes)
        self.ends = EndTracker(subscribed=False)
        self.intake = Intake(
            self.buffer, self.ends, token=TOKEN, drop_reasons=reasons, say=self.lines.append
        )
        super().__init__(self.intake.handle)
        self.server.shortcut = self.intake.shortcut
        self.server.on_refused = self.intake.on_refused


def received(client: socket.socket) -> bytes:
    """What has arrived at a client."""
    data = b""
    while True:
        try:
            piece = client.recv(65536)
        except (BlockingIOError, ConnectionResetError):
            return data
        if not piece:
            return data
        data += piece


def request(
    path: str = "/v1/traces",
    body: bytes = b"",
    *headers: str,
    method: str = "POST",
    content_type: str = "application/x-protobuf",
) -> bytes:
    """The bytes of a request."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost:4318",
        f"Content-Type: {content_type}",
        *headers,
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def status(answer: bytes) -> int:
    """The status of the first response in some bytes, 0 when there is none."""
    return int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0


def is_balanced(account: Account) -> bool:
    """Whether everything that was accepted is exported, dropped or held."""
    return account.accepted == account.exported + sum(account.dropped.values()) + account.held
