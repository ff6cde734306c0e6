"""What a function URL makes of a function's answer: status, headers and body of an HTTP response.

A buffered answer follows payload format 2.0; a streamed one is either plain bytes, or begins with a
prelude (JSON and eight NUL bytes). Pure but for reading the pieces of a stream; `function_url`
sends the result. Source: AWS Lambda developer guide, "Invoking Lambda function URLs" and "Response
streaming for Lambda functions".
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_MAX_PRELUDE_BYTES = 1024 * 1024
# Those of one connection (RFC 9110, 7.6.1), and the length, which is counted here.
_OF_THE_HOP = frozenset(
    ("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade")
)


class MalformedAnswer(Exception):
    """An answer of which no HTTP response can be made; Lambda answers 502."""


@dataclass(frozen=True, kw_only=True)
class HttpHead:
    """Status and headers of a response."""

    status: int
    headers: tuple[tuple[str, str], ...]


def buffered_answer(answer: bytes) -> tuple[HttpHead, bytes]:
    """The response that an answer in JSON asks for. Raises MalformedAnswer.

    An object with a statusCode is a response; any other value is the body of one.
    """
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        raise MalformedAnswer("the answer is not JSON") from None
    if not isinstance(value, dict) or "statusCode" not in value:
        headers = (("content-type", names.CONTENT_TYPE_JSON),)
        return HttpHead(status=200, headers=headers), answer
    return _head(value, names.CONTENT_TYPE_JSON), _body(value)


def streamed_answer(content_type: str, pieces: Iterator[bytes]) -> tuple[HttpHead, bytes]:
    """The head of a streamed response, and what has come of its body already.

    Reads `pieces` as far as it must. Raises MalformedAnswer.
    """
    if content_type.partition(";")[0].strip().lower() != names.HTTP_INTEGRATION_TYPE:
        return HttpHead(status=200, headers=(("content-type", content_type),)), b""
    held = bytearray()
    for piece in pieces:
        # The end may be in two pieces.
        start = max(0, len(held) - len(names.HTTP_PRELUDE_END) + 1)
        held += piece
        end = held.find(names.HTTP_PRELUDE_END, start)
        if end >= 0:
            return _prelude(bytes(held[:end])), bytes(held[end + len(names.HTTP_PRELUDE_END) :])
        if len(held) > _MAX_PRELUDE_BYTES:
            break
    raise MalformedAnswer("the prelude of the streamed response does not end with eight NUL bytes")


def _prelude(text: bytes) -> HttpHead:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise MalformedAnswer("the prelude of the streamed response is not a JSON object")
    value.setdefault("statusCode", 200)
    return _head(value, names.CONTENT_TYPE_BINARY)


def _head(value: dict[str, object], content_type: str) -> HttpHead:
    headers = [pair for pair in _pairs(value) if pair[0].lower() not in _OF_THE_HOP]
    if not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("content-type", content_type))
    return HttpHead(status=_status(value["statusCode"]), headers=tuple(headers))


def _status(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"[1-5]\d\d", text) or int(text) < 200:
        raise MalformedAnswer(f"statusCode is {text[:40]!r}, not a number from 200 to 599")
    return int(text)


def _pairs(value: dict[str, object]) -> Iterator[tuple[str, str]]:
    headers = value.get("headers") or {}
    if not isinstance(headers, dict):
        raise MalformedAnswer("headers is not an object")
    for name, content in headers.items():
        yield _header(name, content)
    cookies = value.get("cookies") or []
    if not isinstance(cookies, list):
        raise MalformedAnswer("cookies is not a list")
    for cookie in cookies:
        yield _header("set-cookie", cookie)


def _header(name: str, value: object) -> tuple[str, str]:
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, (str, int, float)):
        raise MalformedAnswer(f"header {name[:60]!r} is a {type(value).__name__}, not a string")
    text = str(value)
    if not _TOKEN.fullmatch(name) or any(c in text for c in "\r\n\0"):
        raise MalformedAnswer(f"header {name[:60]!r} has characters that a header cannot have")
    return name, text


def _body(value: dict[str, object]) -> bytes:
    body = value.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise MalformedAnswer(f"body is a {type(body).__name__}, not a string")
    if not value.get("isBase64Encoded"):
        return body.encode("utf-8", "replace")
    try:
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise MalformedAnswer("body is not base64, but isBase64Encoded is true") from None
