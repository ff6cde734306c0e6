"""Listener: connections, limits, refusals and its end, with raw sockets and real clients."""

from __future__ import annotations

import contextlib
import errno
import http.client
import select
import socket
import threading
import time

import pytest

from lambdascope.transport.connection import Connection, split_address
from lambdascope.transport.listener import Exchange, Listener
from lambdascope.wire.errors import RemoteProtocolError
from listener_kit import GET, LIMIT, PATIENCE_S, Raw, Serve, echo, post


def test_with_our_own_connection(serve: Serve) -> None:
    """Both halves of the transport work together, over one connection."""
    listener = serve()
    with contextlib.closing(Connection(*split_address(listener.address))) as link:
        for body in (b"", b"x" * LIMIT):
            head, answer = link.exchange(post(body))
            assert (head.status, answer) == (200, b"POST / " + body)
        assert link.is_open


def test_with_the_client_of_the_standard_library(serve: Serve) -> None:
    """http.client posts, also in chunks, and stays connected."""
    listener = serve()
    client = http.client.HTTPConnection(listener.host, listener.port, timeout=PATIENCE_S)
    for body in (b"hello", iter([b"hel", b"lo"])):
        client.request("POST", "/x", body, encode_chunked=not isinstance(body, bytes))
        response = client.getresponse()
        assert (response.status, response.read()) == (200, b"POST /x hello")
        assert not response.will_close
    client.close()


def test_idle_connections_are_dropped(serve: Serve) -> None:
    """Only those that are between two requests; the others go on, and new ones are served."""
    inside, go_on = threading.Event(), threading.Event()

    def handle(exchange: Exchange) -> None:
        if exchange.method == "POST":
            inside.set()
            assert go_on.wait(PATIENCE_S)
        echo(exchange)

    listener = serve(handle)
    with Raw(listener) as idle, Raw(listener) as unused, Raw(listener) as busy:
        assert 1 == len(idle.send(GET).read(1))
        busy.send(post(b"x"))
        assert inside.wait(PATIENCE_S)
        # The server may be about to notice that it has answered.
        while not select.select([idle.sock], [], [], 0.01)[0]:
            listener.close_idle()
        assert [] == idle.read()
        assert [] == unused.read()
        go_on.set()
        assert [b"POST / x", b"GET /a "] == [a.body for a in busy.read(1) + busy.send(GET).read(1)]
    with Raw(listener) as client:
        assert 1 == len(client.send(GET).read(1))


def test_many_connections_at_once(serve: Serve) -> None:
    """All are served while all of them are open."""
    listener = serve()
    clients = [Raw(listener) for _ in range(64)]
    for number, client in enumerate(clients):
        client.send(post(b"%d" % number))
    for number, client in enumerate(clients):
        with client:
            assert [b"POST / %d" % number] == [answer.body for answer in client.read(1)]


def test_pipelined_requests(serve: Serve) -> None:
    """Requests sent together are answered in their order."""
    with Raw(serve()) as client:
        client.send(GET + post(b"one") + GET + post(b"two")).end()
        bodies = [answer.body for answer in client.read()]
    assert bodies == [b"GET /a ", b"POST / one", b"GET /a ", b"POST / two"]


def test_byte_by_byte(serve: Serve) -> None:
    """A request that arrives one byte at a time is a request."""
    data = post(b"one")
    with Raw(serve()) as client:
        client.send(*(data[i : i + 1] for i in range(len(data))))
        assert client.read(1)[0].body == b"POST / one"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"\x16\x03\x01\x00\xa5\x01\x00\x00", 400, id="tls"),
        pytest.param(b"hello\r\n\r\n", 400, id="a word"),
        pytest.param(b"GET / HTTP/1.1\n\n", 400, id="bare lf"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"GET / HTTP/3\r\nHost: h\r\n\r\n", 505, id="version"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"a" * 5000, 431, id="endless head"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501, id="coding"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            400,
            id="chunk size",
        ),
    ],
)
def test_garbage(serve: Serve, sent: bytes, status: int) -> None:
    """It is refused with its status and one line, and the connection ends; others go on."""
    listener = serve()
    with Raw(listener) as client, Raw(listener) as other:
        answers = client.send(sent).read()
        assert [status] == [answer.status for answer in answers]
        assert answers[0].body.endswith(b"\n")
        assert not answers[0].keep_alive
        assert other.send(GET).read(1)[0].status == 200


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(GET[:-4], id="half a head"),
        pytest.param(post(b"hello")[:-1], id="half a body"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", id="chunk"
        ),
    ],
)
def test_a_peer_that_leaves(serve: Serve, sent: bytes) -> None:
    """A client that goes away in the middle gets no answer and disturbs nobody."""
    listener = serve()
    with Raw(listener) as client:
        assert client.send(sent).end().read() == []
    with Raw(listener) as other:
        assert other.send(GET).read(1)[0].status == 200


def test_a_refused_client_that_never_stops(serve: Serve) -> None:
    """The time in which it may still send is bounded."""
    with Raw(serve()) as client:
        started = time.monotonic()
        client.send(post(b"a" * LIMIT, "Content-Length: 7"))  # refused: two lengths
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            client.send_for_ever(b"a" * 65_536)
        assert time.monotonic() - started < PATIENCE_S


def test_a_peer_that_leaves_before_it_is_refused(serve: Serve) -> None:
    """Nobody is there to be told; the next client is served."""
    received, refused = threading.Event(), threading.Event()

    def handle(exchange: Exchange) -> None:
        if exchange.method == "POST":
            received.set()
            while not exchange.peer_closed():
                pass
            refused.set()
            raise RemoteProtocolError("too late")
        echo(exchange)

    listener = serve(handle)
    with Raw(listener) as client:
        client.send(post(b""))
        assert received.wait(PATIENCE_S)
        client.close(reset=True)
        assert refused.wait(PATIENCE_S)
    with Raw(listener) as other:
        assert other.send(GET).read(1)[0].status == 200


def test_no_nagle(serve: Serve) -> None:
    """Small answers leave at once: accepted connections have the option of the listener."""
    options: list[int] = []

    def handle(exchange: Exchange) -> None:
        options.append(exchange._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        exchange.respond(200)

    with Raw(serve(handle)) as client:
        client.send(GET).read(1)
    assert all(options)
    assert len(options) == 1


def test_connections_that_end(serve: Serve) -> None:
    """Those of old clients and those that say so end after the answer, which says so too."""
    listener = serve()
    for request in (
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    ):
        with Raw(listener) as client:
            answers = client.send(request + GET).read()
        assert [False] == [answer.keep_alive for answer in answers]


def test_a_handler_that_does_not_answer(serve: Serve) -> None:
    """The connection ends without an answer."""
    with Raw(serve(lambda exchange: None)) as client:
        assert client.send(GET).read() == []


def test_a_handler_that_refuses(serve: Serve) -> None:
    """RemoteProtocolError becomes its status, unless there was an answer already."""

    def handle(exchange: Exchange) -> None:
        exchange.read_body(LIMIT)
        if exchange.target == "/answered":
            exchange.respond(202)
        raise RemoteProtocolError("no such thing", status=404)

    listener = serve(handle)
    for target, status, body in (("/", 404, b"no such thing\n"), ("/answered", 202, b"")):
        with Raw(listener) as client:
            answers = client.send(post(b"x", target=target)).read()
        assert [(status, body)] == [(answer.status, answer.body) for answer in answers]


def test_too_many_connections(serve: Serve) -> None:
    """One over the limit is told so and closed; when another one ends there is room again."""
    listener = serve(max_connections=1)
    with Raw(listener) as first:
        assert first.send(GET).read(1)[0].status == 200
        with Raw(listener) as second:
            assert [503] == [answer.status for answer in second.end().read()]
        # The thread of the first one ends after its answer, so the client sees room only then.
        assert first.end().read() == []
    for _ in range(1000):
        with Raw(listener) as third:
            answers = third.send(GET).end().read()
        if [200] == [answer.status for answer in answers]:
            break
    else:
        pytest.fail("no room after the connection ended")


def test_close_wakes_and_ends_everything(serve: Serve) -> None:
    """Idle connections, half-read bodies and clients that wait in the queue all end."""
    reading = threading.Event()

    def handle(exchange: Exchange) -> None:
        if exchange.method == "POST":
            next(exchange.iter_body())
            reading.set()
        echo(exchange)

    listener = serve(handle)
    idle, used, half = Raw(listener), Raw(listener), Raw(listener)
    used.send(GET).read(1)
    half.send(post(b"hello")[:-1])
    assert reading.wait(PATIENCE_S)
    listener.close(timeout=PATIENCE_S)
    for client in (idle, used, half):
        with client:
            assert client.read() == []
    with pytest.raises(ConnectionRefusedError):
        Raw(listener)
    listener.close()


def test_close_from_a_handler(serve: Serve) -> None:
    """A handler may close its own listener, and does not wait for itself."""
    ended = threading.Event()

    def handle(exchange: Exchange) -> None:
        exchange.respond(200)
        listener.close(timeout=PATIENCE_S)
        ended.set()

    listener = serve(handle)
    with Raw(listener) as client:
        assert [200] == [answer.status for answer in client.send(GET).read()]
    assert ended.wait(PATIENCE_S)


def test_close_does_not_wait_for_ever_for_a_handler(serve: Serve) -> None:
    """A handler that waits for something else than its peer costs the time-out, not more."""
    waiting, release = threading.Event(), threading.Event()

    def handle(exchange: Exchange) -> None:
        waiting.set()
        release.wait(PATIENCE_S)

    listener = serve(handle)
    with Raw(listener) as client:
        client.send(GET)
        assert waiting.wait(PATIENCE_S)
        started = time.monotonic()
        listener.close(timeout=0.05)
        assert time.monotonic() - started < PATIENCE_S / 2
        release.set()


def test_clients_wait_until_the_start() -> None:
    """Before it is started a listener has its address, and clients queue."""
    listener = Listener(echo, name="tested")
    with Raw(listener) as client:
        client.send(GET)
        listener.start()
        assert client.read(1)[0].body == b"GET /a "
    listener.close(timeout=PATIENCE_S)


def test_a_listener_that_never_started() -> None:
    """It can be closed, and its port is free."""
    listener = Listener(echo)
    assert listener.address == f"127.0.0.1:{listener.port}"
    listener.close()
    again = Listener(echo, port=listener.port)
    again.close()


def test_a_port_in_use() -> None:
    """The caller sees the system's error."""
    listener = Listener(echo)
    with pytest.raises(OSError, match="in use"):
        Listener(echo, port=listener.port)
    listener.close()


class Failing:
    """A server socket whose first accepts fail, and which otherwise is the real one."""

    def __init__(self, real: socket.socket, failures: list[int]) -> None:
        self._real = real
        self._failures = failures

    def accept(self) -> tuple[socket.socket, object]:
        """Fail while there are failures left."""
        if self._failures:
            raise OSError(self._failures.pop(), "of the test")
        return self._real.accept()

    def shutdown(self, how: int) -> None:
        """As the real one."""
        self._real.shutdown(how)

    def close(self) -> None:
        """As the real one."""
        self._real.close()


def test_accept_that_fails_for_a_while() -> None:
    """No file descriptors, or a client that gave up, do not end the listener."""
    listener = Listener(echo, name="tested")
    failures = [errno.ECONNABORTED, errno.EMFILE]
    listener._server = Failing(listener._server, failures)  # type: ignore[assignment]
    listener.start()
    with Raw(listener) as client:
        assert client.send(GET).read(1)[0].status == 200
    assert failures == []
    listener.close(timeout=PATIENCE_S)


def test_no_more_threads(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that gets no thread is closed; the next one is served."""
    listener = serve()
    start = threading.Thread.start
    refused: list[str] = []

    def start_once_less(thread: threading.Thread) -> None:
        if thread.name == "tested-connection" and not refused:
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_once_less)
    with Raw(listener) as client:
        assert client.read() == []
    with Raw(listener) as client:
        assert client.send(GET).read(1)[0].status == 200
    assert refused == ["tested-connection"]
