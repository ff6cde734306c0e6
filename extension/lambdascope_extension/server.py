"""A bounded, non-blocking HTTP/1.1 server: bytes of many clients in, whole requests out.

The receiver of OTLP and that of the Telemetry API are two of these on one reactor. Heads, bodies,
connections, time per request and the memory of all unfinished requests are limited, because any
process of the execution environment may connect. It knows no path and no signal.
"""

from __future__ import annotations

from select import POLLIN, POLLOUT
from time import monotonic

from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.http1 import Head, Parser, encode_response, parse_request_head
from lambdascope.wire.names import MAX_PAYLOAD_BYTES
from lambdascope_extension.connections import ClientConnection, accept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from lambdascope_extension.reactor import Reactor

    # Answers a request: head, body and the connection that it came on to the bytes of a response,
    # or to None, and then `answer` is called later.
    Handler = Callable[[Head, bytes, ClientConnection], bytes | None]

MAX_BODY_BYTES = MAX_PAYLOAD_BYTES
MAX_CONNECTIONS = 64
REQUEST_S = 10.0
_MAX_HEAD_BYTES = 16 * 1024
# Of all unfinished bodies together.
_MAX_UNFINISHED_BYTES = 2 * MAX_BODY_BYTES
# After a refusal the rest of the request is read and forgotten: closing at once would reset the
# connection, and the client would see that instead of the answer.
_MAX_DRAIN_BYTES = 16 * 1024 * 1024
_DRAIN_S = 2.0
_RECV_BYTES = 65_536
# Nobody else is served while what one read has brought is, which may be a crowd of requests or of
# pieces of one. So little is read at once from others than the runtime, but of a long piece.
_RECV_BYTES_OF_OTHERS = 2048
# Answers that a client does not read, while nothing more is read from it.
_MAX_UNSENT_BYTES = 65_536
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_TEXT = (("Content-Type", "text/plain"), ("Connection", "close"))


class HttpServer:
    """Serves `listener`, an already listening non-blocking socket, on `reactor`.

    `handle` answers whole requests and must not block. `on_refused` hears of requests that never
    got that far (with their head, if there was one), `on_closed` of every closed connection.
    """

    def __init__(self, reactor: Reactor, listener: socket, handle: Handler) -> None:
        self.handle = handle
        # Answers what it knows at a look, None for all other bytes.
        self.shortcut: Callable[[bytes, ClientConnection], bytes | None] | None = None
        self.on_refused: Callable[[Head | None, int, str], None] = lambda head, status, text: None
        self.on_closed: Callable[[ClientConnection], None] = lambda connection: None
        self._reactor = reactor
        self._listener = listener
        self._connections: dict[int, ClientConnection] = {}
        self._unfinished_bytes = 0
        # How many connections have a deadline; zero nearly always, and then nothing is searched.
        self._timed = 0
        reactor.watch(listener.fileno(), self._accept)

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def has_runtime(self) -> bool:
        """Whether a runtime of ours is connected."""
        return any(one.is_runtime for one in self._connections.values())

    @property
    def is_working(self) -> bool:
        """Whether an answer is to come later."""
        return any(one.is_working for one in self._connections.values())

    def next_deadline(self) -> float | None:
        """When (monotonic) `sweep` has something to do; None when nothing is unfinished."""
        if not self._timed:
            return None
        deadlines = (one.deadline for one in self._connections.values())
        return min((deadline for deadline in deadlines if deadline), default=None)

    def sweep(self, now: float) -> None:
        """Close the connections whose request has taken too long."""
        if self._timed:
            for connection in list(self._connections.values()):
                if 0 < connection.deadline <= now:
                    self.close(connection)

    def thaw(self, now: float) -> None:
        """Give unfinished requests their time again: the clock went on while all were frozen."""
        if self._timed:
            for connection in self._connections.values():
                if connection.deadline:
                    connection.deadline = now + REQUEST_S

    def close(self, connection: ClientConnection) -> None:
        """Close one connection."""
        if not self._is_open(connection):
            return
        del self._connections[connection.fd]
        self._reactor.forget(connection.fd)
        connection.closing = True
        self._set_deadline(connection, 0)
        self._unfinished_bytes -= len(connection.body)
        connection.sock.close()
        self.on_closed(connection)

    def give_up(self) -> None:
        """Close the connections whose answers were to come later: they will not."""
        for connection in list(self._connections.values()):
            if connection.is_working:
                self.close(connection)

    def stop(self) -> None:
        """Close the listener and every connection."""
        self._reactor.forget(self._listener.fileno())
        self._listener.close()
        for connection in list(self._connections.values()):
            self.close(connection)

    def _accept(self, mask: int) -> None:
        for sock in accept(self._listener):
            if self.connection_count >= MAX_CONNECTIONS and not self._evict():
                sock.close()
                continue
            parser = Parser(request=True, max_head_bytes=_MAX_HEAD_BYTES)
            connection = ClientConnection(sock, parser)
            self._connections[connection.fd] = connection
            self._watch(connection)

    def _watch(self, connection: ClientConnection) -> None:
        # From a client that does not read its answers, or waits for one, nothing more is taken.
        events = POLLOUT if connection.wants_write else 0 if connection.is_working else POLLIN
        self._reactor.watch(connection.fd, lambda mask: self._ready(connection, mask), events)

    def _is_open(self, connection: ClientConnection) -> bool:
        # By identity: a closed connection's number may be another one's already.
        return self._connections.get(connection.fd) is connection

    def _evict(self) -> bool:
        """Make room: close the longest silent connection, or else the longest unfinished one.

        Never the runtime's. Whether there was one to close.
        """
        others = [one for one in self._connections.values() if not one.is_runtime]
        if others:
            self.close(min(others, key=lambda one: (one.deadline, one.used_at)))
        return bool(others)

    def _ready(self, connection: ClientConnection, mask: int) -> None:
        if mask & POLLOUT:
            self._send(connection, b"")
        if mask & ~POLLOUT and self._is_open(connection):
            if connection.is_working:  # without being asked, poll only tells of the end
                self.close(connection)
                return
            data = connection.receive(_recv_bytes(connection))
            if data:
                self._take(connection, data)
            elif data is not None:
                self.close(connection)

    def _take(self, connection: ClientConnection, data: bytes) -> None:
        if connection.is_over:
            connection.drained += len(data)
            if connection.drained > _MAX_DRAIN_BYTES:
                self.close(connection)
            return
        if connection.is_runtime and connection.parser.idle and self.shortcut is not None:
            answer = self.shortcut(data, connection)
            if answer is not None:
                connection.used_at = monotonic()
                self._send(connection, answer)
                return
        try:
            if connection.parser.idle and (head := _whole_head(data)) is not None:
                self._serve(connection, head, data[len(data) - (head.content_length or 0) :])
            else:
                self._parse(connection, data)
        except RemoteProtocolError as error:
            self._refuse(connection, error.status, str(error))

    def _parse(self, connection: ClientConnection, data: bytes) -> None:
        parser = connection.parser
        parser.feed(data)
        while (
            not (connection.is_over or connection.is_working)
            and (event := parser.next_event()) is not None
        ):
            if isinstance(event, Head):
                self._begin(connection, event)
            elif isinstance(event, bytes):
                self._add(connection, event)
            else:
                self._finish(connection)
        if connection.is_working:
            self._set_deadline(connection, 0)
        elif connection.head is not None or connection.out or not parser.idle:
            self._set_deadline(connection, connection.deadline or monotonic() + REQUEST_S)
        else:
            self._set_deadline(connection, 0)

    def _begin(self, connection: ClientConnection, head: Head) -> None:
        connection.head = head
        length = head.content_length or 0
        if length > MAX_BODY_BYTES:
            raise RemoteProtocolError(
                f"body of {length} bytes, the limit is {MAX_BODY_BYTES}", status=413
            )
        if head.headers.get("expect", "").lower() == "100-continue":
            self._send(connection, _CONTINUE)

    def _add(self, connection: ClientConnection, piece: bytes) -> None:
        connection.body += piece
        self._unfinished_bytes += len(piece)
        if len(connection.body) > MAX_BODY_BYTES:
            raise RemoteProtocolError(f"body over {MAX_BODY_BYTES} bytes", status=413)
        if self._unfinished_bytes > _MAX_UNFINISHED_BYTES:
            raise RemoteProtocolError("too many unfinished requests", status=503)

    def _finish(self, connection: ClientConnection) -> None:
        head, body = connection.head, bytes(connection.body)
        self._forget_request(connection)
        if head is not None:
            self._serve(connection, head, body)

    def _serve(self, connection: ClientConnection, head: Head, body: bytes) -> None:
        connection.used_at = monotonic()
        connection.closing = not head.keep_alive
        answer = self.handle(head, body, connection)
        if connection.is_runtime:
            self._reactor.first.add(connection.fd)
        if answer is None:
            connection.is_working = True
            self._watch(connection)
        else:
            self._send(connection, answer)

    def answer(self, connection: ClientConnection, data: bytes) -> None:
        """The answer that a handler has not given at once; nothing where the client has left."""
        if not self._is_open(connection):
            return
        connection.is_working = False
        self._send(connection, data)
        if self._is_open(connection):
            self._watch(connection)
            if not connection.parser.idle:
                self._take(connection, b"")

    def _refuse(self, connection: ClientConnection, status: int, text: str) -> None:
        self.on_refused(connection.head, status, text)
        self._forget_request(connection)
        connection.refused = True
        headers = (*_TEXT, ("Retry-After", "1")) if status == 503 else _TEXT
        self._send(connection, encode_response(status, headers, f"{text}\n".encode()))
        self._set_deadline(connection, monotonic() + _DRAIN_S)

    def _forget_request(self, connection: ClientConnection) -> None:
        self._unfinished_bytes -= len(connection.body)
        connection.forget_request()

    def _send(self, connection: ClientConnection, data: bytes) -> None:
        sent = connection.send(data)
        if sent is None or len(connection.out) > _MAX_UNSENT_BYTES:
            self.close(connection)
            return
        if sent == connection.wants_write:  # it has changed whether there is something unsent
            connection.wants_write = not sent
            self._watch(connection)
            self._set_deadline(connection, 0 if sent else monotonic() + REQUEST_S)
        if sent and connection.refused:
            connection.end_output()
        elif sent and connection.closing:
            self.close(connection)

    def _set_deadline(self, connection: ClientConnection, deadline: float) -> None:
        """Set it, or with 0 clear it; a closed connection has none."""
        if not self._is_open(connection):
            deadline = 0
        self._timed += (deadline > 0) - (connection.deadline > 0)
        connection.deadline = deadline


def _recv_bytes(connection: ClientConnection) -> int:
    if connection.is_runtime:
        return _RECV_BYTES
    return max(_RECV_BYTES_OF_OTHERS, min(_RECV_BYTES, connection.parser.left))


def _whole_head(data: bytes) -> Head | None:
    """The head if `data` is exactly one whole request, which is how a small one arrives."""
    end = data.find(b"\r\n\r\n")
    if not 0 <= end <= _MAX_HEAD_BYTES:
        return None
    head = parse_request_head(data[:end])
    return head if head.content_length == len(data) - end - 4 else None
