"""One blocking keep-alive HTTP/1.1 connection over a loopback socket, client side.

The runtime uses it for the Runtime API and for the handoff, the extension for the Extensions API.
It uses `_socket` (the C module) because importing `socket` costs several ms of cold start. It knows
bytes and messages, nothing of Lambda. One thread at a time.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, IPPROTO_TCP, SOCK_STREAM, TCP_NODELAY, getaddrinfo, socket
from time import monotonic

from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.http1 import Head, Parser, parse_response_head
from lambdascope.wire.names import MAX_HEAD_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_RECV_BYTES = 262_144


class ConnectionLost(Exception):
    """The peer is gone. `sent` tells whether it may have seen a part of the request.

    Only a request of which no byte was sent, or a GET, may be repeated without thinking.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def split_address(address: str, *, default_port: int = 80) -> tuple[str, int]:
    """ "host:port" (or "[v6]:port", or "host") to its parts. Raises ValueError naming the text."""
    host, colon, port = address.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = address, str(default_port)
    host = host.strip("[]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f"not an address of the form host:port: {address[:80]!r}")
    return host, int(port)


class Connection:
    """A connection that opens itself when first used and again after it was lost.

    `connect_timeout`, `io_timeout` (of each send and each read) and the time-out of `receive` are
    seconds; None waits for ever.
    """

    __slots__ = ("_connect_timeout", "_host", "_io_timeout", "_port", "_socket")

    def __init__(
        self,
        host: str,
        port: int,
        *,
        connect_timeout: float = 1.0,
        io_timeout: float | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._connect_timeout = connect_timeout
        self._io_timeout = io_timeout
        self._socket: socket | None = None

    @property
    def is_open(self) -> bool:
        """Whether a socket is open (the peer may have closed it meanwhile)."""
        return self._socket is not None

    def open(self) -> None:
        """Connect now. Raises ConnectionLost (with sent=False)."""
        try:
            family, _, _, _, address = getaddrinfo(self._host, self._port, 0, SOCK_STREAM)[0]
            sock = socket(family if family in (AF_INET, AF_INET6) else AF_INET, SOCK_STREAM)
            try:
                sock.settimeout(self._connect_timeout)
                sock.connect(address)
                sock.settimeout(self._io_timeout)
                sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            reason = error.strerror or str(error) or type(error).__name__
            raise ConnectionLost(
                f"cannot connect to {self._host}:{self._port}: {reason}", sent=False
            ) from None
        self._socket = sock

    def close(self) -> None:
        """Close; the next use opens a new socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, data: bytes) -> None:
        """Send all of a request. Raises ConnectionLost; the connection is then closed."""
        if self._socket is None:
            self.open()
        sock = self._socket
        assert sock is not None  # noqa: S101 - for the type checker; open() raises otherwise
        try:
            sock.sendall(data)
        except OSError as error:
            self._lost(f"{error.strerror or error} while sending")

    def receive(self, *, timeout: float | None = None) -> tuple[Head, bytes]:
        """The next whole response. Raises ConnectionLost or RemoteProtocolError; both close.

        `timeout` bounds the whole response, not each read.
        """
        sock = self._socket
        if sock is None:
            raise ConnectionLost("not connected", sent=False)
        try:
            if timeout is None:
                return self._receive(sock, sock.recv(_RECV_BYTES), None)
            deadline = monotonic() + timeout
            sock.settimeout(timeout)
            return self._receive(sock, sock.recv(_RECV_BYTES), deadline)
        except TimeoutError:
            self._lost(f"no whole answer within {timeout} s")
        except OSError as error:
            self._lost(f"{error.strerror or error} while receiving")
        except RemoteProtocolError as error:
            self.close()
            raise RemoteProtocolError(f"{self._host}:{self._port} sent: {error}") from None
        finally:
            if timeout is not None and self._socket is sock:
                sock.settimeout(self._io_timeout)

    def exchange(self, data: bytes, *, timeout: float | None = None) -> tuple[Head, bytes]:
        """Send a request and receive its response."""
        self.send(data)
        return self.receive(timeout=timeout)

    def _receive(self, sock: socket, data: bytes, deadline: float | None) -> tuple[Head, bytes]:
        # The usual case, a short response in one piece, needs no incremental parser.
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            head = parse_response_head(data[:end])
            length = head.content_length
            if length is not None and head.status >= 200 and len(data) == end + 4 + length:
                if not head.keep_alive:
                    self.close()
                return head, data[end + 4 :]
        return self._receive_rest(sock, data, deadline)

    def _receive_rest(
        self, sock: socket, data: bytes, deadline: float | None
    ) -> tuple[Head, bytes]:
        parser = Parser(request=False, max_head_bytes=MAX_HEAD_BYTES)
        head: Head | None = None
        pieces: list[bytes] = []
        while True:
            if data:
                parser.feed(data)
            else:
                if parser.idle and (head is None or head.status < 200):
                    self._lost("connection closed by the peer")
                parser.feed_eof()
            while (event := parser.next_event()) is not None:
                if isinstance(event, Head):
                    head = event
                elif isinstance(event, bytes):
                    pieces.append(event)
                elif head is not None and head.status >= 200:
                    # Bytes behind the answer were never asked for: do not trust them.
                    if not head.keep_alive or not data or not parser.idle:
                        self.close()
                    return head, b"".join(pieces)
            if deadline is not None:
                # A slow peer must not stretch the budget by sending one byte at a time.
                sock.settimeout(max(deadline - monotonic(), 0.000001))
            data = sock.recv(_RECV_BYTES)

    def _lost(self, reason: str) -> NoReturn:
        self.close()
        raise ConnectionLost(f"{self._host}:{self._port}: {reason}", sent=True)
