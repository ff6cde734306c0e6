"""Connection against servers that send exactly what a script says."""

from __future__ import annotations

import os
import select
import socket
from typing import TYPE_CHECKING

import pytest

from byte_server import ByteServer, Connect, Peer, answers, keeps_answering
from lambdascope.transport.connection import Connection, ConnectionLost
from lambdascope.wire.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"
BUDGET_S = 0.3
# Far more than the budget, far less than any time-out of the test.
SOON_S = 5.0


def bytes_of(data: bytes) -> list[bytes]:
    """Each byte for itself."""
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize("timeout", [None, SOON_S])
@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([ANSWER], id="in one piece"),
        pytest.param([ANSWER[:10], ANSWER[10:]], id="head in two pieces"),
        pytest.param([ANSWER[:-5], ANSWER[-5:]], id="body apart"),
        pytest.param([ANSWER[:-3], ANSWER[-3:]], id="body in two pieces"),
        pytest.param(bytes_of(ANSWER), id="byte by byte"),
        pytest.param([CHUNKED], id="chunked"),
        pytest.param(bytes_of(CHUNKED), id="chunked byte by byte"),
        pytest.param([INTERIM + ANSWER], id="interim and answer together"),
        pytest.param([INTERIM, INTERIM, ANSWER], id="two interim ones first"),
        pytest.param([INTERIM + CHUNKED], id="interim and chunks"),
        pytest.param([b"HTTP/1.1 200 OK\r\n\r\nhello"], id="until the connection ends"),
        pytest.param([b"HTTP/1.0 200 OK\r\n\r\nhe", b"llo"], id="old version"),
        pytest.param([CLOSING], id="closing"),
    ],
)
def test_one_answer(connect: Connect, pieces: list[bytes], timeout: float | None) -> None:
    """However an answer arrives, it is the same answer."""
    with ByteServer(answers(*pieces)) as server:
        link = connect(server)
        head, body = link.exchange(REQUEST, timeout=timeout)
        assert (head.status, body) == (200, b"hello")


@pytest.mark.parametrize("answer", [ANSWER, CHUNKED, INTERIM + ANSWER])
def test_the_connection_is_kept(connect: Connect, answer: bytes) -> None:
    """Several exchanges use one connection, with and without a time-out in turn."""
    with ByteServer(keeps_answering(answer, answer, answer, answer)) as server:
        link = connect(server)
        for timeout in (None, SOON_S, None, SOON_S):
            assert link.exchange(REQUEST, timeout=timeout)[1] == b"hello"
        open_before = link.is_open
        link.close()
        assert (open_before, link.is_open) == (True, False)
    assert server.accepted == 1


@pytest.mark.parametrize("timeout", [None, SOON_S])
@pytest.mark.parametrize("answer", [CLOSING, b"HTTP/1.1 200 OK\r\n\r\nhello"])
def test_an_announced_end(connect: Connect, answer: bytes, timeout: float | None) -> None:
    """After an answer that ends the connection the next request opens another one."""
    with ByteServer(answers(answer), answers(ANSWER)) as server:
        link = connect(server)
        assert link.exchange(REQUEST, timeout=timeout)[1] == b"hello"
        assert not link.is_open
        assert link.exchange(REQUEST, timeout=timeout)[1] == b"hello"
    assert server.accepted == 2


@pytest.mark.parametrize("ending", [Peer.close, Peer.reset])
def test_closed_while_idle(connect: Connect, ending: Callable[[Peer], None]) -> None:
    """A peer that closed between two requests is noticed before the second one is sent."""

    def answers_and_ends(peer: Peer) -> None:
        answers(ANSWER)(peer)
        ending(peer)

    with ByteServer(answers_and_ends, answers(ANSWER)) as server:
        link = connect(server)
        link.exchange(REQUEST, timeout=SOON_S)
        wait_until_readable(link)
        assert link.exchange(REQUEST)[1] == b"hello"


@pytest.mark.parametrize("timeout", [None, SOON_S])
def test_a_descriptor_that_somebody_else_closed(connect: Connect, timeout: float | None) -> None:
    """A function may close all descriptors of its process; the next request opens another one."""
    with ByteServer(keeps_answering(ANSWER), answers(ANSWER)) as server:
        link = connect(server)
        link.exchange(REQUEST, timeout=timeout)
        assert link._socket is not None
        os.close(link._socket.fileno())
        server.over.set()  # the first script ends, and the second one is next
        assert link.exchange(REQUEST, timeout=timeout)[1] == b"hello"


def test_trust(connect: Connect) -> None:
    """A connection that was used just now is not looked at; what was sent may have been seen."""
    with ByteServer(answers(ANSWER), answers(ANSWER)) as server:
        link = connect(server, trust_s=SOON_S)
        link.exchange(REQUEST)
        wait_until_readable(link)
        with pytest.raises(ConnectionLost) as lost:
            link.exchange(REQUEST)
        assert lost.value.sent
        assert link.exchange(REQUEST)[1] == b"hello"


def test_bytes_that_nobody_asked_for(connect: Connect) -> None:
    """What arrives while the connection is idle is not taken for the answer to the next request."""

    def also_sends_a_late_one(peer: Peer) -> None:
        answers(ANSWER)(peer)
        peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        peer.wait()

    with ByteServer(also_sends_a_late_one) as server:
        link = connect(server)
        assert link.exchange(REQUEST)[0].status == 200
        if link.is_open:  # unless both arrived together, which ends the connection at once
            wait_until_readable(link)
        with ByteServer(answers(ANSWER)) as other:
            link._port = other.port  # where the next connection goes
            assert link.exchange(REQUEST)[0].status == 200


@pytest.mark.parametrize("answer", [ANSWER, CHUNKED])
def test_surplus_behind_an_answer(connect: Connect, answer: bytes) -> None:
    """An answer with more behind it is given, and the connection is not used again."""
    with ByteServer(answers(answer + b"HTTP/1.1 500 Oops\r\n"), answers(ANSWER)) as server:
        link = connect(server)
        assert link.exchange(REQUEST)[1] == b"hello"
        assert not link.is_open
        assert link.exchange(REQUEST)[1] == b"hello"


def test_surplus_behind_a_long_answer(connect: Connect) -> None:
    """Bytes behind a body of several receives end the connection, trusted or not."""
    body = b"b" * 70_000
    long = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with ByteServer(keeps_answering(long + b"HTTP/1.1 500 Oops\r\n")) as server:
        link = connect(server, trust_s=SOON_S)
        assert link.exchange(REQUEST)[1] == body
        assert not link.is_open


def wait_until_readable(link: Connection) -> None:
    """Wait for what the peer did while the connection was idle, without reading it."""
    assert link._socket is not None
    assert select.select([link._socket.fileno()], [], [], SOON_S)[0]


def test_nobody_there() -> None:
    """A refused connection names the address and has sent nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    link = Connection("127.0.0.1", port)
    with pytest.raises(
        ConnectionLost, match=f"cannot connect to 127.0.0.1:{port}: Connection refused"
    ) as lost:
        link.exchange(REQUEST)
    assert not lost.value.sent
    assert not link.is_open


def test_a_host_that_does_not_exist() -> None:
    """A name that cannot be resolved is told like a refused connection."""
    with pytest.raises(ConnectionLost, match=r"cannot connect to host\.invalid:80: ") as lost:
        Connection("host.invalid", 80).open()
    assert not lost.value.sent


def test_an_answer_that_nobody_waits_for(connect: Connect) -> None:
    """Receiving without a connection fails; sending twice is a mistake of the caller."""
    link = Connection("127.0.0.1", 1)
    with pytest.raises(ConnectionLost, match="not connected") as lost:
        link.receive()
    assert not lost.value.sent
    with ByteServer(keeps_answering(ANSWER, ANSWER)) as server:
        link = connect(server)
        link.send(REQUEST)
        with pytest.raises(LocalProtocolError, match="has not been received"):
            link.send(REQUEST)
        assert link.receive()[1] == b"hello"
        assert link.exchange(REQUEST)[1] == b"hello"


def test_opening_anew(connect: Connect) -> None:
    """Opening again leaves the old socket."""
    with ByteServer(lambda peer: peer.sock.recv(1), answers(ANSWER)) as server:
        link = connect(server)
        link.open()
        link.open()
        assert link.exchange(REQUEST)[1] == b"hello"
    assert server.accepted == 2


def test_large_bodies_arrive_whole(connect: Connect) -> None:
    """Both ways, and longer than any buffer."""
    body = bytes(range(256)) * 30_000
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        for _ in range(2):
            seen.append(peer.read_request(b"the end"))
            peer.send(head, body)
        peer.wait()

    request = b"POST / HTTP/1.1\r\nHost: h\r\n\r\n" + body + b"the end"
    with ByteServer(script) as server:
        link = connect(server)
        for timeout in (None, SOON_S):
            assert link.exchange(request, timeout=timeout)[1] == body
    assert seen == [request, request]


def test_no_nagle(connect: Connect) -> None:
    """Small requests leave at once."""
    with ByteServer(Peer.wait) as server:
        link = connect(server)
        link.open()
        assert link._socket is not None
        assert link._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_same_answer_again_and_then_another(connect: Connect) -> None:
    """A short answer that is known need not be parsed again; one that differs by a byte is."""
    accepted = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\nok"
    other = accepted.replace(b"202", b"413").replace(b"ok", b"no")
    longer = b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n" + b"x" * 300
    script = [accepted, accepted, longer, other, other, accepted, CLOSING]
    with ByteServer(keeps_answering(*script), answers(accepted)) as server:
        link = connect(server)
        got = [link.exchange(REQUEST) for _ in [*script, accepted]]
        assert [202, 202, 200, 413, 413, 202, 200, 202] == [head.status for head, _ in got]
        texts = [body for _, body in got]
        assert [b"ok", b"ok", b"x" * 300, b"no", b"no", b"ok", b"hello", b"ok"] == texts
    assert server.accepted == 2
