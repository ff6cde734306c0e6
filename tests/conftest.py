"""Fixtures for the real counterparts, and what was left out said at the end of a run.

A test that needs a real part takes the part's fixture. Where the part is missing the test is
skipped with the reason, or fails when `LAMBDASCOPE_REQUIRE_PEERS=1` says that a left-out real
part is a failure (as in CI).
"""

from __future__ import annotations

import collections
import os
import signal
from typing import TYPE_CHECKING

import pytest

import peers
from collector import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_configure() -> None:
    """Give SIGINT its meaning back: a shell's background jobs ignore it, and so would the processes
    that the tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def rie() -> Path:
    """AWS's Runtime Interface Emulator."""
    return _required("AWS's Runtime Interface Emulator", peers.rie())


@pytest.fixture(scope="session")
def collector_binary() -> Path:
    """A real OpenTelemetry collector; `collector` runs it."""
    return _required("a real OpenTelemetry collector", peers.collector_binary())


@pytest.fixture(scope="session")
def peer_python() -> Path:
    """The interpreter of an environment with awslambdaric and boto3, and without lambdascope."""
    return _required("awslambdaric and boto3", peers.peer_python())


@pytest.fixture(scope="session")
def compat_python() -> Path:
    """An interpreter with Powertools, the X-Ray and Sentry SDKs, moto and awslambdaric."""
    return _required("Powertools, Sentry and their kin", peers.compat_python())


@pytest.fixture(scope="session")
def instrument_python() -> Path:
    """An interpreter with OpenTelemetry's instrumentors and the libraries that they are for."""
    return _required("OpenTelemetry's instrumentors", peers.instrument_python())


@pytest.fixture(scope="session")
def otel_versions() -> Path:
    """A folder with folders of OpenTelemetry: api-1.30.0, sdk-1.30.0 and the same of 1.45.2."""
    return _required("several versions of OpenTelemetry", peers.otel_versions())


@pytest.fixture(scope="session")
def foreign_python() -> Path:
    """An interpreter with awslambdaric and stock OpenTelemetry, and without lambdascope."""
    return _required("stock OpenTelemetry for AWS's client", peers.foreign_python())


@pytest.fixture(scope="session")
def datadog_agent() -> Path:
    """Datadog's test agent."""
    return _required("Datadog's test agent", peers.datadog_agent())


@pytest.fixture(scope="session")
def rotel() -> Path:
    """Rotel, a collector of another make."""
    return _required("Rotel", peers.rotel())


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """Node packages: AWS's runtime client, OpenTelemetry's SDK, TypeScript with Grafana's types."""
    return _required("AWS's runtime client and OpenTelemetry for Node", peers.node_modules())


@pytest.fixture(scope="session")
def aws_command() -> Path:
    """AWS's own command line."""
    return _required("the aws command", peers.aws_command())


@pytest.fixture
def collector(collector_binary: Path, tmp_path: Path) -> Iterator[Collector]:
    """A running collector of the test's own."""
    with Collector(collector_binary, tmp_path) as running:
        yield running


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Lists what did not run and why, one line for each reason."""
    reasons: collections.Counter[str] = collections.Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reasons[_reason(report)] += 1
    if not reasons:
        return
    terminalreporter.section("left out")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} test{'s' * (count > 1)}: {reason}")


def _required(part: str, path: Path | None) -> Path:
    if path is not None:
        return path
    reason = f"{part} is not in {peers.folder()} (run scripts/install-peers)"
    if os.environ.get("LAMBDASCOPE_REQUIRE_PEERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    where = report.longrepr
    text = where[2] if isinstance(where, tuple) else str(where)
    return text.removeprefix("Skipped: ")
