"""What a cold start of the runtime loads before it asks for its first event.

Every module here is paid by every cold start of every function. The list for the Python that the
project is developed with is exact, so that a new import is a visible change; for the others the
modules that cost most are forbidden.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import peers
from runtime_fakes import HandoffStub, ScriptedApi

SOURCE = Path(__file__).parents[2] / "src"
PYTHONS = {sys.version_info[:2]: Path(sys.executable)} | peers.interpreters()
EXACT_VERSION = (3, 11)

# Our own modules, in the order of the folders.
OURS = [
    "lambdascope",
    "lambdascope.clock",
    "lambdascope.otlp",
    "lambdascope.otlp.names",
    "lambdascope.runtime",
    "lambdascope.runtime.api",
    "lambdascope.runtime.bootstrap",
    "lambdascope.runtime.config",
    "lambdascope.runtime.context",
    "lambdascope.runtime.deadline_context",
    "lambdascope.runtime.faults",
    "lambdascope.runtime.handler",
    "lambdascope.runtime.handoff",
    "lambdascope.runtime.import_times",
    "lambdascope.runtime.import_watch",
    "lambdascope.runtime.init_phase",
    "lambdascope.runtime.logs",
    "lambdascope.runtime.loop",
    "lambdascope.runtime.serde",
    "lambdascope.runtime.telemetry",
    "lambdascope.runtime.termination",
    "lambdascope.runtime.trace_env",
    "lambdascope.runtime.triggers",
    "lambdascope.transport",
    "lambdascope.transport.connection",
    "lambdascope.wire",
    "lambdascope.wire.errors",
    "lambdascope.wire.heads",
    "lambdascope.wire.message",
    "lambdascope.wire.names",
    "lambdascope.wire.runtime_api",
]
# Only where there is an extension.
BESIDE_AN_EXTENSION = [
    "lambdascope.runtime.flight",
    "lambdascope.runtime.flight_file",
    "lambdascope.runtime.resource",
    "lambdascope.wire.flight",
]
# What we need of the standard library beyond what `python -m` loads by itself.
OF_PYTHON = ["__future__", "_contextvars", "_json", "_socket", "gc"]
# Not loaded by anybody: neither by us nor by `python -m`.
# fmt: off
NEVER = [
    "opentelemetry", "requests", "json", "re", "enum", "logging", "http", "ssl",
]
# Not loaded by us; some Pythons load one or the other for `python -m`.
NOT_BY_US = [
    "google", "socket", "selectors", "select", "threading", "traceback", "typing",
    "dataclasses", "asyncio", "urllib", "email", "datetime", "decimal", "random", "uuid",
    "inspect", "tokenize", "subprocess", "signal", "tempfile", "shutil", "importlib.metadata",
    "encodings.idna", "linecache", "string", "contextvars",
]
# fmt: on

APP = """
import sys
from lambdascope.runtime.api import RuntimeApi
def next(self):
    sys.stdout.write(chr(10).join(sorted(sys.modules)))
    sys.exit(0)
RuntimeApi.next = next
def handler(event, context): pass
"""


def _modules(python: Path, arguments: list[str], folder: Path, **environ: str) -> set[str]:
    """The modules that are loaded when the process that is started so says them."""
    done = subprocess.run(
        # Without site, because what that loads is the environment's and not ours.
        [python, "-S", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), **environ},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert "" == done.stderr
    return set(done.stdout.split())


def _loaded(python: Path, folder: Path, *, with_extension: bool) -> set[str]:
    """The modules that are loaded when the runtime asks for its first event."""
    (folder / "app.py").write_text(APP)
    with ScriptedApi() as api, HandoffStub(folder) as stub:
        file = stub.file if with_extension else folder / "none"
        loaded = _modules(
            python,
            ["-m", "lambdascope", "app.handler"],
            folder,
            AWS_LAMBDA_RUNTIME_API=api.address,
            LAMBDASCOPE_HANDOFF_FILE=str(file),
        )
        assert with_extension == bool(stub.hellos)
    return loaded - {"app"}


def _by_python(python: Path, folder: Path) -> set[str]:
    """The modules that `python -m` loads for an empty module."""
    (folder / "empty.py").write_text("import sys; print(*sys.modules)")
    return _modules(python, ["-m", "empty"], folder)


@pytest.mark.parametrize("with_extension", [False, True])
def test_exact_list(with_extension: bool, tmp_path: Path) -> None:
    """The modules loaded before the first next are those listed, with and without extension."""
    if sys.version_info[:2] != EXACT_VERSION:
        pytest.skip(f"the exact list is kept for Python {EXACT_VERSION[0]}.{EXACT_VERSION[1]}")
    python = Path(sys.executable)

    loaded = _loaded(python, tmp_path, with_extension=with_extension)

    ours = OURS + BESIDE_AN_EXTENSION if with_extension else OURS
    assert sorted([*ours, *OF_PYTHON]) == sorted(loaded - _by_python(python, tmp_path))


@pytest.mark.parametrize("python", PYTHONS.values(), ids=[f"{a}.{b}" for a, b in PYTHONS])
def test_forbidden_modules(python: Path, tmp_path: Path) -> None:
    """On no supported Python is one of the expensive modules loaded before the first next."""
    loaded = _loaded(python, tmp_path, with_extension=True)
    ours = loaded - _by_python(python, tmp_path)

    assert [] == _among(loaded, NEVER)
    assert [] == _among(ours, NOT_BY_US)
    assert {*OURS, *BESIDE_AN_EXTENSION} == {
        name for name in loaded if name.startswith("lambdascope")
    }


def _among(modules: set[str], forbidden: list[str]) -> list[str]:
    """Those of `modules` that are one of `forbidden` or in it."""
    packages = tuple(f"{name}." for name in forbidden)
    return sorted(name for name in modules if f"{name}.".startswith(packages))
