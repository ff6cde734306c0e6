"""Every way in which an execution environment can break, with real processes, and what follows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from emulator_kit import ECHO, WAIT_S, WITNESS, Stage, is_alive, wait_dead

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.emulator.records import InvocationRecord


def error_of(record: InvocationRecord) -> tuple[str, str]:
    """Type and message of what the caller got, the request id cut off."""
    assert "Unhandled" == record.function_error
    fields = json.loads(record.answer)
    prefix = f"RequestId: {record.request_id} Error: "
    return fields["errorType"], fields["errorMessage"].removeprefix(prefix)


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


# --- death at every point -------------------------------------------------------------------------

# Says where it is and stops there when the event (or, in init, the variable) says so.
STATIONS = """
from raw import *
def station(name, wanted):
    if wanted == name:
        say("at", name)
        block()
wanted = os.environ.get("STOP", "")
station("init", wanted)
def escape():
    import subprocess
    code = "import signal; signal.pause()"
    child = subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
    say("pids", child.pid)
while True:
    request_id, headers, body = next_event()
    wanted = body.decode()
    station("handler", wanted)
    if wanted == "escaped":
        escape()
        station("escaped", wanted)
    if wanted == "response":
        sock = socket.create_connection(API.split(":"))
        sock.sendall(request("POST", f"{RUNTIME}invocation/{request_id}/response", b"x" * 9)[:-5])
        station("response", wanted)
    respond(request_id, body)
    station("overhead", wanted)
"""
KILLED = ("Runtime.ExitError", "Runtime exited with error: signal: killed")


@pytest.mark.parametrize("where", ["handler", "response"])
def test_a_runtime_killed_before_its_answer_fails_the_invocation(
    tmp_path: Path, where: str
) -> None:
    """kill -9 in the handler or in the middle of the response is an ExitError, and a reset."""
    with Stage(tmp_path, STATIONS, witness=WITNESS).ready() as stage:
        call = stage.invoke_beside(where.encode())
        stage.lines.wait_for("at")
        os.kill(stage.pid(), signal.SIGKILL)
        record = call.over()
        assert KILLED == error_of(record)
        assert "crash" == record.status
        event = json.loads(stage.lines.wait_for("event", count=2))
        assert "failure" == event["shutdownReason"]
        assert b"fine" == stage.invoke(b"fine").answer


def test_a_runtime_killed_after_its_answer_does_not_take_it_back(tmp_path: Path) -> None:
    """The caller keeps its answer; the record says that the environment crashed."""
    with Stage(tmp_path, STATIONS).ready() as stage:
        call = stage.invoke_beside(b"overhead")
        stage.lines.wait_for("at")
        os.kill(stage.pid(), signal.SIGKILL)
        record = call.over()
        assert (b"overhead", None) == (record.answer, record.function_error)
        assert ("crash", "Runtime.ExitError") == (record.status, record.error_type)
        assert b"fine" == stage.invoke(b"fine").answer


def test_a_runtime_killed_in_init(tmp_path: Path) -> None:
    """kill -9 before the first next fails that init; the next one runs in the invocation."""
    with Stage(tmp_path, STATIONS).configure(variables={"STOP": "init"}) as stage:
        stage.environment.start()
        stage.lines.wait_for("at")
        os.kill(stage.pid(), signal.SIGKILL)
        assert not stage.environment.wait_ready(10)
        call = stage.invoke_beside()
        stage.lines.wait_for("at", count=2)
        os.kill(stage.pid(), signal.SIGKILL)
        assert KILLED == error_of(call.over())


@pytest.mark.parametrize("who", ["runtime", "witness"])
@pytest.mark.parametrize("freeze", [True, False])
def test_a_death_between_invocations_costs_a_cold_start(
    tmp_path: Path, who: str, freeze: bool
) -> None:
    """Whoever dies while nothing runs, the environment is made anew and no caller sees it."""
    stage = Stage(tmp_path, witness=WITNESS).configure(freeze=freeze)
    with stage.ready() as stage:
        stage.invoke()
        if freeze:
            stage.frozen()
        pid, other = stage.pid(who), stage.pid("witness" if who == "runtime" else "runtime")
        os.kill(pid, signal.SIGKILL)
        wait_dead(other)
        record = stage.invoke()
        assert (b'"hello"', True) == (record.answer, record.cold)


# --- extensions -----------------------------------------------------------------------------------

CRASHER = """
from raw import *
def station(name):
    if os.environ["STOP"] == name:
        say("at", name)
        block()
station("start")
me = register("crasher", "INVOKE", "SHUTDOWN")
station("registered")
next_extension_event(me)
station("working")
"""


@pytest.mark.parametrize("where", ["start", "registered"])
def test_an_extension_killed_in_init_fails_it(tmp_path: Path, where: str) -> None:
    """An extension that dies before its first next is an Extension.Crash, twice."""
    stage = Stage(tmp_path, crasher=CRASHER).configure(variables={"STOP": where})
    with stage:
        stage.environment.start()
        stage.lines.wait_for("at")
        os.kill(stage.pid("crasher"), signal.SIGKILL)
        assert not stage.environment.wait_ready(10)
        call = stage.invoke_beside()
        stage.lines.wait_for("at", count=2)
        os.kill(stage.pid("crasher"), signal.SIGKILL)
        assert ("Extension.Crash", "signal: killed") == error_of(call.over())


@pytest.mark.parametrize("answered", [True, False])
def test_an_extension_killed_at_work_fails_the_invocation(tmp_path: Path, answered: bool) -> None:
    """The caller gets Extension.Crash, or keeps the answer that it has; then all begins again."""
    stage = Stage(tmp_path, STATIONS, crasher=CRASHER).configure(variables={"STOP": "working"})
    with stage.ready() as stage:
        call = stage.invoke_beside(b"x" if answered else b"handler")
        stage.lines.wait_for("at working")
        if answered:
            assert call.answered.wait(WAIT_S)
        else:
            stage.lines.wait_for("at handler")
        os.kill(stage.pid("crasher"), signal.SIGKILL)
        record = call.over()
        assert ("crash", "Extension.Crash") == (record.status, record.error_type)
        if answered:
            assert (b"x", None) == (record.answer, record.function_error)
        else:
            assert ("Extension.Crash", "signal: killed") == error_of(record)
        assert "failure" == record.phases[-1].status


def test_an_extension_killed_in_its_shutdown_harms_nobody(tmp_path: Path) -> None:
    """The end comes at once when the last process is gone, whatever ended it."""
    busy = """
from raw import *
me = register("busy", "SHUTDOWN")
next_extension_event(me)
say("at shutdown")
block()
"""
    with Stage(tmp_path, busy=busy).ready() as stage:
        stage.invoke()
        pid = stage.pid("busy")
        thread = threading.Thread(target=stage.environment.shutdown)
        thread.start()
        stage.lines.wait_for("at shutdown")
        os.kill(pid, signal.SIGKILL)
        thread.join(WAIT_S)
        assert stage.environment.records[-1].phases[-1].duration_ms < 1500


def test_an_extension_that_exits_fails_the_invocation(tmp_path: Path) -> None:
    """Even exit status 0 is fatal outside of shutdown."""
    leaver = """
from raw import *
me = register("leaver", "INVOKE")
next_extension_event(me)
sys.exit(0)
"""
    with Stage(tmp_path, STATIONS, leaver=leaver).ready() as stage:
        assert ("Extension.Crash", "exit code 0") == error_of(stage.invoke(b"handler"))


def test_an_extension_that_reports_an_error_fails_the_environment(tmp_path: Path) -> None:
    """init/error fails init at once; exit/error does when the process has ended."""
    failing = """
from raw import *
me = register("failing", "INVOKE")
say("answer", call("POST", EXTENSION + "init/error", Lambda_Extension_Identifier=me,
    Lambda_Extension_Function_Error_Type="Extension.ConfigInvalid")[0])
block()
"""
    with Stage(tmp_path / "a", failing=failing) as stage:
        expected = ("Extension.InitError", "Extension.ConfigInvalid")
        assert expected == error_of(stage.invoke())
        assert "202" == stage.lines.wait_for("answer")
        line = "EXTENSION\tName: failing\tState: InitError\tEvents: [INVOKE]"
        assert f"{line}\tError Type: Extension.ConfigInvalid" in stage.lines.texts("platform")
    exiting = """
from raw import *
me = register("exiting", "INVOKE")
next_extension_event(me)
say("answer", call("POST", EXTENSION + "exit/error", Lambda_Extension_Identifier=me,
    Lambda_Extension_Function_Error_Type="Extension.Gone")[0])
sys.exit(9)
"""
    with Stage(tmp_path / "b", STATIONS, exiting=exiting).ready() as stage:
        record = stage.invoke(b"handler")
        assert ("Extension.ExitError", "Extension.Gone") == error_of(record)


def test_an_extension_without_execute_bit_is_named(tmp_path: Path) -> None:
    """The launch error says which file it is, and the EXTENSION line its state."""
    with Stage(tmp_path, witness=WITNESS) as stage:
        path = tmp_path / "witness"
        path.chmod(0o644)
        expected = ("Extension.LaunchError", f"fork/exec {path}: permission denied")
        assert expected == error_of(stage.invoke())
        line = "EXTENSION\tName: witness\tState: LaunchError\tEvents: []"
        assert f"{line}\tError Type: Extension.LaunchError" in stage.lines.texts("platform")


def test_an_extension_with_a_broken_first_line_is_named(tmp_path: Path) -> None:
    """What the system says about an executable that it cannot run is passed on."""
    with Stage(tmp_path, witness=WITNESS) as stage:
        path = tmp_path / "witness"
        path.write_bytes(b"\x00\x01\x02")
        expected = ("Extension.LaunchError", f"fork/exec {path}: exec format error")
        assert expected == error_of(stage.invoke())


def test_an_extension_whose_interpreter_is_missing(tmp_path: Path) -> None:
    """The system's "no such file" is explained, because the file that it names is there."""
    with Stage(tmp_path, witness=WITNESS) as stage:
        path = tmp_path / "witness"
        path.write_text("#!/nowhere/python\n")
        kind, text = error_of(stage.invoke())
        assert "Extension.LaunchError" == kind
        hint = "(the file is there: what its first line names is not)"
        assert f"fork/exec {path}: no such file or directory {hint}" == text


def test_more_than_ten_extensions_are_refused(tmp_path: Path) -> None:
    """The eleventh extension fails the init before anything is started."""
    many = {f"extension{i}": WITNESS for i in range(11)}
    with Stage(tmp_path, **many) as stage:
        record = stage.invoke()
        assert ("Extension.TooManyExtensions", "Extension limit (10) reached") == error_of(record)
        assert [] == stage.lines.texts("extension")


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


# --- the end of the emulator itself ---------------------------------------------------------------


def test_shutdown_ends_what_is_under_way(tmp_path: Path) -> None:
    """An invocation under way fails, queued ones raise, and nothing is left."""
    with Stage(tmp_path, STATIONS).ready() as stage:
        call = stage.invoke_beside(b"handler")
        stage.lines.wait_for("at")
        queued = stage.invoke_beside(b"never")
        stage.environment.shutdown()
        assert "Sandbox.Failure" == error_of(call.over())[0]
        assert "EnvironmentClosed" == type(queued.failed()).__name__


def test_a_fault_of_the_emulator_leaves_nobody_waiting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A value that the emulator cannot work with ends it with one line, and the callers know."""
    with Stage(tmp_path).configure(timeout_ms="soon") as stage:
        stage.ready()
        calls = [stage.invoke_beside(), stage.invoke_beside()]
        assert ["EnvironmentClosed"] * 2 == [type(call.failed()).__name__ for call in calls]
        line, end = capsys.readouterr().err.split("\n", 1)
        assert line.startswith("lambdascope: the emulator failed (TypeError")
        assert "" == end


EMULATOR = """
import sys
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment
folder, where = sys.argv[1:]
config = FunctionConfig(handler="a.b", task_root=folder, own_extension=False, timeout_ms=30000,
    runtime=(sys.executable, "-S", "runtime.py"), extensions=(folder + "/witness",))
environment = ExecutionEnvironment(config, on_log=lambda line: print(line.text, flush=True))
environment.start()
assert environment.wait_ready(10)
print("pids", *environment.pids().values(), flush=True)
if where == "exit":
    sys.exit()
if where == "frozen":
    environment.invoke(b"x")
    environment.wait_frozen(10)
    print("at frozen", flush=True)
environment.invoke(where.encode())
"""


@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("handler", signal.SIGKILL),
        ("overhead", signal.SIGTERM),
        ("handler", signal.SIGINT),
        ("frozen", signal.SIGKILL),
        ("escaped", signal.SIGKILL),
        ("exit", None),
    ],
)
def test_the_emulators_death_leaves_no_process(
    tmp_path: Path, where: str, number: signal.Signals | None
) -> None:
    """However the emulator ends, also with a frozen environment, nothing of it runs on."""
    Stage(tmp_path, STATIONS if where != "frozen" else ECHO, witness=WITNESS)
    program = subprocess.Popen(
        [sys.executable, "-c", EMULATOR, str(tmp_path), where],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with program:
        assert program.stdout is not None
        pids: list[int] = []
        for line in program.stdout:
            if line.startswith("pids"):
                pids += [int(pid) for pid in line.split()[1:]]
            if line.startswith("at") and number is not None:
                program.send_signal(number)
                number = None
        assert (3 if where == "escaped" else 2) == len(pids)
        program.wait(10)
    for pid in pids:
        wait_dead(pid)
