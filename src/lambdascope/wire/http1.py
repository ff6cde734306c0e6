"""HTTP/1.1 framing without I/O: bytes to messages and back, for both roles.

Covers what the three Lambda APIs and OTLP over loopback need (RFC 9112): Content-Length and chunked
bodies, trailers, keep-alive, interim 1xx responses. Refuses what is only ever an attack or a
mistake: obsolete line folding, conflicting lengths, bare CR, oversized heads. Knows no socket and
no Lambda. Header names are lower case in every parsed message; repeated headers are joined with ",
".
"""

from __future__ import annotations

from lambdascope.wire.errors import LocalProtocolError, RemoteProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

REASONS = {
    100: "Continue",
    200: "OK",
    202: "Accepted",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    410: "Gone",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
# A chunk-size line is a few hex digits; more is an attack on our memory.
_MAX_CHUNK_LINE = 256
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset("0123456789abcdefABCDEF")


class Head:
    """Start line and headers of one message.

    A request has `method` and `target`; a response has `status`. `headers` maps lower-case names to
    values. `content_length` is None when the body is chunked or ends with the connection.
    """

    __slots__ = ("chunked", "content_length", "headers", "keep_alive", "method", "status", "target")

    def __init__(self, *, method: str, target: str, status: int, headers: dict[str, str]) -> None:
        self.method = method
        self.target = target
        self.status = status
        self.headers = headers
        self.keep_alive = True
        self.chunked = False
        self.content_length: int | None = None


def parse_headers(lines: list[str]) -> dict[str, str]:
    """Header lines (without line ends) to a dict with lower-case names.

    Raises RemoteProtocolError for folding, a missing colon or a name that is not a token.
    """
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or not _TOKEN.issuperset(name):
            raise RemoteProtocolError(f"malformed header line {line[:60]!r}")
        key = name.lower()
        value = value.strip(" \t")
        if key in headers:
            if key == "content-length" and headers[key] != value:
                raise RemoteProtocolError("two different Content-Length headers")
            if key != "content-length":
                headers[key] = f"{headers[key]}, {value}"
        else:
            headers[key] = value
    return headers


def _split_head(raw: bytes) -> tuple[str, dict[str, str]]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = text.split("\r\n")
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise RemoteProtocolError("bare CR, LF or NUL in a head")
    return lines[0], parse_headers(lines[1:])


def parse_request_head(raw: bytes) -> Head:
    """Parse a request head (everything before the blank line). Raises RemoteProtocolError."""
    start, headers = _split_head(raw)
    parts = start.split(" ")
    if len(parts) != 3 or not parts[0].isalpha() or not parts[1]:
        raise RemoteProtocolError(f"malformed request line {start[:60]!r}")
    if parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise RemoteProtocolError(f"not HTTP/1.1: {start[:60]!r}", status=505)
    head = Head(method=parts[0], target=parts[1], status=0, headers=headers)
    _frame(head, minor=parts[2][-1])
    if not head.chunked and head.content_length is None:
        head.content_length = 0
    return head


def parse_response_head(raw: bytes) -> Head:
    """Parse a response head (everything before the blank line). Raises RemoteProtocolError."""
    start, headers = _split_head(raw)
    version, _, rest = start.partition(" ")
    code = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not (code.isascii() and code.isdigit()):
        raise RemoteProtocolError(f"malformed status line {start[:60]!r}")
    head = Head(method="", target="", status=int(code), headers=headers)
    _frame(head, minor=version[-1])
    if head.status < 200 or head.status in (204, 304):
        head.content_length, head.chunked = 0, False
    return head


def _frame(head: Head, *, minor: str) -> None:
    """Decide how the body is delimited and whether the connection stays open."""
    headers = head.headers
    length = headers.get("content-length")
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if length is not None:
            raise RemoteProtocolError("both Content-Length and Transfer-Encoding")
        if coding.lower() != "chunked":
            raise RemoteProtocolError(f"unknown transfer coding {coding[:40]!r}", status=501)
        head.chunked = True
    elif length is not None:
        if not (length.isascii() and length.isdigit()) or len(length) > 15:
            raise RemoteProtocolError(f"malformed Content-Length {length[:40]!r}")
        head.content_length = int(length)
    connection = headers.get("connection")
    if connection is None:
        head.keep_alive = minor == "1"
    else:
        options = connection.lower()
        head.keep_alive = "close" not in options and (minor == "1" or "keep-alive" in options)


class Parser:
    """Incremental parser of one side of a connection: feed bytes, take events.

    `next_event()` gives, in order for each message: a Head, body pieces as bytes (never empty), and
    a dict of trailers (usually empty) that ends the message. It gives None when more bytes are
    needed. After the end of a message it goes on with the next. Raises RemoteProtocolError once and
    then for ever: a broken connection cannot be resumed.
    """

    __slots__ = ("_buffer", "_eof", "_failed", "_left", "_max_head", "_request", "_state")

    def __init__(self, *, request: bool, max_head_bytes: int) -> None:
        self._request = request
        self._max_head = max_head_bytes
        self._buffer = bytearray()
        self._state = "head"
        self._left = 0
        self._eof = False
        self._failed = ""

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

    def next_event(self) -> Head | bytes | dict[str, str] | None:
        """The next event, or None when more bytes are needed."""
        if self._failed:
            raise RemoteProtocolError(self._failed)
        try:
            event = _STEPS[self._state](self)
        except RemoteProtocolError as error:
            self._failed = str(error)
            raise
        if event is None and self._eof and not self.idle:
            self._failed = "connection closed in the middle of a message"
            raise RemoteProtocolError(self._failed)
        return event

    def _head(self) -> Head | bytes | dict[str, str] | None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > self._max_head:
                raise RemoteProtocolError(f"head over {self._max_head} bytes", status=431)
            return None
        if end > self._max_head:
            raise RemoteProtocolError(f"head over {self._max_head} bytes", status=431)
        raw = bytes(self._buffer[:end])
        del self._buffer[: end + 4]
        head = parse_request_head(raw) if self._request else parse_response_head(raw)
        if head.chunked:
            self._state = "size"
        elif head.content_length is None:
            self._state = "until_eof"
        else:
            self._left = head.content_length
            self._state = "length" if self._left else "end"
        return head

    def _length(self) -> Head | bytes | dict[str, str] | None:
        data = self._take(self._left)
        if data is None:
            return None
        self._left -= len(data)
        if not self._left:
            self._state = "end"
        return data

    def _until_eof(self) -> Head | bytes | dict[str, str] | None:
        data = self._take(len(self._buffer))
        if data is None and self._eof:
            self._state = "head"
            return {}
        return data

    def _end(self) -> Head | bytes | dict[str, str] | None:
        self._state = "head"
        return {}

    def _size(self) -> Head | bytes | dict[str, str] | None:
        end = self._buffer.find(b"\r\n")
        if end < 0 or end > _MAX_CHUNK_LINE:
            if len(self._buffer) > _MAX_CHUNK_LINE:
                raise RemoteProtocolError(f"chunk-size line over {_MAX_CHUNK_LINE} bytes")
            return None
        text = self._buffer[:end].decode("latin-1").partition(";")[0].strip(" \t")
        if not text or not _HEX.issuperset(text) or len(text) > 12:
            raise RemoteProtocolError(f"malformed chunk size {text[:40]!r}")
        del self._buffer[: end + 2]
        self._left = int(text, 16)
        self._state = "chunk" if self._left else "trailers"
        return self.next_event()

    def _chunk(self) -> Head | bytes | dict[str, str] | None:
        data = self._take(self._left)
        if data is None:
            return None
        self._left -= len(data)
        if not self._left:
            self._state = "chunk_end"
        return data

    def _chunk_end(self) -> Head | bytes | dict[str, str] | None:
        if len(self._buffer) < 2:
            return None
        if self._buffer[:2] != b"\r\n":
            raise RemoteProtocolError("chunk longer than its size")
        del self._buffer[:2]
        self._state = "size"
        return self.next_event()

    def _trailers(self) -> Head | bytes | dict[str, str] | None:
        if self._buffer[:2] == b"\r\n":
            del self._buffer[:2]
            self._state = "head"
            return {}
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > self._max_head:
                raise RemoteProtocolError(f"trailers over {self._max_head} bytes", status=431)
            return None
        lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        self._state = "head"
        return parse_headers(lines)

    def _take(self, limit: int) -> bytes | None:
        if not self._buffer:
            return None
        data = bytes(self._buffer[:limit])
        del self._buffer[:limit]
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


def _encode(start: str, headers: Iterable[tuple[str, str]]) -> bytes:
    lines = [start]
    for name, value in headers:
        lines.append(f"{name}: {value}")
    text = "\r\n".join(lines)
    # One scan for the whole head: a line break that did not come from the join is an injection.
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1 or "\0" in text:
        raise LocalProtocolError(f"line break or NUL in a header of {start[:60]!r}")
    return text.encode("utf-8", "replace") + b"\r\n\r\n"


def encode_request(
    method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> bytes:
    """A whole request with Content-Length. Raises LocalProtocolError for a line break in a head."""
    length = ("Content-Length", str(len(body)))
    return _encode(f"{method} {target} HTTP/1.1", (*headers, length)) + body


def encode_response(status: int, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """A whole response with Content-Length. Raises LocalProtocolError like encode_request."""
    reason = REASONS.get(status, "Unknown")
    length = ("Content-Length", str(len(body)))
    return _encode(f"HTTP/1.1 {status} {reason}", (*headers, length)) + body


def encode_chunked_head(start: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """Head of a message whose body follows in chunks. `start` is the whole start line."""
    return _encode(start, (*headers, ("Transfer-Encoding", "chunked")))


def encode_chunk(data: bytes) -> bytes:
    """One chunk. Empty data gives no bytes, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def encode_last_chunk(trailers: Iterable[tuple[str, str]] = ()) -> bytes:
    """The end of a chunked body, with trailers. Raises LocalProtocolError like encode_request."""
    pairs = tuple(trailers)
    if not pairs:
        return b"0\r\n\r\n"
    return _encode("0", pairs)
