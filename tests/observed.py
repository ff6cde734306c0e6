"""A function in our emulator with our extension, observed from behind a collector; and a tap.

`running` writes the function's files, runs the environment and ends it. `spans_of` and `one` read
what arrived. The tap stands between a sender and a collector and keeps what only the wire shows.
"""

from __future__ import annotations

import contextlib
import http.client
import sysconfig
import textwrap
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from emulator_kit import Lines
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment
from served import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lambdascope.emulator.records import InvocationRecord
    from otlp_recorder import Item


# For LAMBDASCOPE_HOLD_BUDGET_MS: on a busy machine an export may take longer than half a second.
PATIENT_MS = "10000"


class Function:
    """A running environment. `lines` is its log."""

    def __init__(self, environment: ExecutionEnvironment, lines: Lines) -> None:
        self.environment = environment
        self.lines = lines

    def invoke(self, event: bytes = b"{}", **options: Any) -> InvocationRecord:
        """One invocation, to its end."""
        return self.environment.invoke(event, **options)

    def shutdown(self) -> None:
        """The end of the environment: what the extension holds leaves now. Idempotent."""
        self.environment.shutdown()


@contextlib.contextmanager
def running(
    folder: Path, source: str, *, endpoint: str | None, **settings: Any
) -> Iterator[Function]:
    """The function `app.handler` of the given source; `settings` are those of FunctionConfig."""
    folder.joinpath("app.py").write_text(textwrap.dedent(source))
    known = {"handler": "app.handler", "task_root": str(folder), "memory_limit": False}
    config = FunctionConfig(
        **{**known, "function_name": "shop", "memory_mb": 512, "timeout_ms": 20_000, **settings}
    )
    lines = Lines()
    environment = ExecutionEnvironment(config, on_log=lines, otlp_endpoint=endpoint)
    try:
        yield Function(environment, lines)
    finally:
        environment.shutdown()
        print("\n".join(lines.texts()))  # shown by pytest when the test fails


def named(spans: list[Item], name: str) -> list[Item]:
    """All spans of that name."""
    return [span for span in spans if span["name"] == name]


def one(spans: list[Item], name: str) -> Item:
    """The only span of that name."""
    found = named(spans, name)
    assert len(found) == 1, [span["name"] for span in spans]
    return found[0]


def times(span: Item) -> tuple[int, int]:
    """Start and end in Unix nanoseconds."""
    return int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])


def site_packages() -> str:
    """The folder of this environment's packages, for an interpreter that lacks them."""
    return sysconfig.get_path("purelib")


class Tap(Served):
    """An HTTP server that passes POSTs on to `target` and keeps their headers (lower case)."""

    def __init__(self, target: str) -> None:
        self.requests: list[dict[str, str]] = []
        super().__init__(_TapServer(self, urlsplit(target).netloc))

    @property
    def endpoint(self) -> str:
        """What to send to instead of the target."""
        return f"http://127.0.0.1:{self.port}"


class _TapServer(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, tap: Tap, target: str) -> None:
        self.tap = tap
        self.target = target
        super().__init__(("127.0.0.1", 0), _TapHandler)


class _TapHandler(BaseHTTPRequestHandler):
    """One request per connection (HTTP/1.0)."""

    timeout: ClassVar[float | None] = 10

    def do_POST(self) -> None:
        """Passes the request on, and the answer back."""
        assert isinstance(self.server, _TapServer)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.tap.requests.append(headers)
        body = self.rfile.read(int(headers["content-length"]))
        connection = http.client.HTTPConnection(self.server.target, timeout=10)
        try:
            connection.request("POST", self.path, body, {**headers, "connection": "close"})
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        self.send_response(response.status)
        self.send_header("Content-Type", response.headers.get("Content-Type", ""))
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Stays quiet."""
