"""A fake Runtime API for SnapStart, and functions with hooks that say when they run.

The fake takes the place of the platform: it answers restore/next when the test lets it, and then
makes the connection useless, as a restored environment finds it. It checks nothing of what it gets;
it keeps the order, into which the hooks write as well (`note`). No snapshot is taken: the process
that waits is the one that goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Self

from lambdascope.transport.listener import Exchange, Listener
from lambdascope.wire import names, runtime_api
from runtime_fakes import LIMIT_S, event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RESET = "reset"
SILENT = "silent"

# Put in front of the functions. `note` writes into the order that the fake keeps.
HOOKED = """
import http.client, os
import snapshot_restore_py as snapshots

def note(text):
    connection = http.client.HTTPConnection(os.environ["NOTES"])
    connection.request("POST", "/note/" + text)
    connection.getresponse().read()
    connection.close()

note("loaded")
"""
OURS = (sys.executable, "-m", "lambdascope", "app.handler")


class SnapApi:
    """The fake. `order` is what came, as "METHOD path" without the API's prefix, or "note".

    `restored` is called before restore/next is answered with `status`; afterwards the connection is
    closed (RESET), or stays open and is read no more (SILENT). The first invocation's next gets an
    event, later ones set `idle` and are not answered. With `hold` restore/next is not answered.
    """

    def __init__(
        self,
        *,
        status: int = 200,
        after: str = RESET,
        restored: Callable[[], None] = lambda: None,
        events: int = 1,
        hold: bool = False,
    ) -> None:
        self._status = status
        self._after = after
        self._restored = restored
        self._events = events
        self._hold = hold
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.idle = threading.Event()
        self.waiting = threading.Event()
        self.order: list[str] = []
        self.errors: list[tuple[dict[str, str], dict[str, object]]] = []
        self.responses: list[bytes] = []
        self.answered_ns = 0
        self._listener = Listener(self._handle, name="snap-api")
        self.address = self._listener.address

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._listener.close()

    def _handle(self, exchange: Exchange) -> None:
        body = exchange.read_body(names.MAX_PAYLOAD_BYTES)
        path = exchange.target.removeprefix(names.RUNTIME_BASE)
        with self._lock:
            is_note = path.startswith("/note/")
            self.order.append(path[len("/note/") :] if is_note else f"{exchange.method} {path}")
            if path.endswith("/response"):
                self.responses.append(body)
            elif path.endswith("/error"):
                self.errors.append((exchange.headers, json.loads(body)))
        if is_note:
            exchange.respond(200)
        elif exchange.target == names.RESTORE_NEXT_PATH:
            self._restore(exchange)
        elif exchange.target == names.NEXT_PATH:
            self._next(exchange)
        else:
            exchange.respond_raw(runtime_api.status_response(names.ACCEPTED))

    def _restore(self, exchange: Exchange) -> None:
        self.waiting.set()
        if self._hold:
            self._over.wait(LIMIT_S)
        self._restored()
        self.answered_ns = time.time_ns()
        refused = json.dumps({"errorMessage": "refused", "errorType": "InvalidStateTransition"})
        exchange.respond(self._status, (), b"" if self._status == 200 else refused.encode())
        if self._status != 200:
            return
        exchange.keep_alive = False
        if self._after == SILENT:
            self._over.wait(LIMIT_S)
        else:
            exchange.abort()

    def _next(self, exchange: Exchange) -> None:
        with self._lock:
            self._events -= 1
        if self._events >= 0:
            event(b"{}", f"r{self._events}")(exchange)
            return
        self.idle.set()
        self._over.wait(LIMIT_S)
        exchange.abort()


class Ending:
    """How a process ended: `status` (None when it was still there, idle), `out`, `err`."""

    def __init__(self, status: int | None, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err


def run(
    api: SnapApi,
    folder: Path,
    code: str,
    *,
    argv: Sequence[str] = OURS,
    until: threading.Event | None = None,
    **environ: str,
) -> Ending:
    """Run a function until its process ends, or the fake is idle (or `until` is set).

    In the latter case it gets SIGTERM.
    """
    (folder / "app.py").write_text(code)
    process = subprocess.Popen(
        argv, cwd=folder, env=_environ(api, folder) | environ, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    reached = until or api.idle
    try:
        gone = threading.Thread(target=lambda: (process.wait(), reached.set()))
        gone.start()
        assert reached.wait(LIMIT_S), f"neither ended nor idle: {api.order}"
        ended_itself = process.poll() is not None
        if not ended_itself:
            process.terminate()
        out, err = process.communicate(timeout=LIMIT_S)
        gone.join()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    is_idle = not ended_itself and until is None
    return Ending(None if is_idle else process.returncode, out, err)


def _environ(api: SnapApi, folder: Path) -> dict[str, str]:
    kept = ("PATH", "HOME", "LD_LIBRARY_PATH", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
    return {name: os.environ[name] for name in kept if name in os.environ} | {
        names.ENV_RUNTIME_API: api.address,
        names.ENV_FUNCTION_NAME: "hello",
        names.ENV_FUNCTION_VERSION: "1",
        names.ENV_MEMORY_SIZE: "128",
        names.ENV_INIT_TYPE: names.INIT_SNAP_START,
        names.ENV_TASK_ROOT: str(folder),
        names.ENV_HANDOFF_FILE: str(folder / "handoff"),
        "PYTHONPATH": str(folder),
        "NOTES": api.address,
    }


PLAIN = "def handler(event, context): return 1"
FOUR_HOOKS = (
    HOOKED
    + """
@snapshots.register_before_snapshot
def close_pool():
    note("before-1")

snapshots.register_before_snapshot(note, "before-2")
snapshots.register_after_restore(note, text="after-1")

@snapshots.register_after_restore
def open_pool():
    note("after-2")

def handler(event, context):
    note("handler")
    return 1
"""
)
BEFORE = "Runtime.BeforeSnapshotError"
AFTER = "Runtime.AfterRestoreError"
