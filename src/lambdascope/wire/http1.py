"""HTTP/1.1 framing without I/O: bytes to messages and back, for both roles.

Covers what the three Lambda APIs and OTLP over loopback need (RFC 9112): Content-Length and chunked
bodies, trailers, keep-alive, interim 1xx responses. Heads are in `heads`, whose public names are
also here, so that servers and tests import one module; a runtime that only ever meets plain
responses never loads this one. Knows no socket and no Lambda. Not covered, because nobody here
sends them: answers to HEAD and CONNECT on the client side, and upgrades.
"""

from __future__ import annotations

from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.heads import (
    REASONS,
    Head,
    encode_head,
    encode_request,
    encode_response,
    parse_headers,
    parse_request_head,
    parse_response_head,
    split_lines,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "REASONS",
    "Event",
    "Head",
    "Parser",
    "encode_chunk",
    "encode_chunked_head",
    "encode_last_chunk",
    "encode_request",
    "encode_response",
    "parse_headers",
    "parse_request_head",
    "parse_response_head",
]

Event = Head | bytes | dict[str, str]

# A chunk-size line is a few hex digits; more is an attack on our memory.
_MAX_CHUNK_LINE = 256
_HEX = frozenset("0123456789abcdefABCDEF")
_CLOSED = "connection closed in the middle of a message"


class Parser:
    """Incremental parser of one side of a connection: feed bytes, take events.

    `next_event()` gives, in order for each message: a Head, body pieces as bytes (never empty), and
    a dict of trailers (usually empty) that ends the message. It gives None when more bytes are
    needed. After the end of a message it goes on with the next. Raises RemoteProtocolError once and
    then for ever: a broken connection cannot be resumed.
    """

    __slots__ = ("_buffer", "_eof", "_failed", "_left", "_max_head", "_request", "_seen", "_state")

    def __init__(self, *, request: bool, max_head_bytes: int) -> None:
        self._request = request
        self._max_head = max_head_bytes
        self._buffer = bytearray()
        self._state = "head"
        self._left = 0
        # How much of the buffer has been searched for the end of a head without success.
        self._seen = 0
        self._eof = False
        self._failed: RemoteProtocolError | None = None

    def feed(self, data: bytes) -> None:
        """Add bytes from the peer."""
        self._buffer += data

    def feed_eof(self) -> None:
        """The peer closed its side. A body without a length ends here."""
        self._eof = True

    @property
    def idle(self) -> bool:
        """True between two messages with nothing buffered: closing now loses nothing."""
        return self._state == "head" and not self._buffer

    @property
    def left(self) -> int:
        """How many bytes of a body or a chunk are known to be still to come."""
        return self._left

    @property
    def ends_with_connection(self) -> bool:
        """True inside a body that has no other end than the end of the connection."""
        return self._state == "until_eof"

    def next_event(self) -> Event | None:
        """The next event, or None when more bytes are needed."""
        if self._failed is not None:
            raise RemoteProtocolError(str(self._failed), status=self._failed.status)
        try:
            event = _STEPS[self._state](self)
            if event is None and self._eof and not self.idle:
                raise RemoteProtocolError(_CLOSED)
        except RemoteProtocolError as error:
            self._failed = error
            raise
        return event

    def _head(self) -> Event | None:
        raw = self._block()
        if raw is None:
            return None
        head = parse_request_head(raw) if self._request else parse_response_head(raw)
        if head.chunked:
            self._state = "size"
        elif head.content_length is None:
            self._state = "until_eof"
        else:
            self._left = head.content_length
            self._state = "length" if self._left else "end"
        return head

    def _length(self) -> Event | None:
        return self._body("end")

    def _until_eof(self) -> Event | None:
        data = self._take(len(self._buffer))
        if data is None and self._eof:
            return self._end()
        return data

    def _end(self) -> Event | None:
        self._state = "head"
        return {}

    def _size(self) -> Event | None:
        end = self._buffer.find(b"\n")
        if (len(self._buffer) if end < 0 else end) > _MAX_CHUNK_LINE:
            raise RemoteProtocolError(f"chunk-size line over {_MAX_CHUNK_LINE} bytes")
        if end < 0:
            return None
        line = self._buffer[: end + 1].decode("latin-1")
        size, _, extension = line[:-2].partition(";")
        size = size.rstrip(" \t")
        if (
            not line.endswith("\r\n")
            or "\r" in extension
            or not 0 < len(size) <= 12
            or not _HEX.issuperset(size)
        ):
            raise RemoteProtocolError(f"malformed chunk size {line[:40]!r}")
        del self._buffer[: end + 1]
        self._left = int(size, 16)
        self._state = "chunk" if self._left else "trailers"
        return self.next_event()

    def _chunk(self) -> Event | None:
        return self._body("chunk_end")

    def _chunk_end(self) -> Event | None:
        if not b"\r\n".startswith(self._buffer[:2]):
            raise RemoteProtocolError("chunk longer than its size")
        if len(self._buffer) < 2:
            return None
        del self._buffer[:2]
        self._state = "size"
        return self.next_event()

    def _trailers(self) -> Event | None:
        if self._buffer[:2] == b"\r\n":
            del self._buffer[:2]
            return self._end()
        raw = self._block()
        if raw is None:
            return None
        self._state = "head"
        return parse_headers(split_lines(raw))

    def _block(self) -> bytes | None:
        """Everything before the next blank line, taken; None when that has not arrived yet."""
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", self._seen)
        if (len(buffer) - 3 if end < 0 else end) > self._max_head:
            raise RemoteProtocolError(f"head over {self._max_head} bytes", status=431)
        if end < 0:
            self._refuse_early()
            self._seen = max(0, len(buffer) - 3)
            return None
        self._seen = 0
        raw = bytes(buffer[:end])
        del buffer[: end + 4]
        return raw

    def _refuse_early(self) -> None:
        """Refuse an unfinished head that can never be one, instead of waiting for its end."""
        buffer, start = self._buffer, self._seen
        before = max(0, start - 1)
        breaks = buffer.count(b"\r\n", before)
        # A CR in the last place may still get its LF.
        returns = buffer.count(b"\r", before, max(0, len(buffer) - 1))
        if not breaks == returns == buffer.count(b"\n", start) or buffer.find(b"\0", start) >= 0:
            raise RemoteProtocolError("bare CR, LF or NUL in a head")

    def _body(self, after: str) -> bytes | None:
        data = self._take(self._left)
        if data is not None:
            self._left -= len(data)
            if not self._left:
                self._state = after
        return data

    def _take(self, limit: int) -> bytes | None:
        buffer = self._buffer
        if not buffer:
            return None
        if limit >= len(buffer):
            data = bytes(buffer)
            buffer.clear()
        else:
            data = bytes(buffer[:limit])
            del buffer[:limit]
        return data


_STEPS = {
    "head": Parser._head,
    "length": Parser._length,
    "until_eof": Parser._until_eof,
    "end": Parser._end,
    "size": Parser._size,
    "chunk": Parser._chunk,
    "chunk_end": Parser._chunk_end,
    "trailers": Parser._trailers,
}


def encode_chunked_head(start: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Head of a message whose body follows in chunks. `start` is the whole start line."""
    return encode_head(start, (*headers, ("Transfer-Encoding", "chunked")))


def encode_chunk(data: bytes) -> bytes:
    """One chunk. Empty data gives no bytes, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode_last_chunk(trailers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The end of a chunked body, with trailers. Raises LocalProtocolError like encode_request."""
    pairs = tuple(trailers)
    return encode_head("0", pairs) if pairs else b"0\r\n\r\n"
