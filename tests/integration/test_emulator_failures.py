"""What breaks in an environment by its own doing, in real processes: init, deadlines, memory."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING

from emulator_kit import ECHO, WITNESS, Stage, is_alive, wait_dead
from failure_kit import error_of

if TYPE_CHECKING:
    from pathlib import Path


# --- init -----------------------------------------------------------------------------------------


def test_a_runtime_that_exits_in_init_is_tried_again_in_the_invocation(tmp_path: Path) -> None:
    """Both inits leave an INIT_REPORT, and the caller gets AWS's words about the exit."""
    with Stage(tmp_path, "import sys; print('bye'); sys.exit(7)") as stage:
        stage.environment.start()
        assert not stage.environment.wait_ready(10)
        record = stage.invoke()
        expected = ("Runtime.ExitError", "Runtime exited with error: exit status 7")
        assert expected == error_of(record)
        assert ("crash", True) == (record.status, record.cold)
        assert ["init", "runtime init", "shutdown"] == [phase.name for phase in record.phases]
        texts = [re.sub(r"\d+\.\d\d ms", "_", text) for text in stage.lines.texts()]
        report = "INIT_REPORT Init Duration: _\tPhase: {}\tStatus: error\tError Type: {}"
        assert [
            "bye",
            report.format("init", "Runtime.ExitError"),
            "bye",
            report.format("invoke", "Runtime.ExitError"),
            f"START RequestId: {record.request_id} Version: $LATEST",
            f"RequestId: {record.request_id} Error: Runtime exited with error: exit status 7",
            "Runtime.ExitError",
            f"END RequestId: {record.request_id}",
        ] == [text for text in texts if not text.startswith(("INIT_START", "REPORT"))]
        assert texts[-1].endswith("\tStatus: error\tError Type: Runtime.ExitError")


def test_a_runtime_that_exits_with_0_gave_no_reason(tmp_path: Path) -> None:
    """Exit status 0 is a failure too, with words of its own."""
    with Stage(tmp_path, "") as stage:
        expected = ("Runtime.ExitError", "Runtime exited without providing a reason")
        assert expected == error_of(stage.invoke())


def test_a_posted_init_error_reaches_the_caller_unchanged(tmp_path: Path) -> None:
    """The body of init/error is the answer, after a second try inside the invocation."""
    script = """
from raw import *
body = b'{"errorType": "Runtime.ImportModuleError", "errorMessage": "no", "extra": 1}'
status, headers, answer = call("POST", RUNTIME + "init/error", body,
    Lambda_Runtime_Function_Error_Type="Runtime.ImportModuleError")
say("posted", status, answer.decode().strip())
again = call("POST", RUNTIME + "init/error", body)
say("again", again[0])
sys.exit(1)
"""
    with Stage(tmp_path, script) as stage:
        record = stage.invoke()
        assert "Runtime.ImportModuleError" == json.loads(record.answer)["errorType"]
        assert 1 == json.loads(record.answer)["extra"]
        assert ("init_error", "Unhandled") == (record.status, record.function_error)
        assert '202 {"status":"OK"}' == stage.lines.wait_for("posted", count=2)
        assert "403" == stage.lines.wait_for("again", count=2)
        reports = [text for text in stage.lines.texts() if text.startswith("INIT_REPORT")]
        assert ["init", "invoke"] == [re.findall(r"Phase: (\w+)", text)[0] for text in reports]
        assert all(text.endswith("Error Type: Runtime.ImportModuleError") for text in reports)
        assert record.report is not None
        assert record.report.init_duration_ms is None


def test_a_second_init_that_works_belongs_to_the_invocation(tmp_path: Path) -> None:
    """Its time is part of Duration, there is no Init Duration, and the deadline is not moved."""
    script = f"""
import os, sys
marker = os.path.join(os.environ["LAMBDA_TASK_ROOT"], "marker")
if not os.path.exists(marker):
    open(marker, "w").close()
    sys.exit(1)
{ECHO}"""
    with Stage(tmp_path, script) as stage:
        record = stage.invoke()
        assert ("success", b'"hello"', True) == (record.status, record.answer, record.cold)
        report = record.report
        assert report is not None
        assert report.init_duration_ms is None
        init, invoke = record.phases[0], record.phases[2]
        assert report.duration_ms > init.duration_ms + invoke.duration_ms
        assert report.duration_ms <= report.billed_duration_ms < report.duration_ms + 1
        assert abs(init.start_ns // 1_000_000 + 3000 - record.deadline_ms) <= 100
        assert record.deadline_ms < record.handed_out_ns // 1_000_000 + 3000


def test_init_has_a_limit_of_its_own(tmp_path: Path) -> None:
    """Init is killed at its limit, and tried again under the function's timeout."""
    script = """
from raw import *
say("started")
block()
"""
    stage = Stage(tmp_path, script).configure(init_timeout_ms=150, timeout_ms=200)
    with stage:
        stage.environment.start()
        assert not stage.environment.wait_ready(10)
        texts = stage.lines.texts()
        pattern = r"INIT_REPORT Init Duration: (\d+\.\d\d) ms\tPhase: init\tStatus: timeout"
        match = re.fullmatch(pattern, texts[-1])
        assert match is not None
        assert 150 <= float(match[1]) < 1000
        record = stage.invoke()
        expected = ("Sandbox.Timedout", "Task timed out after 0.20 seconds")
        assert expected == error_of(record)
        assert "timeout" == record.status
        assert record.report is not None
        assert 200 == record.report.billed_duration_ms
        assert 2 == stage.lines.texts().count("started")


def test_what_the_limit_of_init_cut_off_has_timed_out(tmp_path: Path) -> None:
    """An extension that was not ready has the status of the whole init."""
    hangs = """
from raw import *
say("started")
block()
"""
    stage = Stage(tmp_path, hangs=hangs).configure(init_timeout_ms=150, timeout_ms=200)
    with stage:
        init, extension = stage.invoke().phases[:2]
    expected = ("extension init", "hangs", "timeout", "Sandbox.Timedout")
    assert ("timeout", "Sandbox.Timedout") == (init.status, init.error_type)
    assert expected == (extension.name, extension.who, extension.status, extension.error_type)


def test_a_runtime_that_is_not_there(tmp_path: Path) -> None:
    """The caller reads which program could not be started."""
    with Stage(tmp_path).configure(runtime=("/nowhere/bootstrap",)) as stage:
        expected = "fork/exec /nowhere/bootstrap: no such file or directory"
        assert ("Runtime.InvalidEntrypoint", expected) == error_of(stage.invoke())


def test_a_function_without_a_directory(tmp_path: Path) -> None:
    """A task root that does not exist is told as what it is."""
    with Stage(tmp_path).configure(task_root="/nowhere/task") as stage:
        expected = "chdir /nowhere/task: no such file or directory"
        assert ("Runtime.InvalidWorkingDir", expected) == error_of(stage.invoke())


# --- timeout --------------------------------------------------------------------------------------

SLEEPER = """
from raw import *
def on_term(number, frame):
    say("terminated")
    sys.exit(0)
signal.signal(signal.SIGTERM, on_term)
say("init")
while True:
    request_id, headers, body = next_event()
    if body == b"sleep":
        say("nonce", headers["lambda-runtime-invocation-id"])
        block()
    respond(request_id, body)
"""


def test_a_timeout_resets_the_environment(tmp_path: Path) -> None:
    """The caller gets AWS's text, everybody is told, and the next invocation inits again."""
    with Stage(tmp_path, SLEEPER, witness=WITNESS).configure(timeout_ms=250).ready() as stage:
        pids = [stage.pid(), stage.pid("witness")]
        record = stage.invoke(b"sleep")
        expected = ("Sandbox.Timedout", "Task timed out after 0.25 seconds")
        assert expected == error_of(record)
        assert ("timeout", None) == (record.status, record.response_ns)
        assert [False, False] == [is_alive(pid) for pid in pids]
        texts = stage.lines.texts()
        assert "terminated" in texts
        pattern = rf"\d{{4}}-\S+Z {record.request_id} Task timed out after 0\.25 seconds"
        assert [text for text in texts if re.fullmatch(pattern, text)]
        assert record.report is not None
        assert 250.0 == record.report.duration_ms
        event = json.loads(stage.lines.wait_for("event", count=2))
        assert ("SHUTDOWN", "timeout") == (event["eventType"], event["shutdownReason"])
        assert [("invoke", "timeout"), ("shutdown", "timeout")] == [
            (phase.name, phase.status) for phase in record.phases[-2:]
        ]
        after = stage.invoke(b"again")
        assert (b"again", True) == (after.answer, after.cold)
        assert 2 == stage.lines.texts().count("init")


def test_a_late_answer_is_refused(tmp_path: Path) -> None:
    """After a reset the old id is unknown (400); a retry with the same id has a new nonce (410)."""
    with Stage(tmp_path, SLEEPER).configure(timeout_ms=200).ready() as stage:
        stage.invoke(b"sleep", request_id="one")
        assert (400, "InvalidRequestID") == late(stage, "one", stage.lines.wait_for("nonce"))
        retry = stage.invoke_beside(b"sleep", request_id="one")
        nonce = stage.lines.wait_for("nonce", count=2)
        assert nonce != stage.lines.wait_for("nonce")
        assert 410 == late(stage, "one", stage.lines.wait_for("nonce"))[0]
        assert 202 == late(stage, "one", nonce)[0]
        assert b"late" == retry.over().answer


def late(stage: Stage, request_id: str, nonce: str) -> tuple[int, str]:
    """Post a response from outside; status and error type of what came back."""
    path = f"/2018-06-01/runtime/invocation/{request_id}/response"
    answer = stage.post(path, b"late", {"Lambda-Runtime-Invocation-Id": nonce})
    return answer.status, json.loads(answer.body).get("errorType", "")


def test_the_deadline_covers_extensions(tmp_path: Path) -> None:
    """An extension that does not come back times the invocation out; the caller has its answer."""
    stuck = """
from raw import *
me = register("stuck", "INVOKE")
next_extension_event(me)
block()
"""
    with Stage(tmp_path, stuck=stuck).configure(timeout_ms=200).ready() as stage:
        record = stage.invoke()
        assert (b'"hello"', None) == (record.answer, record.function_error)
        assert ("timeout", "Sandbox.Timedout") == (record.status, record.error_type)
        assert ("extension overhead", "timeout") == (
            record.phases[-2].name,
            record.phases[-2].status,
        )


def test_a_runtime_that_ignores_sigterm_is_killed_after_its_share(tmp_path: Path) -> None:
    """With an extension registered the runtime has 300 ms from SIGTERM to SIGKILL."""
    script = """
from raw import *
signal.signal(signal.SIGTERM, lambda *_: say("ignored"))
next_event()
block()
"""
    with Stage(tmp_path, script, witness=WITNESS).configure(timeout_ms=150).ready() as stage:
        record = stage.invoke()
        stage.lines.wait_for("ignored")
        shutdown = record.phases[-1]
        assert 300 <= shutdown.duration_ms < 1500


def test_an_extension_that_ignores_shutdown_is_killed_at_the_deadline(tmp_path: Path) -> None:
    """The whole shutdown has 2 s; one that did not ask for SHUTDOWN is killed without waiting."""
    deaf = """
from raw import *
me = register("deaf", "SHUTDOWN")
say("event", next_extension_event(me)["shutdownReason"])
block()
"""
    rude = """
from raw import *
me = register("rude", "INVOKE")
while True:
    next_extension_event(me)
"""
    with Stage(tmp_path, deaf=deaf, rude=rude).ready().frozen() as stage:
        stage.invoke()
        rude_pid, deaf_pid = stage.pid("rude"), stage.pid("deaf")
        ending = stage.environment
        thread = threading.Thread(target=ending.shutdown)
        thread.start()
        assert "spindown" == stage.lines.wait_for("event")
        wait_dead(rude_pid)
        assert is_alive(deaf_pid)
        thread.join(10)
        assert not is_alive(deaf_pid)
        assert 2000 <= ending.records[-1].phases[-1].duration_ms < 3500


# --- memory ---------------------------------------------------------------------------------------


def test_too_much_memory_is_the_end(tmp_path: Path) -> None:
    """Beyond the configured memory the runtime is killed, and the record says why."""
    script = """
from raw import *
while True:
    request_id, headers, body = next_event()
    kept = []
    while body == b"grow":
        kept.append(bytearray(1_000_000))
    respond(request_id, body)
"""
    with Stage(tmp_path, script).configure(memory_mb=64).ready() as stage:
        record = stage.invoke(b"grow")
        expected = ("Runtime.OutOfMemory", "Runtime exited with error: signal: killed")
        assert expected == error_of(record)
        assert "out_of_memory" == record.status
        assert record.report is not None
        assert record.report.max_memory_used_mb >= 64
        assert stage.lines.texts()[-1].endswith("Status: error\tError Type: Runtime.OutOfMemory")
        assert b"small" == stage.invoke(b"small").answer


def test_a_forked_child_does_not_count_twice(tmp_path: Path) -> None:
    """Pages that a child shares with its parent are there once."""
    script = """
from raw import *
from time import monotonic
block = bytearray(50_000_000)
while True:
    request_id, headers, body = next_event()
    if (child := os.fork()) == 0:
        end = monotonic() + 0.1
        while monotonic() < end:
            pass
        os._exit(0)
    os.waitpid(child, 0)
    respond(request_id, body)
"""
    with Stage(tmp_path, script).configure(memory_mb=90).ready() as stage:
        record = stage.invoke()
        assert "success" == record.status
        assert record.report is not None
        assert 50 <= record.report.max_memory_used_mb < 80
