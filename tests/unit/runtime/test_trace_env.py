"""The X-Ray header in `os.environ`, where the AWS SDKs look for it."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc

import pytest

from lambdascope.runtime.trace_env import TraceEnv
from lambdascope.wire.names import ENV_TRACE_ID

TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENV_TRACE_ID, raising=False)


def test_set_and_remove() -> None:
    """The header is in os.environ while it is set, for every way of reading it."""
    env = TraceEnv()
    env.set(TRACE)

    assert TRACE == os.environ[ENV_TRACE_ID] == os.environ.get(ENV_TRACE_ID)
    assert TRACE == os.environ.copy()[ENV_TRACE_ID] == os.environb[ENV_TRACE_ID.encode()].decode()
    assert ENV_TRACE_ID in os.environ
    assert ENV_TRACE_ID in list(os.environ)

    env.set(None)
    env.set(None)

    assert ENV_TRACE_ID not in os.environ


def test_header_of_the_start_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process was started with is gone, also for the children of the process."""
    monkeypatch.setenv(ENV_TRACE_ID, "old")
    TraceEnv()

    shown = subprocess.run(["env"], capture_output=True, text=True, timeout=30).stdout

    assert ENV_TRACE_ID not in os.environ
    assert ENV_TRACE_ID not in shown


def test_explicit_environment_of_a_child() -> None:
    """A child that is given os.environ sees the header."""
    TraceEnv().set(TRACE)
    code = f"import os; print(os.environ[{ENV_TRACE_ID!r}])"

    done = subprocess.run(
        [sys.executable, "-c", code], env=dict(os.environ), capture_output=True, timeout=30
    )

    assert f"{TRACE}\n".encode() == done.stdout


def test_user_may_delete_and_set() -> None:
    """Code that deletes or sets the variable itself is not in the way."""
    env = TraceEnv()
    env.set("a")
    del os.environ[ENV_TRACE_ID]
    env.set(None)
    os.environ[ENV_TRACE_ID] = "mine"
    env.set("b")

    assert "b" == os.environ[ENV_TRACE_ID]


@pytest.mark.parametrize("header", ["grün", "a\udcffb", "x" * 10_000])
def test_odd_headers(header: str) -> None:
    """Any text that a header can hold is set as it is."""
    TraceEnv().set(header)

    assert header == os.environ[ENV_TRACE_ID]


def test_replaced_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the function puts another mapping in the place of os.environ, SDKs read that one."""
    env = TraceEnv()
    env.set("a")
    monkeypatch.setattr(os, "environ", {"PATH": "x"})
    env.set("b")
    there = dict(os.environ)
    env.set(None)

    assert {"PATH": "x", ENV_TRACE_ID: "b"} == there
    assert {"PATH": "x"} == os.environ


def test_memory_does_not_grow() -> None:
    """100 000 different headers leave nothing behind, neither in Python nor in the C library."""
    env = TraceEnv()
    env.set(f"{TRACE}{0:06}")
    tracemalloc.start()
    before, resident = tracemalloc.get_traced_memory()[0], _resident_bytes()

    for number in range(100_000):
        env.set(f"{TRACE}{number:06}")

    grown = tracemalloc.get_traced_memory()[0] - before
    resident_grown = _resident_bytes() - resident
    tracemalloc.stop()
    assert grown < 10_000
    # putenv would have kept 100 000 strings of 100 bytes.
    assert resident_grown < 3_000_000


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
