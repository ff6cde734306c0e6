"""Who dies in an environment, in real processes: the runtime at every point, the emulator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from emulator_kit import ECHO, WITNESS, Stage, wait_dead
from failure_kit import STATIONS, error_of

if TYPE_CHECKING:
    from pathlib import Path

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
