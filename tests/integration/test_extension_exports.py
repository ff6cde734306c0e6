"""The real extension process and collectors that misbehave: nothing late, nothing lost unsaid."""

from __future__ import annotations

import gzip
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from extension_fakes import (
    LIMIT_S,
    Answer,
    ExtensionProcess,
    FakeCollector,
    FakePlatform,
    Sender,
    traces,
)
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Start = Callable[..., "Function"]

PREFIX = "OTEL_EXPORTER_OTLP_"
ENDPOINT = f"{PREFIX}ENDPOINT"
DEAD = "http://127.0.0.1:1"


class Function:
    """A function with our runtime: platform, extension and a runtime that has said hello."""

    def __init__(self, platform: FakePlatform, extension: ExtensionProcess) -> None:
        self.platform = platform
        self.extension = extension
        self.count = 0
        platform.wait_next(1)
        self.runtime = extension.runtime()

    def invoke(self, *spans: str, limit_s: float = 30.0) -> float:
        """One invocation; how long (seconds) next was held after its done signal."""
        self.count += 1
        request_id = f"r{self.count}"
        self.platform.invoke(request_id, limit_s=limit_s)
        assert self.runtime.hand_over(request_id, *(spans or (request_id,))) == 200
        done = time.monotonic()
        return self.platform.wait_next(self.count + 1) - done

    def shut_down(self, limit_s: float = 2.0) -> str:
        """SHUTDOWN and the end with code 0; the last line that was said, or ""."""
        self.runtime.close()
        self.platform.shut_down(limit_s=limit_s)
        assert 0 == self.extension.wait_exit()
        return self.extension.lines[-1] if self.extension.lines else ""


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    """A platform without telemetry."""
    with FakePlatform() as made:
        yield made


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    """A collector that takes everything until it is told otherwise."""
    with FakeCollector() as made:
        yield made


@pytest.fixture
def start(platform: FakePlatform, collector: FakeCollector, tmp_path: Path) -> Iterator[Start]:
    """Starts the function, once, with more variables or another endpoint."""
    processes = []

    def begin(**variables: str) -> Function:
        environ = {ENDPOINT: collector.endpoint, **variables}
        processes.append(ExtensionProcess(platform, tmp_path, environ))
        return Function(platform, processes[0])

    yield begin
    for process in processes:
        process.__exit__()


def test_burst(start: Start, collector: FakeCollector) -> None:
    """Invocations that come close together are not held; their spans leave in few requests."""
    function = start()
    held = [function.invoke(f"a{number}", f"b{number}") for number in range(300)]
    assert statistics.median(held[5:]) < 0.01
    assert len(collector.requests) < 20
    assert "" == function.shut_down()
    assert sorted(f"{name}{number}" for number in range(300) for name in "ab") == sorted(
        collector.spans
    )


def test_much_data_in_one_invocation(start: Start, collector: FakeCollector) -> None:
    """Large bodies are cut between requests and leave while the handler still runs."""
    function = start()
    function.invoke("first")
    function.platform.invoke("long")
    sender = function.extension.anybody()
    for number in range(12):
        head, _ = sender.post(names.TRACES_PATH, traces(f"big{number}", padding=300_000))
        assert 200 == head.status
    collector.wait_requests(3)
    assert max(len(one.body) for one in collector.requests) <= 1_000_000
    assert 200 == function.runtime.hand_over("long", "last")
    assert "" == function.shut_down()
    assert {"first", "last", *(f"big{number}" for number in range(12))} == set(collector.spans)


def test_dead_collector(start: Start) -> None:
    """Nobody listens: one line, no invocation is held for long, and every span is accounted for."""
    function = start(**{ENDPOINT: DEAD})
    held = [function.invoke() for _ in range(30)]
    assert sum(held[1:]) < 1.0
    line = function.extension.wait_line("failed")
    assert f"export of traces to {DEAD}/v1/traces failed: connection refused" in line
    assert "check OTEL_EXPORTER_OTLP_ENDPOINT" in line
    summary = function.shut_down()
    assert "30 spans accepted, 0 exported, 30 dropped (shutdown 30), 0 held" in summary
    assert 2 == len(function.extension.lines)


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "OTEL_EXPORTER_OTLP_HEADERS"), (500, "look at the collector")]
)
def test_collector_that_refuses(
    start: Start,
    collector: FakeCollector,
    status: int,
    hint: str,
) -> None:
    """A refusal is final: dropped, counted under its status, said once, with the remedy."""
    collector.plan(*[Answer(status)] * 3)
    function = start(**{f"{PREFIX}HEADERS": "api-key=very-secret"})
    for _ in range(5):
        function.invoke()
    summary = function.shut_down()
    assert f"5 spans accepted, 2 exported, 3 dropped (status_{status} 3), 0 held" in summary
    failures = [line for line in function.extension.lines if "failed" in line]
    assert [True] == [hint in line and str(status) in line for line in failures]
    assert "very-secret" not in "".join(function.extension.lines)
    assert {"very-secret"} == {one.headers["api-key"] for one in collector.requests}


def test_collector_that_is_busy(start: Start, collector: FakeCollector) -> None:
    """503 with Retry-After: the batch is kept, asked again after that time, with the same id."""
    collector.plan(Answer(503, headers=(("Retry-After", "1"),)))
    function = start()
    began = time.monotonic()
    function.invoke("first")
    held = []
    while len(collector.requests) < 2:
        held.append(function.invoke())
        assert time.monotonic() - began < LIMIT_S
    first, second = collector.requests[:2]
    assert second.at - first.at >= 0.8
    assert (first.batch_id, first.body) == (second.batch_id, second.body)
    assert statistics.median(held) < 0.01
    function.shut_down()
    assert sorted(["first", *(f"r{n}" for n in range(2, function.count + 1))]) == sorted(
        collector.spans
    )


@pytest.mark.parametrize("cut", [0, 10, 45])
def test_collector_that_hangs_up(start: Start, collector: FakeCollector, cut: int) -> None:
    """A connection that breaks before the whole answer: the batch is kept and sent again."""
    collector.plan(Answer(cut=cut))
    function = start()
    function.invoke("a")
    function.shut_down()
    first, second = collector.requests
    assert first.batch_id == second.batch_id
    assert ["a"] == collector.spans


def test_kept_connection_that_died(start: Start, collector: FakeCollector) -> None:
    """A connection that died while it was kept costs one silent retry at once, not a batch."""
    function = start()
    function.invoke("a")
    collector.plan(Answer(cut=0))
    function.invoke("b")
    assert ["a", "b"] == collector.spans
    assert collector.requests[1].batch_id == collector.requests[2].batch_id
    assert "" == function.shut_down()


def test_collector_that_closes_each_connection(start: Start, collector: FakeCollector) -> None:
    """A collector without keep-alive is no failure."""
    collector.plan(*[Answer(close=True)] * 5)
    function = start()
    for name in "abcde":
        function.invoke(name)
    assert list("abcde") == collector.spans
    assert "" == function.shut_down()


def test_slow_collector_is_cut(start: Start, collector: FakeCollector) -> None:
    """A collector that does not answer holds next for the budget, and nothing stays in flight."""
    never = threading.Event()
    collector.plan(*[Answer(hold=never)] * 50)
    function = start(LAMBDASCOPE_HOLD_BUDGET_MS="300")
    held = [function.invoke() for _ in range(10)]
    assert 0.2 < max(held) < 0.6
    assert sum(held) < 1.5
    index = len(collector.requests) - 1
    left = collector.wait_left(index)
    assert left <= max(function.platform.asked_at) + 0.05
    assert "no answer" in function.extension.wait_line("failed")
    summary = function.shut_down(limit_s=1.0)
    assert "10 spans accepted, 0 exported, 10 dropped (shutdown 10)" in summary


def test_slow_collector_and_the_deadline(start: Start, collector: FakeCollector) -> None:
    """The hold ends before the deadline of the invocation, whatever the budget is."""
    function = start(LAMBDASCOPE_HOLD_BUDGET_MS="60000")
    function.invoke("warm")
    collector.plan(Answer(hold=threading.Event()))
    sent = time.monotonic()
    function.invoke("slow", limit_s=1.0)
    assert 0.7 < function.platform.asked_at[-1] - sent < 1.0
    function.shut_down()
    assert ["warm", "slow"] == collector.spans


def test_shutdown_keeps_its_budget(start: Start, collector: FakeCollector) -> None:
    """With a collector that hangs the process ends before the deadline of SHUTDOWN."""
    function = start()
    function.invoke("a")
    collector.plan(*[Answer(hold=threading.Event())] * 3)
    assert 200 == function.runtime.post(names.TRACES_PATH, traces("b"))[0].status
    sent = time.monotonic()
    summary = function.shut_down(limit_s=1.0)
    assert time.monotonic() - sent < 1.0
    assert "2 spans accepted, 1 exported, 1 dropped (shutdown 1)" in summary


def test_signal_while_holding(start: Start, collector: FakeCollector) -> None:
    """SIGTERM while next is held for an export lets that export end, and then the process."""
    go_on = threading.Event()
    collector.plan(Answer(hold=go_on))
    function = start(LAMBDASCOPE_HOLD_BUDGET_MS="8000")
    function.platform.invoke("r1")
    function.runtime.hand_over("r1", "a")
    collector.wait_requests(1)
    function.extension.signal(signal.SIGTERM)
    function.runtime.close()
    go_on.set()
    assert 0 == function.extension.wait_exit()
    assert (["a"], []) == (collector.spans, function.extension.lines)


def test_partial_success(start: Start, collector: FakeCollector) -> None:
    """Rejected spans are counted as dropped and said once."""
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = 2
    response.partial_success.error_message = "no such tenant"
    collector.plan(*[Answer(body=response.SerializeToString())] * 2)
    function = start()
    function.invoke("a", "b", "c")
    function.invoke("d", "e", "f")
    summary = function.shut_down()
    assert "6 spans accepted, 2 exported, 4 dropped (rejected 4), 0 held" in summary
    assert 1 == sum("no such tenant" in line for line in function.extension.lines)


def test_what_the_collector_gets(start: Start, collector: FakeCollector) -> None:
    """Headers, compression and the signal's own endpoint are those that the user set."""
    function = start(
        **{
            f"{PREFIX}HEADERS": "x-team=a%20b",
            f"{PREFIX}COMPRESSION": "gzip",
            f"{PREFIX}TRACES_ENDPOINT": f"{collector.endpoint}/mine?key=1",
        }
    )
    function.invoke("a")
    request = collector.requests[0]
    assert ("/mine?key=1", "a b", "gzip", names.CONTENT_TYPE_PROTOBUF) == (
        request.path,
        request.headers["x-team"],
        request.headers["content-encoding"],
        request.headers["content-type"],
    )
    assert traces("a") == gzip.decompress(request.body)
    assert request.headers["user-agent"].startswith("lambdascope/")
    assert 32 == len(request.batch_id)


def test_proxy(start: Start, collector: FakeCollector) -> None:
    """HTTP_PROXY is honoured; the proxy's connections can be cut like any other."""
    function = start(**{"HTTP_PROXY": collector.endpoint, ENDPOINT: "http://collector.invalid"})
    function.invoke("a")
    assert "http://collector.invalid/v1/traces" == collector.requests[0].path
    collector.plan(Answer(hold=threading.Event()))
    assert function.invoke("b") < 1.0
    collector.wait_left(1)


@pytest.mark.parametrize("answer", [b"", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00garbage\r\n\r\n"])
def test_grpc_port(start: Start, answer: bytes) -> None:
    """A server that does not speak HTTP is named with what to do about it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(2):
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        function = start(**{ENDPOINT: f"http://127.0.0.1:{server.getsockname()[1]}"})
        function.invoke("a")
        line = function.extension.wait_line("failed")
        assert "not HTTP" in line if answer else "closed without an answer" in line
        assert "names an OTLP/HTTP receiver" in line
        server.shutdown(socket.SHUT_RDWR)
        thread.join(LIMIT_S)


def test_name_that_is_unknown(start: Start) -> None:
    """A host name without an address is said to be one."""
    function = start(**{ENDPOINT: "http://collector.invalid:4318"})
    function.invoke("a")
    assert "the name cannot be resolved" in function.extension.wait_line("failed")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
@pytest.mark.parametrize("trusted", [True, False])
def test_tls(start: Start, tmp_path: Path, collector: FakeCollector, trusted: bool) -> None:
    """Over TLS the certificate is checked against the user's, and exports can be cut as well."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(key)),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with _TlsFront(context, collector) as front:
        variables = {f"{PREFIX}CERTIFICATE": str(certificate)} if trusted else {}
        function = start(**{ENDPOINT: front.endpoint, **variables})
        if not trusted:
            function.invoke("a")
            line = function.extension.wait_line("failed")
            assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in line
            assert [] == collector.requests
            return
        function.invoke("a")
        assert ["a"] == collector.spans
        collector.plan(Answer(hold=threading.Event()))
        assert function.invoke("b") < 1.0
        collector.wait_left(1)


class _TlsFront:
    """Takes TLS connections and passes their bytes to a collector and back."""

    def __init__(self, context: ssl.SSLContext, collector: FakeCollector) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._context = context
        self._target = collector.endpoint.removeprefix("http://").split(":")
        self._threads = [threading.Thread(target=self._accept)]
        self.endpoint = f"https://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> _TlsFront:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(LIMIT_S)

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._server.accept()
            except OSError:
                return
            try:
                client = self._context.wrap_socket(raw, server_side=True)
            except OSError:
                raw.close()
                continue
            target = socket.create_connection((self._target[0], int(self._target[1])))
            for source, sink in ((client, target), (target, client)):
                thread = threading.Thread(target=_copy, args=(source, sink))
                self._threads.append(thread)
                thread.start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass  # one side is gone, and so is the other in a moment
    for one in (source, sink):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    source.close()


@pytest.mark.parametrize(
    ("variables", "part", "reason"),
    [
        ({ENDPOINT: ""}, "no OTEL_EXPORTER_OTLP_ENDPOINT", "no_endpoint"),
        ({ENDPOINT: "collector:4318"}, "does not begin with http://", "config"),
        ({f"{PREFIX}PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL 'grpc'", "config"),
        ({f"{PREFIX}CERTIFICATE": "/none"}, "'/none' cannot be read", "config"),
    ],
)
def test_no_destination(
    start: Start,
    variables: dict[str, str],
    part: str,
    reason: str,
) -> None:
    """Without a usable destination telemetry is taken, counted and dropped, and nobody waits."""
    function = start(**variables)
    assert part in function.extension.wait_line(part)
    assert max(function.invoke() for _ in range(5)) < 0.1
    summary = function.shut_down()
    assert f"5 spans accepted, 0 exported, 5 dropped ({reason} 5)" in summary
    assert 2 == len(function.extension.lines)


def test_endpoint_that_is_the_extension(platform: FakePlatform, tmp_path: Path) -> None:
    """An endpoint that is the extension's own port is refused before it goes round."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {names.ENV_OTLP_PORT: str(port), ENDPOINT: f"http://localhost:{port}"}
    with ExtensionProcess(platform, tmp_path, variables) as extension:
        function = Function(platform, extension)
        function.invoke()
        assert "go round in a circle" in extension.lines[0]
        assert "1 dropped (config 1)" in function.shut_down()


def test_hostile_senders(start: Start, collector: FakeCollector) -> None:
    """Garbage, oversize, bombs and wrong tokens are refused; invocations go on unharmed."""
    function = start()
    port, token = function.extension.rendezvous()
    bomb = gzip.compress(bytes(50_000_000), 9)
    attempts = [
        (b"\xff" * 100, (), 400),
        (b"x" * (names.MAX_PAYLOAD_BYTES + 1), (), 413),
        (bomb, (("Content-Encoding", "gzip"),), 413),
        (traces("forged"), ((names.HANDOFF_TOKEN, "0" * len(token)),), 401),
        (traces("forged"), ((names.HANDOFF_DONE, "0"),), 401),
    ]
    silent = [socket.create_connection(("127.0.0.1", port), LIMIT_S) for _ in range(100)]
    for number, (body, headers, status) in enumerate(attempts):
        sender = Sender(port)
        assert status == sender.post(names.TRACES_PATH, body, headers)[0].status
        sender.close()
        function.invoke(f"good{number}")
    for one in silent:
        one.close()
    summary = function.shut_down()
    assert [f"good{number}" for number in range(5)] == collector.spans
    assert "5 requests refused (malformed 1, too_large 2, wrong_token 2)" in summary
