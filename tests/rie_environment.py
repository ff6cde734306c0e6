"""Runs AWS's Runtime Interface Emulator around our runtime and our extension, and leaves no trace.

It runs in a private root (private_root.py), because /opt/extensions is fixed in its binary.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

from free_ports import free_ports
from private_root import PrivateRoot, require_namespaces, require_root

INVOKE_PATH = "/2015-03-31/functions/function/invocations"

# How our extension lies in /opt.
LINKED = "linked"  # a link into the repository
LAYER = "layer"  # as a layer has it, with Lambda's own Python in /var/lang
ABSENT = "absent"

HANDLER = "app.handler"
OWN_RUNTIME = ("python3", "-m", "lambdascope")
LAYER_PYTHON = "/var/lang/bin/python3"
LAYER_RUNTIME = (LAYER_PYTHON, "-m", "lambdascope")

_START_S = 10.0
_INVOKE_S = 20.0
_STOP_S = 10.0
_RETRY_S = 0.005


class Answer(NamedTuple):
    """What the caller got. `body` is parsed when it is JSON, else it is text."""

    status: int
    body: Any
    headers: dict[str, str]


class RieEnvironment:
    """The emulator from `__enter__` to `stop` or `__exit__`, with `folder` as the test's own.

    `folder / "task"`, which the test makes, holds the function `app.handler`. `variables` go to the
    runtime and to the extension. With `managed` the emulator is that of Lambda Managed Instances:
    no INVOKE events, a Telemetry API that works, and processes of another user, who sees nothing of
    this machine but what anybody may read and the layer. `site_packages`, without an extension, are
    shown at /opt/site, for a runtime of `LAYER_PYTHON`.
    """

    def __init__(
        self,
        binary: Path,
        folder: Path,
        *,
        runtime: tuple[str, ...] = OWN_RUNTIME,
        extension: str = LINKED,
        managed: bool = False,
        handler: str = HANDLER,
        site_packages: Path | None = None,
        variables: dict[str, str] | None = None,
    ) -> None:
        self.task = folder / "task"
        # Everybody may read and write what is bound over /opt.
        self.handoff_file = Path("/opt/handoff/file") if managed else folder / "handoff"
        self.variables = variables or {}
        self._folder = folder
        self._log = folder / "rie.log"
        self._binary = binary
        self._runtime = runtime
        self._extension = extension
        self.managed = managed
        self._handler = handler
        self._site_packages = site_packages
        self._port = 0
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        require_namespaces()
        root = PrivateRoot(self._folder)
        if self._extension == LINKED:
            root.link_extension()
        elif self._extension == LAYER:
            root.install_layer()
            self.variables["PYTHONPATH"] = "/opt/python"
        elif self._site_packages is not None:
            root.bind(Path(sys.base_prefix), root.var / "lang")
            root.bind(self._site_packages, root.opt / "site")
            self.variables["PYTHONPATH"] = "/opt/site"
        runtime = (*self._runtime, self._handler)
        if self.managed:
            require_root()
            self._prepare_managed(root, runtime)
            runtime = ()
        self._port, api_port = free_ports(2)
        # Its defaults are fixed ports on all interfaces: both addresses are given, always.
        emulator = (
            str(self._binary),
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{self._port}",
            "--runtime-api-address",
            f"127.0.0.1:{api_port}",
        )
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                root.command(*emulator, *runtime),
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
        status, body, headers = self.invoke_bytes(json.dumps(event).encode())
        try:
            return Answer(status, json.loads(body), headers)
        except ValueError:
            return Answer(status, body.decode(), headers)

    def invoke_bytes(
        self, event: bytes, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        """One invocation: the answer's status, bytes and headers, whose names are lower case."""
        connection = self._connect()
        try:
            connection.request("POST", INVOKE_PATH, event, headers or {})
            response = connection.getresponse()
            body = response.read()
            return response.status, body, {k.lower(): v for k, v in response.getheaders()}
        finally:
            connection.close()

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

    def _prepare_managed(self, root: PrivateRoot, runtime: tuple[str, ...]) -> None:
        """This mode takes no command line, and insists on /var/task."""
        bootstrap = root.opt / "bootstrap"
        bootstrap.write_text(f"#!/bin/sh\ncd /var/task\nexec {shlex.join(runtime)}\n")
        bootstrap.chmod(0o755)
        root.bind(self.task, root.var / "task")
        handoff = root.opt / "handoff"
        handoff.mkdir()
        handoff.chmod(0o777)
        own = {"AWS_LAMBDA_MAX_CONCURRENCY": "2", "LAMBDA_TASK_ROOT": "/var/task"}
        self.variables = own | self.variables

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
