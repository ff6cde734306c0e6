"""TLS of our own sender beside that of `requests`: what both take, what both refuse, and cuts."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from typing import TYPE_CHECKING

import pytest

from fake_collector import Answer, FakeCollector, traces
from lambdascope.wire.names import CONTENT_TYPE_PROTOBUF
from lambdascope_extension import tls
from lambdascope_extension.answers import CUT, EXPORTED, REFUSED, RETRY, Result
from lambdascope_extension.buffer import Batch, Message
from lambdascope_extension.export_config import read_export_config
from lambdascope_extension.exporter import Job
from lambdascope_extension.plain_sender import PlainSender, is_plain
from lambdascope_extension.sender import Sender
from tls_kit import HAS_OPENSSL, Authority, TlsFront, openssl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not HAS_OPENSSL, reason="needs openssl to make certificates")

PREFIX = "OTEL_EXPORTER_OTLP_"
TRUST = f"{PREFIX}CERTIFICATE"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no system trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    """A collector behind the front."""
    with FakeCollector() as made:
        yield made


@pytest.fixture
def front(collector: FakeCollector, authority: Authority) -> Iterator[TlsFront]:
    """TLS in front of the collector, with a certificate that fits it."""
    with TlsFront(collector.endpoint, authority.certificate("server")) as made:
        yield made


@pytest.fixture(params=[PlainSender, Sender], ids=["own", "requests"])
def sender(request: pytest.FixtureRequest, front: TlsFront) -> Iterator[PlainSender | Sender]:
    """Either of the two senders, closed before the front is."""
    made = request.param()
    yield made
    made.close()


def job(
    endpoint: str, trust: object = "", *, body: bytes = b"", timeout_s: float = 10.0, **more: object
) -> Job:
    """An export of one span; `more` are variables of OTLP's exporter without their prefix."""
    environ = {f"{PREFIX}ENDPOINT": endpoint, TRUST: str(trust)}
    environ |= {f"{PREFIX}{name}": str(value) for name, value in more.items()}
    message = Message(
        signal="traces",
        kind=CONTENT_TYPE_PROTOBUF,
        body=body or traces("a"),
        items=1,
        received=1.0,
    )
    return Job(
        Batch([message]),
        read_export_config(environ, own_port=0).destinations["traces"],
        timeout_s=timeout_s,
        started=0.0,
        wants_new_connection=False,
    )


@pytest.mark.parametrize(
    ("environ", "plain"),
    [
        ({}, True),
        ({"http_proxy": "http://p:1"}, True),
        ({"HTTPS_PROXY": "http://p:1"}, False),
        ({"REQUESTS_CA_BUNDLE": "/etc/ca.pem"}, False),
    ],
)
def test_when_it_is_enough(environ: dict[str, str], plain: bool) -> None:
    """https needs no `requests` unless there is a proxy, or a variable of `requests` itself."""
    assert plain == is_plain([job("https://collector").destination], environ)


def test_it_takes_what_fits(
    sender: PlainSender | Sender, front: TlsFront, collector: FakeCollector, authority: Authority
) -> None:
    """A certificate for the address, of an authority that is trusted: one connection for all."""
    for _ in range(3):
        assert EXPORTED == sender.send(job(front.endpoint, authority.file)).outcome
    assert (3, 1) == (len(collector.requests), len(front.peers))


def test_authorities_in_a_folder(
    sender: PlainSender | Sender, front: TlsFront, authority: Authority, tmp_path: Path
) -> None:
    """A folder of certificates by their hashes is as good as a file."""
    one = job(front.endpoint)
    found = openssl("x509", "-hash", "-noout", "-in", authority.file)
    (tmp_path / f"{found.strip()}.0").write_text(authority.file.read_text())
    one.destination.verify = str(tmp_path)
    assert EXPORTED == sender.send(one).outcome


def test_who_is_not_trusted(
    sender: PlainSender | Sender, front: TlsFront, collector: FakeCollector
) -> None:
    """The public authorities have not signed the test's certificate."""
    result = sender.send(job(front.endpoint))
    assert (RETRY, []) == (result.outcome, collector.requests)
    assert "unable to get local issuer certificate" in result.reason
    assert f"check {TRUST}" in result.hint


@pytest.mark.parametrize(
    ("names", "days", "part"),
    [
        ("subjectAltName=IP:127.0.0.2,DNS:localhost", 2, "ip address mismatch"),
        ("subjectAltName=DNS:127.0.0.1", 2, "ip address mismatch"),
        ("basicConstraints=CA:FALSE", 2, "mismatch"),
        ("subjectAltName=IP:127.0.0.1", -1, "expired"),
    ],
)
def test_certificates_that_do_not_fit(
    sender: PlainSender | Sender,
    collector: FakeCollector,
    authority: Authority,
    *,
    names: str,
    days: int,
    part: str,
) -> None:
    """Another address, no name but the common one, and an old certificate are refused."""
    made = authority.certificate("127.0.0.1", names, days)
    with TlsFront(collector.endpoint, made) as front:
        result = sender.send(job(front.endpoint, authority.file))
    assert (RETRY, []) == (result.outcome, collector.requests)
    assert part in result.reason


@pytest.mark.parametrize(
    ("names", "outcome"), [("DNS:localhost", EXPORTED), ("DNS:*.localhost", RETRY)]
)
def test_host_names(
    sender: PlainSender | Sender,
    collector: FakeCollector,
    authority: Authority,
    names: str,
    outcome: str,
) -> None:
    """A host's name is compared with the certificate's, and said to the server."""
    asked: list[str | None] = []
    made = authority.certificate("server", f"subjectAltName={names}")
    with TlsFront(collector.endpoint, made) as front:
        front.context.sni_callback = lambda sock, name, context: asked.append(name)
        endpoint = f"https://localhost:{front.port}"
        assert outcome == sender.send(job(endpoint, authority.file)).outcome
        sender.close()
    assert ["localhost"] == asked


def test_old_protocols(
    sender: PlainSender | Sender, front: TlsFront, collector: FakeCollector, authority: Authority
) -> None:
    """TLS 1.1 is not spoken."""
    front.context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        front.context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert RETRY == sender.send(job(front.endpoint, authority.file)).outcome
    assert [] == collector.requests


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_bodies(
    sender: PlainSender | Sender,
    front: TlsFront,
    collector: FakeCollector,
    authority: Authority,
    version: ssl.TLSVersion,
) -> None:
    """Bodies of many records of TLS go there and come back whole."""
    front.context.minimum_version = front.context.maximum_version = version
    collector.plan(Answer(400, body=b"x" * 60_000), Answer())
    body = traces("a", padding=3_000_000)
    assert REFUSED == sender.send(job(front.endpoint, authority.file, body=body)).outcome
    assert EXPORTED == sender.send(job(front.endpoint, authority.file, body=body)).outcome
    assert [body, body] == [one.body for one in collector.requests]
    assert 1 == len(front.peers)


def test_dead_connection_is_replaced(
    sender: PlainSender | Sender, front: TlsFront, collector: FakeCollector, authority: Authority
) -> None:
    """A connection that the collector has ended costs nothing: the batch goes over another."""
    collector.plan(Answer(close=True), Answer(close=True))
    results = [sender.send(job(front.endpoint, authority.file)).outcome for _ in range(3)]
    assert ([EXPORTED] * 3, 3) == (results, len(front.peers))


def test_client_certificates(
    sender: PlainSender | Sender, collector: FakeCollector, authority: Authority, tmp_path: Path
) -> None:
    """A key in a file of its own or with its certificate is shown; without one, the collector's
    refusal is said in OpenSSL's words."""
    file, key = authority.certificate("client")
    both = tmp_path / "both.pem"
    both.write_text(file.read_text() + key.read_text())
    with TlsFront(collector.endpoint, authority.certificate("server"), authority) as front:
        shown = {"CLIENT_CERTIFICATE": file, "CLIENT_KEY": key}
        assert EXPORTED == sender.send(job(front.endpoint, authority.file, **shown)).outcome
        shown = {"CLIENT_CERTIFICATE": both}
        assert EXPORTED == sender.send(job(front.endpoint, authority.file, **shown)).outcome
        result = sender.send(job(front.endpoint, authority.file))
        assert ["client", "client"] == front.peers
        sender.close()
    assert RETRY == result.outcome


@pytest.mark.parametrize("what", ["trust", "key", "encrypted"])
def test_files_that_cannot_be_loaded(
    sender: PlainSender | Sender,
    front: TlsFront,
    authority: Authority,
    tmp_path: Path,
    what: str,
) -> None:
    """Garbage, and a key with a password, are said; nobody is asked for it at a terminal."""
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    file, key = authority.certificate("client")
    if what == "encrypted":
        garbage = tmp_path / "encrypted.pem"
        command = [
            "openssl",
            "ec",
            "-in",
            key,
            "-out",
            garbage,
            "-aes128",
            "-passout",
            "pass:secret",
        ]
        __import__("subprocess").run(command, capture_output=True, check=True)
    if what == "trust":
        one = job(front.endpoint, garbage)
    else:
        shown = {"CLIENT_CERTIFICATE": file, "CLIENT_KEY": garbage}
        one = job(front.endpoint, authority.file, **shown)
    result = sender.send(one)
    assert result.outcome in (REFUSED, RETRY)
    assert "" != result.reason
    assert "check OTEL_EXPORTER_OTLP_" in result.hint


def test_no_tls_there(
    sender: PlainSender | Sender, collector: FakeCollector, authority: Authority
) -> None:
    """A receiver that speaks plain http is told from one whose certificate is wrong."""
    result = sender.send(job(collector.endpoint.replace("http:", "https:"), authority.file))
    assert (RETRY, []) == (result.outcome, collector.requests)
    assert "the https:// address" in result.hint


def silent(serve: Callable[[socket.socket], None]) -> contextlib.AbstractContextManager[int]:
    """A server that does this with its first client; its port."""

    @contextlib.contextmanager
    def run() -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=lambda: serve(server.accept()[0]))
            thread.start()
            yield server.getsockname()[1]
            thread.join(10)

    return run()


def until_closed(client: socket.socket) -> None:
    """Read and say nothing."""
    with client:
        while client.recv(65_536):
            pass


def test_silent_handshake(sender: PlainSender | Sender, authority: Authority) -> None:
    """Who accepts and does not shake hands costs the time for connecting and no more."""
    with silent(until_closed) as port:
        result = sender.send(job(f"https://127.0.0.1:{port}", authority.file, timeout_s=0.2))
    assert (RETRY, "no answer in time") == (result.outcome, result.reason)


def test_slow_answer(
    sender: PlainSender | Sender, front: TlsFront, collector: FakeCollector, authority: Authority
) -> None:
    """An export ends with its time, also where the answer is what is late."""
    collector.plan(Answer(hold=threading.Event()))
    result = sender.send(job(front.endpoint, authority.file, timeout_s=0.3))
    assert (RETRY, "no answer in time") == (result.outcome, result.reason)


def test_slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time-out is for all that is sent, also where each record of it goes out in time."""
    now = 0.0

    class Slow:
        def write(self, data: memoryview) -> int:
            nonlocal now
            now += 1.0
            return 1

    monkeypatch.setattr(tls, "monotonic", lambda: now)
    with socket.socket() as sock:
        slow = tls.TlsSocket(sock, Slow())
        slow.settimeout(3.5)
        slow.sendall(memoryview(b"abc"))
        with pytest.raises(TimeoutError, match="timed out"):
            slow.sendall(memoryview(b"abcdefgh"))
    assert 3.0 + 3.0 > now - 1.0


def cut_when(ready: threading.Event, sender: PlainSender | Sender, one: Job) -> Result:
    """Send, and cut in another thread as soon as `ready` is set."""

    def cut() -> None:
        assert ready.wait(10)
        one.is_cut = True
        sender.cut()

    thread = threading.Thread(target=cut)
    thread.start()
    result = sender.send(one)
    thread.join()
    return result


def test_cut_in_the_handshake(sender: PlainSender | Sender, authority: Authority) -> None:
    """A cut ends a handshake that the other side does not go on with."""
    ready = threading.Event()

    def serve(client: socket.socket) -> None:
        client.recv(1)
        ready.set()
        until_closed(client)

    with silent(serve) as port:
        one = job(f"https://127.0.0.1:{port}", authority.file, timeout_s=60)
        assert CUT == cut_when(ready, sender, one).outcome


def test_cut_while_waiting_for_an_answer(
    sender: PlainSender | Sender, front: TlsFront, collector: FakeCollector, authority: Authority
) -> None:
    """A cut ends the wait at once, and the next export goes over a new connection."""
    collector.plan(Answer(hold=threading.Event()))
    ready = threading.Event()
    watcher = threading.Thread(target=lambda: (collector.wait_requests(1), ready.set()))
    watcher.start()
    assert CUT == cut_when(ready, sender, job(front.endpoint, authority.file)).outcome
    watcher.join()
    assert EXPORTED == sender.send(job(front.endpoint, authority.file)).outcome
