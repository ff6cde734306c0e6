"""Exchange: what a handler can do with one request, over real connections."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from lambdascope.transport.listener import Exchange, PeerGone
from lambdascope.wire import http1
from lambdascope.wire.errors import LocalProtocolError, RemoteProtocolError
from listener_kit import GET, LIMIT, PATIENCE_S, Raw, Serve, post
from pieces import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def test_chunks_and_trailers(serve: Serve) -> None:
    """A chunked upload is read piece by piece; trailers are known at its end."""
    seen: list[object] = []
    first_piece_read = threading.Event()

    def handle(exchange: Exchange) -> None:
        pieces = exchange.iter_body()
        seen.extend((next(pieces), exchange.trailers))
        first_piece_read.set()
        seen.extend((b"".join(pieces), exchange.trailers))
        exchange.respond(202)

    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Raw(serve(handle)) as client:
        client.send(head + b"3\r\nabc\r\n")
        assert first_piece_read.wait(PATIENCE_S)
        client.send(b"3\r\ndef\r\n3\r\nghi\r\n0\r\nX-Error: y\r\n\r\n")
        assert client.read(1)[0].status == 202
    assert seen == [b"abc", None, b"defghi", {"x-error": "y"}]


def test_chunked_answers(serve: Serve) -> None:
    """Pieces are sent as they come, not collected."""
    received = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"first "
        assert received.wait(PATIENCE_S)
        yield b""
        yield b"second"

    with Raw(serve(lambda exchange: exchange.respond_chunked(200, (("X", "y"),), pieces()))) as raw:
        raw.send(GET)
        seen = b""
        while b"first" not in seen:
            seen += raw.sock.recv(65_536)
        received.set()
        while not seen.endswith(b"0\r\n\r\n"):
            seen += raw.sock.recv(65_536)
        answer = parse([seen], request=False).messages[0]
    assert (answer.status, answer.headers["x"], answer.body) == (200, "y", b"first second")


@pytest.mark.parametrize("failure", [PeerGone("elsewhere"), RemoteProtocolError("elsewhere")])
def test_a_chunked_answer_that_fails_midway(serve: Serve, failure: Exception) -> None:
    """The client sees an unfinished body, because the connection ends."""

    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise failure

    with Raw(serve(lambda exchange: exchange.respond_chunked(200, (), pieces()))) as raw:
        raw.send(GET + GET)
        data = b""
        while piece := raw.sock.recv(65_536):
            data += piece
    assert data.count(b"HTTP/1.1") == 1
    assert data.endswith(b"5\r\nfirst\r\n")


@pytest.mark.parametrize("reset", [False, True])
def test_a_peer_that_leaves_in_a_body_is_told_to_the_handler(serve: Serve, reset: bool) -> None:
    """The handler sees PeerGone where it reads."""
    reading, told = threading.Event(), threading.Event()

    def handle(exchange: Exchange) -> None:
        pieces = exchange.iter_body()
        next(pieces)
        reading.set()
        try:
            next(pieces)
        except PeerGone:
            told.set()
            raise

    with Raw(serve(handle)) as client:
        client.send(post(b"hello")[:-1])
        assert reading.wait(PATIENCE_S)
        client.close(reset=reset)
        assert told.wait(PATIENCE_S)


@pytest.mark.parametrize("reset", [False, True])
def test_a_peer_that_leaves_before_its_answer(serve: Serve, reset: bool) -> None:
    """A handler can find out while it works, and sees PeerGone when it answers too much."""
    left, told = threading.Event(), threading.Event()
    closed: list[bool] = []

    def handle(exchange: Exchange) -> None:
        closed.append(exchange.peer_closed())
        exchange.send_raw(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert left.wait(PATIENCE_S)
        while not exchange.peer_closed():
            pass
        try:
            while True:
                exchange.send_raw(b"a" * 65_536)
        except PeerGone:
            exchange.abort()
            told.set()
            raise

    with Raw(serve(handle)) as client:
        client.send(GET).read(1)
        client.close(reset=reset)
        left.set()
        assert told.wait(PATIENCE_S)
    assert closed == [False]


def test_expect_continue(serve: Serve) -> None:
    """A client that waits for permission gets it when the handler begins to read."""
    with Raw(serve()) as client:
        client.send(post(b"hello", "Expect: 100-Continue")[:-5])
        assert client.read(1)[0].status == 100
        client.send(b"hello")
        assert client.read(1)[0].body == b"POST / hello"
        client.send(GET)
        assert client.read(1)[0].body == b"GET /a "


def test_expect_continue_that_is_not_read(serve: Serve) -> None:
    """A client whose body nobody wants gets its answer and the end, never a late permission."""
    with Raw(serve(lambda exchange: exchange.respond(403))) as client:
        answers = client.send(post(b"hello", "Expect: 100-continue")[:-5]).read()
    assert [(403, False)] == [(answer.status, answer.keep_alive) for answer in answers]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(post(b"a" * 50_000_000), id="with a length"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            + (b"ffff\r\n" + b"a" * 0xFFFF + b"\r\n") * 800
            + b"0\r\n\r\n",
            id="in chunks",
        ),
    ],
)
def test_a_body_over_the_limit(serve: Serve, sent: bytes) -> None:
    """It is refused before it is read, and a client that sends all of it first sees why."""
    with Raw(serve()) as client:
        answers = client.send(sent).read()
    assert [(413, False)] == [(answer.status, answer.keep_alive) for answer in answers]
    assert b"limit 1000" in answers[0].body or b"over 1000" in answers[0].body


def test_a_body_over_the_limit_with_expect(serve: Serve) -> None:
    """With Expect the body is never sent at all."""
    with Raw(serve()) as client:
        answers = client.send(post(b"a" * 2000, "Expect: 100-continue")[:-2000]).read()
    assert [413] == [answer.status for answer in answers]


def test_a_body_that_the_handler_does_not_read(serve: Serve) -> None:
    """A short one is skipped and the connection goes on; a long one ends it."""
    with Raw(serve(lambda exchange: exchange.respond(200))) as client:
        client.send(post(b"a" * 100_000) + GET)
        assert [200, 200] == [answer.status for answer in client.read(2)]
        client.send(post(b"a" * 1_000_000))
        assert [200] == [answer.status for answer in client.read()]


def test_head_requests(serve: Serve) -> None:
    """HEAD gets the head of the answer and no body, so that the next answer stays in step."""

    def handle(exchange: Exchange) -> None:
        if exchange.target == "/chunked":
            exchange.respond_chunked(200, (), [b"body"])
        else:
            exchange.respond(200, (), b"body")

    with Raw(serve(handle)) as client:
        client.send(GET.replace(b"GET", b"HEAD") + b"HEAD /chunked HTTP/1.1\r\nHost: h\r\n\r\n")
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        data = b""
        while piece := client.sock.recv(65_536):
            data += piece
    first, second, third, body = data.split(b"\r\n\r\n")
    assert b"Content-Length: 4" in first
    assert b"Transfer-Encoding: chunked" in second
    assert b"Connection: close" in third
    assert body == b"body"


def test_answering_twice(serve: Serve) -> None:
    """It is a mistake of the handler, and the client sees one answer."""
    failures: list[LocalProtocolError] = []

    def handle(exchange: Exchange) -> None:
        exchange.respond(200)
        answers: list[Callable[[], None]] = [
            lambda: exchange.respond(500),
            lambda: exchange.respond_raw(http1.encode_response(500, ())),
            lambda: exchange.respond_chunked(500, (), ()),
        ]
        for answer in answers:
            try:
                answer()
            except LocalProtocolError as failure:
                failures.append(failure)

    with Raw(serve(handle)) as client:
        assert [200] == [answer.status for answer in client.send(GET).end().read()]
    assert ["GET /a was answered twice"] * 3 == [str(failure) for failure in failures]


def test_aborting(serve: Serve) -> None:
    """Any thread may drop the connection; the handler then sees PeerGone wherever it is."""
    exchanges: list[Exchange] = []
    reading, told = threading.Event(), threading.Event()

    def handle(exchange: Exchange) -> None:
        exchanges.append(exchange)
        reading.set()
        try:
            exchange.read_body(LIMIT)
        except PeerGone:
            try:
                exchange.respond(200)
            except PeerGone:
                told.set()

    with Raw(serve(handle)) as client:
        client.send(post(b"hello")[:-1])
        assert reading.wait(PATIENCE_S)
        exchanges[0].abort()
        exchanges[0].abort()
        assert client.read() == []
        assert told.wait(PATIENCE_S)
