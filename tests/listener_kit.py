"""Listeners that end with the test, and a client that sends bytes to them."""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING

from lambdascope.transport.listener import Exchange, Listener
from pieces import Parsed, parse

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 20.0
LIMIT = 1000


def echo(exchange: Exchange) -> None:
    """Answer with the method, the target and the body."""
    body = exchange.read_body(LIMIT)
    text = f"{exchange.method} {exchange.target} ".encode()
    exchange.respond(200, (("Content-Type", "text/plain"),), text + body)


class Serve:
    """Starts listeners that end with the test."""

    def __init__(self) -> None:
        self._started: list[Listener] = []

    def __call__(
        self, handle: Callable[[Exchange], None] = echo, *, max_connections: int = 256
    ) -> Listener:
        """A started listener."""
        listener = Listener(
            handle, name="tested", max_head_bytes=4096, max_connections=max_connections
        )
        self._started.append(listener)
        listener.start()
        return listener

    def close(self) -> None:
        """Close them, and see that nothing is left."""
        for listener in self._started:
            listener.close(timeout=PATIENCE_S)
        assert [] == [t.name for t in threading.enumerate() if t.name.startswith("tested")]


class Raw:
    """A client that sends bytes."""

    def __init__(self, listener: Listener) -> None:
        self.sock = socket.create_connection((listener.host, listener.port), PATIENCE_S)

    def send(self, *pieces: bytes) -> Raw:
        """Each piece in a send of its own."""
        for piece in pieces:
            self.sock.sendall(piece)
        return self

    def send_for_ever(self, piece: bytes) -> None:
        """The same again and again, until the other side is gone."""
        while True:
            self.sock.sendall(piece)

    def end(self) -> Raw:
        """Say that nothing more will come."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def close(self, *, reset: bool) -> None:
        """Leave, with FIN or with RST."""
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def read(self, count: int | None = None) -> list[Parsed]:
        """So many answers, or all until the connection ends, which it then must."""
        data = b""
        while count is None or len(parse([data], request=False).messages) < count:
            piece = self.sock.recv(65_536)
            if not piece:
                break
            data += piece
        outcome = parse([data], request=False, eof=count is None)
        assert not outcome.refused
        assert count in (None, len(outcome.messages))
        return outcome.messages

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *exception: object) -> None:
        self.sock.close()


def post(body: bytes, *headers: str, target: str = "/") -> bytes:
    """A request with a length."""
    lines = [f"POST {target} HTTP/1.1", "Host: h", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
