"""Runs AWS's Runtime Interface Emulator around our runtime and our extension, and leaves no trace.

The emulator starts what lies in /opt/extensions, which is fixed in its binary. So it runs in a
mount namespace of its own, in which a folder of the test is bound over /opt (what the host has in
/opt stays visible there), and in a process namespace of its own, so that nothing it started can
outlive it. Where namespaces are not permitted, `require_namespaces` skips or fails the test.
"""

from __future__ import annotations

import functools
import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest

ROOT = Path(__file__).resolve().parent.parent
STUB = ROOT / "extension" / "bin" / "lambdascope"
PACKAGES = (
    ROOT / "src" / "lambdascope",
    ROOT / "extension" / "lambdascope_extension",
)
INVOKE_PATH = "/2015-03-31/functions/function/invocations"

# How the extension lies in /opt.
LINKED = "linked"  # /opt/extensions/lambdascope is a link into the repository
LAYER = "layer"  # copies: /opt/extensions/lambdascope and the packages in /opt/python
ABSENT = "absent"

HANDLER = "app.handler"
OWN_RUNTIME = ("python3", "-m", "lambdascope")

_START_S = 10.0
_INVOKE_S = 20.0
_STOP_S = 10.0
_RETRY_S = 0.005
_NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child")
_AS_ROOT_OF_ITS_OWN = ("--user", "--map-root-user")
# $1 is what becomes /opt; up to "--" follow the entries of the host's /opt, then the command.
_BIND = """
stage=$1; shift
while [ "$1" != -- ]; do mount --rbind "/opt/$1" "$stage/$1" || exit 97; shift; done
shift
mount --rbind "$stage" /opt || exit 97
exec "$@"
"""


class Answer(NamedTuple):
    """What the caller got. `body` is parsed when it is JSON, else it is text."""

    status: int
    body: Any
    headers: dict[str, str]


@functools.cache
def namespace_command() -> tuple[str, ...]:
    """The command that runs another one in namespaces of its own; empty when none is permitted."""
    if shutil.which("unshare") is None:
        return ()
    for flags in (_NAMESPACES, (*_AS_ROOT_OF_ITS_OWN, *_NAMESPACES)):
        command = ("unshare", *flags)
        probe = [*command, "mount", "--rbind", "/opt", "/opt"]
        if subprocess.run(probe, capture_output=True, timeout=10).returncode == 0:
            return command
    return ()


def require_namespaces() -> None:
    """Skip the test, or fail it where a left-out real part is a failure."""
    if namespace_command():
        return
    reason = "mount and process namespaces are not permitted here (as root or with `unshare -r`)"
    if os.environ.get("LAMBDASCOPE_REQUIRE_PEERS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free a moment ago."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class RieEnvironment:
    """The emulator from `__enter__` to `stop` or `__exit__`, with `folder` as the test's own.

    `folder / "task"`, which the test makes, holds the function `app.handler`. `variables` go to the
    runtime and to the extension.
    """

    def __init__(
        self,
        binary: Path,
        folder: Path,
        *,
        runtime: tuple[str, ...] = OWN_RUNTIME,
        extension: str = LINKED,
        variables: dict[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.task = folder / "task"
        self.handoff_file = folder / "handoff"
        self._log = folder / "rie.log"
        self._binary = binary
        self._runtime = runtime
        self._extension = extension
        self.variables = variables or {}
        self._port = 0
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        require_namespaces()
        stage, kept = self._stage()
        self._port, api_port = free_ports(2)
        # Its defaults are fixed ports on all interfaces: both addresses are given, always.
        emulator = (
            str(self._binary),
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{self._port}",
            "--runtime-api-address",
            f"127.0.0.1:{api_port}",
        )
        bind = ("sh", "-c", _BIND, "sh", str(stage), *kept, "--")
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [*namespace_command(), *bind, *emulator, *self._runtime, HANDLER],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.task,
                env=self._environment(),
            )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._popen is not None
        if self._popen.poll() is None:
            self._signal(signal.SIGKILL)  # and with it goes everything in its namespace
            self._popen.wait()

    def invoke(self, event: object = None) -> Answer:
        """One invocation, as a caller of Lambda makes it."""
        connection = self._connect()
        try:
            connection.request("POST", INVOKE_PATH, json.dumps(event).encode())
            response = connection.getresponse()
            body = response.read()
            headers = {name.lower(): value for name, value in response.getheaders()}
        finally:
            connection.close()
        try:
            return Answer(response.status, json.loads(body), headers)
        except ValueError:
            return Answer(response.status, body.decode(), headers)

    def stop(self) -> str:
        """SIGTERM, as a container's end; what was printed when everything is gone."""
        assert self._popen is not None
        self._signal(signal.SIGTERM)
        try:
            self._popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it did not end on SIGTERM:\n{self.log_text()}") from None
        return self.log_text()

    def log_text(self) -> str:
        """What the emulator, the runtime and the extension have printed so far."""
        return self._log.read_text(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        """To the emulator, the only child of `unshare`."""
        assert self._popen is not None
        pid = self._popen.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), number)

    def _connect(self) -> http.client.HTTPConnection:
        """A connection. The emulator does not tell when it listens, so it is asked again."""
        assert self._popen is not None
        deadline = time.monotonic() + _START_S
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_INVOKE_S)
            try:
                connection.connect()
            except ConnectionRefusedError:
                connection.close()
                if self._popen.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"it does not listen:\n{self.log_text()}") from None
                select.select([], [], [], _RETRY_S)
            else:
                return connection

    def _stage(self) -> tuple[Path, list[str]]:
        """What becomes /opt, and the entries of the host's /opt that are bound into it."""
        stage = self.folder / "opt"
        extensions = stage / "extensions"
        extensions.mkdir(parents=True)
        if self._extension == LINKED:
            (extensions / STUB.name).symlink_to(STUB)
        elif self._extension == LAYER:
            shutil.copy(STUB, extensions)
            for package in PACKAGES:
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(package, stage / "python" / package.name, ignore=ignored)
        kept = []
        for entry in Path("/opt").iterdir():
            if entry.is_dir() and not entry.is_symlink() and not (stage / entry.name).exists():
                (stage / entry.name).mkdir()
                kept.append(entry.name)
        return stage, kept

    def _environment(self) -> dict[str, str]:
        # The stub finds python3 on PATH where there is no /var/lang.
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
        return {
            "PATH": path,
            "HOME": os.environ.get("HOME", "/"),
            "LAMBDA_TASK_ROOT": str(self.task),
            "AWS_LAMBDA_FUNCTION_NAME": "shop",
            "LAMBDASCOPE_OTLP_PORT": "0",
            "LAMBDASCOPE_HANDOFF_FILE": str(self.handoff_file),
            **self.variables,
        }
