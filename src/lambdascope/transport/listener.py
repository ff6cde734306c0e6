"""A small threaded HTTP/1.1 server on loopback: one thread a connection, one handler for all
requests.

The emulator's three APIs, its invoke endpoint and the fakes of the tests use it; nothing on a start
path does (it imports `socket` and `threading`). Bodies may be read whole or piece by piece, answers
may be sent whole or in chunks. Limits on heads, bodies and connections are arguments.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

from lambdascope.wire import http1
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.names import MAX_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_RECV_BYTES = 262_144
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class PeerGone(Exception):
    """The client closed the connection before the exchange was over."""


class Exchange:
    """One request and the chance to answer it once.

    `method`, `target` and `headers` (lower-case names) are parsed. The body is read by `read_body`
    or `iter_body`; `trailers` is set when it has been read to its end.
    """

    def __init__(self, sock: socket.socket, parser: http1.Parser, head: http1.Head) -> None:
        self.method = head.method
        self.target = head.target
        self.headers = head.headers
        self.trailers: dict[str, str] | None = None
        self.answered = False
        self.keep_alive = head.keep_alive
        self._sock = sock
        self._parser = parser
        self._expects_continue = head.headers.get("expect", "").lower() == "100-continue"

    def iter_body(self) -> Iterator[bytes]:
        """Body pieces as they arrive. Raises PeerGone or RemoteProtocolError."""
        if self._expects_continue:
            self._expects_continue = False
            self.send_raw(_CONTINUE)
        while self.trailers is None:
            event = self._parser.next_event()
            if isinstance(event, bytes):
                yield event
            elif isinstance(event, dict):
                self.trailers = event
            elif event is None and not receive_into(self._parser, self._sock):
                self._parser.feed_eof()
                if self._parser.idle:
                    raise PeerGone("connection closed in the middle of a body")

    def read_body(self, max_bytes: int) -> bytes:
        """The whole body. Raises RemoteProtocolError (status 413) beyond `max_bytes`."""
        length = self.headers.get("content-length", "0")
        if length.isdigit() and int(length) > max_bytes:
            self.keep_alive = False
            raise RemoteProtocolError(f"body of {length} bytes, limit {max_bytes}", status=413)
        body = bytearray()
        for piece in self.iter_body():
            body += piece
            if len(body) > max_bytes:
                self.keep_alive = False
                raise RemoteProtocolError(f"body over {max_bytes} bytes", status=413)
        return bytes(body)

    def respond(
        self, status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        """Answer with a whole response. Raises PeerGone."""
        self.respond_raw(http1.encode_response(status, headers, body))

    def respond_raw(self, data: bytes) -> None:
        """Answer with an already encoded response. Raises PeerGone."""
        self.answered = True
        self.send_raw(data)

    def respond_chunked(
        self, status: int, headers: Iterable[tuple[str, str]], pieces: Iterable[bytes]
    ) -> None:
        """Answer in chunks, each sent at once. Raises PeerGone, or what `pieces` raises."""
        self.answered = True
        reason = http1.REASONS.get(status, "Unknown")
        self.send_raw(http1.encode_chunked_head(f"HTTP/1.1 {status} {reason}", headers))
        for piece in pieces:
            self.send_raw(http1.encode_chunk(piece))
        self.send_raw(http1.encode_last_chunk())

    def send_raw(self, data: bytes) -> None:
        """Bytes to the peer. Raises PeerGone."""
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise PeerGone(str(error)) from None

    def abort(self) -> None:
        """Drop the connection without an answer."""
        self.answered = True
        self.keep_alive = False
        self._sock.close()

    def peer_closed(self) -> bool:
        """Whether the client has gone away while it waits for its answer."""
        try:
            return self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


def receive_into(parser: http1.Parser, sock: socket.socket) -> bool:
    """Feed the next bytes; False at the end of the stream or when the connection broke."""
    try:
        data = sock.recv(_RECV_BYTES)
    except OSError:
        return False
    if data:
        parser.feed(data)
    return bool(data)


class Listener:
    """Accepts on `host`:`port` (0 = any free port) and calls `handle` for each request.

    `handle` runs in the connection's thread and must answer; when it raises RemoteProtocolError the
    peer gets that status, when it raises PeerGone or OSError the connection is closed.
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
        self._slots = threading.BoundedSemaphore(max_connections)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._closed = False
        self._server = socket.create_server((host, port), backlog=128)
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

    def close(self) -> None:
        """Stop accepting and drop every connection."""
        with self._lock:
            self._closed = True
            connections = list(self._open)
        # shutdown wakes the accept call; close alone would not.
        for sock in (self._server, *connections):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # already gone
        self._server.close()
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            if not self._slots.acquire(blocking=False):
                sock.close()
                continue
            with self._lock:
                if self._closed:
                    sock.close()
                    return
                self._open.add(sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(
                target=self._serve, args=(sock,), name=f"{self._name}-connection", daemon=True
            ).start()

    def _serve(self, sock: socket.socket) -> None:
        parser = http1.Parser(request=True, max_head_bytes=self._max_head)
        try:
            while self._one(sock, parser):
                pass
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()
            self._slots.release()

    def _one(self, sock: socket.socket, parser: http1.Parser) -> bool:
        """Serve one request; whether the connection stays open."""
        exchange: Exchange | None = None
        try:
            while (event := parser.next_event()) is None:
                if not receive_into(parser, sock):
                    return False
            if not isinstance(event, http1.Head):
                return False
            exchange = Exchange(sock, parser, event)
            self._handle(exchange)
            if not exchange.keep_alive:
                return False
            for _ in exchange.iter_body():
                pass  # what the handler did not read must not be taken for the next request
        except RemoteProtocolError as error:
            if exchange is None or not exchange.answered:
                self._refuse(sock, error)
            return exchange is not None and exchange.keep_alive and exchange.trailers is not None
        except (PeerGone, OSError):
            return False
        return True

    def _refuse(self, sock: socket.socket, error: RemoteProtocolError) -> None:
        body = f"{error}\n".encode()
        headers = (("Content-Type", "text/plain"),)
        try:
            sock.sendall(http1.encode_response(error.status, headers, body))
        except OSError:
            pass  # the peer is gone, which is what it wanted
