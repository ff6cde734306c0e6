"""What the tests of the extension process share: a platform, a collector, and a function."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from extension_fakes import ExtensionProcess, FakePlatform, Function
from fake_collector import ENDPOINT, FakeCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def platform() -> Iterator[FakePlatform]:
    """A platform without telemetry, as AWS's emulators are."""
    with FakePlatform() as made:
        yield made


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    """A collector that takes everything until it is told otherwise."""
    with FakeCollector() as made:
        yield made


@pytest.fixture
def extension(
    platform: FakePlatform, collector: FakeCollector, tmp_path: Path
) -> Iterator[ExtensionProcess]:
    """The extension, waiting for its first event."""
    with ExtensionProcess(platform, tmp_path, {ENDPOINT: collector.endpoint}) as made:
        platform.wait_next(1)
        yield made


@pytest.fixture
def sender_variables() -> dict[str, str]:
    """Variables that choose the sender; ours, unless a module says otherwise."""
    return {}


@pytest.fixture
def start(
    platform: FakePlatform,
    collector: FakeCollector,
    tmp_path: Path,
    sender_variables: dict[str, str],
) -> Iterator[Callable[..., Function]]:
    """Starts a function with our runtime, once, with more variables or another endpoint."""
    processes: list[ExtensionProcess] = []

    def begin(**variables: str) -> Function:
        environ = {ENDPOINT: collector.endpoint, **sender_variables, **variables}
        processes.append(ExtensionProcess(platform, tmp_path, environ))
        return Function(platform, processes[0])

    yield begin
    for process in processes:
        process.__exit__()
