"""What the tests of import hints share: a task root for one test, and imports that fail."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime import import_places
from lambdascope.runtime.faults import Fault
from lambdascope.runtime.handler import load_handler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
SECRET = "open-sesame-17"


@contextlib.contextmanager
def task_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty task root that is first on sys.path; what is imported from it is forgotten."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "task"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(import_places, "LAYERS", str(tmp_path / "opt"))
    monkeypatch.setenv("DATABASE_PASSWORD", SECRET)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if not name.startswith("lambdascope"):
            del sys.modules[name]


def write_files(root: Path, **files: str) -> None:
    """Write modules; two underscores in a name are a folder."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(text)


def import_fault(handler: str) -> Fault:
    """The fault of a handler that does not load."""
    with pytest.raises(Fault) as caught:
        load_handler(handler)
    return caught.value


def hint_of(handler: str) -> str:
    """The hint in it."""
    return str(import_fault(handler).more.get("hint", ""))
