"""Callbacks before the deadline, in the watchdog's thread."""

from __future__ import annotations

import contextvars
import threading
import time

import pytest

from budget_work import while_true
from deadline_kit import PATIENCE_S, SHORT_S, invocations
from lambdascope.runtime.budget import Budget
from lambdascope.runtime.callbacks import on_deadline
from lambdascope.runtime.deadline import Deadline, DeadlineExceeded
from lambdascope.runtime.watchdog import watchdog

__all__ = ["invocations"]


def _deadline(seconds: float, owner: str = "test") -> Deadline:
    return Deadline(time.monotonic() + seconds, owner=owner)


def test_it_runs_once_before_the_deadline() -> None:
    """The function is called once, that many seconds before, while the handler goes on."""
    deadline = _deadline(PATIENCE_S + SHORT_S)
    ran = threading.Event()
    calls: list[tuple[float, str]] = []

    def note() -> None:
        calls.append((deadline.remaining(), threading.current_thread().name))
        ran.set()

    on_deadline(note, PATIENCE_S, deadline=deadline)
    assert ran.wait(PATIENCE_S)
    watchdog.release("test", PATIENCE_S)

    assert len(calls) == 1
    assert PATIENCE_S / 2 < calls[0][0] <= PATIENCE_S
    assert calls[0][1] == "lambdascope-watchdog"


def test_a_moment_that_has_passed_is_now() -> None:
    """A callback for a moment that has passed already is called at once."""
    ran = threading.Event()

    alarm = on_deadline(ran.set, 60, deadline=_deadline(SHORT_S))

    assert ran.wait(PATIENCE_S)
    assert not alarm.cancel()


def test_what_was_cancelled_does_not_run() -> None:
    """A cancelled callback is not called, and the others are."""
    ran: list[str] = []
    last = threading.Event()
    deadline = _deadline(PATIENCE_S)

    cancelled = on_deadline(lambda: ran.append("first"), PATIENCE_S - SHORT_S, deadline=deadline)
    on_deadline(last.set, PATIENCE_S - 2 * SHORT_S, deadline=deadline)

    assert cancelled.cancel()
    assert last.wait(PATIENCE_S)
    assert ran == []


def test_an_invocation_that_ends_takes_its_callbacks_back() -> None:
    """What was not due by then is never called; other invocations keep theirs."""
    ran: list[str] = []
    other = threading.Event()
    before = PATIENCE_S - SHORT_S
    on_deadline(lambda: ran.append("ended"), before, deadline=_deadline(PATIENCE_S, "ended"))
    on_deadline(other.set, before, deadline=_deadline(PATIENCE_S, "goes on"))

    watchdog.release("ended", PATIENCE_S)

    assert other.wait(PATIENCE_S)
    assert ran == []


def test_one_that_is_running_is_waited_for() -> None:
    """No callback is cut in two by the freeze: the end of the invocation waits for it."""
    began, finish = threading.Event(), threading.Event()
    ended: list[bool] = []

    def slow() -> None:
        began.set()
        finish.wait(PATIENCE_S)
        ended.append(True)

    on_deadline(slow, 60, deadline=_deadline(SHORT_S, "slow"))
    assert began.wait(PATIENCE_S)
    threading.Timer(SHORT_S, finish.set).start()
    watchdog.release("slow", PATIENCE_S)

    assert ended == [True]
    assert not watchdog.armed


def test_but_not_longer_than_allowed() -> None:
    """A callback that hangs does not keep the runtime."""
    began, finish = threading.Event(), threading.Event()

    def hang() -> None:
        began.set()
        finish.wait(PATIENCE_S)

    on_deadline(hang, 60, deadline=_deadline(SHORT_S, "hangs"))
    assert began.wait(PATIENCE_S)
    started = time.monotonic()
    watchdog.release("hangs", SHORT_S)
    took = time.monotonic() - started
    finish.set()
    watchdog.release("hangs", PATIENCE_S)

    assert SHORT_S <= took < PATIENCE_S / 2


def test_what_it_raises_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A callback that fails is said in one line, and the next ones are called."""
    ran = threading.Event()

    def fail() -> None:
        raise ValueError("cannot\ndo")

    deadline = _deadline(SHORT_S)
    on_deadline(fail, 60, deadline=deadline)
    on_deadline(lambda: exec("raise SystemExit(2)"), 60, deadline=deadline)
    on_deadline(ran.set, 60, deadline=deadline)
    assert ran.wait(PATIENCE_S)

    assert capsys.readouterr().err.splitlines() == [
        "lambdascope: a callback before the deadline raised ValueError: cannot do",
        "lambdascope: a callback before the deadline raised SystemExit: 2",
    ]


def test_it_runs_in_the_context_that_has_set_it() -> None:
    """Its log records and spans belong to the invocation: it sees the context variables."""
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")
    variable.set("mine")
    seen: list[str] = []
    ran = threading.Event()

    def note() -> None:
        seen.append(variable.get())
        ran.set()

    on_deadline(note, 60, deadline=_deadline(SHORT_S))
    assert ran.wait(PATIENCE_S)

    assert seen == ["mine"]


def test_budgets_come_before_callbacks() -> None:
    """Of what is due at the same time, budgets are first: a slow callback does not delay them."""
    finish = threading.Event()
    deadline = _deadline(SHORT_S)
    on_deadline(lambda: finish.wait(PATIENCE_S), 0, deadline=deadline)

    with pytest.raises(DeadlineExceeded), Budget(deadline, reserve=0):
        while_true()
    left = deadline.at + PATIENCE_S - time.monotonic()
    finish.set()
    watchdog.release("test", PATIENCE_S)

    assert left > PATIENCE_S / 2


@pytest.mark.usefixtures("invocations")
def test_without_a_deadline_it_never_runs() -> None:
    """Outside an invocation there is no deadline to be before."""
    assert on_deadline(lambda: None).cancel()


@pytest.mark.parametrize("before", [-1, float("nan")])
def test_before_is_a_time(before: float) -> None:
    """A moment after the deadline is refused."""
    with pytest.raises(ValueError, match="0 seconds or more"):
        on_deadline(lambda: None, before)
