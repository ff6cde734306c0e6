"""One client's connection to a server of ours: its socket, its unfinished request, its limits.

`server` drives it and decides everything; nothing here blocks or raises.
"""

from __future__ import annotations

from _socket import IPPROTO_TCP, SHUT_WR, TCP_NODELAY, socket
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdascope.wire.http1 import Head, Parser

_ACCEPTS_AT_ONCE = 16


def accept(listener: socket) -> Iterator[socket]:
    """The clients that wait, a few at a time, as non-blocking sockets."""
    for _ in range(_ACCEPTS_AT_ONCE):
        try:
            fd = listener._accept()[0]  # type: ignore[attr-defined]  # `_socket` has no accept()
        except OSError:
            return  # nobody waits any more, or the client gave up while it waited
        sock = socket(fileno=fd)
        sock.setblocking(False)
        yield sock


class ClientConnection:
    """State of one connection.

    `deadline` is monotonic and 0 when nothing is unfinished. `is_runtime` is set when our runtime
    has said hello on it. `refused`: the request was answered before its end, the rest is drained.
    `closing`: to be closed as soon as `out` is sent. `is_working`: its request is being looked at,
    the answer comes later. `body` is what has come of that of the unfinished request.
    """

    __slots__ = (
        "body",
        "closing",
        "deadline",
        "drained",
        "fd",
        "head",
        "is_runtime",
        "is_working",
        "out",
        "parser",
        "refused",
        "sock",
        "used_at",
        "wants_write",
    )

    def __init__(self, sock: socket, parser: Parser) -> None:
        try:
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        except OSError:
            pass  # the client is gone already, which the first read will tell
        self.sock = sock
        self.fd = sock.fileno()
        self.parser = parser
        self.head: Head | None = None
        self.body = bytearray()
        self.out = b""
        self.deadline = 0.0
        self.used_at = monotonic()
        self.drained = 0
        self.refused = False
        self.closing = False
        self.is_runtime = False
        self.is_working = False
        self.wants_write = False

    @property
    def is_over(self) -> bool:
        """Whether nothing that still arrives matters."""
        return self.refused or self.closing

    def forget_request(self) -> None:
        """Be ready for the next request."""
        self.head = None
        self.body = bytearray()

    def receive(self, limit: int) -> bytes | None:
        """What has arrived; None when that is nothing yet, empty when the peer is gone."""
        try:
            return self.sock.recv(limit)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def send(self, data: bytes) -> bool | None:
        """Send behind what is unsent; whether all is gone out now, None when the peer is."""
        self.out += data
        try:
            self.out = self.out[self.sock.send(self.out) :]
        except BlockingIOError:
            return False
        except OSError:
            return None
        return not self.out

    def end_output(self) -> None:
        """Tell the peer that nothing more will come, without dropping what it still sends."""
        try:
            self.sock.shutdown(SHUT_WR)
        except OSError:
            pass  # it is gone
