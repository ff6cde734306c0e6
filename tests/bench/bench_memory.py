"""Prints what the extension weighs before and after its first export, by the way it exports.

Run by hand: ``python tests/bench/bench_memory.py``. PSS is the process's share of the memory
(/proc/PID/smaps_rollup), beside one more process of the same Python as in Lambda; CPU is what the
invocation with the first export took, of all threads. https is with a bundle of public authorities.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import certifi

import peers
from collector import Collector
from extension_fakes import ExtensionProcess, FakePlatform, Function
from fake_collector import BY_REQUESTS, ENDPOINT, Answer, FakeCollector
from tls_kit import Authority, TlsFront

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EXPORTS = 20
STORED = b'{"SecretString": "x-key=v"}'


def pss_mb(pid: int) -> float:
    """The share of the memory in MB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def cpu_ms(pid: int) -> float:
    """CPU time of all threads so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def measure(name: str, variables: Mapping[str, str]) -> None:
    """One environment."""
    with (
        FakePlatform() as platform,
        tempfile.TemporaryDirectory() as folder,
        ExtensionProcess(platform, Path(folder), variables) as extension,
    ):
        function = Function(platform, extension)
        before, cpu = pss_mb(extension.pid), cpu_ms(extension.pid)
        function.invoke("first")
        first, first_cpu = pss_mb(extension.pid), cpu_ms(extension.pid) - cpu
        for number in range(EXPORTS):
            function.invoke(str(number))
        last = pss_mb(extension.pid)
        said = function.shut_down()
    print(
        f"| {name} | {before:.1f} | {first:.1f} | {last:.1f} | {first_cpu:.0f} |"
        f"{' ' + said if said else ''}",
        flush=True,
    )


@contextlib.contextmanager
def ways() -> Iterator[dict[str, dict[str, str]]]:
    """Variables for each way to export, with a collector for it."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        authority = Authority(folder)
        bundle = folder / "bundle.pem"
        bundle.write_text(Path(certifi.where()).read_text() + authority.file.read_text())
        plain = stack.enter_context(FakeCollector())
        certificate = authority.certificate("server")
        front = stack.enter_context(TlsFront(plain.endpoint, certificate))
        trust = {"OTEL_EXPORTER_OTLP_CERTIFICATE": str(bundle)}
        secure = {ENDPOINT: front.endpoint, **trust}
        keys = {"AWS_REGION": "r", "AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "S"}
        signed = {
            **keys,
            **trust,
            "LAMBDASCOPE_DESTINATION": "aws-xray",
            "LAMBDASCOPE_AWS_XRAY_ENDPOINT": front.endpoint,
        }
        stores = stack.enter_context(FakeCollector(*[Answer(200, body=STORED)] * 2))
        secrets = stack.enter_context(TlsFront(stores.endpoint, certificate))
        stored = {
            **secure,
            **keys,
            "SSL_CERT_FILE": str(bundle),
            "AWS_ENDPOINT_URL": secrets.endpoint,
            "LAMBDASCOPE_HEADERS_SECRET_ARN": "arn:aws:secretsmanager:r:1:secret:s",
        }
        found = {
            "http": {ENDPOINT: plain.endpoint},
            "https": secure,
            "https, own authority": {
                **secure,
                "OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.file),
            },
            "https, signed": signed,
            "https, headers from a secret": stored,
            "http through `requests`": {ENDPOINT: plain.endpoint, **BY_REQUESTS},
            "https through `requests`": {**secure, **BY_REQUESTS},
            "https, signed, through `requests`": {**signed, **BY_REQUESTS},
        }
        binary = peers.collector_binary()
        if binary is not None:
            real = stack.enter_context(Collector(binary, folder))
            secure = stack.enter_context(TlsFront(real.grpc_endpoint, certificate))
            grpc = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
            found["gRPC"] = {**grpc, ENDPOINT: real.grpc_endpoint}
            found["gRPC with TLS"] = {**grpc, ENDPOINT: secure.endpoint, **trust}
        yield found


def main() -> None:
    """Print a table."""
    print("| exports over | PSS before MB | after the first export | after 21 | CPU ms |")
    print("|---|---|---|---|---|")
    with ways() as found:
        for name, variables in found.items():
            measure(name, variables)


if __name__ == "__main__":
    main()
