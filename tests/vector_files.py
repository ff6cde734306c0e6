"""Reads the hand-typed vectors, once with our parser and once without it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from pieces import Parsed, bytewise, parse, parse_one

VECTORS = Path(__file__).parent / "conformance" / "vectors"


def raw(name: str) -> bytes:
    """The bytes of a vector."""
    _, _, data = (VECTORS / f"{name}.http").read_bytes().partition(b"\n")
    return data


class Meaning(NamedTuple):
    """What a message says, whatever the case, order and framing it was written in."""

    start: str
    headers: dict[str, str]
    body: object
    trailers: dict[str, str]


# Not part of the message: who speaks, when, and how the body is delimited.
_INCIDENTAL = {"date", "user-agent", "accept", "content-length"}


def meaning(data: bytes) -> Meaning:
    """Read a message by splitting, without our parser. The reason of a response is no meaning."""
    head, _, body = data.partition(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    headers = _fields(lines)
    trailers: dict[str, str] = {}
    if headers.get("transfer-encoding") == "chunked":
        body, trailers = _unchunked(body)
        if headers.get("lambda-runtime-function-response-mode") != "streaming":
            del headers["transfer-encoding"]
    if start.startswith("HTTP/1.1 "):
        start = start[:12]
    kept = {name: value for name, value in headers.items() if name not in _INCIDENTAL}
    return Meaning(start, kept, _content(body, headers), trailers)


def _fields(lines: list[str]) -> dict[str, str]:
    pairs = (line.split(":", 1) for line in lines)
    return {name.lower(): value.strip() for name, value in pairs}


def _unchunked(data: bytes) -> tuple[bytes, dict[str, str]]:
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            break
        body, data = body + data[:length], data[length + 2 :]
    return body, _fields([line for line in data.decode().split("\r\n") if line])


def _content(body: bytes, headers: dict[str, str]) -> object:
    if body and headers.get("content-type") == "application/json":
        return json.loads(body)
    return body


def received(name: str) -> Parsed:
    """The vector as our parser reads it, which must not depend on how the bytes arrive."""
    is_request = name.endswith(".request")
    parsed = parse_one(raw(name), request=is_request)
    assert ([parsed], False) == parse(bytewise(raw(name)), request=is_request)
    return parsed


def common(parsed: Parsed) -> tuple[tuple[str, str], ...]:
    """The headers that the sender of the vector sends with every request."""
    return (("Host", parsed.headers["host"]),)
