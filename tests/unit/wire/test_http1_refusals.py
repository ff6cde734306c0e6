"""What the framing refuses: mistakes of a peer when parsing, injections when encoding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lambdascope.wire import http1
from lambdascope.wire.errors import LocalProtocolError, RemoteProtocolError
from lambdascope.wire.http1 import Head, Parser
from pieces import MAX_HEAD_BYTES, bytewise, parse

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = b"POST / HTTP/1.1\r\nHost: h\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
REFUSED_REQUESTS = {
    "folded header": (HEAD + b"A: b\r\n c\r\n\r\n", 400),
    "folding with a tab": (HEAD + b"A: b\r\n\tc: d\r\n\r\n", 400),
    "space before the colon": (HEAD + b"A : b\r\n\r\n", 400),
    "no colon": (HEAD + b"A\r\n\r\n", 400),
    "known name without a colon": (HEAD + b"Content-Length\r\n\r\n", 400),
    "empty name": (HEAD + b": b\r\n\r\n", 400),
    "name that is no token": (HEAD + b"A(b): c\r\n\r\n", 400),
    "name beyond ascii": (HEAD + "\u212aey: c\r\n\r\n".encode(), 400),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "two lengths in one": (HEAD + b"Content-Length: 1, 1\r\n\r\n", 400),
    "length and coding": (HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    "negative length": (HEAD + b"Content-Length: -1\r\n\r\n", 400),
    "signed length": (HEAD + b"Content-Length: +1\r\n\r\n", 400),
    "grouped length": (HEAD + b"Content-Length: 1_0\r\n\r\n", 400),
    "empty length": (HEAD + b"Content-Length: \r\n\r\n", 400),
    "length in other digits": (HEAD + "Content-Length: \u0661\r\n\r\n".encode(), 400),
    "endless length": (HEAD + b"Content-Length: 1000000000000000\r\n\r\n", 400),
    "other coding": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "coding twice": (HEAD + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n", 501),
    "bare lf in a line": (HEAD + b"A: b\nC: d\r\n\r\n", 400),
    "bare lf as line ends": (b"GET / HTTP/1.1\nHost: h\n\n", 400),
    "bare cr in a line": (HEAD + b"A: b\rC: d\r\n\r\n", 400),
    "cr before crlf": (HEAD + b"A: b\r\r\n\r\n", 400),
    "nul": (HEAD + b"A: \0\r\n\r\n", 400),
    "nul before the end of the head": (b"\x16\x03\x01\0\0\0\0", 400),
    "empty line first": (b"\r\n" + HEAD + b"\r\n", 400),
    "nothing but an empty line": (b"\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "no target": (b"GET  HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "two words": (b"GET /\r\nHost: h\r\n\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "tab in the target": (b"GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "target beyond ascii": ("GET /\u00e9 HTTP/1.1\r\nHost: h\r\n\r\n".encode(), 400),
    "method that is no token": (b"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "no method": (b" / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
    "http/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "other version": (b"GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505),
    "lower-case version": (b"GET / http/1.1\r\nHost: h\r\n\r\n", 505),
    "head too long": (HEAD + b"A: " + b"a" * MAX_HEAD_BYTES + b"\r\n\r\n", 431),
    "head without end": (HEAD + b"A: " + b"a" * MAX_HEAD_BYTES, 431),
    "chunk size that is no number": (CHUNKED + b"x\r\n", 400),
    "signed chunk size": (CHUNKED + b"+1\r\na\r\n", 400),
    "prefixed chunk size": (CHUNKED + b"0x1\r\na\r\n", 400),
    "space before the chunk size": (CHUNKED + b" 1\r\na\r\n", 400),
    "empty chunk size": (CHUNKED + b"\r\n", 400),
    "chunk size of nothing but an extension": (CHUNKED + b";a\r\n", 400),
    "huge chunk size": (CHUNKED + b"1000000000000\r\n", 400),
    "chunk size ended by a bare lf": (CHUNKED + b"1\na", 400),
    "bare lf in a chunk extension": (CHUNKED + b"1;a\nb\r\na\r\n", 400),
    "bare cr in a chunk extension": (CHUNKED + b"1;a\rb\r\na\r\n", 400),
    "long chunk extension": (CHUNKED + b"1;" + b"a" * 256 + b"\r\na\r\n", 400),
    "chunk extension without end": (CHUNKED + b"1;" + b"a" * 256, 400),
    "chunk longer than its size": (CHUNKED + b"1\r\nab\r\n", 400),
    "chunk ended by a bare lf": (CHUNKED + b"1\r\na\n0\r\n\r\n", 400),
    "folded trailer": (CHUNKED + b"0\r\nA: b\r\n c\r\n\r\n", 400),
    "bare lf in a trailer": (CHUNKED + b"0\r\nA: b\nC: d\r\n\r\n", 400),
    "nul in a trailer": (CHUNKED + b"0\r\nA: \0\r\n\r\n", 400),
    "trailers too long": (CHUNKED + b"0\r\nAB: " + b"a" * MAX_HEAD_BYTES, 431),
}
REFUSED_RESPONSES = {
    "no http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "version alone": b"HTTP/1.1\r\n\r\n",
    "no status": b"HTTP/1.1 \r\n\r\n",
    "two digits": b"HTTP/1.1 20\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "letters": b"HTTP/1.1 2OO OK\r\n\r\n",
    "no space before the status": b"HTTP/1.1-200 OK\r\n\r\n",
    "no space behind the status": b"HTTP/1.1 200OK\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 Low\r\n\r\n",
    "other digits": "HTTP/1.1 \u0662\u0660\u0660 OK\r\n\r\n".encode(),
    "other version": b"HTTP/2.0 200 OK\r\n\r\n",
    "upgrade that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "bare lf": b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
}


@pytest.mark.parametrize(
    ("data", "status"), [pytest.param(*case, id=name) for name, case in REFUSED_REQUESTS.items()]
)
def test_refused_request(data: bytes, status: int) -> None:
    """Each mistake is refused with its status, whole or byte by byte, for ever."""
    for pieces in ([data], bytewise(data)):
        parser = Parser(request=True, max_head_bytes=MAX_HEAD_BYTES)
        with pytest.raises(RemoteProtocolError) as first:
            _read_all(parser, pieces)
        assert status == first.value.status
        parser.feed(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        with pytest.raises(RemoteProtocolError) as again:
            parser.next_event()
        assert (status, str(first.value)) == (again.value.status, str(again.value))


def _read_all(parser: Parser, pieces: list[bytes]) -> None:
    for piece in pieces:
        parser.feed(piece)
        while parser.next_event() is not None:
            pass


@pytest.mark.parametrize(
    "data", [pytest.param(data, id=name) for name, data in REFUSED_RESPONSES.items()]
)
def test_refused_response(data: bytes) -> None:
    """Each mistake of a server is refused, whole or byte by byte."""
    assert parse([data], request=False) == ([], True)
    assert parse(bytewise(data), request=False) == ([], True)


def test_longest_head() -> None:
    """A head of exactly the limit is taken, one byte more is not, however it arrives."""
    for extra, refused in ((0, False), (1, True)):
        head = b"GET / HTTP/1.1\r\nHost: h\r\nA: "
        data = head + b"a" * (MAX_HEAD_BYTES - len(head) + extra) + b"\r\n\r\n"
        assert refused == parse([data], request=True).refused
        assert refused == parse(bytewise(data), request=True).refused


def test_a_long_head_in_small_pieces_is_searched_once() -> None:
    """A head that arrives byte by byte costs time in proportion to its length."""
    parser = Parser(request=True, max_head_bytes=1 << 20)
    parser.feed(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A: b\r\n" * 100_000)
    assert parser.next_event() is None
    # At a search of the whole buffer for each byte, this would take minutes.
    for _ in range(100_000):
        parser.feed(b"c")
        assert parser.next_event() is None
    parser.feed(b":\r\n\r\n")
    assert isinstance(parser.next_event(), Head)


INJECTIONS = ["a\r\nB: c", "a\nb", "a\rb", "a\0b", "\r\n\r\nGET / HTTP/1.1"]


@pytest.mark.parametrize("text", INJECTIONS)
def test_injection_is_refused_when_encoding(text: str) -> None:
    """A line break or NUL never leaves our side, wherever it stands."""
    encoders: list[Callable[[], bytes]] = [
        lambda: http1.encode_request("GET", "/", (("Host", "h"), ("X", text))),
        lambda: http1.encode_request("POST", "/", ((text, "x"),), b"body"),
        lambda: http1.encode_request("POST", "/" + text.replace(" ", ""), ()),
        lambda: http1.encode_request(text, "/", ()),
        lambda: http1.encode_response(200, (("X", text),)),
        lambda: http1.encode_response(204, (("X", text),)),
        lambda: http1.encode_chunked_head("HTTP/1.1 200 OK", (("X", text),)),
        lambda: http1.encode_chunked_head(text, ()),
        lambda: http1.encode_last_chunk((("X", text),)),
    ]
    for encode in encoders:
        with pytest.raises(LocalProtocolError):
            encode()


def test_space_in_a_target_is_refused_when_encoding() -> None:
    """A space would make another request line of it."""
    with pytest.raises(LocalProtocolError, match="space"):
        http1.encode_request("GET", "/a b", ())
