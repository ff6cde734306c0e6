"""One chunked POST on a connection of its own: the body is sent while it is still being made.

Response streaming uses it; nothing on a start path loads it. The peer may answer early (a limit, a
time-out) or go away, so that is looked for before each piece. It knows bytes, not what they mean.
One thread at a time.
"""

from __future__ import annotations

from _socket import AF_INET, AF_INET6, IPPROTO_TCP, MSG_DONTWAIT, MSG_PEEK, SOCK_STREAM, TCP_NODELAY
from _socket import socket as new_socket
from time import monotonic, monotonic_ns

from lambdascope.transport.connection import ConnectionLost
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.http1 import Head, Parser, encode_chunk
from lambdascope.wire.names import MAX_ANSWER_BYTES, MAX_HEAD_BYTES

_CONNECT_S = 1.0
# A slow caller may hold up a stream for as long as the function may run, and Lambda lets none run
# longer than this.
_PATIENCE_S = 900.0
_RECV_BYTES = 65_536
# A send that takes longer than this waited for the peer.
_STALL_NS = 1_000_000


class Refused(Exception):
    """The peer answered before the end of the body, so that it wants no more of it."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"answered {status}: {body[:200].decode('utf-8', 'replace').strip()}")
        self.status = status


class Upload:
    """Connects and sends `head`; then `write` pieces and `finish`.

    `sent_bytes` counts the body, `stalled_ns` the time in which the peer took nothing. Every method
    raises ConnectionLost when the peer is gone, or has taken or said nothing for 15 minutes, and
    RemoteProtocolError when its answer is none; the socket is closed in the end in any case.
    """

    def __init__(self, host: str, port: int, head: bytes) -> None:
        self.sent_bytes = 0
        self.pieces = 0
        self.stalled_ns = 0
        self._where = f"{host}:{port}"
        self._socket = new_socket(AF_INET6 if ":" in host else AF_INET, SOCK_STREAM)
        try:
            self._socket.settimeout(_CONNECT_S)
            self._socket.connect((host, port))
            self._socket.settimeout(None)
            self._socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        except OSError as error:
            self._socket.close()
            raise ConnectionLost(f"cannot connect to {self._where}: {error}", sent=False) from None
        self._send(head)

    def write(self, data: bytes) -> None:
        """Send a piece at once; empty data sends nothing. Raises Refused or ConnectionLost."""
        if not data:
            return
        if self._has_answer():
            head, body = self._receive()
            raise Refused(head.status, body)
        self._send(encode_chunk(data))
        self.sent_bytes += len(data)
        self.pieces += 1

    def offer(self, data: bytes) -> memoryview | None:
        """Like `write`, but without waiting: what the kernel has not taken, for `send_rest`."""
        if not data:
            return None
        if self._has_answer():
            head, body = self._receive()
            raise Refused(head.status, body)
        chunk = memoryview(encode_chunk(data))
        self.sent_bytes += len(data)
        self.pieces += 1
        try:
            count = self._socket.send(chunk, MSG_DONTWAIT)
        except BlockingIOError:
            count = 0
        except OSError as error:
            self._socket.close()
            raise ConnectionLost(f"{self._where}: {error.strerror or error}", sent=True) from None
        return chunk[count:] if count < len(chunk) else None

    def send_rest(self, rest: memoryview) -> None:
        """Send what `offer` gave back, waiting for the peer. Raises ConnectionLost."""
        self._send(rest)

    def finish(self, end: bytes) -> tuple[int, bytes]:
        """Send the end of the body; status and body of the answer. Raises ConnectionLost."""
        self._send(end)
        head, body = self._receive()
        return head.status, body

    def abort(self) -> None:
        """Close without an end: the peer sees a truncated body."""
        self._socket.close()

    def _send(self, data: bytes | memoryview) -> None:
        started_ns = monotonic_ns()
        sock = self._socket
        try:
            count = 0
            try:
                count = sock.send(data, MSG_DONTWAIT)
            except BlockingIOError:
                pass
            if count < len(data):
                sock.settimeout(_PATIENCE_S)
                sock.sendall(memoryview(data)[count:])
                sock.settimeout(None)
        except OSError as error:
            sock.close()
            raise ConnectionLost(f"{self._where}: {error.strerror or error}", sent=True) from None
        except BaseException:
            # A signal handler raised: what has been sent is unknown.
            self._socket.close()
            raise
        took_ns = monotonic_ns() - started_ns
        if took_ns >= _STALL_NS:
            self.stalled_ns += took_ns

    def _has_answer(self) -> bool:
        try:
            self._socket.recv(1, MSG_PEEK | MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            pass  # reset: reading tells
        return True

    def _receive(self) -> tuple[Head, bytes]:
        parser = Parser(request=False, max_head_bytes=MAX_HEAD_BYTES)
        head: Head | None = None
        body = bytearray()
        deadline = monotonic() + _PATIENCE_S
        try:
            while True:
                while (event := parser.next_event()) is not None:
                    if isinstance(event, Head):
                        head = event
                    elif isinstance(event, bytes):
                        body += event
                    elif head is not None and head.status >= 200:
                        return head, bytes(body)
                if len(body) > MAX_ANSWER_BYTES:
                    raise RemoteProtocolError(f"{self._where} sent too long an answer")
                self._socket.settimeout(max(deadline - monotonic(), 0.001))
                data = self._socket.recv(_RECV_BYTES)
                if data:
                    parser.feed(data)
                elif parser.ends_with_connection:
                    parser.feed_eof()
                else:
                    raise ConnectionLost(f"{self._where}: closed without an answer", sent=True)
        except OSError as error:
            raise ConnectionLost(f"{self._where}: {error.strerror or error}", sent=True) from None
        finally:
            self._socket.close()
