"""What the function's init pays for the extension: the modules loaded when it registers."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from extension_fakes import EXECUTABLE
from lambdascope.wire import names

if TYPE_CHECKING:
    from pathlib import Path

# Everything that is there at register beyond an isolated interpreter without site-packages. Lambda
# starts the runtime only after it: measure what a new line costs before adding it.
LOADED = [
    "__future__",
    "_socket",
    "errno",
    "lambdascope",
    "lambdascope.transport",
    "lambdascope.transport.connection",
    "lambdascope.wire",
    "lambdascope.wire.errors",
    "lambdascope.wire.extensions_api",
    "lambdascope.wire.heads",
    "lambdascope.wire.message",
    "lambdascope.wire.names",
    "lambdascope_extension",
    "lambdascope_extension.__main__",
    "lambdascope_extension.config",
    "lambdascope_extension.extensions_client",
    "lambdascope_extension.rendezvous",
    "lambdascope_extension.say",
]
# Runs the executable up to the moment when it sends the request to register.
CODE = """
import sys
before = set(sys.modules)
executable, root = sys.argv[1:]
sys.argv = [executable]
sys.path += [root + "/src", root + "/extension"]
from lambdascope.transport.connection import Connection
def exchange(self, data, timeout=None):
    assert data.startswith(b"POST /2020-01-01/extension/register "), data
    print(*sorted(set(sys.modules) - before), sep="\\n", flush=True)
    import posix
    posix._exit(0)
Connection.exchange = exchange
exec(compile(open(executable).read(), executable, "exec"),
     {"__file__": executable, "__name__": "__main__"})
"""


@functools.cache
def interpreters() -> list[str]:
    """The Python versions of this machine that the project supports."""
    found = [sys.executable]
    for minor in range(11, 15):
        path = shutil.which(f"python3.{minor}")
        if path is None or sys.version_info[:2] == (3, minor):
            continue
        asked = [path, "-c", "import sys; print(sys.executable)"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=False)
        if answer.returncode == 0:
            found.append(answer.stdout.strip())
    return found


@pytest.mark.parametrize("python", interpreters())
def test_modules_at_register(python: str, tmp_path: Path) -> None:
    """The extension has loaded these modules and no others when it registers."""
    done = subprocess.run(
        [python, "-IS", "-c", CODE, str(EXECUTABLE), str(EXECUTABLE.parents[2])],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={
            names.ENV_RUNTIME_API: "127.0.0.1:1",
            names.ENV_OTLP_PORT: "0",
            names.ENV_HANDOFF_FILE: str(tmp_path / "handoff"),
        },
    )
    assert ("", 0) == (done.stderr, done.returncode)
    assert LOADED == done.stdout.split()
