"""One blocking keep-alive HTTP/1.1 connection over a loopback socket, client side.

The runtime uses it for the Runtime API and for the handoff, the extension for the Extensions API.
It uses `_socket` (the C module) because importing `socket` costs several ms of cold start. It knows
bytes and messages, nothing of Lambda. One thread at a time.
"""

from __future__ import annotations

from _socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    MSG_DONTWAIT,
    MSG_PEEK,
    MSG_WAITALL,
    SOCK_STREAM,
    TCP_NODELAY,
    socket,
)
from time import monotonic

from lambdascope.wire.errors import LocalProtocolError, RemoteProtocolError
from lambdascope.wire.heads import Head, parse_response_head, plain_body
from lambdascope.wire.names import MAX_ANSWER_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

# glibc gets buffers from 128 KiB on from the kernel, at 15 µs for each read.
_RECV_BYTES = 65_536
_BODY_RECV_BYTES = 1_048_576
# An answer may be awaited for ever, as an event is; one that has begun comes from the same host.
_REST_S = 30.0
# An acknowledgement has less, an event more.
_USUAL_BYTES = 256
_OK = Head(method="", target="", status=200, headers={})


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
    if not colon or (":" in host and not host.endswith("]")):
        host, port = address, str(default_port)
    host = host.strip("[]")
    is_port = port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536
    if not host or not host.isascii() or not host.isprintable() or " " in host or not is_port:
        raise ValueError(f"not an address of the form host:port: {address[:80]!r}")
    return host, int(port)


class Connection:
    """A connection that opens itself when first used and again after it was lost.

    All time-outs are seconds; None waits for ever, but not for the rest of an answer that has
    begun (30 s). `io_timeout` is for each send and each receive that is not given one of its own.
    An answer has at most 64 MiB. One request at a time: send, then receive. A peer that closed
    the connection while it was idle is noticed before the next request is sent, which then goes
    over a new one. Within `trust_s` after an answer that is not looked for, which saves a system
    call; a peer that closed then is lost with the request.
    """

    __slots__ = (
        "_awaiting",
        "_connect_timeout",
        "_host",
        "_io_timeout",
        "_port",
        "_skips_headers",
        "_socket",
        "_trust_s",
        "_used_at",
        "_usual",
        "_usual_answer",
    )

    def __init__(
        self,
        host: str,
        port: int,
        *,
        connect_timeout: float = 1.0,
        io_timeout: float | None = None,
        trust_s: float = 0.0,
    ) -> None:
        self._host = host
        self._port = port
        self._connect_timeout = connect_timeout
        self._io_timeout = io_timeout
        self._trust_s = trust_s
        self._used_at = 0.0
        self._socket: socket | None = None
        # Whether the headers of a plain 200 may be left out.
        self._skips_headers = False
        # A short answer without anything behind it; the same bytes mean the same.
        self._usual: bytes | None = None
        self._usual_answer: tuple[Head, bytes] | None = None
        # A request was sent whose answer has not been received.
        self._awaiting = False

    @property
    def is_open(self) -> bool:
        """Whether a socket is open (the peer may have closed it meanwhile)."""
        return self._socket is not None

    def open(self) -> None:
        """Connect anew. Raises ConnectionLost (with sent=False)."""
        self._open()

    def close(self) -> None:
        """Close; the next use opens a new socket."""
        self._awaiting = False
        sock, self._socket = self._socket, None
        if sock is not None:
            try:
                sock.close()
            except OSError:
                pass  # the function closed the descriptor, as with os.closerange

    def send(
        self, data: bytes, *, timeout: float | None = None, trust_s: float | None = None
    ) -> None:
        """Send all of a request. Raises ConnectionLost; the connection is then closed.

        `timeout` bounds the whole sending, without connecting, which has its own; `trust_s` takes
        the place of the connection's own for this request. Raises LocalProtocolError when the
        answer to the request before has not been received.
        """
        if self._awaiting:
            raise LocalProtocolError("a request was sent whose answer has not been received")
        sock = self._socket
        trust_s = self._trust_s if trust_s is None else trust_s
        if sock is None or (monotonic() - self._used_at >= trust_s and _is_stale(sock)):
            sock = self._open()
        timeout = self._io_timeout if timeout is None else timeout
        deadline = None if timeout is None else monotonic() + timeout
        # A send that fails has handed nothing to the kernel.
        sent = False
        try:
            count = _send_some(sock, data, deadline)
            sent = True
            if count < len(data):
                _allow(sock, deadline)
                sock.sendall(memoryview(data)[count:])
        except OSError as error:
            self._lost(f"{error.strerror or error} while sending", sent=sent)
        except BaseException:
            # A signal handler raised: how much was sent is unknown.
            self.close()
            raise
        self._awaiting = True

    def receive(self, *, timeout: float | None = None) -> tuple[Head, bytes]:
        """The next whole response. Raises ConnectionLost or RemoteProtocolError; both close.

        `timeout` bounds the whole response, not each read. The head is that of the final response;
        interim ones (1xx) are skipped.
        """
        timeout = self._io_timeout if timeout is None else timeout
        return self._answer(timeout, None if timeout is None else monotonic() + timeout)

    def exchange(
        self, data: bytes, *, timeout: float | None = None, trust_s: float | None = None
    ) -> tuple[Head, bytes]:
        """Send a request and receive its response; `timeout` is for both together."""
        if timeout is None:
            self.send(data, trust_s=trust_s)
            return self.receive()
        deadline = monotonic() + timeout
        self.send(data, timeout=timeout, trust_s=trust_s)
        return self._answer(timeout, deadline)

    def _answer(self, timeout: float | None, deadline: float | None) -> tuple[Head, bytes]:
        """Receive until `deadline`; `timeout` is for the text of the error."""
        sock = self._socket
        if sock is None:
            raise ConnectionLost("not connected", sent=False)
        try:
            answer = self._receive(sock, deadline)
        except TimeoutError:
            limit = _REST_S if timeout is None else timeout
            self._lost(f"no whole answer within {limit} s", sent=True)
        except OSError as error:
            self._lost(f"{error.strerror or error} while receiving", sent=True)
        except RemoteProtocolError as error:
            self.close()
            raise RemoteProtocolError(f"{self._host}:{self._port} sent: {error}") from None
        except BaseException:
            # A signal handler raised: the next bytes may be the rest of this answer.
            self.close()
            raise
        self._awaiting = False
        self._used_at = monotonic()
        return answer

    def _open(self) -> socket:
        self.close()
        # A numeric address needs no resolver; getaddrinfo would import `encodings.idna` and with
        # it `re`, 6 ms.
        sock = socket(AF_INET6 if ":" in self._host else AF_INET, SOCK_STREAM)
        try:
            sock.settimeout(self._connect_timeout)
            sock.connect((self._host, self._port))
            sock.settimeout(None)
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        except OSError as error:
            sock.close()
            reason = error.strerror or str(error)
            raise ConnectionLost(
                f"cannot connect to {self._host}:{self._port}: {reason}", sent=False
            ) from None
        except BaseException:
            sock.close()
            raise
        self._socket = sock
        return sock

    def _receive(self, sock: socket, deadline: float | None) -> tuple[Head, bytes]:
        data = _receive_some(sock, deadline)
        known = self._known(data)
        if known is not None:
            return known
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return self._receive_parsed(sock, data, deadline)
        head = parse_response_head(data[:end])
        length = head.content_length
        if length is None or head.status < 200:
            return self._receive_parsed(sock, data, deadline)
        # The usual case, a response whose length is known, needs no incremental parser.
        if length > MAX_ANSWER_BYTES:
            raise RemoteProtocolError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        body = data[end + 4 :]
        if len(body) < length:
            body = self._rest(sock, body, length, deadline)
            if _is_stale(sock):
                self.close()  # something stands behind it, as below, which was not read with it
        if not head.keep_alive or len(body) > length:
            # Bytes behind the answer were never asked for: do not trust them.
            self.close()
            body = body[:length]
        elif len(data) <= _USUAL_BYTES and len(data) - end - 4 == length:
            self._usual, self._usual_answer = data, (head, body)
        return head, body

    def _known(self, data: bytes) -> tuple[Head, bytes] | None:
        """The answer, if it need not be parsed."""
        if data == self._usual:
            return self._usual_answer
        body = plain_body(data) if self._skips_headers else None
        return None if body is None else (_OK, body)

    def _rest(self, sock: socket, body: bytes, length: int, deadline: float | None) -> bytes:
        pieces = [body]
        left = length - len(body)
        if deadline is None:
            deadline = monotonic() + _REST_S
        while left:
            _allow(sock, deadline)
            piece = sock.recv(min(left, _BODY_RECV_BYTES), MSG_WAITALL)
            if not piece:
                self._lost("connection closed in the middle of an answer", sent=True)
            left -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _receive_parsed(
        self, sock: socket, data: bytes, deadline: float | None
    ) -> tuple[Head, bytes]:
        # Loaded here, because most processes never meet such a response.
        from lambdascope.transport.unframed import UnframedAnswer

        answer = UnframedAnswer()
        rest = deadline
        while True:
            if not data and not answer.may_end:
                where = "" if answer.is_idle else " in the middle of an answer"
                self._lost(f"connection closed{where}", sent=True)
            whole = answer.take(data)
            if whole is not None:
                if not whole[0].keep_alive or not answer.is_idle:
                    self.close()
                return whole
            if answer.is_idle:
                # Behind an interim response the wait for the final one begins anew.
                rest = deadline
            elif rest is None:
                rest = monotonic() + _REST_S
            data = _receive_some(sock, rest)

    def _lost(self, reason: str, *, sent: bool) -> NoReturn:
        self.close()
        raise ConnectionLost(f"{self._host}:{self._port}: {reason}", sent=sent)


def _send_some(sock: socket, data: bytes, deadline: float | None) -> int:
    """Send what the kernel takes at once, or with no deadline, all; how many bytes that was."""
    _allow(sock, None)
    try:
        # A budget costs three system calls; there is nearly always nothing to wait for.
        return sock.send(data, MSG_DONTWAIT if deadline is not None else 0)
    except BlockingIOError:
        return 0


def _receive_some(sock: socket, deadline: float | None) -> bytes:
    """Receive what is there; waits, within the budget, only when that is nothing.

    Raises TimeoutError when time is up, also while a peer sends faster than we read.
    """
    _allow(sock, None)
    if deadline is not None:
        if monotonic() >= deadline:
            raise TimeoutError("time is up")
        try:
            return sock.recv(_RECV_BYTES, MSG_DONTWAIT)
        except BlockingIOError:
            _allow(sock, deadline)
    return sock.recv(_RECV_BYTES)


def _allow(sock: socket, deadline: float | None) -> None:
    """Give the next call on the socket what is left of the budget. Raises TimeoutError.

    Before every call, so that a slow peer cannot stretch the budget by one byte at a time.
    """
    if deadline is not None:
        left = deadline - monotonic()
        if left <= 0:
            raise TimeoutError("time is up")
        sock.settimeout(left)
    elif sock.gettimeout() is not None:
        sock.settimeout(None)


def _is_stale(sock: socket) -> bool:
    """Whether an idle connection was closed, or has bytes that nobody asked for."""
    try:
        # With a time-out Python would wait for it before it looks.
        _allow(sock, None)
        sock.recv(1, MSG_PEEK | MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        pass  # reset, or its descriptor was closed: as good as closed by the peer
    return True
