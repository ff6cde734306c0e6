"""Extensions that die, report errors or cannot be started, in real processes."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from emulator_kit import WAIT_S, WITNESS, Stage
from failure_kit import STATIONS, error_of

if TYPE_CHECKING:
    from pathlib import Path


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
