"""Where the real extension process sends to, and over what: variables, proxy, TLS, mistakes."""

from __future__ import annotations

import gzip
import shutil
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from extension_fakes import ExtensionProcess, FakePlatform, Function
from fake_collector import BY_REQUESTS, ENDPOINT, LIMIT_S, Answer, FakeCollector, traces
from lambdascope.wire import names
from tls_kit import TlsFront, openssl

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Start = Callable[..., Function]

PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.fixture(params=[{}, BY_REQUESTS], ids=["plain", "requests"])
def sender_variables(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where both senders can go, both do the same."""
    return dict(request.param)


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
    function = start(
        **{
            "HTTP_PROXY": collector.endpoint,
            "no_proxy": "",
            ENDPOINT: "http://collector.invalid",
            names.ENV_FLUSH: "end",
        }
    )
    function.invoke("a")
    assert "http://collector.invalid/v1/traces" == collector.requests[0].path
    collector.plan(Answer(hold=threading.Event()))
    assert function.invoke("b", limit_s=1.5) < 1.5
    collector.wait_left(1)


@pytest.mark.parametrize("answer", [b"", b"\x00\x00\x12\x04\x00\x00\x00\x00\x00garbage\r\n\r\n"])
def test_receiver_that_does_not_speak_http(start: Start, answer: bytes) -> None:
    """A server of another protocol, as on a gRPC port, is named with what to do about it."""
    with _Rude(answer) as server:
        function = start(**{ENDPOINT: server.endpoint})
        function.invoke("a")
        line = function.extension.wait_line("failed")
        assert "not HTTP" in line if answer else "closed without an answer" in line
        assert "names an OTLP/HTTP receiver" in line


class _Rude:
    """Answers everything with the same bytes and hangs up."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self.endpoint = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> _Rude:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join(LIMIT_S)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return  # the test is over
            with client:
                client.recv(65536)
                client.sendall(self._answer)


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
    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "2", "-subj", "/CN=localhost", "-keyout", key),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate),
    )
    with TlsFront(collector.endpoint, (certificate, key)) as front:
        variables = {f"{PREFIX}CERTIFICATE": str(certificate)} if trusted else {}
        function = start(**{ENDPOINT: front.endpoint, names.ENV_FLUSH: "end", **variables})
        if not trusted:
            function.invoke("a")
            line = function.extension.wait_line("failed")
            assert "OTEL_EXPORTER_OTLP_CERTIFICATE" in line
            assert [] == collector.requests
            return
        function.invoke("a")
        assert ["a"] == collector.spans
        collector.plan(Answer(hold=threading.Event()))
        assert function.invoke("b", limit_s=1.5) < 1.5
        collector.wait_left(1)


@pytest.mark.parametrize(
    ("variables", "part", "reason"),
    [
        ({ENDPOINT: ""}, "no OTEL_EXPORTER_OTLP_ENDPOINT", "no_endpoint"),
        ({ENDPOINT: "collector:4318"}, "does not begin with http://", "config"),
        ({f"{PREFIX}PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_PROTOCOL 'http/json'", "config"),
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
    assert max(function.invoke() for _ in range(5)) < 1.0
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


def test_endpoint_that_leads_to_the_extension(platform: FakePlatform, tmp_path: Path) -> None:
    """Under a name that nobody takes for loopback it still takes nothing from itself."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {names.ENV_OTLP_PORT: str(port), ENDPOINT: f"http://{0x7F000001}:{port}"}
    with ExtensionProcess(platform, tmp_path, variables) as extension:
        function = Function(platform, extension)
        function.invoke()
        assert "401" in extension.wait_line("failed")
        assert "1 spans accepted, 0 exported, 1 dropped (status_401 1)" in function.shut_down()


def test_endpoint_for_the_extension_alone(
    platform: FakePlatform, collector: FakeCollector, tmp_path: Path
) -> None:
    """With it the standard endpoint may lead a stock SDK to the extension, and nothing is said."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {
        names.ENV_OTLP_PORT: str(port),
        ENDPOINT: f"http://localhost:{port}",
        names.ENV_EXTENSION_ENDPOINT: collector.endpoint,
    }
    with ExtensionProcess(platform, tmp_path, variables) as extension:
        function = Function(platform, extension)
        function.invoke("a")
        assert ["a"] == collector.spans
        assert "" == function.shut_down()
        assert [] == extension.lines
