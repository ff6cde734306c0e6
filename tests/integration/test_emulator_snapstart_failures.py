"""SnapStart in the emulator when hooks, processes or the environment end before they should."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from emulator_kit import WITNESS, wait_dead
from emulator_snapstart_kit import GOOD, SNAPPED, phases, stage_of
from lambdascope.emulator.invoke import InvokeEndpoint
from telemetry_listener import LISTENER

if TYPE_CHECKING:
    from pathlib import Path

# After the restore it does not come to its first next.
HANGS = SNAPPED.replace('say("restored"', 'say("hangs") or block() or say("restored"')
FAILS = """
from raw import *
call("GET", RUNTIME + "restore/next")
body = b'{"errorMessage": "no pool", "errorType": "PoolError"}'
print(call("POST", RUNTIME + "restore/error", body,
    Lambda_Runtime_Function_Error_Type="Runtime.AfterRestoreError")[0], flush=True)
sys.exit(65)
"""
ENDS = SNAPPED.replace("while True:", "sys.exit(3)\nwhile True:")
RESTORE_TIMEOUT = "Runtime.RestoreHookUserTimeout"


@pytest.mark.parametrize(
    ("runtime", "error_type", "status", "refusal"),
    [
        (HANGS, RESTORE_TIMEOUT, "timeout", (408, "SnapStartTimeoutException")),
        (FAILS, "Runtime.AfterRestoreError", "error", (400, "SnapStartException")),
        (ENDS, "Runtime.ExitError", "error", (400, "SnapStartException")),
    ],
)
def test_a_restore_that_fails(
    tmp_path: Path, runtime: str, error_type: str, status: str, refusal: tuple[int, str]
) -> None:
    """It ends the invocation and the environment, and callers of the Invoke API get its error."""
    patient = LISTENER.replace('("platform.report") == invoked', '("platform.report") == 1')
    stage = stage_of(tmp_path, runtime, listener=patient).configure(restore_timeout_ms=400)
    with stage.ready() as stage, contextlib.closing(InvokeEndpoint(stage.environment)) as endpoint:
        endpoint.start()
        address = endpoint.url.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(address, timeout=20)) as connection:
            connection.request("POST", "/2015-03-31/functions/function/invocations", b"{}")
            response = connection.getresponse()
            body = json.loads(response.read())
        record = stage.environment.records[-1]
        again = stage.invoke()
        stage.environment.shutdown()
        lines = stage.lines.texts()

    assert refusal == (response.status, response.headers["x-amzn-ErrorType"])
    assert error_type in body["Message"]
    assert error_type == record.error_type == again.error_type
    assert phases(record)[:2] == GOOD[:2] == phases(again)[:2]
    (restore,) = [phase for phase in record.phases if phase.name == "restore"]
    assert error_type == restore.error_type
    reports = [line for line in lines if line.startswith("RESTORE_REPORT ")]
    assert 2 == len(reports)
    assert f"\tStatus: {status}" in reports[0]
    told = [json.loads(line[4:]) for line in lines if line.startswith("got ")]
    done = [item["record"] for item in told if item["type"] == "platform.restoreRuntimeDone"]
    expected = {"status": status} | ({} if status == "timeout" else {"errorType": error_type})
    assert [expected] * 2 == done


def test_an_extension_that_never_asks_for_an_event(tmp_path: Path) -> None:
    """There is no snapshot without it: init takes too long, and nothing is left stopped."""
    lazy = 'from raw import *\nregister("lazy", "INVOKE")\nblock()\n'
    stage = stage_of(tmp_path, lazy=lazy).configure(init_timeout_ms=400)
    with stage as stage:
        stage.environment.start()
        assert not stage.environment.wait_ready(10)
        record = stage.invoke()
        lines = stage.lines.texts()

    assert ("timeout", "Sandbox.Timedout") == (record.status, record.error_type)
    assert [("init", "timeout")] == phases(record)
    # The function's own time was not used.
    assert record.report is not None
    assert record.report.duration_ms < record.phases[0].duration_ms
    assert not [line for line in lines if line.startswith("RESTORE")]


def test_init_has_more_time(tmp_path: Path) -> None:
    """130 s, or the function's timeout where that is longer."""
    limits = [
        stage_of(tmp_path).configure(timeout_ms=timeout_ms).environment.config.init_timeout_ms
        for timeout_ms in (3000, 600_000)
    ]
    assert [130_000, 600_000] == limits


@pytest.mark.parametrize("who", ["runtime", "witness"])
def test_a_death_in_the_snapshot(tmp_path: Path, who: str) -> None:
    """Whoever dies while nobody waits: there is a new init and a new snapshot, outside of the
    invocation's own time.
    """
    with stage_of(tmp_path, witness=WITNESS).ready().frozen() as stage:
        other = stage.pid("witness" if who == "runtime" else "runtime")
        os.kill(stage.pid(who), signal.SIGKILL)
        wait_dead(other)
        record = stage.invoke()
        lines = stage.lines.texts("platform")

    assert b'"hello"' == record.answer
    assert GOOD == phases(record)
    assert 2 == len([line for line in lines if line.startswith("INIT_REPORT")])


def test_a_death_in_the_pause_while_somebody_waits(tmp_path: Path) -> None:
    """The restore fails at once, and the next invocation has a new snapshot."""
    marks = "say('up')\n" + SNAPPED
    stage = stage_of(tmp_path, f"from raw import *\n{marks}").configure(snapshot_pause_ms=60_000)
    with stage as stage:
        call = stage.invoke_beside()
        stage.lines.wait_for("INIT_REPORT")
        stage.frozen()
        os.kill(stage.pid(), signal.SIGKILL)
        record = call.over()

    assert ("Runtime.ExitError", b"signal: killed" in record.answer) == (record.error_type, True)
    assert ("restore", "crash") in phases(record)
    assert record.not_restored


def test_sigterm_in_the_snapshot_comes_with_the_restore(tmp_path: Path) -> None:
    """A stopped process has it when it is continued."""
    script = SNAPPED.replace(
        "from raw import *",
        "from raw import *\nsignal.signal(15, lambda *_: (say('terminated'), os._exit(0)))",
        1,
    )
    with stage_of(tmp_path, script).ready().frozen() as stage:
        os.kill(stage.pid(), signal.SIGTERM)
        assert [] == stage.lines.texts("function")
        record = stage.invoke()
        assert ["terminated"] == stage.lines.texts("function")

    assert "Runtime.ExitError" == record.error_type
    assert b"without providing a reason" in record.answer


@pytest.mark.parametrize("runtime", [SNAPPED, HANGS])
def test_shutdown_in_the_pause_or_in_the_restore(tmp_path: Path, runtime: str) -> None:
    """Who waits is told, and no stopped process is left."""
    hangs = runtime is HANGS
    stage = stage_of(tmp_path, runtime, witness=WITNESS)
    with stage.configure(snapshot_pause_ms=0 if hangs else 60_000) as stage:
        call = stage.invoke_beside()
        stage.lines.wait_for("INIT_REPORT")
        if hangs:
            stage.lines.wait_for("hangs")
        else:
            stage.frozen()
        stage.remember()
        stage.environment.shutdown()
        assert "Sandbox.Failure" == call.over().error_type
        assert "SHUTDOWN" in stage.lines.wait_for("event")


def test_shutdown_of_a_snapshot_that_nobody_used(tmp_path: Path) -> None:
    """Stopped processes are continued for their end: the extension has its SHUTDOWN."""
    with stage_of(tmp_path, witness=WITNESS).ready().frozen() as stage:
        stage.environment.shutdown()
        assert "SHUTDOWN" in stage.lines.wait_for("event")


def test_a_snapshot_again_after_a_timeout(tmp_path: Path) -> None:
    """After a reset there is a new init, whose restore is the next invocation's."""
    script = SNAPPED.replace("    respond(", "    body == b'\"hang\"' and block()\n    respond(")
    with stage_of(tmp_path, script).configure(timeout_ms=600).ready() as stage:
        late, again, warm = stage.invoke(b'"hang"'), stage.invoke(), stage.invoke()

    assert "timeout" == late.status
    assert GOOD == phases(again)
    assert again.report is not None
    assert again.report.init_duration_ms is None
    assert [("invoke", "success")] == phases(warm)
