"""Connection when the peer goes away, speaks garbage, or takes its time."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from byte_server import ByteServer, Connect, Peer, answers, keeps_answering
from lambdascope.transport.connection import Connection, ConnectionLost
from lambdascope.wire.errors import RemoteProtocolError

if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterator

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
BUDGET_S = 0.3
# Far more than the budget, far less than any time-out of the test.
SOON_S = 5.0


@pytest.mark.parametrize("timeout", [None, SOON_S])
@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="before an answer"),
        pytest.param(INTERIM, id="behind an interim one"),
        pytest.param(ANSWER[:10], id="in the status line"),
        pytest.param(ANSWER[:-7], id="in the head"),
        pytest.param(ANSWER[:-1], id="in the body"),
        pytest.param(CHUNKED[:-1], id="in the chunks"),
    ],
)
@pytest.mark.parametrize("ending", [Peer.close, Peer.reset])
def test_lost_in_the_middle(
    connect: Connect, sent: bytes, ending: Callable[[Peer], None], timeout: float | None
) -> None:
    """A peer that goes away before the end of its answer is lost, having seen the request."""

    def script(peer: Peer) -> None:
        answers(sent)(peer)
        ending(peer)

    with ByteServer(script, answers(ANSWER)) as server:
        link = connect(server)
        with pytest.raises(ConnectionLost, match=f"127.0.0.1:{server.port}: ") as lost:
            link.exchange(REQUEST, timeout=timeout)
        assert lost.value.sent
        assert not link.is_open
        assert link.exchange(REQUEST)[1] == b"hello"


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", id="status"),
        pytest.param(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", id="bare lf"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x50", id="tls"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", id="length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", id="chunk size"
        ),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\n\r\n", id="upgrade"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200_000, id="head without end"),
    ],
)
@pytest.mark.parametrize("timeout", [None, SOON_S])
def test_garbage(connect: Connect, garbage: bytes, timeout: float | None) -> None:
    """A peer that speaks something else is refused in a line that names it, and left."""

    def script(peer: Peer) -> None:
        peer.read_request()
        try:
            peer.send(garbage)
        except OSError:
            return  # the client has left already
        peer.wait()

    with ByteServer(script) as server:
        link = connect(server)
        with pytest.raises(RemoteProtocolError, match=f"127.0.0.1:{server.port} sent: "):
            link.exchange(REQUEST, timeout=timeout)
        assert not link.is_open


SLOW: list[tuple[str, Callable[[Peer], None]]] = [
    ("silence", Peer.wait),
    ("dribbled head", lambda peer: peer.dribble(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 999, 0.01)),
    (
        "dribbled body",
        lambda peer: peer.dribble(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" * 99, 0.01),
    ),
    ("dribbled chunks", lambda peer: peer.dribble(CHUNKED[:-5] + b"1\r\na\r\n" * 999, 0.01)),
    ("a body for ever", lambda peer: peer.flood(b"HTTP/1.1 200 OK\r\n\r\n")),
]


@pytest.mark.parametrize("script", [pytest.param(script, id=name) for name, script in SLOW])
def test_the_budget_is_for_the_whole_answer(
    connect: Connect, script: Callable[[Peer], None]
) -> None:
    """A peer that always sends a little does not get more time than one that is silent."""

    def reads_first(peer: Peer) -> None:
        peer.read_request()
        script(peer)

    with ByteServer(reads_first) as server:
        link = connect(server)
        started = time.monotonic()
        with pytest.raises(ConnectionLost, match=r"no whole answer within 0\.3 s") as lost:
            link.exchange(REQUEST, timeout=BUDGET_S)
        assert BUDGET_S <= time.monotonic() - started < SOON_S
        assert lost.value.sent
        assert not link.is_open


def test_the_budget_is_for_sending_and_receiving_together(connect: Connect) -> None:
    """A peer that takes long to read has less time left to answer."""

    def script(peer: Peer) -> None:
        peer.over.wait(1.0)  # the client's buffer is full meanwhile
        left = len(HUGE)
        while left:
            left -= len(peer.sock.recv(1_048_576))
        peer.wait()

    with ByteServer(script) as server:
        started = time.monotonic()
        with pytest.raises(ConnectionLost, match=r"no whole answer within 1\.5 s"):
            connect(server).exchange(HUGE, timeout=1.5)
        assert time.monotonic() - started < 2.4


class AlwaysReady:
    """A socket that never runs dry: it has the same bytes at every read."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def recv(self, size: int, flags: int = 0) -> bytes:
        """The bytes."""
        return self._data

    def gettimeout(self) -> None:
        """Blocking."""

    def settimeout(self, timeout: float | None) -> None:
        """Never needed, because there is always something to read."""

    def close(self) -> None:
        """Nothing to close."""


def test_the_budget_ends_a_flood() -> None:
    """A peer that sends faster than we read gets no more time either."""
    link = Connection("127.0.0.1", 1)
    long = b"HTTP/1.1 200 OK\r\nContent-Length: 60000000\r\n\r\n"
    for data in (b"HTTP/1.1 200 OK\r\n\r\n", long):
        link._socket = AlwaysReady(data)  # type: ignore[assignment]
        with pytest.raises(ConnectionLost, match=r"no whole answer within 0\.05 s"):
            link.receive(timeout=0.05)


def test_an_answer_without_end() -> None:
    """An answer that is too long, or never comes behind interim ones, is refused."""
    link = Connection("127.0.0.1", 1)
    head = b"HTTP/1.1 200 OK\r\n"
    endless = head + b"Content-Length: 999999999999999\r\n\r\n"
    chunks = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"fffff\r\n" * 10
    for data in (INTERIM, endless, INTERIM + endless, head + b"\r\n" + b"x" * 60_000, chunks):
        link._socket = AlwaysReady(data)  # type: ignore[assignment]
        with pytest.raises(RemoteProtocolError, match=r"an answer of more than|chunk"):
            link.receive(timeout=30.0)


def test_an_answer_that_has_begun(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rest is not awaited for ever, also where there is no time-out."""
    monkeypatch.setattr("lambdascope.transport.connection._REST_S", BUDGET_S)
    for begun in (b"HTTP", ANSWER[:-1], INTERIM + b"H", b"HTTP/1.1 200 OK\r\n\r\nuntil the end"):
        with ByteServer(keeps_answering(begun)) as server:
            link = connect(server)
            with pytest.raises(ConnectionLost, match=r"no whole answer within 0\.3 s"):
                link.exchange(REQUEST)


def test_the_budget_given_to_the_connection(connect: Connect) -> None:
    """Without a time-out of its own, a send or receive gets that of the connection."""
    with ByteServer(keeps_answering(ANSWER)) as server:
        link = connect(server, io_timeout=BUDGET_S)
        assert link.exchange(REQUEST)[1] == b"hello"
        link.send(REQUEST)
        with pytest.raises(ConnectionLost, match=r"no whole answer within 0\.3 s"):
            link.receive()


HUGE = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 33000000\r\n\r\n" + b"a" * 33_000_000


def test_a_peer_that_does_not_read(connect: Connect) -> None:
    """Sending is bounded too, and what was sent may have been seen."""
    with ByteServer(Peer.wait) as server:
        link = connect(server)
        started = time.monotonic()
        with pytest.raises(ConnectionLost, match="while sending") as lost:
            link.exchange(HUGE, timeout=BUDGET_S)
        assert time.monotonic() - started < SOON_S
        assert lost.value.sent
        assert not link.is_open


def test_a_peer_that_has_read_nothing_for_long(connect: Connect) -> None:
    """Where the kernel has no room left for even a byte, the budget is waited for it."""
    with ByteServer(Peer.wait) as server:
        link = connect(server)
        link.open()
        assert link._socket is not None
        link._socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            send_for_ever(link._socket)
        with pytest.raises(ConnectionLost, match="timed out while sending"):
            link.send(REQUEST, timeout=0.05)


def send_for_ever(sock: _socket.socket) -> None:
    """Fill everything between here and a peer that does not read."""
    while True:
        sock.send(b"a" * 65_536)


def test_a_peer_that_stops_reading(connect: Connect) -> None:
    """A peer that resets in the middle of a request may have seen a part of it."""

    def script(peer: Peer) -> None:
        peer.sock.recv(1)
        peer.reset()

    with ByteServer(script) as server:
        link = connect(server)
        with pytest.raises(ConnectionLost, match="while sending") as lost:
            link.exchange(HUGE)
        assert lost.value.sent


def test_a_send_that_hands_over_nothing(connect: Connect) -> None:
    """When the very first byte is refused, the request may be repeated."""
    with ByteServer(Peer.wait) as server:
        link = connect(server)
        link.open()
        assert link._socket is not None
        link._socket.shutdown(socket.SHUT_WR)  # the kernel now refuses to take anything
        with pytest.raises(ConnectionLost, match="while sending") as lost:
            link.send(REQUEST)
        assert not lost.value.sent
        assert not link.is_open


class Interrupt(Exception):
    """Raised by a signal handler of the test."""


@contextlib.contextmanager
def interrupted() -> Iterator[threading.Event]:
    """Signals the main thread again and again once the event is set, until one has raised."""
    begin, over = threading.Event(), threading.Event()
    main = threading.main_thread().ident

    def handler(number: int, frame: object) -> None:
        if not over.is_set():
            over.set()
            raise Interrupt

    def send_signals() -> None:
        begin.wait(SOON_S)
        # The main thread is in a blocking call now, or about to be: until it has left, try again.
        while not over.wait(0.01):
            signal.pthread_kill(main or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handler)
    sender = threading.Thread(target=send_signals)
    sender.start()
    try:
        yield begin
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("request_bytes", [REQUEST, HUGE], ids=["receiving", "sending"])
def test_an_exception_from_a_signal_handler(connect: Connect, request_bytes: bytes) -> None:
    """It passes through, and the half-used connection is closed."""

    def script(peer: Peer) -> None:
        begin.set()
        peer.wait()

    with interrupted() as begin, ByteServer(script) as server:
        link = connect(server)
        with pytest.raises(Interrupt):
            link.exchange(request_bytes)
        assert not link.is_open


@contextlib.contextmanager
def full_server() -> Iterator[int]:
    """The port of a listener whose queue is full, so that connecting to it hangs."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def test_connecting_is_bounded() -> None:
    """A listener that does not accept costs the connect time-out, and nothing was sent."""
    with full_server() as port:
        link = Connection("127.0.0.1", port, connect_timeout=BUDGET_S)
        started = time.monotonic()
        with pytest.raises(ConnectionLost, match=r"cannot connect .* timed out") as lost:
            link.exchange(REQUEST)
        assert BUDGET_S <= time.monotonic() - started < SOON_S
        assert not lost.value.sent


def test_an_exception_while_connecting() -> None:
    """It passes through, and nothing is left open."""
    with full_server() as port, interrupted() as begin:
        link = Connection("127.0.0.1", port, connect_timeout=SOON_S)
        begin.set()
        with pytest.raises(Interrupt):
            link.open()
        assert not link.is_open
