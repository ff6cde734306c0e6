"""SnapStart in the emulator with raw processes: what is stopped, cut, told, and what goes wrong.

The runtimes are scripts that speak HTTP over a plain socket; real ones are in
test_snapstart_platforms.py.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import TYPE_CHECKING, Any

import pytest

from emulator_kit import ECHO, WITNESS, Stage
from emulator_snapstart_kit import GOOD, SNAPPED, phases, stage_of
from lambdascope.emulator import proc
from lambdascope.wire import names
from telemetry_listener import LISTENER

if TYPE_CHECKING:
    from pathlib import Path


def test_the_life_in_telemetry_and_in_log_lines(tmp_path: Path) -> None:
    """Init, restore and the first invocation are told in this order, the second has no restore."""
    with stage_of(tmp_path, listener=LISTENER).ready() as stage:
        first, second = stage.invoke(), stage.invoke()
        stage.environment.shutdown()
        lines = stage.lines.texts()
    got = [json.loads(line[4:]) for line in lines if line.startswith("got ")]
    records: dict[str, dict[str, Any]] = {
        item["type"]: item["record"] for item in reversed(got) if item["type"] != "function"
    }

    assert [
        "platform.initStart",
        "platform.telemetrySubscription",
        "platform.initRuntimeDone",
        "platform.extension",
        "platform.initReport",
        "platform.restoreStart",
        "function",
        "platform.restoreRuntimeDone",
        "platform.restoreReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
    ] == [item["type"] for item in got][:12]
    for kind in ("initStart", "initRuntimeDone", "initReport"):
        assert "snap-start" == records[f"platform.{kind}"]["initializationType"]
    start = {k: v for k, v in records["platform.initStart"].items() if k not in ("phase",)}
    del start["initializationType"]
    assert start == records["platform.restoreStart"]
    assert {"status": "success"} == records["platform.restoreRuntimeDone"]
    assert {"status", "metrics"} == records["platform.restoreReport"].keys()
    assert first.report is not None
    assert second.report is not None
    metrics = records["platform.report"]["metrics"]
    assert first.report.billed_restore_duration_ms == metrics["billedRestoreDurationMs"]
    assert (
        records["platform.restoreReport"]["metrics"]["durationMs"] == metrics["restoreDurationMs"]
    )
    assert "initDurationMs" not in metrics
    assert second.report.restore_duration_ms is None
    platform = [line.text.split()[0] for line in stage.lines.all if line.source == "platform"]
    life = ["INIT_START", "TELEMETRY", "EXTENSION", "INIT_REPORT", "RESTORE_START"]
    once = ["START", "END", "REPORT"]
    assert [*life, "RESTORE_REPORT", *once, *once] == platform
    (report,) = [line for line in lines if "Restore Duration:" in line and "REPORT R" in line[:9]]
    assert f"\tBilled Restore Duration: {first.report.billed_restore_duration_ms} ms" in report
    assert GOOD == phases(first)
    assert [("invoke", "success")] == phases(second)


def test_the_restore_is_billed_with_the_duration(tmp_path: Path) -> None:
    """Both in whole milliseconds, as in the report of a real function; init is not."""
    with stage_of(tmp_path).ready() as stage:
        report = stage.invoke().report
    assert report is not None
    assert report.billed_restore_duration_ms is not None
    billed = report.billed_duration_ms - report.billed_restore_duration_ms
    assert 0 <= billed - report.duration_ms < 1
    assert report.init_duration_ms is None


HAS_CHILDREN = SNAPPED.replace(
    "from raw import *",
    """from raw import *
import subprocess
nap = [sys.executable, "-S", "-c", "import signal; signal.pause()"]
same, own = subprocess.Popen(nap), subprocess.Popen(nap, start_new_session=True)
say("children", same.pid, own.pid)
""",
)


def test_everything_is_stopped_in_the_snapshot(tmp_path: Path) -> None:
    """Runtime, extension and what they started, also without the freeze between invocations."""
    with stage_of(tmp_path, HAS_CHILDREN, witness=WITNESS).configure(freeze=False) as stage:
        stage.ready().frozen()
        pids = [int(pid) for pid in stage.lines.wait_for("children").split()]
        pids += [stage.pid(), stage.pid("witness")]
        assert ["T"] * 4 == [proc.state_of(pid) for pid in pids]
        assert b'"hello"' == stage.invoke().answer
        assert "T" not in [proc.state_of(pid) for pid in pids]


def test_the_pause_is_kept(tmp_path: Path) -> None:
    """An invocation that is there already waits until the snapshot has been left alone."""
    with stage_of(tmp_path).configure(snapshot_pause_ms=150) as stage:
        record = stage.invoke()
    (snapshot,) = [phase for phase in record.phases if phase.name == "snapshot"]
    (restore,) = [phase for phase in record.phases if phase.name == "restore"]
    assert snapshot.duration_ms >= 150
    assert restore.start_ns == snapshot.end_ns


def test_a_runtime_without_restore_hooks(tmp_path: Path) -> None:
    """One that asks for its first event at once is snapshotted there, and restored."""
    with stage_of(tmp_path, ECHO).ready().frozen() as stage:
        record = stage.invoke()
    assert b'"hello"' == record.answer
    assert GOOD == phases(record)


CONNECTED = f"""
from raw import *
def connected():
    host, port = API.split(":")
    return socket.create_connection((host, int(port)))
def ask(sock, path):
    sock.sendall(f"GET {{path}} HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n".encode())
    return sock.recv(65536).decode()
idle, waiting = connected(), connected()
assert ask(idle, "/2018-06-01/ping").endswith("pong")
say("restore", json.dumps(ask(waiting, RUNTIME + "restore/next").lower()))
say("idle", repr(idle.recv(1)))
say("waiting", repr(waiting.recv(1)))
{ECHO}"""


def test_connections_across_the_snapshot(tmp_path: Path) -> None:
    """Idle ones are cut; the one that waits gets its answer, which says that it is the last."""
    with stage_of(tmp_path, CONNECTED).ready() as stage:
        assert b'"hello"' == stage.invoke().answer
        answer = json.loads(stage.lines.wait_for("restore"))
        assert answer.startswith("http/1.1 200 ")
        assert "\r\nconnection: close\r\n" in answer
        assert ("b''", "b''") == (stage.lines.wait_for("idle"), stage.lines.wait_for("waiting"))


INTERNAL = SNAPPED.replace(
    "from raw import *",
    """from raw import *
import threading
me = register("inside", "INVOKE")
def live():
    while True:
        say("inside", next_extension_event(me)["eventType"])
threading.Thread(target=live, daemon=True).start()
""",
    1,
)


def test_an_extension_inside_of_the_runtime(tmp_path: Path) -> None:
    """It is in the snapshot with it, and its event comes after the restore."""
    with stage_of(tmp_path, INTERNAL).ready().frozen() as stage:
        stage.invoke()
        printed = stage.lines.texts("function")
    assert ["restored 200 0", "inside INVOKE"] == printed


def test_lines_in_json(tmp_path: Path) -> None:
    """With the JSON log format the events of the restore are lines like the others."""
    with stage_of(tmp_path).configure(log_format="JSON").ready() as stage:
        stage.invoke()
        lines = [json.loads(line) for line in stage.lines.texts("platform")]
    kinds = ["initStart", "initReport", "restoreStart", "restoreReport", "start", "report"]
    assert [f"platform.{kind}" for kind in kinds] == [line["type"] for line in lines]


def test_two_callers_at_once(tmp_path: Path) -> None:
    """The first one's invocation has the restore, the second one's is warm."""
    with stage_of(tmp_path).ready() as stage:
        calls = [stage.invoke_beside(), stage.invoke_beside()]
        restored = [call.over().cold for call in calls]
    assert [False, True] == sorted(restored)


def test_a_second_restore_is_refused(tmp_path: Path) -> None:
    """A snapshot is restored once in a process's life."""
    twice = SNAPPED.replace("say(", 'say("again", call("GET", RUNTIME + "restore/next")[0]); say(')
    with stage_of(tmp_path, twice).ready() as stage:
        stage.invoke()
        assert "403" == stage.lines.wait_for("again")


# --- variables and credentials --------------------------------------------------------------------

TELLS = SNAPPED.replace(
    "respond(request_id, body)", "respond(request_id, json.dumps(dict(os.environ)).encode())"
)


def credentials_of(stage: Stage, variables: dict[str, str], token: str) -> tuple[int, bytes]:
    """What the endpoint that the function is shown answers."""
    uri = variables["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    host, _, path = uri.removeprefix("http://").partition("/")
    assert stage.environment.api_address == host
    with contextlib.closing(http.client.HTTPConnection(host, timeout=10)) as connection:
        connection.request("GET", f"/{path}", headers={"Authorization": token})
        response = connection.getresponse()
        return response.status, response.read()


GIVEN = {"AWS_ACCESS_KEY_ID": "mine", "AWS_SECRET_ACCESS_KEY": "secret"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {},
            {
                "AccessKeyId": "lambdascope",
                "SecretAccessKey": "lambdascope",
                "Token": "lambdascope",
            },
        ),
        (GIVEN, {"AccessKeyId": "mine", "SecretAccessKey": "secret"}),
    ],
)
def test_variables(tmp_path: Path, given: dict[str, str], expected: dict[str, str]) -> None:
    """No keys and no log stream; credentials are at an endpoint, for the token alone."""
    with stage_of(tmp_path, TELLS).configure(variables=given).ready() as stage:
        variables = json.loads(stage.invoke().answer)
        token = variables["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
        refused, _ = credentials_of(stage, variables, "wrong")
        status, body = credentials_of(stage, variables, token)

    assert "snap-start" == variables["AWS_LAMBDA_INITIALIZATION_TYPE"]
    assert not {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        names.ENV_LOG_GROUP,
        names.ENV_LOG_STREAM,
    } & set(variables)
    found = json.loads(body)
    assert (404, 200) == (refused, status)
    assert found.pop("Expiration").endswith("Z")
    assert expected == found


def test_no_credentials_endpoint_on_demand(tmp_path: Path) -> None:
    """Other functions have their keys in variables, and no endpoint."""
    with Stage(tmp_path).ready() as stage:
        assert 404 == stage.post(names.CREDENTIALS_PATH, b"", method="GET").status


def test_without_snap_start_there_is_no_restore(tmp_path: Path) -> None:
    """restore/next is 404 for other functions, which keep to their old life."""
    script = f'from raw import *\nsay("answer", call("GET", RUNTIME + "restore/next")[0])\n{ECHO}'
    with Stage(tmp_path, script).ready() as stage:
        record = stage.invoke()
        assert "404" == stage.lines.wait_for("answer")
    assert [("init", "success"), ("invoke", "success")] == phases(record)
