"""What the tests of the emulator share: functions made of raw scripts, and waiting for log lines.

The scripts speak HTTP over a plain socket, so that nothing of lambdascope is on their side.
"""

from __future__ import annotations

import http.client
import os
import select
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment

if TYPE_CHECKING:
    from lambdascope.emulator.records import InvocationRecord, LogLine

WAIT_S = 10.0

# The other side of the APIs. `call` opens one connection for each request.
RAW = """
import json, os, signal, socket, sys
API = os.environ.get("AWS_LAMBDA_RUNTIME_API", "")
RUNTIME = "/2018-06-01/runtime/"
EXTENSION = "/2020-01-01/extension/"

def say(*words):
    print(*words, flush=True)

def exchange(data):
    host, port = API.split(":")
    with socket.create_connection((host, int(port))) as sock:
        sock.sendall(data)
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\\r\\n\\r\\n")
    lines = head.decode().split("\\r\\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return int(lines[0].split()[1]), headers, body

def request(method, path, body=b"", **headers):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {API}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\\r\\n".join(lines).encode() + b"\\r\\n\\r\\n" + body

def call(method, path, body=b"", **headers):
    return exchange(request(method, path, body, **headers))

def next_event():
    status, headers, body = call("GET", RUNTIME + "invocation/next")
    assert status == 200, (status, body)
    return headers["lambda-runtime-aws-request-id"], headers, body

def respond(request_id, body=b"{}", **headers):
    return call("POST", f"{RUNTIME}invocation/{request_id}/response", body, **headers)

def fail(request_id, body=b"{}", **headers):
    return call("POST", f"{RUNTIME}invocation/{request_id}/error", body, **headers)

def register(name, *events):
    body = json.dumps({"events": events}).encode()
    status, headers, body = call("POST", EXTENSION + "register", body, Lambda_Extension_Name=name)
    assert status == 200, (status, body)
    return headers["lambda-extension-identifier"]

def next_extension_event(identifier):
    status, headers, body = call(
        "GET", EXTENSION + "event/next", Lambda_Extension_Identifier=identifier)
    assert status == 200, (status, body)
    return json.loads(body)

def block():
    while True:
        signal.pause()
"""

# A runtime that answers every event with the event.
ECHO = """
from raw import *
while True:
    request_id, headers, body = next_event()
    respond(request_id, body)
"""

# An extension that does nothing but tell what it sees.
WITNESS = """
from raw import *
me = register(os.path.basename(sys.argv[0]), "INVOKE", "SHUTDOWN")
while True:
    event = next_extension_event(me)
    say("event", json.dumps(event))
    if event["eventType"] == "SHUTDOWN":
        sys.exit(0)
"""


class Lines:
    """Collects log lines and lets a test wait for one."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self.all: list[LogLine] = []

    def __call__(self, line: LogLine) -> None:
        """The `on_log` of an environment."""
        with self._condition:
            self.all.append(line)
            self._condition.notify_all()

    def texts(self, source: str = "") -> list[str]:
        """The texts so far."""
        with self._condition:
            return [line.text for line in self.all if source in ("", line.source)]

    def wait_for(self, start: str, *, count: int = 1) -> str:
        """The `count`th line that starts with `start`, without it."""
        with self._condition:

            def found() -> list[str]:
                return [line.text for line in self.all if line.text.startswith(start)]

            if not self._condition.wait_for(lambda: len(found()) >= count, WAIT_S):
                raise AssertionError(f"no line {start!r} among {[x.text for x in self.all]}")
            return found()[count - 1].removeprefix(start).strip()


class Stage:
    """An environment made of scripts, which is shut down and seen dead at the end of a test."""

    def __init__(self, folder: Path, runtime: str = ECHO, **extensions: str) -> None:
        self.folder = folder
        self.lines = Lines()
        folder.mkdir(exist_ok=True)
        folder.joinpath("raw.py").write_text(RAW)
        folder.joinpath("runtime.py").write_text(runtime)
        paths = []
        for name, script in extensions.items():
            path = folder / name
            path.write_text(f"#!{sys.executable} -S\n{script}")
            path.chmod(0o755)
            paths.append(str(path))
        self.settings: dict[str, Any] = {
            "handler": "app.handler",
            "task_root": str(folder),
            "runtime": (sys.executable, "-S", "runtime.py"),
            "extensions": tuple(paths),
            "own_extension": False,
        }
        self._environment: ExecutionEnvironment | None = None
        self._seen: set[int] = set()

    def configure(self, **settings: Any) -> Stage:
        """Change the function's configuration, before it is used."""
        self.settings.update(settings)
        return self

    @property
    def environment(self) -> ExecutionEnvironment:
        """The environment, made when first asked for."""
        if self._environment is None:
            config = FunctionConfig(**self.settings)
            self._environment = ExecutionEnvironment(config, on_log=self.lines)
        return self._environment

    def ready(self) -> Stage:
        """Start, and wait until init is over."""
        self.environment.start()
        assert self.environment.wait_ready(WAIT_S), self.lines.texts()
        self.remember()
        return self

    def frozen(self) -> Stage:
        """Wait until everything is stopped."""
        assert self.environment.wait_frozen(WAIT_S), self.lines.texts()
        return self

    def remember(self) -> None:
        """Note the processes that run now: they must be gone at the end."""
        self._seen.update(self.environment.pids().values())

    def invoke(self, event: bytes = b'"hello"', **options: Any) -> InvocationRecord:
        """One invocation."""
        record = self.environment.invoke(event, **options)
        self.remember()
        return record

    def invoke_beside(self, event: bytes = b'"hello"', **options: Any) -> Beside:
        """One invocation in a thread of its own."""
        return Beside(self.environment, event, **options)

    def pid(self, name: str = "runtime") -> int:
        """A process of the environment."""
        return self.environment.pids()[name]

    def post(
        self, path: str, body: bytes, headers: dict[str, str] | None = None, *, method: str = "POST"
    ) -> Answer:
        """A request to the environment's API from outside of it."""
        connection = http.client.HTTPConnection(self.environment.api_address, timeout=WAIT_S)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        if self._environment is not None:
            self.remember()
            self._environment.shutdown()
            left = [pid for pid in self._seen if is_alive(pid)]
            assert left == [], self.lines.texts()


class Answer(NamedTuple):
    """What the API answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class Beside:
    """An invocation under way. `answered` is set when the caller has its answer."""

    def __init__(self, environment: ExecutionEnvironment, event: bytes, **options: Any) -> None:
        self.answered = threading.Event()
        self.record: InvocationRecord | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(
            target=self._run, args=(environment, event, options), daemon=True
        )
        self._thread.start()

    def _run(self, environment: ExecutionEnvironment, event: bytes, options: Any) -> None:
        try:
            self.record = environment.invoke(
                event, on_response=lambda _: self.answered.set(), **options
            )
        except Exception as error:  # noqa: BLE001 - it is what the test looks at
            self.error = error

    def over(self) -> InvocationRecord:
        """Wait for its end."""
        self._thread.join(WAIT_S)
        assert self.record is not None, self.error
        return self.record

    def failed(self) -> Exception:
        """Wait for its end, which is an exception."""
        self._thread.join(WAIT_S)
        assert self.error is not None
        return self.error

    @property
    def running(self) -> bool:
        """Whether it is not over."""
        return self._thread.is_alive()


def is_alive(pid: int) -> bool:
    """Whether the process exists and has not ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def wait_dead(pid: int) -> None:
    """Wait until a process that is not a child of ours has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([handle], [], [], WAIT_S)
        assert ready, f"process {pid} still runs"
    finally:
        os.close(handle)
