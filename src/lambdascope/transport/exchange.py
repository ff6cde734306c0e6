"""One request on a listener's connection, and the one chance to answer it.

The listener makes an Exchange for each request and gives it to its handler; the handler reads the
body, whole or piece by piece, and answers, whole or in chunks. Loaded with the listener, so never
on a start path. Knows bytes and HTTP, nothing of Lambda.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from lambdascope.wire import http1
from lambdascope.wire.errors import LocalProtocolError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_RECV_BYTES = 65_536
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class PeerGone(Exception):
    """The client closed the connection before the exchange was over."""


class Exchange:
    """One request and the chance to answer it once.

    `method`, `target` and `headers` (lower-case names) are parsed. The body is read by `read_body`
    or `iter_body`; `trailers` is set when it has been read to its end. `keep_alive` tells whether
    the connection goes on after the answer; a handler may set it to False before it answers.
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
        self._length = head.content_length
        self._expects_continue = head.headers.get("expect", "").lower() == "100-continue"
        self._aborted = False

    def iter_body(self) -> Iterator[bytes]:
        """Body pieces as they arrive. Raises PeerGone or RemoteProtocolError."""
        if self._expects_continue and not self.answered:
            self._expects_continue = False
            self.send_raw(_CONTINUE)
        while self.trailers is None:
            event = self._parser.next_event()
            if isinstance(event, bytes):
                yield event
            elif isinstance(event, dict):
                self.trailers = event
            elif not receive_into(self._parser, self._sock):
                raise PeerGone("connection closed in the middle of a body")

    def read_body(self, max_bytes: int) -> bytes:
        """The whole body. Raises PeerGone, or RemoteProtocolError (413 beyond `max_bytes`)."""
        if self._length is not None and self._length > max_bytes:
            self.keep_alive = False
            raise RemoteProtocolError(
                f"body of {self._length} bytes, limit {max_bytes}", status=413
            )
        pieces: list[bytes] = []
        size = 0
        for piece in self.iter_body():
            size += len(piece)
            if size > max_bytes:
                self.keep_alive = False
                raise RemoteProtocolError(f"body over {max_bytes} bytes", status=413)
            pieces.append(piece)
        return b"".join(pieces)

    def respond(
        self, status: int, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        """Answer with a whole response. Raises PeerGone, or LocalProtocolError when answered."""
        self.respond_raw(http1.encode_response(status, self._with_connection(headers), body))

    def respond_raw(self, data: bytes) -> None:
        """Answer with an already encoded response. Raises PeerGone or LocalProtocolError."""
        self._claim()
        if self.method == "HEAD":
            data = data[: data.find(b"\r\n\r\n") + 4]
        self.send_raw(data)

    def respond_chunked(
        self, status: int, headers: Iterable[tuple[str, str]], pieces: Iterable[bytes]
    ) -> None:
        """Answer in chunks, each sent at once. Raises PeerGone, or what `pieces` raises.

        When `pieces` raises, let it pass: the connection then ends, inside the body.
        """
        self._claim()
        reason = http1.REASONS.get(status, "Unknown")
        start = f"HTTP/1.1 {status} {reason}"
        self.send_raw(http1.encode_chunked_head(start, self._with_connection(headers)))
        if self.method == "HEAD":
            return
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
        """Drop the connection without an answer. Any thread may call it."""
        self._aborted = True
        self.answered = True
        self.keep_alive = False
        try:
            # Not close: the connection's own thread may be reading from the descriptor.
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # already gone

    def peer_closed(self) -> bool:
        """Whether the client has gone away while it waits for its answer."""
        try:
            return self._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def finish(self, max_bytes: int) -> bool:
        """Make the connection ready for the next request; False when it must be closed.

        For the listener. What the handler did not read must not be taken for the next request, so
        it is read here, up to `max_bytes`.
        """
        if not self.keep_alive or not self.answered or self._expects_continue:
            return False
        for piece in self.iter_body():
            max_bytes -= len(piece)
            if max_bytes < 0:
                return False
        return True

    def _claim(self) -> None:
        if self._aborted:
            raise PeerGone("aborted by our side")
        if self.answered:
            raise LocalProtocolError(f"{self.method} {self.target} was answered twice")
        self.answered = True

    def _with_connection(self, headers: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
        # A client that waits for 100 has not sent its body, and never will after this answer.
        if self.keep_alive and not self._expects_continue:
            return headers
        return (*headers, ("Connection", "close"))


def receive_into(parser: http1.Parser, sock: socket.socket) -> bool:
    """Feed the next bytes; False at the end of the stream or when the connection broke."""
    try:
        data = sock.recv(_RECV_BYTES)
    except OSError:
        return False
    if data:
        parser.feed(data)
    return bool(data)
