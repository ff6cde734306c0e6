"""What the function's init pays for the extension: the modules loaded when it registers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import peers
from extension_fakes import EXECUTABLE
from lambdascope.wire import names

# Everything that is there at register beyond an isolated interpreter without site-packages. Lambda
# starts the runtime only after it: measure what a new line costs before adding it.
LOADED = [
    "__future__",
    "_socket",
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


@pytest.mark.parametrize("python", [Path(sys.executable), *peers.interpreters().values()], ids=str)
def test_modules_at_register(python: Path, tmp_path: Path) -> None:
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
