"""HTTP/1.1 heads without I/O: start line and headers to a Head and back, for both roles.

The part of RFC 9112 that a process needs before its first request; `http1` has the rest (bodies,
chunks, trailers) and is loaded when a peer makes it necessary. Refuses what is only ever an attack
or a mistake: obsolete line folding, conflicting lengths, bare CR or LF. Knows no socket and no
Lambda. Header names are lower case in every parsed message; repeated headers are joined with ", ",
those of Lambda only where they differ.
"""

from __future__ import annotations

from lambdascope.wire import names
from lambdascope.wire.errors import LocalProtocolError, RemoteProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

REASONS = {
    100: "Continue",
    200: "OK",
    201: "Created",
    202: "Accepted",
    204: "No Content",
    206: "Partial Content",
    301: "Moved Permanently",
    302: "Found",
    303: "See Other",
    304: "Not Modified",
    307: "Temporary Redirect",
    308: "Permanent Redirect",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    410: "Gone",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    505: "HTTP Version Not Supported",
}
_BODYLESS = frozenset((100, 101, 204, 304))
_USUAL_STATUS = {f"HTTP/1.1 {status} {REASONS[status]}": status for status in (200, 202)}
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
# Names in the spelling of AWS's servers: they need no check and no lowering, which is half of the
# time that a head takes. Any other spelling gives the same result.
_KNOWN = {
    name: name.lower()
    for name in (
        names.REQUEST_ID,
        names.DEADLINE_MS,
        names.FUNCTION_ARN,
        names.TRACE_ID,
        names.INVOCATION_ID,
        names.EXTENSION_EVENT_IDENTIFIER,
        "Content-Length",
        "Content-Type",
        "Date",
    )
}


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


def split_lines(raw: bytes) -> list[str]:
    """The lines of a head or of trailers. Raises RemoteProtocolError for a bare CR, LF or NUL."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    lines = text.split("\r\n")
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise RemoteProtocolError("bare CR, LF or NUL in a head")
    return lines


def parse_headers(lines: Iterable[str]) -> dict[str, str]:
    """Header lines (without line ends) to a dict with lower-case names.

    Raises RemoteProtocolError for folding, a missing colon or a name that is not a token.
    """
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise RemoteProtocolError(f"malformed header line {line[:60]!r}")
        key = _KNOWN.get(name)
        if key is None:
            if not _is_token(name):
                raise RemoteProtocolError(f"malformed header line {line[:60]!r}")
            key = name.lower()
        value = value.strip(" \t")
        if key in headers:
            value = _repeated(key, headers[key], value)
        headers[key] = value
    return headers


def _repeated(key: str, before: str, value: str) -> str:
    single = key == "content-length" or key.startswith("lambda-")
    if single and before == value:
        return value
    if key == "content-length":
        raise RemoteProtocolError("two different Content-Length headers")
    return f"{before}, {value}"


def parse_request_head(raw: bytes) -> Head:
    """Parse a request head (everything before the blank line). Raises RemoteProtocolError."""
    start, *lines = split_lines(raw)
    parts = start.split(" ")
    if len(parts) != 3 or not _is_token(parts[0]) or not _is_target(parts[1]):
        raise RemoteProtocolError(f"malformed request line {start[:60]!r}")
    method, target, version = parts
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise RemoteProtocolError(f"not HTTP/1.1: {start[:60]!r}", status=505)
    head = Head(method=method, target=target, status=0, headers=parse_headers(lines))
    # A joined list would mean two Host headers; both are refused by RFC 9112, 3.2.
    if version == "HTTP/1.1" and ("host" not in head.headers or "," in head.headers["host"]):
        raise RemoteProtocolError("a request needs exactly one Host header")
    _frame(head, version)
    if not head.chunked and head.content_length is None:
        head.content_length = 0
    return head


def _is_token(text: str) -> bool:
    return text != "" and _TOKEN.issuperset(text)


def _is_target(text: str) -> bool:
    return text != "" and text.isascii() and text.isprintable()


def parse_response_head(raw: bytes) -> Head:
    """Parse a response head (everything before the blank line). Raises RemoteProtocolError."""
    lines = split_lines(raw)
    start = lines[0]
    del lines[0]
    status = _USUAL_STATUS.get(start) or _status(start)
    head = Head(method="", target="", status=status, headers=parse_headers(lines))
    _frame(head, start[:8])
    if status < 200 or status in _BODYLESS:
        head.content_length, head.chunked = 0, False
    elif head.content_length is None and not head.chunked:
        head.keep_alive = False
    return head


def _status(start: str) -> int:
    version, code = start[:8], start[9:12]
    if (
        (version != "HTTP/1.1" and version != "HTTP/1.0")
        or not (code.isascii() and code.isdigit() and len(code) == 3)
        or start[8] != " "
        or start[12:13] not in ("", " ")
    ):
        raise RemoteProtocolError(f"malformed status line {start[:60]!r}")
    status = int(code)
    if status < 100 or status == 101:
        raise RemoteProtocolError(f"unexpected status line {start[:60]!r}")
    return status


def plain_body(data: bytes) -> bytes | None:
    """The body, if this is one whole 200 whose length is all that its head says of its framing.

    The headers are not looked at otherwise: for a caller who has no use for them.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0 or not data.startswith(b"HTTP/1.1 200 OK\r\n"):
        return None
    head = data[:end].lower()
    rest = head.partition(b"\r\ncontent-length: ")[2]
    length, _, behind = rest.partition(b"\r\n")
    is_plain = (
        length.isdigit()
        and len(length) < 16
        and int(length) == len(data) - end - 4
        and b"\r\ntransfer-" not in head
        and b"\r\nconnection" not in head
        and b"content-length" not in behind
    )
    return data[end + 4 :] if is_plain else None


def _frame(head: Head, version: str) -> None:
    """Decide how the body is delimited and whether the connection stays open."""
    headers = head.headers
    length = headers.get("content-length")
    if length is not None:
        if not (length.isascii() and length.isdigit()) or len(length) > 15:
            raise RemoteProtocolError(f"malformed Content-Length {length[:40]!r}")
        head.content_length = int(length)
    old = version == "HTTP/1.0"
    if "connection" in headers:
        options = [option.strip() for option in headers["connection"].lower().split(",")]
        head.keep_alive = "close" not in options and (not old or "keep-alive" in options)
    elif old:
        head.keep_alive = False
    coding = headers.get("transfer-encoding")
    if coding is not None:
        if length is not None:
            raise RemoteProtocolError("both Content-Length and Transfer-Encoding")
        if coding.lower() != "chunked":
            raise RemoteProtocolError(f"unknown transfer coding {coding[:40]!r}", status=501)
        head.chunked = True
        if old:
            # Transfer codings came with 1.1, so the framing is suspect (RFC 9112, 6.1).
            head.keep_alive = False


def encode_head(start: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """A head with its blank line. Raises LocalProtocolError for a line break or NUL in it.

    Names are constants of the caller and not checked; characters that UTF-8 does not have become
    "?".
    """
    lines = [start]
    for name, value in headers:
        lines.append(f"{name}: {value}")
    text = "\r\n".join(lines)
    # One scan for the whole head: a line break that did not come from the join is an injection.
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise LocalProtocolError(f"line break or NUL in a header of {start[:60]!r}")
    return text.encode("utf-8", "replace") + b"\r\n\r\n"


def encode_request(
    method: str, target: str, headers: Iterable[tuple[str, str]], body: bytes = b""
) -> bytes:
    """A whole request, with Content-Length unless it is a GET without a body.

    Raises LocalProtocolError for a line break in the head or a space in the target.
    """
    if " " in target:
        raise LocalProtocolError(f"space in the target {target[:60]!r}")
    start = f"{method} {target} HTTP/1.1"
    if not body and method == "GET":
        return encode_head(start, headers)
    return encode_head(start, (*headers, ("Content-Length", str(len(body))))) + body


def encode_response(status: int, headers: Iterable[tuple[str, str]], body: bytes = b"") -> bytes:
    """A whole response, with Content-Length where the status allows a body.

    Raises LocalProtocolError for a line break in the head or a body that the status forbids.
    """
    start = f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}"
    if status in _BODYLESS:
        if body:
            raise LocalProtocolError(f"a body with status {status}")
        return encode_head(start, headers)
    return encode_head(start, (*headers, ("Content-Length", str(len(body))))) + body
