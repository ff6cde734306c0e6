"""The one request that the runtime sends for each invocation, as the extension knows it at a look.

It is plain HTTP, with an OTLP body, and any server of HTTP takes it. Both ends have it in every
invocation, though, with the same bytes around id and numbers: written and read in one place, they
need not be put together and taken apart each time. `parse` gives None for whatever is not exactly
this; then it is a request like any other.
"""

from __future__ import annotations

from lambdascope.wire import names
from lambdascope.wire.errors import LocalProtocolError
from lambdascope.wire.heads import encode_head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_END = b"\r\n\r\n"
_DONE = f"\r\n{names.HANDOFF_DONE}: ".encode()
_LENGTH = b"\r\nContent-Length: "
_MAX_DIGITS = 9
_BREAKS = frozenset("\r\n\0")


def prefix(host: str, token: str) -> bytes:
    """What comes before the request id. Raises LocalProtocolError for a line break in it."""
    headers = (
        ("Host", host),
        (names.HANDOFF_TOKEN, token),
        ("Content-Type", names.CONTENT_TYPE_PROTOBUF),
        (names.HANDOFF_REQUEST_ID, ""),
    )
    return encode_head(f"POST {names.TRACES_PATH} HTTP/1.1", headers)[: -len(_END)]


def encoder(before: bytes) -> Callable[[str, int, bytes], bytes]:
    """Makes requests of request ids, numbers of spans and bodies; `before` is from `prefix`.

    What it makes raises LocalProtocolError for an id with a line break or a NUL.
    """

    def encode(request_id: str, spans: int, body: bytes) -> bytes:
        if not request_id.isprintable() and not _BREAKS.isdisjoint(request_id):
            raise LocalProtocolError(f"line break or NUL in the request id {request_id[:60]!r}")
        size = len(body)
        tail = f"{request_id}\r\n{names.HANDOFF_DONE}: {spans}\r\nContent-Length: {size}\r\n\r\n"
        return b"".join((before, tail.encode("utf-8", "replace"), body))

    return encode


def parse(data: bytes, before: bytes) -> tuple[str, int, bytes] | None:
    """Request id, spans and body, if `data` is one whole such request."""
    if not data.startswith(before):
        return None
    end = data.find(_END)
    if end < 0:
        return None
    request_id, is_done, rest = data[len(before) : end].partition(_DONE)
    spans, has_length, length = rest.partition(_LENGTH)
    if (
        not (is_done and has_length and spans.isdigit() and length.isdigit())
        or len(spans) > _MAX_DIGITS
        or len(length) > _MAX_DIGITS
        or int(length) != len(data) - end - len(_END)
        or not request_id.replace(b"-", b"").isalnum()
    ):
        return None
    return request_id.decode(), int(spans), data[end + len(_END) :]
