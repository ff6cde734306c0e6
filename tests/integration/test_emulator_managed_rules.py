"""The rules of several invocations at a time in our own emulator: ends, refusals, telemetry."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from emulator_kit import ECHO, Stage
from lambdascope.emulator.environment import EnvironmentBusy, EnvironmentClosed
from lambdascope.emulator.managed_logbook import request_id_in
from managed_kit import MANAGED, Managed, workers
from telemetry_listener import LISTENER
from telemetry_shapes import SHAPES, shape

if TYPE_CHECKING:
    from pathlib import Path

# Event "late" is answered when the file `now` has been made, any other at once.
LATE = """
def take(request_id, headers, event):
    if event == "late":
        with open("go") as pipe: pipe.read()
        say("late", respond(request_id, Lambda_Runtime_Invocation_Id=headers[
            "lambda-runtime-invocation-id"])[::2])
    else:
        say("answer", respond(request_id)[0])
        say("again", respond(request_id)[0], "unknown", respond("nobody")[0])
"""


def test_a_deadline_ends_its_invocation_only(tmp_path: Path) -> None:
    """The caller gets Sandbox.Timedout, the process lives on, and the late answer gets 410."""
    stage = workers(tmp_path, LATE, concurrency=2, timeout_ms=400)
    os.mkfifo(tmp_path / "go")
    with stage.ready():
        pid = stage.pid()
        late = stage.invoke(b'"late"')
        beside = stage.invoke(b'"other"')
        (tmp_path / "go").write_text("go")
        said = stage.lines.wait_for("late")
        assert pid == stage.pid()
    assert ("timeout", "Sandbox.Timedout") == (late.status, late.error_type)
    message = f"RequestId: {late.request_id} Error: Task timed out after 0.40 seconds"
    assert message == json.loads(late.answer)["errorMessage"]
    assert "success" == beside.status
    assert "(410" in said
    assert "InvokeTimeout" in said
    assert late.report is not None
    assert 400.0 == late.report.duration_ms


def test_a_second_and_an_unknown_response_are_refused(tmp_path: Path) -> None:
    """Each invocation is answered once; a request id that nobody knows gets 400."""
    with workers(tmp_path, LATE, concurrency=2, timeout_ms=5000).ready() as stage:
        stage.invoke()
        assert "202" == stage.lines.wait_for("answer")
        assert "400 unknown 400" == stage.lines.wait_for("again")


def test_a_caller_that_nobody_is_free_for_is_refused(tmp_path: Path) -> None:
    """It waits as long as the function's timeout, then it is told Runtime.Unavailable."""
    stage = workers(tmp_path, LATE, concurrency=1, timeout_ms=300)
    os.mkfifo(tmp_path / "go")
    with stage.ready():
        assert "timeout" == stage.invoke(b'"late"').status
        with pytest.raises(EnvironmentBusy, match=r"Runtime\.Unavailable"):
            stage.invoke()
        (tmp_path / "go").write_text("go")
        stage.lines.wait_for("late")
        assert "success" == stage.invoke().status


def test_more_polls_than_the_concurrency_are_refused(tmp_path: Path) -> None:
    """The third request for the next event of a function with two at a time gets 500."""
    script = """
from raw import *
import threading
def poll():
    status, _, body = call("GET", RUNTIME + "invocation/next")
    say("polled", status, body.decode())
for _ in range(3): threading.Thread(target=poll).start()
"""
    stage = Stage(tmp_path, script).configure(**MANAGED, max_concurrency=2)
    with stage.ready():
        said = stage.lines.wait_for("polled")
    assert said.startswith("500 ")
    assert "TooManyIdleRuntimes" in said


def test_a_crash_ends_all_under_way_and_the_environment_starts_anew(tmp_path: Path) -> None:
    """Every caller of the dead runtime gets Runtime.ExitError; the next ones find a new one."""
    code = """
import os, threading
barrier = threading.Barrier(4)
def handler(event, context):
    if event["n"] < 4 and barrier.wait(15) == 0: os._exit(7)
    if event["n"] < 4: threading.Event().wait()
    return os.getpid()
"""
    with Managed(tmp_path, code, max_concurrency=4) as function:
        dead = function.many(4)
        after = function.environment.invoke(b'{"n": 4}')
    for record in dead:
        assert ("crash", "Runtime.ExitError") == (record.status, record.error_type)
        assert "exit status 7" in json.loads(record.answer)["errorMessage"]
    assert "success" == after.status
    assert after.cold


def test_a_failed_init_is_the_answer(tmp_path: Path) -> None:
    """Callers that wait for init get its error, and the next caller another try."""
    with Managed(tmp_path, "raise ValueError('no')") as function:
        first, second = (function.environment.invoke(b"{}") for _ in range(2))
    for record in (first, second):
        assert "init_error" == record.status
        assert {"errorType": "ValueError", "errorMessage": "no"}.items() <= json.loads(
            record.answer
        ).items()


def test_shutdown_ends_what_is_under_way(tmp_path: Path) -> None:
    """The runtime gets SIGTERM even without extensions, and no caller is left waiting."""
    take = """
def leave(*_):
    say("terminated")
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
def take(request_id, headers, event):
    say("taken")
    threading.Event().wait()
threading.Thread(target=run, daemon=True).start()
block()
"""
    stage = workers(tmp_path, take, concurrency=1, timeout_ms=20_000)
    with stage.ready():
        under_way = stage.invoke_beside()
        stage.lines.wait_for("taken")
        queued = stage.invoke_beside()
        stage.environment.shutdown()
        assert "Sandbox.Failure" == under_way.over().error_type
        assert isinstance(queued.failed(), EnvironmentClosed)
    assert ["terminated"] == stage.lines.texts("function")[-1:]


# An extension that tells what it is refused, and every event that it gets.
REFUSED = """
from raw import *
name = os.path.basename(sys.argv[0])
body = json.dumps({"events": ["INVOKE", "SHUTDOWN"]}).encode()
status, _, answer = call("POST", EXTENSION + "register", body, Lambda_Extension_Name=name)
say("refused", status, json.loads(answer)["errorType"])
body = json.dumps({"events": ["INVOKE"]}).encode()
status, _, answer = call("POST", EXTENSION + "register", body, Lambda_Extension_Name="inner")
say("inner", status, json.loads(answer)["errorType"])
me = register(name, "SHUTDOWN")
while True:
    event = next_extension_event(me)
    say("event", event["eventType"], event.get("shutdownReason"))
    if event["eventType"] == "SHUTDOWN": sys.exit(0)
"""


def test_extensions_get_shutdown_only(tmp_path: Path) -> None:
    """INVOKE is refused to both kinds of extension, and no invocation is announced to them."""
    stage = Stage(tmp_path, ECHO, outer=REFUSED).configure(**MANAGED, max_concurrency=1)
    with stage.ready():
        for _ in range(3):
            stage.invoke()
        stage.environment.shutdown()
    expected = [
        "refused 403 Extension.InvalidEventType",
        "inner 403 Extension.InvalidEventType",
        "event SHUTDOWN spindown",
    ]
    assert expected == stage.lines.texts("extension")


def test_an_extension_that_ends_is_the_end_of_the_environment(tmp_path: Path) -> None:
    """The callers of the moment get Extension.Crash, the next one a new environment."""
    dies = """
from raw import *
me = register(os.path.basename(sys.argv[0]), "SHUTDOWN")
import threading
def leave():
    next_extension_event(me)
    os._exit(0)
threading.Thread(target=leave, daemon=True).start()
if not os.path.exists(os.environ["MARK"]):
    with open(os.environ["MARK"], "w"): pass
    with open(os.environ["GO"]) as pipe: pipe.read()
    os._exit(3)
block()
"""
    take = """
def take(request_id, headers, event):
    if event == "wait":
        say("taken")
        threading.Event().wait()
    respond(request_id)
"""
    go = tmp_path / "go"
    stage = workers(tmp_path, take, concurrency=1, timeout_ms=20_000, dies=dies)
    os.mkfifo(go)
    stage.configure(variables={"MARK": str(tmp_path / "mark"), "GO": str(go)})
    with stage.ready():
        under_way = stage.invoke_beside(b'"wait"')
        stage.lines.wait_for("taken")
        go.write_text("go")
        assert "Extension.Crash" == under_way.over().error_type
        assert "success" == stage.invoke().status


def test_telemetry_has_the_recorded_shapes(tmp_path: Path) -> None:
    """No runtimeDone; a report with the duration alone, spans, and errors of handlers as errors."""
    listener = LISTENER.replace('"INVOKE", "SHUTDOWN")', '"SHUTDOWN")').replace(
        'seen.count("platform.report") == invoked', 'seen.count("platform.report") == 2'
    )
    take = """
def take(request_id, headers, event):
    if event == "fail": fail(request_id, b'{"errorType": "ValueError"}')
    else: respond(request_id)
"""
    stage = workers(tmp_path, take, concurrency=2, timeout_ms=5000, listener=listener)
    with stage.ready():
        good, bad = stage.invoke(), stage.invoke(b'"fail"')
        stage.environment.shutdown()
    lines = stage.lines.texts("extension")
    got = [json.loads(x.removeprefix("got ")) for x in lines if x.startswith("got ")]
    platform = [item for item in got if item["type"].startswith("platform.")]
    kinds = [item["type"] for item in platform]
    init = ["platform.initStart", "platform.telemetrySubscription", "platform.initRuntimeDone"]
    init += ["platform.extension", "platform.initReport"]
    assert init + ["platform.start", "platform.report"] * 2 == kinds
    for item in platform[:6]:
        expected = SHAPES[item["type"]]
        if item["type"] == "platform.extension":
            expected = expected | {"events": ["SHUTDOWN"]}
        assert shape(expected) == shape(item["record"]), item
    inits = [x["record"] for x in platform if "initializationType" in x["record"]]
    assert {"lambda-managed-instances"} == {record["initializationType"] for record in inits}
    reports = [item["record"] for item in platform if item["type"] == "platform.report"]
    spans = [{"name": "x", "start": "2026-01-01T00:00:00.000Z", "durationMs": 0.5}] * 2
    recorded = {"requestId": "r", "status": "success", "metrics": {"durationMs": 0.8}}
    assert shape(recorded | {"spans": spans}) == shape(reports[0])
    assert shape(recorded | {"spans": spans, "errorType": "x"}) == shape(reports[1])
    assert ["responseLatency", "responseDuration"] == [x["name"] for x in reports[0]["spans"]]
    assert (good.request_id, "success") == (reports[0]["requestId"], reports[0]["status"])
    assert (bad.request_id, "error", "Runtime.Unknown") == (
        reports[1]["requestId"],
        reports[1]["status"],
        reports[1]["errorType"],
    )


def test_an_event_does_not_go_to_a_client_that_has_left(tmp_path: Path) -> None:
    """A request for the next event whose connection is closed is neither served nor counted."""
    leaves = """
from raw import *
host, port = API.split(":")
with socket.create_connection((host, int(port))) as sock:
    sock.sendall(request("GET", RUNTIME + "invocation/next"))
    with open("go") as pipe: pipe.read()
say("left")
"""
    stage = Stage(tmp_path, leaves + ECHO).configure(**MANAGED, max_concurrency=1)
    os.mkfifo(tmp_path / "go")
    with stage.ready():
        (tmp_path / "go").write_text("go")
        stage.lines.wait_for("left")
        assert b'"hello"' == stage.invoke().answer


def test_lines_are_found_by_the_usual_names_of_the_request_id() -> None:
    """At the top of the object or in the platform's record; other lines belong to nobody."""
    assert "r" == request_id_in('{"requestId": "r", "message": "m"}')
    assert "r" == request_id_in('{"function_request_id": "r"}')
    assert "r" == request_id_in('{"type": "platform.start", "record": {"requestId": "r"}}')
    for line in ("requestId r", '{"requestId": 1}', "{", '{"a": {"requestId": "r"}}'):
        assert request_id_in(line) is None
