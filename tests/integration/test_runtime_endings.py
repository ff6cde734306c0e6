"""How the real runtime process ends: signals, exits, threads that do not end.

The Runtime API is a fake (runtime_fakes.ScriptedApi).
"""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime.handoff import BUDGET_S
from runtime_fakes import (
    LIMIT_S,
    HandoffStub,
    Outcome,
    RuntimeProcess,
    ScriptedApi,
    event,
    run,
    settle,
    status,
    write_app,
)

if TYPE_CHECKING:
    from pathlib import Path

# What a slow machine may add to a time that is bounded.
SLACK_S = 3.0


class _Marks:
    """Lets a test wait for a line that the function writes: the events of its run."""

    @staticmethod
    def wait(process: RuntimeProcess, line: str) -> None:
        """Read standard output up to this line."""
        assert process.process.stdout is not None
        while (found := process.process.stdout.readline().decode()) != f"{line}\n":
            assert found, f"the process ended before it wrote {line!r}"


WITH_ATEXIT = "import atexit\natexit.register(print, 'atexit ran')\n"
WAITS = """
import time
def handler(event, context):
    print("in the handler")
    time.sleep(60)
"""


def _interrupt(tmp_path: Path, code: str, signal_: int = signal.SIGTERM) -> Outcome:
    """Send the signal when the function has written "in the handler"; how the process ended."""
    write_app(tmp_path, code)
    with ScriptedApi([event()]) as api, RuntimeProcess(api.address, tmp_path) as process:
        _Marks.wait(process, "in the handler")
        process.process.send_signal(signal_)
        return settle(api, process)


def test_sigterm_while_idle(tmp_path: Path) -> None:
    """SIGTERM between events: status 0, and the function's exit functions run."""
    outcome = run(tmp_path, WITH_ATEXIT + "def handler(e, c): return e", [event()])

    assert (0, "atexit ran\n", "") == (outcome.status, outcome.out, outcome.err)


def test_sigterm_in_the_handler(tmp_path: Path) -> None:
    """SIGTERM in the handler: no answer is posted, exit functions run, status 0."""
    outcome = _interrupt(tmp_path, WITH_ATEXIT + WAITS)

    assert (0, "atexit ran\n", "") == (outcome.status, outcome.out, outcome.err)
    assert ([], []) == (outcome.api.responses, outcome.api.errors)


def test_sigterm_while_loading(tmp_path: Path) -> None:
    """SIGTERM while the function is imported: the process ends, and nothing is posted."""
    code = "import time\nprint('in the handler')\ntime.sleep(60)\n"

    outcome = _interrupt(tmp_path, code)

    assert (0, "", []) == (outcome.status, outcome.err, outcome.api.seen)


def test_sigterm_that_is_swallowed(tmp_path: Path) -> None:
    """A handler that catches everything may answer, and is not asked for another event."""
    code = """
import time
def handler(event, context):
    try:
        print("in the handler")
        time.sleep(60)
    except BaseException:
        return "swallowed"
"""
    outcome = _interrupt(tmp_path, code)

    assert [b'"swallowed"'] == outcome.api.responses
    assert (0, "", 1) == (outcome.status, outcome.err, outcome.api.next_count)


def test_sigterm_in_asyncio(tmp_path: Path) -> None:
    """SIGTERM ends a handler that runs an event loop, without a word."""
    code = """
import asyncio
async def work():
    print("in the handler")
    await asyncio.sleep(60)
def handler(event, context):
    asyncio.run(work())
"""
    outcome = _interrupt(tmp_path, code)

    assert (0, "") == (outcome.status, outcome.err)
    assert [] == outcome.api.errors


def test_handler_of_the_functions_own(tmp_path: Path) -> None:
    """A function's own SIGTERM handler is called, and its sys.exit is obeyed."""
    code = """
import atexit, signal, sys
def stop(number, frame):
    print("stopping")
    sys.exit(4)
signal.signal(signal.SIGTERM, stop)
atexit.register(print, "atexit ran")
def handler(event, context): return 1
"""
    outcome = run(tmp_path, code, [event()])

    assert (4, "stopping\natexit ran\n", "") == (outcome.status, outcome.out, outcome.err)


def test_handler_of_the_functions_own_that_raises(tmp_path: Path) -> None:
    """An exception from a function's own signal handler is one line, not a traceback."""
    code = """
import signal
def stop(number, frame):
    raise ValueError("from the\\nsignal handler")
signal.signal(signal.SIGTERM, stop)
def handler(event, context): return 1
"""
    outcome = run(tmp_path, code, [event()])

    assert 1 == outcome.status
    assert outcome.err.startswith("lambdascope: ValueError: from the signal handler (")
    assert outcome.err.endswith("app.py:4); the runtime ends\n")
    assert 1 == outcome.err.count("\n")


def test_handler_of_the_functions_own_that_goes_on(tmp_path: Path) -> None:
    """A function's own signal handler that only notes the signal does not break the wait."""
    code = """
import signal
signal.signal(signal.SIGTERM, lambda number, frame: print("noted"))
def handler(event, context): return event
"""
    write_app(tmp_path, code)
    with ScriptedApi([event(b"1")]) as api, RuntimeProcess(api.address, tmp_path) as process:
        assert api.idle.wait(LIMIT_S)
        process.process.terminate()
        _Marks.wait(process, "noted")
        still_there = process.process.poll() is None
        process.process.kill()
        process.wait()

    assert still_there
    assert "" == process.err


def test_interrupt_from_the_keyboard(tmp_path: Path) -> None:
    """Ctrl-C while idle ends the process without a traceback."""
    write_app(tmp_path, "def handler(e, c): return e")
    with ScriptedApi() as api, RuntimeProcess(api.address, tmp_path) as process:
        assert api.idle.wait(LIMIT_S)
        process.process.send_signal(signal.SIGINT)
        ended = process.wait()

    assert (130, "") == (ended, process.err)


@pytest.mark.parametrize(
    ("statement", "ended", "told"),
    [
        ("sys.exit(3)", 3, "exit status 3"),
        ("sys.exit()", 0, "exit status 0"),
        ("sys.exit('no config')", 1, "exit status 1: no config"),
        ("raise SystemExit(300)", 44, "exit status 44"),
        ("quit(2)", 2, "exit status 2"),
    ],
)
def test_exit_in_the_handler(statement: str, ended: int, told: str, tmp_path: Path) -> None:
    """sys.exit is told to the caller in the platform's words; then the process ends with it."""
    code = f"import sys\n{WITH_ATEXIT}\ndef handler(e, c):\n    {statement}\n"

    outcome = run(tmp_path, code, [event(), event()])

    (error,) = outcome.api.errors
    message = f"RequestId: r1 Error: Runtime exited with error: {told}"
    assert message == json.loads(error.body)["errorMessage"]
    assert "Runtime.ExitError" == error.error_type
    assert (ended, True) == (outcome.status, outcome.ended_itself)
    assert outcome.out.endswith("atexit ran\n")
    assert "" == outcome.err


def test_exit_without_cleaning_up(tmp_path: Path) -> None:
    """os._exit ends the process as it is; nobody can say anything."""
    outcome = run(tmp_path, "import os\ndef handler(e, c): os._exit(9)", [event()])

    assert (9, "", []) == (outcome.status, outcome.err, outcome.api.errors)


THREAD = """
import threading, time, atexit
atexit.register(print, "atexit ran")
def forever():
    time.sleep(60)
threading.Thread(target=forever, name="worker", daemon={daemon}).start()
def handler(event, context):
    if event == "exit": raise SystemExit(5)
    return event
"""


def test_thread_that_does_not_end(tmp_path: Path) -> None:
    """A thread of the function cannot hold the process for ever; exit functions still run."""
    started = time.monotonic()
    outcome = run(tmp_path, THREAD.format(daemon=False), [event(b'"exit"')])

    assert time.monotonic() - started < 2 + SLACK_S
    assert 5 == outcome.status
    assert outcome.out.endswith("atexit ran\n")
    assert "lambdascope: the process ends although these threads still run: worker\n" == outcome.err


def test_thread_that_does_not_end_at_sigterm(tmp_path: Path) -> None:
    """At SIGTERM the process ends within Lambda's 300 ms, threads or not."""
    write_app(tmp_path, THREAD.format(daemon=False))
    with ScriptedApi() as api, RuntimeProcess(api.address, tmp_path) as process:
        assert api.idle.wait(LIMIT_S)
        outcome = settle(api, process)

    assert (0, "atexit ran\n") == (outcome.status, outcome.out)
    assert "worker" in outcome.err


@pytest.mark.parametrize(
    "code",
    [
        THREAD.format(daemon=True),
        """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(4)
def handler(event, context):
    list(pool.map(str, range(10)))
    if event == "exit": raise SystemExit(5)
""",
    ],
    ids=["daemon", "idle pool"],
)
def test_threads_that_are_in_nobodys_way(code: str, tmp_path: Path) -> None:
    """Daemon threads and idle pools end with the process, without a word."""
    outcome = run(tmp_path, code, [event(b"1"), event(b'"exit"')])

    assert (5, "") == (outcome.status, outcome.err)


def test_broken_pipe_at_the_end(tmp_path: Path) -> None:
    """A standard output that nobody reads any more changes neither status nor standard error."""
    write_app(tmp_path, "def handler(e, c): print('x' * 10, end='')")
    with ScriptedApi([event()]) as api, RuntimeProcess(api.address, tmp_path) as process:
        assert process.process.stdout is not None
        process.process.stdout.close()
        assert api.idle.wait(LIMIT_S)
        process.process.terminate()
        process.process.stdout = None
        ended = process.process.wait(LIMIT_S)
        assert process.process.stderr is not None
        said = process.process.stderr.read().decode()

    assert (0, "") == (ended, said)


FORKS = """
import multiprocessing, os, signal, sys
context_ = multiprocessing.get_context("fork")
def child(): sys.exit(6)
def waits():
    signal.pause()
def handler(event, context):
    if event == "exit":
        process = context_.Process(target=child)
        process.start()
    elif event == "terminate":
        codes = set()
        for _ in range(40):
            process = context_.Process(target=waits)
            process.start()
            process.terminate()
            process.join()
            codes.add(process.exitcode)
        return list(codes)
    else:
        pid = os.fork()
        if pid == 0:
            sys.exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    process.join()
    return process.exitcode
"""


def test_forked_children(tmp_path: Path) -> None:
    """Processes that the function forks end as they would without the runtime."""
    with HandoffStub(tmp_path) as stub:
        outcome = run(
            tmp_path,
            FORKS,
            [event(b'"exit"', "r1"), event(b'"terminate"', "r2"), event(b'"raw"', "r3")],
        )

    assert [b"6", b"[-15]", b"7"] == outcome.api.responses
    assert ["r1", "r2", "r3"] == [head["lambdascope-request-id"] for head, _ in stub.posts]
    assert [] == outcome.api.errors
    assert (0, "") == (outcome.status, outcome.err)


def test_sigterm_in_work_after_the_response(tmp_path: Path) -> None:
    """Work after the response is the function's code too: SIGTERM ends it, exit functions run."""
    code = (
        WITH_ATEXIT
        + """
import time
def work():
    print("in the handler")
    time.sleep(60)
def handler(event, context):
    context.run_after_response(work)
    return "answered"
"""
    )
    outcome = _interrupt(tmp_path, code)

    assert [b'"answered"'] == outcome.api.responses
    assert (0, "atexit ran\n", "") == (outcome.status, outcome.out, outcome.err)


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "GeneratorExit", "asyncio.CancelledError"])
def test_failing_work_after_the_response(kind: str, tmp_path: Path) -> None:
    """Whatever work after the response raises is one line, and the next event is served."""
    code = f"""
import asyncio
def work(): raise {kind}("odd")
async def async_work(): raise {kind}("odd")
def handler(event, context):
    context.run_after_response(work)
    context.run_after_response(async_work) if "Cancelled" in "{kind}" else None
    return event
"""
    outcome = run(tmp_path, code, [event(b"1"), event(b"2")])

    assert [b"1", b"2"] == outcome.api.responses
    name = kind.rpartition(".")[2]
    assert {f"lambdascope: run_after_response: {name}: odd"} == set(outcome.err.splitlines())
    assert 0 == outcome.status


def test_exit_in_work_after_the_response(tmp_path: Path) -> None:
    """sys.exit in work after the response ends the process with that status."""
    code = """
import sys
def handler(event, context):
    context.run_after_response(sys.exit, 6)
    return event
"""
    outcome = run(tmp_path, code, [event(b"1"), event(b"2")])

    assert [b"1"] == outcome.api.responses
    assert (6, True, "") == (outcome.status, outcome.ended_itself, outcome.err)


def test_sigterm_flushes(tmp_path: Path) -> None:
    """SIGTERM in the handler hands the open invocation over before the process ends."""
    with HandoffStub(tmp_path) as stub:
        outcome = _interrupt(tmp_path, WAITS)

    ((head, body),) = stub.posts
    assert ("r1", True) == (head["lambdascope-request-id"], int(head["lambdascope-done"]) >= 1)
    assert b"terminated" in body
    assert b"timeout" not in body
    assert (0, "") == (outcome.status, outcome.err)


def test_timeout_is_told(tmp_path: Path) -> None:
    """SIGTERM after the deadline means that the invocation timed out."""
    write_app(tmp_path, WAITS)
    with (
        HandoffStub(tmp_path) as stub,
        ScriptedApi([event(in_ms=0)]) as api,
        RuntimeProcess(api.address, tmp_path) as process,
    ):
        _Marks.wait(process, "in the handler")
        process.process.terminate()
        settle(api, process)

    assert b"timeout" in stub.posts[0][1]


def test_sigterm_beside_an_extension_that_hangs(tmp_path: Path) -> None:
    """An extension that does not answer holds the end up by no more than the budget."""
    with HandoffStub(tmp_path) as stub:
        stub._answers += [status(200, ""), stub.hang]
        write_app(tmp_path, "def handler(e, c): return e")
        with ScriptedApi([event()]) as api, RuntimeProcess(api.address, tmp_path) as process:
            assert api.idle.wait(LIMIT_S)
            started = time.monotonic()
            outcome = settle(api, process)
            took_s = time.monotonic() - started

    assert 0 == outcome.status
    assert took_s < BUDGET_S + SLACK_S
