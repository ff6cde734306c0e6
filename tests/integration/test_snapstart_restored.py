"""Our runtime and AWS's Python client, both restored by the emulator after a real stop.

One function for both: what the platform says of it, and what its callers get, must be the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from lambdascope.emulator.records import SUCCESS, TIMED_OUT
from lambdascope.wire import names
from observed import PATIENT_MS, Function, named, one, running, times
from otlp_recorder import OtlpRecorder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lambdascope.emulator.records import InvocationRecord

pytest.importorskip("snapshot_restore_py", reason="snapshot_restore_py is not installed here")

WAIT_S = 20.0
MS = 1_000_000
# Two clocks of one machine that were read at different times: they are that close.
CLOCKS_NS = 5 * MS
PATIENT = {"LAMBDASCOPE_HOLD_BUDGET_MS": PATIENT_MS}
HOOKED = """
import json, os, random, signal, socket, sys, time
import snapshot_restore_py as snapshots
"""
PLAIN = """
def handler(event, context):
    return event
"""


@pytest.fixture(params=["lambdascope", pytest.param("awslambdaric", marks=pytest.mark.peers)])
def settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of a function with SnapStart, under our runtime and under AWS's client."""
    found: dict[str, Any] = {"endpoint": None, "init_type": "snap-start", "own_extension": False}
    if request.param == "awslambdaric":
        python = str(request.getfixturevalue("peer_python"))
        found["runtime"] = (python, "-m", "awslambdaric", "{handler}")
    return found


def phase_of(record: InvocationRecord, name: str) -> Any:
    """The only phase of that name."""
    (phase,) = [phase for phase in record.phases if phase.name == name]
    return phase


def ready(function: Function) -> Function:
    """Started, and stopped in its snapshot."""
    function.environment.start()
    assert function.environment.wait_frozen(WAIT_S)
    return function


def test_hooks_in_their_phases(settings: dict[str, Any], tmp_path: Path) -> None:
    """Before-hooks belong to init, after-hooks to the restore, and the snapshot lies between."""
    code = f"""{HOOKED}
snapshots.register_before_snapshot(print, "before", flush=True)
snapshots.register_after_restore(print, "after", flush=True)
{PLAIN}"""
    with running(tmp_path, code, **settings) as function:
        ready(function)
        stopped = function.lines.texts()
        first, second = function.invoke(b'{"a": 1}'), function.invoke(b'{"a": 2}')
        lines = [line.split("\t")[0].split(":")[0] for line in function.lines.texts()]

    assert "before" in stopped
    assert "after" not in stopped
    order = ["before", "INIT_REPORT Init Duration", "RESTORE_START Runtime Version", "after"]
    order += ["RESTORE_REPORT Restore Duration", "START RequestId"]
    assert order == [line for line in lines if line in order][: len(order)]
    assert [b'{"a":1}', b'{"a":2}'] == [r.answer.replace(b" ", b"") for r in (first, second)]
    assert [True, False] == ["restore" in [p.name for p in r.phases] for r in (first, second)]


FAILURES = {
    # hook: error type, (phase, its status), whether the restore is what failed
    "snapshots.register_before_snapshot(lambda: 1 / 0)": (
        "Runtime.BeforeSnapshotError",
        ("init", "init_error"),
    ),
    "snapshots.register_after_restore(lambda: 1 / 0)": (
        "Runtime.AfterRestoreError",
        ("restore", "init_error"),
    ),
    "snapshots.register_after_restore(sys.exit, 3)": (
        "Runtime.AfterRestoreError",
        ("restore", "init_error"),
    ),
    "snapshots.register_after_restore(os._exit, 3)": (
        "Runtime.ExitError",
        ("restore", "crash"),
    ),
    "snapshots.register_after_restore(os.kill, os.getpid(), signal.SIGKILL)": (
        "Runtime.ExitError",
        ("restore", "crash"),
    ),
    "snapshots.register_after_restore(os.kill, os.getpid(), signal.SIGTERM)": (
        "Runtime.ExitError",
        ("restore", "crash"),
    ),
    "snapshots.register_after_restore(time.sleep, 60)": (
        "Runtime.RestoreHookUserTimeout",
        ("restore", TIMED_OUT),
    ),
    "snapshots.register_before_snapshot(time.sleep, 60)": (
        "Sandbox.Timedout",
        ("init", TIMED_OUT),
    ),
}


@pytest.mark.parametrize("hook", FAILURES)
def test_hooks_that_fail(hook: str, settings: dict[str, Any], tmp_path: Path) -> None:
    """Hooks that raise, leave, die or hang: the same end of the same phase for both clients."""
    error_type, (name, status) = FAILURES[hook]
    # What hangs in init does so twice: at the start, and for the invocation.
    limits = {"init_timeout_ms": 1000 if "60" in hook and name == "init" else 20_000}
    limits["restore_timeout_ms"] = 1000 if "60" in hook else 20_000
    with running(tmp_path, f"{HOOKED}\n{hook}\n{PLAIN}", **settings, **limits) as function:
        record = function.invoke()
        lines = function.lines.texts("platform")

    phase = phase_of(record, name)
    assert (error_type, status) == (phase.error_type, phase.status)
    assert error_type == record.error_type
    assert (name == "restore") is record.not_restored
    assert (name == "restore") is any(line.startswith("RESTORE_REPORT") for line in lines)


def test_killed_in_the_snapshot(settings: dict[str, Any], tmp_path: Path) -> None:
    """kill -9 of a stopped runtime costs a new snapshot, and no invocation."""
    with running(tmp_path, PLAIN, **settings) as function:
        ready(function)
        first = function.environment.pids()["runtime"]
        os.kill(first, signal.SIGKILL)
        function.lines.wait_for("Runtime.ExitError")
        record = function.invoke()
        assert first != function.environment.pids()["runtime"]
    assert SUCCESS == record.status
    assert SUCCESS == phase_of(record, "restore").status


@contextlib.contextmanager
def echo_server() -> Iterator[tuple[int, list[socket.socket]]]:
    """Sends back what it gets; its port, and its connections, for the test to close."""
    connections: list[socket.socket] = []

    def serve(peer: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := peer.recv(100):
                peer.sendall(piece)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = server.accept()
                connections.append(peer)
                threading.Thread(target=serve, args=(peer,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1], connections
        server.shutdown(socket.SHUT_RDWR)
        thread.join(WAIT_S)
        for peer in connections:
            peer.close()


def test_connections_of_the_function(settings: dict[str, Any], tmp_path: Path) -> None:
    """What its peer drops in the snapshot is dead after it; a hook makes a new one."""
    with echo_server() as (port, connections):
        code = f"""{HOOKED}
def connect():
    return socket.create_connection(("127.0.0.1", {port}))

old = connect()
old.sendall(b"init")
assert old.recv(100) == b"init"

@snapshots.register_after_restore
def reconnect():
    global new
    new = connect()

def say(link):
    try:
        link.sendall(b"hello")
        return link.recv(100).decode()
    except OSError:
        return ""

def handler(event, context):
    return [say(old), say(new)]
"""
        with running(tmp_path, code, **settings) as function:
            ready(function)
            (held,) = connections
            held.shutdown(socket.SHUT_RDWR)
            record = function.invoke()

    assert ["", "hello"] == json.loads(record.answer)


def test_seeds(settings: dict[str, Any], tmp_path: Path) -> None:
    """A generator seeded in init: our runtime seeds it anew, AWS's client does not."""
    code = f"{HOOKED}\nrandom.seed(1)\ndef handler(event, context): return random.random()\n"
    drawn = []
    for _ in range(2):
        with running(tmp_path, code, **settings) as function:
            drawn.append(function.invoke().answer)

    assert (2 if "runtime" not in settings else 1) == len(set(drawn))


def test_credentials_by_boto3(settings: dict[str, Any], tmp_path: Path) -> None:
    """AWS's SDK finds the endpoint by itself, in init as well as after the restore."""
    if "runtime" not in settings:
        pytest.importorskip("boto3", reason="boto3 is not installed here")
    code = """
import boto3
def found():
    return list(boto3.Session().get_credentials().get_frozen_credentials())[:3]
early = found()
def handler(event, context):
    return [early, found()]
"""
    given = {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    with running(tmp_path, code, **settings, variables=given) as function:
        record = function.invoke()

    assert [["AK", "s", "t"]] * 2 == json.loads(record.answer)


def test_spans_over_the_platforms_phases(tmp_path: Path) -> None:
    """The first invocation links to init and restore, which lie in the phases of those names."""
    code = f"""{HOOKED}
snapshots.register_after_restore(time.sleep, 0.02)
{PLAIN}"""
    with (
        OtlpRecorder() as recorder,
        running(
            tmp_path,
            code,
            endpoint=recorder.endpoint,
            init_type="snap-start",
            snapshot_pause_ms=200,
            variables=PATIENT,
        ) as function,
    ):
        record = function.invoke()
        function.shutdown()
        spans = recorder.wait_for_spans(4)

    init, restore, invoke = (one(spans, name) for name in ("init shop", "restore shop", "shop"))
    assert {init["traceId"], restore["traceId"]} <= {link["traceId"] for link in invoke["links"]}
    assert 1 == len(named(spans, "after restore time.sleep"))
    # Nothing of ours is loaded while somebody waits.
    assert not [span["name"] for span in spans if span["name"].startswith("import lambdascope")]
    for span, name in ((init, "init"), (restore, "restore")):
        start_ns, end_ns = times(span)
        phase = phase_of(record, name)
        assert phase.start_ns - CLOCKS_NS <= start_ns
        assert end_ns <= phase.end_ns + CLOCKS_NS
    assert times(init)[1] + 200 * MS <= times(restore)[0] + CLOCKS_NS
    assert times(restore)[1] <= times(invoke)[0]


def test_the_trace_of_a_hook_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The restore that took too long reaches a backend with the name of the hook."""
    # A busy machine may need more than the 300 ms after which the runtime is killed.
    monkeypatch.setattr(names, "SHUTDOWN_RUNTIME_SHARE_MS", 10_000)
    monkeypatch.setattr(names, "SHUTDOWN_BUDGET_MS", 15_000)
    code = f"{HOOKED}\nsnapshots.register_after_restore(time.sleep, 60)\n{PLAIN}"
    limits = {"init_type": "snap-start", "restore_timeout_ms": 1000, "variables": PATIENT}
    with (
        OtlpRecorder() as recorder,
        running(tmp_path, code, endpoint=recorder.endpoint, **limits) as function,
    ):
        record = function.invoke()
        function.shutdown()
        spans = recorder.wait_for_spans(4)

    assert "Runtime.RestoreHookUserTimeout" == record.error_type
    restore, hook = one(spans, "restore shop"), one(spans, "after restore time.sleep")
    assert restore["spanId"] == hook["parentSpanId"]
    assert "SIGTERM in after restore time.sleep" == restore["status"]["message"]
    # It ran until the platform had waited long enough.
    assert times(hook)[1] + CLOCKS_NS >= phase_of(record, "restore").end_ns
