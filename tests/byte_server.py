"""A server that does exactly what a script says, byte by byte; it knows no HTTP."""

from __future__ import annotations

import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

from lambdascope.transport.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE_S = 30.0


class Peer:
    """One accepted connection, as the script sees it."""

    def __init__(self, sock: socket.socket, over: threading.Event) -> None:
        self.sock = sock
        self.over = over

    def read_request(self, end: bytes = b"\r\n\r\n") -> bytes:
        """Everything up to `end`, which must come last."""
        data = b""
        while not data.endswith(end):
            piece = self.sock.recv(65_536)
            if not piece:
                return data
            data += piece
        return data

    def send(self, *pieces: bytes) -> None:
        """Each piece in a send of its own."""
        for piece in pieces:
            self.sock.sendall(piece)

    def dribble(self, data: bytes, every_s: float) -> None:
        """One byte at a time until the data, the peer or the test ends."""
        for i in range(len(data)):
            try:
                self.sock.sendall(data[i : i + 1])
            except OSError:
                return
            if self.over.wait(every_s):
                return

    def flood(self, data: bytes) -> None:
        """The same bytes for ever, until the peer is gone."""
        try:
            while not self.over.is_set():
                self.sock.sendall(data)
        except OSError:
            pass

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close with FIN."""
        self.sock.close()

    def wait(self) -> None:
        """Do nothing until the test is over."""
        self.over.wait(_PATIENCE_S)


class ByteServer:
    """Runs one script for each connection, in their order; a context manager.

    An exception in a script fails the test at the end of the `with` block.
    """

    def __init__(self, *scripts: Callable[[Peer], object]) -> None:
        self.over = threading.Event()
        self.accepted = 0
        self._scripts = scripts
        self._failures: list[BaseException] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(_PATIENCE_S)
        self.host, self.port = self._server.getsockname()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.over.set()
        try:
            self._server.shutdown(socket.SHUT_RDWR)  # wakes accept
        except OSError:
            pass
        self._thread.join(_PATIENCE_S)
        self._server.close()
        if kind is None and self._failures:
            raise self._failures[0]

    def _run(self) -> None:
        for script in self._scripts:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return  # the test is over
            self.accepted += 1
            with sock:
                sock.settimeout(_PATIENCE_S)
                try:
                    script(Peer(sock, self.over))
                except Exception as failure:  # noqa: BLE001 - told to the test's own thread
                    self._failures.append(failure)


def answers(*pieces: bytes) -> Callable[[Peer], None]:
    """A script that reads a request, sends the pieces and closes."""

    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(*pieces)

    return script


def keeps_answering(*answers_in_turn: bytes) -> Callable[[Peer], None]:
    """A script that answers each request with the next answer and then waits."""

    def script(peer: Peer) -> None:
        for answer in answers_in_turn:
            peer.read_request()
            peer.send(answer)
        peer.wait()

    return script


class Connect:
    """Makes connections to byte servers and closes them at the end."""

    def __init__(self) -> None:
        self._made: list[Connection] = []

    def __call__(
        self, server: ByteServer, *, io_timeout: float | None = None, trust_s: float = 0.0
    ) -> Connection:
        """A connection to the server, not yet open."""
        link = Connection(server.host, server.port, io_timeout=io_timeout, trust_s=trust_s)
        self._made.append(link)
        return link

    def close(self) -> None:
        """Close them all."""
        for link in self._made:
            link.close()
