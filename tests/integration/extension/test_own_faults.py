"""Faults of the extension's own code: the function never notices, and somebody is told.

A copy of the extension in the layout of a layer is damaged in one place and run.
"""

from __future__ import annotations

import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from extension_fakes import EXECUTABLE, ExtensionProcess, FakePlatform
from fake_collector import BY_REQUESTS, ENDPOINT, FakeCollector, traces
from lambdascope.transport.connection import ConnectionLost
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROOT = EXECUTABLE.parents[2]


class Damaged:
    """A layer that can be damaged before it is started."""

    def __init__(self, folder: Path) -> None:
        self.packages = folder / "opt" / "python"
        self.executable = folder / "opt" / "extensions" / "lambdascope"
        self.executable.parent.mkdir(parents=True)
        shutil.copy(EXECUTABLE, self.executable)
        ignore = shutil.ignore_patterns("__pycache__", "emulator", "cli", "runtime")
        for package in (ROOT / "src/lambdascope", ROOT / "extension/lambdascope_extension"):
            shutil.copytree(package, self.packages / package.name, ignore=ignore)

    def append(self, module: str, code: str) -> None:
        """Add code at the end of a module of the extension."""
        with open(self.packages / "lambdascope_extension" / f"{module}.py", "a") as file:
            file.write(f"\n{code}\n")


@pytest.fixture
def damaged(tmp_path: Path) -> Damaged:
    """A whole layer, for now."""
    return Damaged(tmp_path)


def started(
    damaged: Damaged,
    platform: FakePlatform,
    collector: FakeCollector,
    folder: Path,
    variables: Mapping[str, str] | None = None,
) -> ExtensionProcess:
    """The extension from the damaged layer."""
    variables = {ENDPOINT: collector.endpoint, **(variables or {})}
    return ExtensionProcess(platform, folder, variables, executable=damaged.executable)


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("flush_policy", "def decide(*arguments): raise RuntimeError('damage')"),
        (
            "end_tracker",
            "def begin(*a, **k): raise RuntimeError('damage')\nEndTracker.begin = begin",
        ),
        ("flusher", "def state(*arguments): raise RuntimeError('damage')\nFlusher.state = state"),
    ],
)
def test_fault_in_the_life_cycle(
    damaged: Damaged,
    platform: FakePlatform,
    collector: FakeCollector,
    tmp_path: Path,
    module: str,
    code: str,
) -> None:
    """Events go on being asked for, senders go on getting 200, and what they send is counted."""
    damaged.append(module, code)
    with started(damaged, platform, collector, tmp_path) as extension:
        platform.wait_next(1)
        sender = extension.runtime()
        for number in range(1, 4):
            platform.invoke(f"r{number}")
            platform.wait_next(number + 1)
            assert 200 == sender.hand_over(f"r{number}", "a", "b")
        sender.close()
        platform.shut_down()
        assert 0 == extension.wait_exit()
        fault, summary = extension.lines
        assert f"RuntimeError: damage at {module}.py:" in fault
        assert "6 spans accepted, 0 exported, 6 dropped (fault 6), 0 held" in summary


def test_fault_in_the_receiver(
    damaged: Damaged, platform: FakePlatform, collector: FakeCollector, tmp_path: Path
) -> None:
    """When not even senders can be answered, events are still asked for until the end."""
    damaged.append("intake", "def handle(*a): raise RuntimeError('damage')\nIntake.handle = handle")
    with started(damaged, platform, collector, tmp_path) as extension:
        platform.wait_next(1)
        request = b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        for line in ("from now on, after a fault", "nothing is received until the next start"):
            extension.anybody().connection.send(request)
            extension.wait_line(line)
        platform.invoke("r1")
        platform.wait_next(2)
        platform.shut_down()
        assert 0 == extension.wait_exit()
        assert 2 == len(extension.lines)
        assert not extension.handoff_file.exists()


def test_fault_beside_the_main_thread(
    damaged: Damaged, platform: FakePlatform, collector: FakeCollector, tmp_path: Path
) -> None:
    """Who waits for the answer to a large request is not left waiting, and gets one when it asks
    again."""
    damaged.append("intake", "def count_items(*a): raise RuntimeError('damage')")
    with started(damaged, platform, collector, tmp_path) as extension:
        platform.wait_next(1)
        sender = extension.anybody()
        with pytest.raises(ConnectionLost, match="connection closed"):
            sender.post(names.TRACES_PATH, traces("a", padding=20_000))
        extension.wait_line("from now on, after a fault: RuntimeError: damage")
        platform.shut_down()
        assert 0 == extension.wait_exit()


@pytest.mark.parametrize("module", ["lifecycle", "assembly", "reactor"])
def test_module_that_cannot_be_loaded(
    damaged: Damaged, platform: FakePlatform, collector: FakeCollector, tmp_path: Path, module: str
) -> None:
    """A module that breaks after register leaves a process that asks for events."""
    damaged.append(module, "raise ImportError('damage')")
    with started(damaged, platform, collector, tmp_path) as extension:
        platform.wait_next(1)
        platform.invoke("r1")
        platform.wait_next(2)
        platform.shut_down()
        assert 0 == extension.wait_exit()
        assert [True] == ["ImportError: damage" in line for line in extension.lines]


def test_requests_that_cannot_be_loaded(
    damaged: Damaged, platform: FakePlatform, collector: FakeCollector, tmp_path: Path
) -> None:
    """Without `requests` nothing can be sent: one line, no wait, and a count."""
    package = damaged.packages / "requests"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('no requests here')\n")
    with started(damaged, platform, collector, tmp_path, BY_REQUESTS) as extension:
        platform.wait_next(1)
        sender = extension.runtime()
        for number in range(1, 4):
            platform.invoke(f"r{number}")
            sender.hand_over(f"r{number}", "a")
            platform.wait_next(number + 1)
        sender.close()
        platform.shut_down()
        assert 0 == extension.wait_exit()
        line, summary = extension.lines
        assert "add the package `requests`" in line
        assert "3 spans accepted, 0 exported, 3 dropped (no_sender 3), 0 held" in summary


@pytest.mark.parametrize("module", ["sender", "plain_sender"])
def test_fault_of_the_sender(
    damaged: Damaged,
    platform: FakePlatform,
    collector: FakeCollector,
    tmp_path: Path,
    module: str,
) -> None:
    """A fault while sending costs that batch, counted, and the next one goes out."""
    name = "Sender" if module == "sender" else "PlainSender"
    damaged.append(
        module,
        f"real = {name}.send\n"
        "def send(self, job):\n"
        f"    {name}.send = real\n"
        "    raise RuntimeError('damage')\n"
        f"{name}.send = send",
    )
    variables = BY_REQUESTS if module == "sender" else None
    with started(damaged, platform, collector, tmp_path, variables) as extension:
        platform.wait_next(1)
        sender = extension.runtime()
        for number in (1, 2):
            platform.invoke(f"r{number}")
            sender.hand_over(f"r{number}", f"a{number}")
            platform.wait_next(number + 1)
        sender.close()
        platform.shut_down()
        assert 0 == extension.wait_exit()
        assert ["a2"] == collector.spans
        assert "2 spans accepted, 1 exported, 1 dropped (failed 1), 0 held" in extension.lines[-1]


def test_signal_after_a_fault(
    damaged: Damaged, platform: FakePlatform, collector: FakeCollector, tmp_path: Path
) -> None:
    """Idle after a fault, SIGTERM still ends the process with code 0."""
    damaged.append("flush_policy", "def decide(*arguments): raise RuntimeError('damage')")
    with started(damaged, platform, collector, tmp_path) as extension:
        platform.wait_next(1)
        platform.invoke("r1")
        platform.wait_next(2)
        sender = extension.anybody()
        assert 200 == sender.post(names.TRACES_PATH, traces("a"))[0].status
        extension.signal(signal.SIGTERM)
        assert 0 == extension.wait_exit()
