"""Our own sender: when it is enough, what it sends, and how it is cut."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from fake_collector import Answer, FakeCollector, traces
from lambdascope.wire.names import CONTENT_TYPE_PROTOBUF
from lambdascope_extension.answers import CUT, EXPORTED, REFUSED, RETRY, Result
from lambdascope_extension.buffer import Batch, Message
from lambdascope_extension.export_config import Destination, read_export_config
from lambdascope_extension.exporter import Job
from lambdascope_extension.own_connections import is_own_way, split_url
from lambdascope_extension.plain_sender import PlainSender, is_plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    """A collector."""
    with FakeCollector() as made:
        yield made


@pytest.fixture
def sender() -> Iterator[PlainSender]:
    """A sender without connections."""
    made = PlainSender()
    yield made
    made.close()


def destination(endpoint: str) -> Destination:
    """Where traces go."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
    return read_export_config(environ, own_port=0).destinations["traces"]


def job(endpoint: str, *, timeout_s: float = 10.0, new: bool = False) -> Job:
    """An export of one span."""
    body = traces("a")
    message = Message(signal="traces", kind=CONTENT_TYPE_PROTOBUF, body=body, items=1, received=1.0)
    return Job(
        Batch([message]),
        destination(endpoint),
        timeout_s=timeout_s,
        started=0.0,
        wants_new_connection=new,
    )


@pytest.mark.parametrize(
    ("endpoint", "environ", "plain"),
    [
        ("http://collector:4318", {}, True),
        ("http://127.0.0.1:4318", {"https_proxy": "http://p:1"}, True),
        ("http://[::1]:4318", {"http_proxy": ""}, True),
        ("https://collector", {"https_proxy": "http://p:1"}, False),
        ("http://collector", {"http_proxy": "http://p:1"}, False),
        ("http://collector", {"ALL_PROXY": "http://p:1", "NO_PROXY": "*"}, False),
        ("http://collector/ä", {}, False),
        ("http://collector/a b", {}, False),
    ],
)
def test_when_it_is_enough(endpoint: str, environ: dict[str, str], plain: bool) -> None:
    """No proxy, and a URL that can be sent as it is: then `requests` is not needed."""
    assert plain == is_plain([destination(endpoint)], environ)


def test_one_that_is_not_plain_is_enough_to_load_requests() -> None:
    """One sender sends all signals, so that all destinations have to be plain."""
    https_proxy = {"https_proxy": "http://p:1"}
    assert not is_plain([destination("http://c"), destination("https://c")], https_proxy)


def test_connection_is_kept(collector: FakeCollector, sender: PlainSender) -> None:
    """Several exports go over one connection, and a new one is made where it is wanted."""
    before = len(os.listdir("/proc/self/fd"))
    for number in range(30):
        assert EXPORTED == sender.send(job(collector.endpoint, new=number % 10 == 9)).outcome
    # A socket and its second handle; the collector's own side of it lives in this process, too.
    assert len(os.listdir("/proc/self/fd")) <= before + 4
    assert 30 == len({one.batch_id for one in collector.requests})


def test_dead_connection_is_replaced(collector: FakeCollector, sender: PlainSender) -> None:
    """A connection that the collector has closed costs nothing: the batch goes over another."""
    collector.plan(Answer(close=True), Answer(close=True))
    assert [EXPORTED] * 3 == [sender.send(job(collector.endpoint)).outcome for _ in range(3)]


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, EXPORTED), (202, EXPORTED), (503, RETRY), (500, REFUSED)]
)
def test_statuses(collector: FakeCollector, sender: PlainSender, status: int, outcome: str) -> None:
    """Statuses mean what they mean with `requests`, and Retry-After is read."""
    collector.plan(Answer(status, headers=(("Retry-After", "3"),)))
    result = sender.send(job(collector.endpoint))
    assert (outcome, 0.0 if outcome == EXPORTED else 3.0) == (result.outcome, result.retry_after)


@pytest.mark.parametrize("length", [100, 10_000_000])
def test_broken_answer_does_not_undo_its_status(sender: PlainSender, length: int) -> None:
    """A 200 whose body is cut off or very long means that the batch was taken."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = server.accept()
        client.recv(65_536)
        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length)
        client.sendall(b"x" * 50)
        client.close()

    thread = threading.Thread(target=serve)
    thread.start()
    result = sender.send(job(f"http://127.0.0.1:{server.getsockname()[1]}"))
    thread.join()
    server.close()
    assert (EXPORTED, 200) == (result.outcome, result.status)


def test_slow_collector(collector: FakeCollector, sender: PlainSender) -> None:
    """An export ends with its time."""
    collector.plan(Answer(hold=threading.Event()))
    result = sender.send(job(collector.endpoint, timeout_s=0.1))
    assert (RETRY, "no answer in time") == (result.outcome, result.reason)


def cut_soon(sender: PlainSender, one: Job, ready: threading.Event) -> Result:
    """Send in this thread, and cut from another as soon as it is ready."""

    def cut() -> None:
        assert ready.wait(10)
        one.is_cut = True
        sender.cut()

    thread = threading.Thread(target=cut)
    thread.start()
    result = sender.send(one)
    thread.join()
    return result


def test_cut_while_waiting_for_an_answer(collector: FakeCollector, sender: PlainSender) -> None:
    """A cut ends the wait at once, also on the older one of two kept connections."""
    with FakeCollector() as other:
        sender.send(job(collector.endpoint))
        sender.send(job(other.endpoint))
        collector.plan(Answer(hold=threading.Event()))
        arrived = threading.Event()
        watcher = threading.Thread(target=lambda: (collector.wait_requests(2), arrived.set()))
        watcher.start()
        began = time.monotonic()
        assert CUT == cut_soon(sender, job(collector.endpoint, timeout_s=60), arrived).outcome
        watcher.join()
        assert time.monotonic() - began < 10
        assert EXPORTED == sender.send(job(other.endpoint)).outcome
        assert EXPORTED == sender.send(job(collector.endpoint)).outcome


def test_cut_while_connecting(sender: PlainSender) -> None:
    """A cut ends a connection that is being made to where nobody accepts."""
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    address = full.getsockname()
    waiting = []
    for _ in range(4):  # the kernel's queue of connections that nobody accepts
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex(address)
        waiting.append(one)
    ready = threading.Event()
    ready.set()
    result = cut_soon(sender, job(f"http://127.0.0.1:{address[1]}"), ready)
    assert result.outcome == CUT
    for one in (*waiting, full):
        one.close()


def test_cut_before_it_begins(collector: FakeCollector, sender: PlainSender) -> None:
    """A job that was cut before the sender saw it is not sent."""
    one = job(collector.endpoint)
    one.is_cut = True
    assert CUT == sender.send(one).outcome
    assert [] == collector.requests


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("http://127.0.0.1:1", "connection refused"),
        ("http://collector.invalid:1", "the name cannot be resolved"),
    ],
)
def test_no_connection(sender: PlainSender, endpoint: str, reason: str) -> None:
    """Why there is no connection is said in plain words."""
    result = sender.send(job(endpoint))
    assert (RETRY, reason) == (result.outcome, result.reason)


def test_headers_that_are_no_ascii(collector: FakeCollector, sender: PlainSender) -> None:
    """A header's bytes are sent as they were given; what is no UTF-8 is left to `requests`."""
    one = job(collector.endpoint)
    one.destination.headers["x-name"] = "Zoë".encode()
    assert EXPORTED == sender.send(one).outcome
    assert "Zoë" == collector.requests[0].headers["x-name"]
    assert is_plain([one.destination], {})
    one.destination.headers["x-name"] = b"\xff"
    assert not is_plain([one.destination], {})


def test_what_is_signed_is_sent(collector: FakeCollector, sender: PlainSender) -> None:
    """A signature is made of the body that goes out, and the host is named as it is signed."""
    one = job(collector.endpoint)
    one.destination.gzip = True
    signed: list[bytes] = []

    def sign(headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        signed.append(body)
        return {"authorization": headers["content-type"]}

    one.destination.sign = sign
    assert EXPORTED == sender.send(one).outcome
    assert signed == [one.body for one in collector.requests]
    assert CONTENT_TYPE_PROTOBUF == collector.requests[0].headers["authorization"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://c:443/v1?a=b", ("https", "c", "/v1?a=b")),
        ("https://c:80", ("https", "c:80", "/")),
        ("http://[::1]:80/", ("http", "[::1]", "/")),
        ("http://c:443/", ("http", "c:443", "/")),
        ("http://c:8080/", ("http", "c:8080", "/")),
    ],
)
def test_host_that_is_named(url: str, expected: tuple[str, str, str]) -> None:
    """The scheme's own port is not named, so that a signature fits."""
    assert expected == split_url(url)


@pytest.mark.parametrize(
    "url", ["HTTP://c/", "ftp://c/", "c:80", "http://u@c/", "http://c/#a", "http://c:x/", "http://"]
)
def test_addresses_that_are_left_to_requests(url: str) -> None:
    """What has to be repaired or refused is not ours to send."""
    assert not is_own_way(url, {})
