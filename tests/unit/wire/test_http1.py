"""HTTP/1.1 framing: hand-written messages, whole and in pieces, for both roles."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambdascope.wire import http1
from lambdascope.wire.errors import LocalProtocolError
from lambdascope.wire.heads import plain_body
from lambdascope.wire.http1 import Head, Parser
from pieces import MAX_HEAD_BYTES, Parsed, bytewise, parse, parse_one, split_at


def request(
    method: str, target: str, headers: dict[str, str], body: bytes = b"", **rest: object
) -> Parsed:
    """A request as the parser should give it back."""
    return _parsed(Parsed(method, target, 0, headers, body, {}, True), rest)


def response(status: int, headers: dict[str, str], body: bytes = b"", **rest: object) -> Parsed:
    """A response as the parser should give it back."""
    return _parsed(Parsed("", "", status, headers, body, {}, True), rest)


def _parsed(parsed: Parsed, rest: dict[str, object]) -> Parsed:
    return parsed._replace(**rest)  # type: ignore[arg-type]


REQUESTS = {
    "get without a body": (
        b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: h\r\n\r\n",
        request("GET", "/2018-06-01/runtime/invocation/next", {"host": "h"}),
    ),
    "post with a length": (
        b"POST /a?b=c HTTP/1.1\r\nHOST: h\r\ncontent-length:5\r\nX:\t a b \r\n\r\nhello",
        request("POST", "/a?b=c", {"host": "h", "content-length": "5", "x": "a b"}, b"hello"),
    ),
    "post of nothing": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        request("POST", "/a", {"host": "h", "content-length": "0"}),
    ),
    "same length twice": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        request("POST", "/a", {"host": "h", "content-length": "2"}, b"ok"),
    ),
    "chunked": (
        (
            b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
            b"5\r\nhello\r\n6 ;x=y\r\n world\r\n0\r\n\r\n"
        ),
        request("POST", "/a", {"host": "h", "transfer-encoding": "Chunked"}, b"hello world"),
    ),
    "chunked with trailers": (
        (
            b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: A, B\r\n\r\n"
            b"A\r\n0123456789\r\n000\r\nA: 1\r\nb: 2\r\nB: 3\r\n\r\n"
        ),
        request(
            "POST",
            "/a",
            {"host": "h", "transfer-encoding": "chunked", "trailer": "A, B"},
            b"0123456789",
            trailers={"a": "1", "b": "2, 3"},
        ),
    ),
    "chunked without chunks": (
        b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        request("POST", "/a", {"host": "h", "transfer-encoding": "chunked"}),
    ),
    "repeated header": (
        b"GET / HTTP/1.1\r\nHost: h\r\nAccept: a\r\naccept: b\r\nACCEPT: \r\n\r\n",
        request("GET", "/", {"host": "h", "accept": "a, b, "}),
    ),
    "text that is utf-8": (
        b"GET / HTTP/1.1\r\nHost: h\r\nX: \xc3\xa9\r\n\r\n",
        request("GET", "/", {"host": "h", "x": "\u00e9"}),
    ),
    "text that is not utf-8": (
        b"GET / HTTP/1.1\r\nHost: h\r\nX: \xe9\r\n\r\n",
        request("GET", "/", {"host": "h", "x": "\u00e9"}),
    ),
    "closing": (
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n",
        request("GET", "/", {"host": "h", "connection": "x, Close"}, keep_alive=False),
    ),
    "an option that only looks like close": (
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: x-close\r\n\r\n",
        request("GET", "/", {"host": "h", "connection": "x-close"}),
    ),
    "old version": (
        b"GET / HTTP/1.0\r\n\r\n",
        request("GET", "/", {}, keep_alive=False),
    ),
    "old version kept alive": (
        b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
        request("GET", "/", {"connection": "Keep-Alive"}),
    ),
    "old version in chunks": (
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        request(
            "POST",
            "/",
            {"connection": "keep-alive", "transfer-encoding": "chunked"},
            keep_alive=False,
        ),
    ),
}
RESPONSES = {
    "with a length": (
        b"HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: a\r\nContent-Length: 2\r\n\r\n{}",
        response(200, {"lambda-runtime-aws-request-id": "a", "content-length": "2"}, b"{}"),
    ),
    "without a reason": (
        b"HTTP/1.1 202\r\nContent-Length: 0\r\n\r\n",
        response(202, {"content-length": "0"}),
    ),
    "with an empty reason": (
        b"HTTP/1.1 202 \r\nContent-Length: 0\r\n\r\n",
        response(202, {"content-length": "0"}),
    ),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        response(200, {"transfer-encoding": "chunked"}, b"abc", trailers={"x": "y"}),
    ),
    "interim": (
        b"HTTP/1.1 100 Continue\r\n\r\n",
        response(100, {}),
    ),
    "without content": (
        b"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n",
        response(204, {"content-length": "7"}),
    ),
    "not modified": (
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
        response(304, {"transfer-encoding": "chunked"}),
    ),
}
VECTORS = [
    pytest.param(data, expected, is_request, id=name)
    for is_request, table in ((True, REQUESTS), (False, RESPONSES))
    for name, (data, expected) in table.items()
]


@pytest.mark.parametrize(("data", "expected", "is_request"), VECTORS)
def test_whole_message(data: bytes, expected: Parsed, is_request: bool) -> None:
    """A message fed at once comes out as it was written."""
    assert expected == parse_one(data, request=is_request)


@pytest.mark.parametrize(("data", "expected", "is_request"), VECTORS)
def test_byte_by_byte(data: bytes, expected: Parsed, is_request: bool) -> None:
    """A message fed byte by byte is the same message."""
    assert ([expected], False) == parse(bytewise(data), request=is_request)


@pytest.mark.parametrize(("data", "expected", "is_request"), VECTORS)
def test_followed_by_the_next(data: bytes, expected: Parsed, is_request: bool) -> None:
    """What follows a message belongs to the next one."""
    assert ([expected, expected, expected], False) == parse([data * 3], request=is_request)


@pytest.mark.parametrize(("data", "expected", "is_request"), VECTORS)
def test_cut_short(data: bytes, expected: Parsed, is_request: bool) -> None:
    """A message that ends anywhere before its end is refused, and never taken for a whole one."""
    for end in range(1, len(data)):
        outcome = parse([data[:end]], request=is_request, eof=True)
        assert outcome.refused, data[:end]
        assert all(message.trailers is None for message in outcome.messages)


@given(data=st.data())
def test_any_split_gives_the_same_messages(data: st.DataObject) -> None:
    """Where the bytes are cut makes no difference."""
    is_request = data.draw(st.booleans())
    table = REQUESTS if is_request else RESPONSES
    chosen = data.draw(st.lists(st.sampled_from(list(table.values())), min_size=1, max_size=3))
    stream = b"".join(raw for raw, _ in chosen)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=8))
    outcome = parse(split_at(stream, places), request=is_request)
    assert ([expected for _, expected in chosen], False) == outcome


FRAGMENTS = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 100 Continue",
        b"Host: h",
        b"Content-Length: 3",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
        b"\r\n",
        b"\r\n\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"0",
        b"3",
        b"f;x",
        b"abc",
        b" ",
        b":",
        b"\xff",
    ]
)
STREAMS = st.lists(FRAGMENTS | st.binary(max_size=4), max_size=24).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 200), max_size=8), st.booleans(), st.booleans())
@example(b"A" * 43 + b"\r\n\r\n", [42, 43, 44, 45, 46], True, False)
@example(b"HTTP/1.1 200 OK\r\nAAAAAAAAAAAAAAAAAAAAAAA:\r\n\r\n", [40, 42, 43, 44], False, False)
def test_garbage_is_refused_alike(
    stream: bytes, places: list[int], is_request: bool, eof: bool
) -> None:
    """Whatever the bytes, cutting them elsewhere changes nothing, and only one error is raised."""
    whole = parse([stream], request=is_request, eof=eof, max_head=40)
    for pieces in (split_at(stream, places), bytewise(stream)):
        assert whole == parse(pieces, request=is_request, eof=eof, max_head=40)


@given(STREAMS.map(lambda stream: b"HTTP/1.1 200 OK\r\nContent-Length: " + stream))
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nA: b\r\n\r\nx")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx")
@example(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc")
def test_a_plain_body_is_the_body(stream: bytes) -> None:
    """What is read without the headers is what the parser reads, unless it refuses the headers."""
    body = plain_body(stream)
    found, is_refused = parse([stream], request=False)
    if body is not None and not is_refused:
        assert [body] == [one.body for one in found]


def test_a_plain_body_of_the_usual_answer() -> None:
    """Any framing but one length, any other status, and bytes too many or few, are not plain."""
    usual = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nA: b\r\n\r\nx"
    assert b"x" == plain_body(usual)
    for old, new in (
        (b"200", b"202"),
        (b"A: b", b"Connection: close"),
        (b"A: b", b"transfer-encoding: chunked"),
        (b"A: b", b"Content-length: 1"),
        (b": 1", b": 2"),
        (b"Content-Length", b"X-Length"),
        (b"\r\n\r\n", b"\r\n"),
        (b"x", b"xy"),
    ):
        assert plain_body(usual.replace(old, new, 1)) is None


def test_body_until_the_connection_ends() -> None:
    """A response without a length ends with the connection, and so does the connection."""
    data = b"HTTP/1.1 200 OK\r\nX: y\r\n\r\nsome"
    expected = response(200, {"x": "y"}, b"some text", keep_alive=False)
    assert ([expected], False) == parse([data, b" text"], request=False, eof=True)
    unfinished = parse([data, b" text"], request=False)
    assert unfinished.messages[0].trailers is None


def test_the_parser_tells_where_it_is() -> None:
    """Idle means between two messages; a body without a length is told apart."""
    parser = Parser(request=False, max_head_bytes=MAX_HEAD_BYTES)
    assert (parser.idle, parser.ends_with_connection) == (True, False)
    parser.feed(b"HTTP/1.1 200 OK\r\n")
    assert (parser.idle, parser.ends_with_connection) == (False, False)
    assert parser.next_event() is None
    parser.feed(b"\r\n")
    assert isinstance(parser.next_event(), Head)
    assert (parser.idle, parser.ends_with_connection) == (False, True)
    assert parser.next_event() is None
    parser.feed_eof()
    assert parser.next_event() == {}
    assert (parser.idle, parser.ends_with_connection) == (True, False)
    assert parser.next_event() is None


def test_length_only_where_it_belongs() -> None:
    """A GET without a body and a status without content carry no length."""
    assert (
        http1.encode_request("GET", "/", (("Host", "h"),)) == b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    )
    assert (
        http1.encode_request("GET", "/", (), b"a")
        == b"GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\na"
    )
    assert http1.encode_request("POST", "/", ()) == b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    assert http1.encode_response(204, ()) == b"HTTP/1.1 204 No Content\r\n\r\n"
    assert http1.encode_response(599, ()) == b"HTTP/1.1 599 Unknown\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(LocalProtocolError, match="204"):
        http1.encode_response(204, (), b"body")


def test_an_empty_chunk_does_not_end_the_body() -> None:
    """Empty data gives no bytes."""
    assert http1.encode_chunk(b"") == b""
    assert http1.encode_chunk(b"a" * 26) == b"1a\r\n" + b"a" * 26 + b"\r\n"
    assert http1.encode_last_chunk() == b"0\r\n\r\n"
    assert http1.encode_last_chunk((("A", "b"),)) == b"0\r\nA: b\r\n\r\n"


def test_characters_that_utf8_does_not_have() -> None:
    """A lone surrogate becomes a question mark instead of an exception."""
    assert http1.encode_request("GET", "/", (("X", "\ud800"),)) == b"GET / HTTP/1.1\r\nX: ?\r\n\r\n"
