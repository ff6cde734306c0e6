"""Which Python runs the function, and whether our runtime can run in it.

The function should meet the packages of its own project, so an active virtual environment, or one
in the function's folder, goes before the Python that lambdascope itself was installed into. Where
lambdascope is not installed in it, a folder with nothing but our package is put on its path.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lambdascope
from lambdascope.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_VERSION = (3, 11)
_PROBE_TIMEOUT_S = 20
_PROBE = """
import importlib.util, json, sys
there = [n for n in ("lambdascope", "awslambdaric") if importlib.util.find_spec(n)]
print(json.dumps([list(sys.version_info[:3]), there]))
"""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python: its path, version and which of the modules that matter it can import."""

    path: str
    version: tuple[int, ...]
    modules: frozenset[str]
    notes: tuple[str, ...] = ()

    @property
    def version_text(self) -> str:
        """For people: 3.12.4."""
        return ".".join(map(str, self.version))

    def check_ours(self) -> None:
        """Raises CommandError where our runtime cannot run."""
        if self.version < MIN_VERSION:
            needed = ".".join(map(str, MIN_VERSION))
            raise CommandError(
                f"{self.path} is Python {self.version_text}; the runtime needs {needed} or newer "
                "(--python PATH names another)"
            )

    def check_module(self, name: str) -> None:
        """Raises CommandError where the module cannot be imported."""
        if name not in self.modules:
            raise CommandError(
                f"{name} is not there for {self.path}; try {self.path} -m pip install {name}"
            )


def find_interpreter(
    wanted: str | None, task_root: Path, environ: Mapping[str, str]
) -> Interpreter:
    """The interpreter to use. Raises CommandError when the one that was asked for cannot run."""
    if wanted is not None:
        path = shutil.which(wanted)
        if path is None:
            raise CommandError(f"--python {wanted}: no such program, neither on PATH nor as a file")
        return _probed(os.path.abspath(path))
    for home in (environ.get("VIRTUAL_ENV"), str(task_root / ".venv")):
        python = Path(home, "bin", "python") if home else None
        if home is None or python is None or not python.exists():
            continue
        if os.path.realpath(home) == os.path.realpath(sys.prefix):
            break
        try:
            found = _probed(str(python))
            found.check_ours()
        except CommandError as error:
            return _own(environ, f"not using {home}: {error}")
        return found
    return _own(environ)


def _own(environ: Mapping[str, str], *notes: str) -> Interpreter:
    """The Python that runs this command. Its modules are known without starting it, unless they
    come from PYTHONPATH, which a function does not get."""
    if environ.get("PYTHONPATH"):
        found = _probed(sys.executable)
        return Interpreter(
            path=found.path, version=found.version, modules=found.modules, notes=notes
        )
    import importlib.util

    there = {"lambdascope"}
    if importlib.util.find_spec("awslambdaric") is not None:
        there.add("awslambdaric")
    return Interpreter(
        path=sys.executable,
        version=tuple(sys.version_info[:3]),
        modules=frozenset(there),
        notes=notes,
    )


def _probed(path: str) -> Interpreter:
    """Ask a Python what it is, with no more of our environment than a function gets."""
    variables = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    try:
        done = subprocess.run(
            [path, "-c", _PROBE],
            capture_output=True,
            timeout=_PROBE_TIMEOUT_S,
            check=True,
            env=variables,
            cwd="/",
        )
        version, modules = json.loads(done.stdout)
    except subprocess.CalledProcessError as error:
        why = f"asked for its version it ended with status {error.returncode}"
        raise CommandError(f"{path} cannot be used as a Python: {why}") from None
    except subprocess.TimeoutExpired:
        why = f"asked for its version it gave no answer within {_PROBE_TIMEOUT_S} s"
        raise CommandError(f"{path} cannot be used as a Python: {why}") from None
    except (OSError, ValueError) as error:
        raise CommandError(f"{path} cannot be used as a Python: {error}") from None
    return Interpreter(path=path, version=tuple(version), modules=frozenset(modules))


class OwnPackage:
    """A folder in which a foreign interpreter finds our package and nothing else; a context."""

    def __init__(self, interpreter: Interpreter) -> None:
        self._needed = "lambdascope" not in interpreter.modules
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> str:
        """What has to be on the interpreter's path; empty where it has lambdascope itself."""
        if not self._needed:
            return ""
        self._folder = tempfile.TemporaryDirectory(prefix="lambdascope-")
        package = Path(lambdascope.__file__).parent
        Path(self._folder.name, package.name).symlink_to(package)
        return self._folder.name

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()
