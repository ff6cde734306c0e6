"""Large bodies of others: looked at beside the main thread, answered in order, and bounded."""

from __future__ import annotations

import gc
import gzip
import os
import select
import socket
from typing import TYPE_CHECKING

import pytest

from fake_collector import traces
from lambdascope.wire import names
from lambdascope.wire.http1 import encode_request
from lambdascope_extension import body_worker
from lambdascope_extension.bodies import BadBody
from lambdascope_extension.body_worker import BodyWorker
from lambdascope_extension.buffer import Buffer
from lambdascope_extension.end_tracker import EndTracker
from lambdascope_extension.intake import Intake
from lambdascope_extension.ledger import Ledger
from lambdascope_extension.scrubber import open_scrubber
from unit.extension.loopback import TOKEN, Loopback

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = traces(*(f"span{number}" for number in range(1000)), padding=20)


class Working(Loopback):
    """A receiver with a worker, whose results come when `collect` is called."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.buffer = Buffer(self.ledger)
        self.buffer.scrubber = open_scrubber({}, lambda text: None)
        self._wake, wake_in = os.pipe()
        self._wake_in = wake_in
        self.worker = BodyWorker(wake_in)
        self.intake = Intake(
            self.buffer,
            EndTracker(subscribed=False),
            token=TOKEN,
            drop_reasons={},
            say=lambda text: None,
            worker=self.worker,
        )
        super().__init__(self.intake.handle)
        self.intake.answer = self.server.answer

    def collect(self) -> None:
        """Wait until something is done, and take it."""
        assert select.select([self._wake], [], [], 10)[0]
        os.read(self._wake, 100)
        self.worker.collect()
        self.run()

    def close(self) -> None:
        """End everything, when the thread has."""
        while self.worker._is_running:
            select.select([self._wake], [], [], 0.01)
        super().close()
        os.close(self._wake)
        os.close(self._wake_in)


@pytest.fixture
def working() -> Iterator[Working]:
    """A receiver."""
    made = Working()
    yield made
    made.close()


def request(body: bytes, *headers: tuple[str, str]) -> bytes:
    """A post of traces by anybody."""
    own = (("Host", "x"), ("Content-Type", names.CONTENT_TYPE_PROTOBUF))
    return encode_request("POST", names.TRACES_PATH, (*own, *headers), body)


def send(working: Working, client: socket.socket, data: bytes) -> None:
    """Send all, while the server reads."""
    while data:
        try:
            data = data[client.send(data) :]
        except BlockingIOError:
            working.run()
    working.run()


def answer(client: socket.socket) -> bytes:
    """The status line that is there, b"" for none yet."""
    try:
        return client.recv(65_536).split(b"\r\n")[0]
    except BlockingIOError:
        return b""


def test_answer_comes_when_it_has_been_looked_at(working: Working) -> None:
    """A large body is answered after it is in the buffer, and not before; then the next one is."""
    client = working.connect()
    send(working, client, request(LARGE))
    assert (b"", 0) == (answer(client), working.buffer.held_bytes)
    working.collect()
    assert (b"HTTP/1.1 200 OK", len(LARGE)) == (answer(client), working.buffer.held_bytes)
    send(working, client, request(b"\xff" * 10_000))
    working.collect()
    assert b"HTTP/1.1 400 Bad Request" == answer(client)


def test_pipelined_requests_are_answered_in_order(working: Working) -> None:
    """What comes behind a large body waits for it, also when it was there before."""
    client = working.connect()
    send(
        working,
        client,
        request(LARGE) + request(traces("small")) + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    assert b"" == answer(client)
    working.collect()
    got = b""
    while got.count(b"HTTP/1.1 ") < 3:
        got += client.recv(65_536)
    assert [b"200", b"200", b"404"] == [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]]
    assert 1001 == working.ledger.accounts["traces"].accepted


def test_runtime_does_not_wait(working: Working) -> None:
    """While bodies of others are looked at, what has the token is answered at once."""
    others = [working.connect() for _ in range(3)]
    for other in others:
        send(working, other, request(LARGE))
    runtime = working.connect()
    send(working, runtime, request(LARGE, (names.HANDOFF_TOKEN, TOKEN)))
    assert b"HTTP/1.1 200 OK" == answer(runtime)
    assert [b""] * 3 == [answer(other) for other in others]
    while working.ledger.accounts["traces"].accepted < 4000:
        working.collect()
    assert [b"HTTP/1.1 200 OK"] * 3 == [answer(other) for other in others]


def test_client_that_leaves(working: Working) -> None:
    """A body counts also when its sender does not wait for the answer."""
    client = working.connect()
    send(working, client, request(LARGE))
    client.close()
    working.collect()
    assert (1000, 0) == (
        working.ledger.accounts["traces"].accepted,
        working.server.connection_count,
    )


def test_what_waits_is_bounded(working: Working) -> None:
    """Large bodies that would be more than one of the largest together are told to come again."""
    body = traces("a", padding=4_000_000)
    first, second = working.connect(), working.connect()
    send(working, first, request(body))
    send(working, second, request(body))
    assert b"HTTP/1.1 503 Service Unavailable" == answer(second)
    working.collect()
    assert b"HTTP/1.1 200 OK" == answer(first)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (gzip.compress(LARGE), b"200"),
        (gzip.compress(bytes(50_000_000), 1), b"413"),
        (b"no gzip", b"400"),
    ],
)
def test_compressed_bodies_are_large(working: Working, body: bytes, status: bytes) -> None:
    """Whatever the size of a compressed body is, what is in it may be large."""
    client = working.connect()
    send(working, client, request(body, ("Content-Encoding", "gzip")))
    assert b"" == answer(client)
    working.collect()
    assert status == answer(client)[9:12]


def test_client_that_reads_late(working: Working) -> None:
    """Who has not read its answers when the last one is worked on gets all of them."""
    client = working.connect()
    (connection,) = working.server._connections.values()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    last = request(gzip.compress(traces("a")), ("Content-Encoding", "gzip"))
    send(working, client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 45 + last)
    assert (True, True) == (connection.wants_write, connection.is_working)
    got = client.recv(65_536)
    working.run()
    assert 1 == working.server.connection_count
    working.collect()
    while got.count(b"HTTP/1.1 ") < 46 and (more := client.recv(65_536)):
        got += more
        working.run()
    assert [b"404"] * 45 + [b"200"] == [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]]


def test_no_more_threads(working: Working, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the function has all threads that there may be, the main thread looks itself."""

    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(body_worker, "start_new_thread", refuse)
    client = working.connect()
    for _ in range(2):
        send(working, client, request(LARGE))
        working.collect()
        assert b"HTTP/1.1 200 OK" == answer(client)


def test_refused_bodies_are_not_kept(working: Working) -> None:
    """What is refused leaves nothing behind that only the garbage collector would find."""
    bomb = request(gzip.compress(bytes(50_000_000), 1), ("Content-Encoding", "gzip"))
    client = working.connect()
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            send(working, client, bomb)
            working.collect()
            assert b"413" == answer(client)[9:12]
        assert [] == [one for one in gc.get_objects() if isinstance(one, BadBody)]
    finally:
        gc.enable()


def test_secrets_are_taken_out(working: Working) -> None:
    """What the worker gives has no secrets, as what the main thread takes has none."""
    client = working.connect()
    body = LARGE + traces("https://user:hunter2@host/") + secret_attribute()
    send(working, client, request(body))
    working.collect()
    batch = working.buffer.take()
    assert batch is not None
    assert b"hunter3" not in batch.body
    assert LARGE in batch.body


def secret_attribute() -> bytes:
    """A request with a password in an attribute."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
        ExportTraceServiceRequest,
    )

    made = ExportTraceServiceRequest()
    span = made.resource_spans.add().scope_spans.add().spans.add(name="a")
    span.attributes.add(key="password").value.string_value = "hunter3"
    return made.SerializeToString()
