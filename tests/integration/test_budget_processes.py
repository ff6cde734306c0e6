"""Budgets in processes of their own: forked ones, and interpreters that cannot interrupt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
PROGRAM = """
import os, sys, time
sys.path.insert(0, {source!r})
from lambdascope.runtime.budget import Budget
from lambdascope.runtime.deadline import Deadline, DeadlineExceeded

def within(seconds):
    return Budget(Deadline.after(seconds), reserve=0)

def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass

"""


def _run(program: str) -> tuple[list[str], list[str]]:
    """Run the program; what it printed, and what was said on standard error."""
    done = subprocess.run(
        [sys.executable, "-I", "-W", "ignore", "-c", PROGRAM.format(source=str(SOURCE)) + program],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_a_forked_process_has_budgets_of_its_own() -> None:
    """The child of a fork inside a block leaves that block, and can have new ones."""
    out, err = _run("""
def new_block(name):
    try:
        with within(0.03):
            while True: pass
    except DeadlineExceeded:
        print(name, "exceeded", flush=True)

try:
    with within(1):
        child = os.fork()
        new_block("child" if child == 0 else "parent")
        spin(1)
except DeadlineExceeded:
    print("child" if child == 0 else "parent", "left the block", flush=True)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
""")

    assert err == []
    for name in ("child", "parent"):
        own = [line for line in out if line.startswith(name)]
        assert own == [f"{name} exceeded", f"{name} left the block"]


def test_forks_at_the_moment_of_the_interrupt() -> None:
    """However a fork and an interrupt meet, neither process hangs in its block."""
    out, err = _run("""
# Which process it is cannot be told by what `fork` returned: the interrupt may come before that is
# kept, and on a slow machine even before the fork.
parent = os.getpid()
for number in range(60):
    try:
        with within(0.002):
            spin(0.0005 + number * 0.00005)
            os.fork()
            spin(0.002)
    except DeadlineExceeded:
        pass
    if os.getpid() != parent:
        os._exit(7)
codes = set()
try:
    while True:
        codes.add(os.waitstatus_to_exitcode(os.wait()[1]))
except ChildProcessError:
    print(codes)
""")

    assert err == []
    assert out == ["{7}"]


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="3.12 and later do not use thread states")
def test_a_thread_that_does_not_run_yet_is_seen() -> None:
    """The state of a thread that is not running has its parent's identifier: both are found."""
    out, err = _run("""
import threading
from lambdascope.runtime.async_exception import _find_identifiers

find = _find_identifiers()
main = threading.get_ident()
print([*find()] == [main])
waiting = threading.Event()
thread = threading.Thread(target=waiting.wait)
thread.start()
print([*find()] == [thread.ident, main])
waiting.set()
thread.join()
# The interpreter keeps the state of a thread that the system did not start.
threading.stack_size(1 << 60)
try:
    threading.Thread(target=print).start()
except RuntimeError:
    print([*find()] == [main, main])
""")

    assert err == []
    assert out == ["True"] * 3


LATE = """
try:
    with within(0.03):
        spin(0.1)
        print("not interrupted")
except DeadlineExceeded:
    print("exceeded")
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="3.12 and later do not use ctypes")
def test_without_ctypes_a_block_ends_late() -> None:
    """An interpreter without ctypes says so, once, and keeps the rule of the block's end."""
    out, err = _run("sys.modules['ctypes'] = None\n" + LATE + LATE)

    assert out == ["not interrupted", "exceeded"] * 2
    assert len(err) == 1
    assert err[0].startswith("lambdascope: synchronous budgets are not interrupted and end late: ")


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with 3.12")
def test_without_a_tool_id_a_block_ends_late() -> None:
    """Where other tools have taken both identifiers it is said, once, and the rule is kept."""
    take = "for tool in (3, 4): sys.monitoring.use_tool_id(tool, 'theirs')\n"
    out, err = _run(take + LATE + LATE)

    assert out == ["not interrupted", "exceeded"] * 2
    said = "lambdascope: synchronous budgets are not interrupted and end late: "
    assert err == [f"{said}sys.monitoring has no free tool id"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with 3.12")
def test_other_tools_go_on_and_no_events_stay() -> None:
    """The events of other tools are theirs; ours are gone when the block has been left."""
    out, err = _run("""
from lambdascope.runtime import budget
events = sys.monitoring.events
seen = []
sys.monitoring.use_tool_id(1, "theirs")
sys.monitoring.register_callback(1, events.PY_RETURN, lambda code, *_: seen.append(code.co_name))
def work():
    while True: helper()
def helper():
    return 1
sys.monitoring.set_local_events(1, helper.__code__, events.PY_RETURN)
def block():
    try:
        with within(0.03):
            work()
    except DeadlineExceeded:
        print("exceeded")
block()
before = len(seen)
helper()
way = budget._interrupts.way
codes = [f.__code__ for f in (block, work, helper, spin)]
print([sys.monitoring.get_local_events(way._tool, code) for code in codes])
print(len(seen) - before, sys.monitoring.get_local_events(1, helper.__code__) == events.PY_RETURN)
print(way._pressed, way._next, way._points)
""")

    assert err == []
    assert out == ["exceeded", "[0, 0, 0, 0]", "1 True", "{} {} {}"]


def test_a_process_ends_while_a_budget_is_open() -> None:
    """Leaving the process inside a block, or with a thread in one, prints nothing and hangs not."""
    out, err = _run("""
import threading
inside = threading.Event()
def hold():
    with within(60):
        inside.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
inside.wait()
with within(30):
    print("leaving")
    sys.exit(0)
""")

    assert (out, err) == (["leaving"], [])


def test_the_first_block_may_be_broken_off() -> None:
    """Wherever a signal handler raises while all is prepared, the next block is interrupted."""
    out, err = _run("""
import collections, signal, threading
class Alarmed(Exception):
    pass
def ring(*_):
    raise Alarmed
def first(delay):
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        with within(60):
            spin(60)
    except Alarmed:
        pass
    try:
        with within(0.02):
            spin(60)
    except DeadlineExceeded:
        names = [thread.name for thread in threading.enumerate()]
        os._exit(7 if names.count("lambdascope-watchdog") == 1 else 8)
signal.signal(signal.SIGALRM, ring)
codes = collections.Counter()
for number in range(100):
    child = os.fork()
    if child == 0:
        first(0.00005 + 0.0001 * number)
    codes[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])] += 1
print(dict(codes))
""")

    assert err == []
    assert out == ["{7: 100}"]
