"""How the tests find the real counterparts and the other interpreters."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import peers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER = next(version for version in peers.SUPPORTED if version != sys.version_info[:2])
NAME = f"python{OTHER[0]}.{OTHER[1]}"


def script(path: Path, line: str) -> Path:
    """An executable of one line at that path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine with no peers and no other interpreters."""
    monkeypatch.setenv("LAMBDASCOPE_PEERS", str(tmp_path / "peers"))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "pythons" / "7"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    peers.interpreters.cache_clear()
    yield tmp_path
    peers.interpreters.cache_clear()


def test_a_part_counts_only_when_its_installation_finished(empty: Path) -> None:
    """A binary without the key file that the installer writes last is not offered."""
    binary = script(empty / "peers" / "rie" / "aws-lambda-rie", "exit 0")
    assert peers.rie() is None
    (binary.parent / ".key").touch()
    assert binary == peers.rie()


def test_the_built_collector_is_preferred_to_the_one_in_its_place(empty: Path) -> None:
    """`rotel-agent` is offered when it is alone, `otelcol` when it is there."""
    folder = empty / "peers" / "collector"
    rotel = script(folder / "rotel-agent", "exit 0")
    (folder / ".key").touch()
    assert rotel == peers.collector_binary()
    otelcol = script(folder / "otelcol", "exit 0")
    assert otelcol == peers.collector_binary()


def test_a_launcher_that_ends_with_an_error_is_no_interpreter(empty: Path) -> None:
    """Of the candidates only one that answers with the right version is taken."""
    script(empty / "bin" / NAME, "exit 127")
    script(empty / "pythons" / "9" / "bin" / NAME, "echo 2 7 /somewhere")
    assert peers.interpreters() == {}

    peers.interpreters.cache_clear()
    script(empty / "pythons" / "8" / "bin" / NAME, f"echo {OTHER[0]} {OTHER[1]} /with a/gap")
    assert [str(path) for path in peers.interpreters().values()] == ["/with a/gap"]
