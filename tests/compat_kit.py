"""Runs one function under our runtime and under AWS's, with the libraries' environment.

`Recorder` takes what the Sentry SDK sends, `XrayDaemon` what the X-Ray SDK sends.
"""

from __future__ import annotations

import functools
import gzip
import json
import socket
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import lambdascope
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment
from served import Served

if TYPE_CHECKING:
    from lambdascope.emulator.records import InvocationRecord

OURS, THEIRS = "lambdascope", "awslambdaric"
FUNCTIONS = Path(__file__).parent / "integration" / "compat" / "functions"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
WAIT_S = 10.0


class Function:
    """A function under one client; a context manager. Each invocation has a known request id."""

    def __init__(self, python: Path, side: str, handler: str, **settings: Any) -> None:
        variables = {"PYTHONPATH": own_package().name, **settings.pop("variables", {})}
        values: dict[str, Any] = {
            "handler": handler,
            "task_root": str(FUNCTIONS),
            "python": str(python),
            "runtime": () if side == OURS else (str(python), "-m", "awslambdaric", "{handler}"),
            "variables": variables,
            "own_extension": False,
            "timeout_ms": 20_000,
            "memory_mb": 1024,
        }
        self._environment = ExecutionEnvironment(FunctionConfig(**(values | settings)))
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._environment.shutdown()

    def invoke(self, event: object) -> InvocationRecord:
        """One invocation; the event is made JSON."""
        self._count += 1
        return self._environment.invoke(
            json.dumps(event).encode(),
            request_id=f"00000000-0000-4000-8000-{self._count:012}",
            trace_header=TRACE,
        )

    def answer(self, event: object) -> Any:
        """The value of the answer of one invocation that succeeds."""
        record = self.invoke(event)
        assert record.function_error is None, (record.answer, texts(record))
        return json.loads(record.answer)


@functools.cache
def own_package() -> tempfile.TemporaryDirectory[str]:
    """A folder with nothing but our package, for another interpreter; it lasts for the run."""
    folder = tempfile.TemporaryDirectory(prefix="lambdascope-compat-")
    Path(folder.name, "lambdascope").symlink_to(Path(lambdascope.__file__).parent)
    return folder


def texts(record: InvocationRecord) -> list[str]:
    """The function's own lines of one invocation, init included."""
    return [line.text for line in record.logs if line.source == "function"]


def json_lines(record: InvocationRecord) -> list[dict[str, Any]]:
    """The lines that are JSON objects."""
    return [json.loads(text) for text in texts(record) if text.startswith("{")]


class Recorder(Served):
    """A Sentry server on the loopback interface; a context manager. Keeps the items by type."""

    def __init__(self) -> None:
        self._arrived = threading.Condition()
        self._items: list[tuple[str, dict[str, Any]]] = []
        super().__init__(ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self)))
        self.dsn = f"http://key@127.0.0.1:{self.port}/1"

    def now(self, kind: str) -> list[dict[str, Any]]:
        """What has arrived until now."""
        with self._arrived:
            return [item for name, item in self._items if name == kind]

    def wait_for(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """The items, as soon as there are `count`."""
        with self._arrived:
            found = self._arrived.wait_for(lambda: len(self.now(kind)) >= count, WAIT_S)
            assert found, [name for name, _ in self._items]
            return self.now(kind)

    def take(self, envelope: bytes) -> None:
        """Keep what one envelope holds: a head, then pairs of item head and item."""
        lines = envelope.splitlines()
        with self._arrived:
            for head, item in zip(lines[1::2], lines[2::2], strict=False):
                self._items.append((json.loads(head)["type"], json.loads(item)))
            self._arrived.notify_all()


def _handler_of(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            recorder.take(body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    return Handler


class XrayDaemon:
    """Takes segments on UDP; a context manager."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(WAIT_S)
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def next(self) -> dict[str, Any]:
        """The next document, without the head that every packet begins with."""
        packet = self._socket.recv(65_536)
        document: dict[str, Any] = json.loads(packet.partition(b"\n")[2])
        return document
