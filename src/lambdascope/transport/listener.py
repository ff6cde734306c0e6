"""A small threaded HTTP/1.1 server on loopback: one thread a connection, one handler for all
requests.

The emulator's three APIs, its invoke endpoint and the fakes of the tests use it; nothing on a start
path does (it imports `socket` and `threading`). What a handler sees of one request is `Exchange`;
limits on heads and connections are arguments of `Listener`, the limit on a body that of the read.
"""

from __future__ import annotations

import socket
import threading
from time import monotonic
from typing import TYPE_CHECKING

from lambdascope.transport.exchange import Exchange, PeerGone, receive_into
from lambdascope.wire import http1
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.names import MAX_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Exchange", "Listener", "PeerGone"]

# A body that the handler did not read is read to its end up to here, so that the connection can go
# on; Go's server, which AWS uses, has the same limit.
_UNREAD_BYTES = 262_144
# How long a refused client may go on sending before it must have read our answer.
_LINGER_S = 1.0
_RECV_BYTES = 65_536
_RETRY_ACCEPT_S = 0.05


class Listener:
    """Accepts on `host`:`port` (0 = any free port) and calls `handle` for each request.

    `handle` runs in the connection's thread and must answer; when it raises RemoteProtocolError the
    peer gets that status, when it raises PeerGone or OSError the connection is closed. Raises
    OSError when the port is taken.
    """

    def __init__(
        self,
        handle: Callable[[Exchange], None],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "listener",
        max_head_bytes: int = MAX_HEAD_BYTES,
        max_connections: int = 256,
    ) -> None:
        self._handle = handle
        self._name = name
        self._max_head = max_head_bytes
        self._max_connections = max_connections
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._busy: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._server = socket.create_server((host, port), backlog=128)
        # Accepted connections inherit it.
        self._server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host: str = self._server.getsockname()[0]
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name=name, daemon=True)

    @property
    def address(self) -> str:
        """host:port, as it stands in AWS_LAMBDA_RUNTIME_API."""
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Begin to accept. Until then connections queue in the kernel."""
        self._thread.start()

    def close(self, *, timeout: float = 1.0) -> None:
        """Stop accepting, drop every connection and wait for their threads.

        `timeout` (seconds, for all together) is for handlers that wait for something else than
        their peer: wake them first. May be called again, and from a handler.
        """
        with self._lock:
            self._closing.set()
            connections = list(self._open)
            threads = [self._thread, *self._threads]
        # shutdown wakes accept and recv; close alone would not.
        for sock in (self._server, *connections):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # already gone
        self._server.close()
        deadline = monotonic() + timeout
        for thread in threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - monotonic()))

    def close_idle(self) -> None:
        """Drop every connection that is between two requests."""
        with self._lock:
            for sock in self._open - self._busy:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # already gone

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._server.accept()
            except OSError:
                # Closed, or a passing fault: the client gave up, or no file descriptors are left.
                self._closing.wait(_RETRY_ACCEPT_S)
                continue
            self._admit(sock)

    def _admit(self, sock: socket.socket) -> None:
        thread = threading.Thread(
            target=self._serve, args=(sock,), name=f"{self._name}-connection", daemon=True
        )
        with self._lock:
            if self._closing.is_set() or len(self._open) >= self._max_connections:
                reason = f"over {self._max_connections} connections"
                _refuse(sock, RemoteProtocolError(reason, status=503))
                sock.close()
                return
            try:
                # Inside the lock, so that close finds only threads that can be joined.
                thread.start()
            except RuntimeError:
                # The system gives no more threads: this client may try again.
                sock.close()
                return
            self._open.add(sock)
            self._threads = [old for old in self._threads if old.is_alive()] + [thread]

    def _serve(self, sock: socket.socket) -> None:
        parser = http1.Parser(request=True, max_head_bytes=self._max_head)
        try:
            while self._one(sock, parser):
                pass
        finally:
            with self._lock:
                self._open.discard(sock)
                self._busy.discard(sock)
            sock.close()

    def _one(self, sock: socket.socket, parser: http1.Parser) -> bool:
        """Serve one request; whether the connection stays open."""
        exchange: Exchange | None = None
        try:
            while (event := parser.next_event()) is None:
                if not receive_into(parser, sock):
                    return False
            assert isinstance(event, http1.Head)  # noqa: S101 - a message begins with its head
            exchange = Exchange(sock, parser, event)
            with self._lock:
                self._busy.add(sock)
            self._handle(exchange)
            if exchange.finish(_UNREAD_BYTES):
                with self._lock:
                    self._busy.discard(sock)
                return True
        except RemoteProtocolError as error:
            if exchange is None or not exchange.answered:
                _refuse(sock, error)
        except (PeerGone, OSError):
            return False
        if exchange is None or exchange.trailers is None:
            _linger(sock)
        return False


def _refuse(sock: socket.socket, error: RemoteProtocolError) -> None:
    body = f"{error}\n".encode()
    headers = (("Content-Type", "text/plain"), ("Connection", "close"))
    try:
        sock.sendall(http1.encode_response(error.status, headers, body))
    except OSError:
        pass  # the peer is gone, which is what it wanted


def _linger(sock: socket.socket) -> None:
    """Let the peer read our answer: closing on unread bytes would reset the connection."""
    deadline = monotonic() + _LINGER_S
    try:
        sock.shutdown(socket.SHUT_WR)
        while (left := deadline - monotonic()) > 0:
            sock.settimeout(left)
            if not sock.recv(_RECV_BYTES):
                return
    except OSError:
        pass  # time is up, or the peer reset the connection
