"""The real extension process on the ways of companies: own authorities, client keys, proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector import Collector
from fake_collector import ENDPOINT, FakeCollector
from lambdascope.wire import names
from observed import PATIENT_MS, running
from tls_kit import HAS_OPENSSL, Authority, ConnectProxy, TlsFront

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from extension_fakes import Function

    Start = Callable[..., Function]

pytestmark = pytest.mark.skipif(not HAS_OPENSSL, reason="needs openssl to make certificates")

PREFIX = "OTEL_EXPORTER_OTLP_"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no system trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("variable", [f"{PREFIX}CERTIFICATE", "SSL_CERT_FILE"])
def test_own_authority(
    start: Start, collector: FakeCollector, authority: Authority, variable: str
) -> None:
    """A collector with a certificate of the company's own is trusted by either variable."""
    with TlsFront(collector.endpoint, authority.certificate("server")) as front:
        function = start(
            **{
                ENDPOINT: front.endpoint,
                variable: str(authority.file),
                names.ENV_FLUSH: "end",
            }
        )
        function.invoke("a")
        function.invoke("b")

        assert (["a", "b"], [""]) == (collector.spans, front.peers)
        assert "" == function.shut_down()


def test_foreign_authority(
    start: Start, collector: FakeCollector, authority: Authority, tmp_path: Path
) -> None:
    """A certificate of somebody else's is refused, and nothing is sent to who shows it."""
    other = Authority(tmp_path)
    with TlsFront(collector.endpoint, other.certificate("server")) as front:
        function = start(**{ENDPOINT: front.endpoint, f"{PREFIX}CERTIFICATE": str(authority.file)})
        function.invoke("a")
        line = function.extension.wait_line("failed")
        function.shut_down()

    assert f"check {PREFIX}CERTIFICATE" in line
    assert [] == collector.requests


@pytest.mark.parametrize("with_key", [True, False])
def test_client_certificate(
    start: Start, collector: FakeCollector, authority: Authority, with_key: bool
) -> None:
    """Where the collector asks who we are, the client's certificate is shown; without it, said."""
    file, key = authority.certificate("the extension")
    own = {f"{PREFIX}CLIENT_CERTIFICATE": str(file), f"{PREFIX}CLIENT_KEY": str(key)}
    with TlsFront(collector.endpoint, authority.certificate("server"), authority) as front:
        function = start(
            **{ENDPOINT: front.endpoint, f"{PREFIX}CERTIFICATE": str(authority.file)},
            **(own if with_key else {}),
        )
        function.invoke("a")
        if with_key:
            assert (["a"], ["the extension"]) == (collector.spans, front.peers)
        else:
            function.extension.wait_line("failed")
            assert [] == collector.requests
        function.shut_down()


@pytest.mark.parametrize("no_proxy", ["", "localhost", "127.0.0.1"])
def test_proxy_for_https(
    start: Start, collector: FakeCollector, authority: Authority, no_proxy: str
) -> None:
    """HTTPS_PROXY gets a tunnel, in which TLS is with the collector; NO_PROXY goes past it."""
    with (
        TlsFront(collector.endpoint, authority.certificate("server")) as front,
        ConnectProxy(front.endpoint) as proxy,
    ):
        function = start(
            **{
                ENDPOINT: front.endpoint,
                f"{PREFIX}CERTIFICATE": str(authority.file),
                "HTTPS_PROXY": proxy.endpoint,
                "NO_PROXY": no_proxy,
            }
        )
        function.invoke("a")

        past = no_proxy == "127.0.0.1"
        assert ["a"] == collector.spans
        assert ([] if past else [f"CONNECT 127.0.0.1:{front.port}"]) == proxy.asked
        function.shut_down()


def test_proxy_that_is_dead(start: Start, collector: FakeCollector, authority: Authority) -> None:
    """A proxy that does not answer costs a line, and nothing goes around it."""
    with TlsFront(collector.endpoint, authority.certificate("server")) as front:
        function = start(
            **{
                ENDPOINT: front.endpoint,
                f"{PREFIX}CERTIFICATE": str(authority.file),
                "HTTPS_PROXY": "http://127.0.0.1:9",
            }
        )
        function.invoke("a")
        line = function.extension.wait_line("failed")
        function.shut_down()

    assert "kept for another try" in line
    assert [] == collector.requests


@pytest.mark.collector
@pytest.mark.parametrize("with_key", [True, False])
def test_grpc_over_tls(
    collector_binary: Path, tmp_path: Path, authority: Authority, with_key: bool
) -> None:
    """gRPC takes the same variables: the authority, and the client's certificate and key."""
    file, key = authority.certificate("the extension")
    variables = {
        f"{PREFIX}PROTOCOL": "grpc",
        f"{PREFIX}CERTIFICATE": str(authority.file),
        "LAMBDASCOPE_HOLD_BUDGET_MS": PATIENT_MS,
    }
    if with_key:
        variables |= {
            f"{PREFIX}CLIENT_CERTIFICATE": str(file),
            f"{PREFIX}CLIENT_KEY": str(key),
        }
    clients = authority if with_key else None
    with (
        Collector(collector_binary, tmp_path) as collector,
        TlsFront(collector.grpc_endpoint, authority.certificate("server"), clients) as front,
    ):
        with running(
            tmp_path,
            "def handler(event, context): return event",
            endpoint=front.endpoint,
            variables=variables,
        ) as function:
            function.invoke(b"{}")
            function.shutdown()

        assert "shop" in {span["name"] for span in collector.wait_for_spans(3)}
        assert {"the extension" if with_key else ""} == set(front.peers)
