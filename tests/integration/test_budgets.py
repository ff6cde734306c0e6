# ruff: noqa: PT012 - the blocks end in the middle
"""Synchronous budgets for real: what is interrupted, where, and what never is.

The blocks here have budgets of a few ten milliseconds, which the code under test uses up.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import traceback
from typing import TYPE_CHECKING

import pytest

from budget_work import BUSY, helper, while_condition, while_true
from deadline_kit import LONG_S, PATIENCE_S, SHORT_S, invocations, spin_until, within
from lambdascope.runtime.budget import Budget, budget
from lambdascope.runtime.deadline import BudgetInterrupt, Deadline, DeadlineExceeded
from lambdascope.runtime.watchdog import watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["invocations"]


@pytest.mark.parametrize("work", BUSY, ids=lambda work: work.__name__)
def test_python_code_is_interrupted(work: Callable[[], None]) -> None:
    """Code that would run for ever ends soon after its budget, with one catchable exception."""
    began = time.monotonic()

    with pytest.raises(DeadlineExceeded, match="the budget is used up") as caught, within():
        work()

    took = time.monotonic() - began
    assert SHORT_S <= took < PATIENCE_S
    assert caught.value.__cause__ is None
    assert work.__name__ in "".join(traceback.format_exception(caught.value))


def test_loops_in_the_function_of_the_block() -> None:
    """The block's own loop is interrupted, and the handlers around it in that function hold."""
    ended = []
    for turn in range(6):
        try:
            with within(SHORT_S / 3):
                number = turn
                if turn % 3 == 0:
                    while number >= 0:
                        number += 1
                elif turn % 3 == 1:
                    while time.monotonic() > 0: pass  # fmt: skip  # noqa: E701
                else:
                    _ = [n for n in range(1 << 60) if n < 0]
        except DeadlineExceeded:
            ended.append("exceeded")
        finally:
            ended.append("finally")

    assert ended == ["exceeded", "finally"] * 6


def test_in_time() -> None:
    """A block that is left before its end is left alone, also afterwards."""
    with within(LONG_S) as limit:
        value = helper(1)
        assert not limit.expired
        assert 0 < limit.remaining() <= LONG_S

    spin_until(limit.at + SHORT_S)
    assert value == 2
    assert limit.remaining() == 0


def test_nothing_left() -> None:
    """Where nothing is left the block is not begun."""
    begun = []

    with pytest.raises(DeadlineExceeded), Budget(Deadline.after(1), reserve=1.5):
        begun.append(True)

    assert begun == []


def test_the_reserve_is_kept() -> None:
    """A block ends its reserve before the deadline, and the message tells what is left."""
    deadline = Deadline.after(60 + SHORT_S)

    said = r"59\.\d+ s are left .* 60\.000 s were to be kept"
    with pytest.raises(DeadlineExceeded, match=said), Budget(deadline, reserve=60):
        while_true()

    assert deadline.remaining() > 50


def test_the_traceback_ends_where_the_code_was() -> None:
    """The last frame is that of the code which hung, and not of what has interrupted it."""
    with pytest.raises(DeadlineExceeded) as caught, within():
        while_true()

    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "while_true"


def test_a_blocking_call_is_interrupted_when_it_returns() -> None:
    """A call into C is not cut short; what comes after it is not done any more."""
    after = []
    lock = threading.Lock()
    lock.acquire()
    began = time.monotonic()

    with pytest.raises(DeadlineExceeded), within():
        lock.acquire(timeout=3 * SHORT_S)
        after.append("acquired")

    assert time.monotonic() - began >= 3 * SHORT_S
    assert after == []


def test_a_sleep_is_interrupted_when_it_ends() -> None:
    """So is time.sleep."""
    after = []

    with pytest.raises(DeadlineExceeded), within():
        time.sleep(2 * SHORT_S)
        after.append("slept")

    assert after == []


def test_a_computation_in_c_ends_late_but_not_well() -> None:
    """A block is left in time or by the exception, whatever held the interpreter up meanwhile."""
    limit = within()

    with pytest.raises(DeadlineExceeded), limit:
        power = 3
        while power.bit_length() < 1_000_000_000 and not limit.expired:
            power = power**2  # each takes longer than all before it

    assert limit.expired
    # It was ended on its way, and not by having come to its own end.
    assert power.bit_length() < 1_000_000_000


def test_the_interrupt_is_not_an_exception_that_is_handled() -> None:
    """Inside the block it is a BudgetInterrupt, no Exception; outside only DeadlineExceeded."""
    seen: list[str] = []
    with pytest.raises(DeadlineExceeded), within():
        try:
            while_true()
        except Exception:  # noqa: BLE001
            seen.append("Exception")
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    assert seen == ["BudgetInterrupt"]


def test_who_swallows_the_interrupt_does_not_swallow_the_end() -> None:
    """It comes once; a block that goes on in spite of it still ends by the exception."""
    rounds = []
    with pytest.raises(DeadlineExceeded), within():
        with contextlib.suppress(BudgetInterrupt):
            while_true()
        rounds.append(spin_until(time.monotonic() + SHORT_S))

    assert len(rounds) == 1


def test_exceptions_of_the_block_pass_through() -> None:
    """What the code raises by itself is not replaced, also when it is late."""
    with pytest.raises(ValueError, match="mine"), within():
        raise ValueError("mine")

    with pytest.raises(ValueError, match="late"), within():
        try:
            while_true()
        except BudgetInterrupt:
            raise ValueError("late") from None

    with pytest.raises(TimeoutError, match="mine") as caught, within():
        raise TimeoutError("mine")
    assert not isinstance(caught.value, DeadlineExceeded)


def test_the_inner_block_ends_first() -> None:
    """An inner budget that is used up ends the inner block; the outer one goes on."""
    steps = []
    with within(PATIENCE_S):
        try:
            with within():
                while_true()
        except DeadlineExceeded:
            steps.append("inner")
        spin_until(time.monotonic() + SHORT_S)
        steps.append("outer goes on")

    assert steps == ["inner", "outer goes on"]


def test_the_outer_block_ends_first() -> None:
    """An outer budget that is used up ends both; only the outer one turns it into the exception."""
    steps = []
    with pytest.raises(DeadlineExceeded), within():
        try:
            with within(PATIENCE_S):
                while_true()
        except DeadlineExceeded:
            steps.append("inner")
        finally:
            steps.append("cleaned up")
        steps.append("goes on")

    assert steps == ["cleaned up"]


def test_one_after_the_other() -> None:
    """First the inner budget, then the outer one: each ends its own block."""
    steps = []
    try:
        with within(LONG_S):
            try:
                with within():
                    while_true()
            except DeadlineExceeded:
                steps.append("inner")
            while_condition()
    except DeadlineExceeded:
        steps.append("outer")

    assert steps == ["inner", "outer"]


def test_cleaning_up_may_have_a_budget_of_its_own() -> None:
    """After the interrupt an inner budget with a smaller reserve limits what is still done."""
    deadline = Deadline.after(SHORT_S + PATIENCE_S)
    steps = []
    with pytest.raises(DeadlineExceeded), Budget(deadline, reserve=PATIENCE_S):
        try:
            while_true()
        finally:
            with Budget(deadline, reserve=0):
                spin_until(time.monotonic() + SHORT_S)
                steps.append("flushed")
            steps.append("closed")

    assert steps == ["flushed", "closed"]


def test_each_thread_has_its_own_budget() -> None:
    """The thread of the block is interrupted, and no other one."""
    results: dict[str, str] = {}
    others_end = time.monotonic() + 4 * SHORT_S

    def limited(name: str) -> None:
        try:
            with within():
                while_condition()
        except DeadlineExceeded:
            results[name] = "exceeded"

    def free(name: str) -> None:
        spin_until(others_end)
        results[name] = "done"

    jobs = [(limited, "a"), (free, "b"), (limited, "c"), (free, "d")]
    threads = [threading.Thread(target=job, args=(name,)) for job, name in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert results == {"a": "exceeded", "b": "done", "c": "exceeded", "d": "done"}


def test_signal_handlers_are_the_users() -> None:
    """No handler and no timer is touched, and signals work inside a block as anywhere."""
    rung = []
    alarm = signal.signal(signal.SIGALRM, lambda *_: rung.append("alarm"))
    term = signal.signal(signal.SIGTERM, lambda *_: rung.append("term"))
    mine = [signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGTERM)]
    try:
        signal.setitimer(signal.ITIMER_REAL, 3600)
        with pytest.raises(DeadlineExceeded), within():
            signal.raise_signal(signal.SIGTERM)
            while_true()
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        signal.raise_signal(signal.SIGALRM)

        assert [signal.getsignal(signal.SIGALRM), signal.getsignal(signal.SIGTERM)] == mine
        assert 3500 < left <= 3600
        assert rung == ["term", "alarm"]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)
        signal.signal(signal.SIGTERM, term)


def test_through_an_exit_stack() -> None:
    """A budget that an ExitStack holds obeys the same rule, and the stack is unwound."""
    left = []
    with pytest.raises(DeadlineExceeded), contextlib.ExitStack() as stack:
        stack.callback(left.append, "outer")
        stack.enter_context(within())
        stack.callback(left.append, "inner")
        spin_until(time.monotonic() + 2 * SHORT_S)

    assert left == ["inner", "outer"]


def test_a_block_that_could_be_suspended_is_refused() -> None:
    """Generators and coroutines would run other code inside the block: each is told what to do."""

    def generator() -> Iterator[int]:
        with within():
            yield 1

    @contextlib.contextmanager
    def manager() -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(within())
            yield

    async def coroutine() -> None:
        with within():
            pass

    with pytest.raises(RuntimeError, match="cannot be held by a generator"):
        next(generator())
    with pytest.raises(RuntimeError, match="cannot be held by a generator"), manager():
        pass
    running = coroutine()
    with pytest.raises(RuntimeError, match="use `async with`"):
        running.send(None)


def test_a_budget_is_for_one_block() -> None:
    """A second use is refused."""
    limit = within(PATIENCE_S)
    with limit:
        pass

    with pytest.raises(RuntimeError, match="is for one block"), limit:
        pass


@pytest.mark.usefixtures("invocations")
def test_without_a_deadline_there_is_no_limit() -> None:
    """Outside an invocation a budget does nothing, so that functions can be tested."""
    with budget() as limit:
        assert limit.remaining() == float("inf")


def test_no_timer_is_pending_after_an_invocation() -> None:
    """When the invocation's alarms are taken back the thread waits without a timer."""
    deadline = Deadline(time.monotonic() + 3600, owner="invocation")
    with Budget(deadline, reserve=1):
        while not watchdog.armed:
            spin_until(0)

    watchdog.release("invocation", PATIENCE_S)

    assert not watchdog.armed


def test_a_block_that_outlives_its_invocation() -> None:
    """A thread that goes on afterwards is no longer interrupted, but still ends late."""
    deadline = Deadline(time.monotonic() + LONG_S, owner="gone")
    entered, leave = threading.Event(), threading.Event()
    outcome = []

    def outlive() -> None:
        try:
            with Budget(deadline, reserve=0):
                entered.set()
                leave.wait(PATIENCE_S)
                outcome.append(spin_until(deadline.at))
        except DeadlineExceeded:
            outcome.append(-1)

    thread = threading.Thread(target=outlive)
    thread.start()
    entered.wait(PATIENCE_S)
    watchdog.release("gone", PATIENCE_S)
    leave.set()
    thread.join(PATIENCE_S)

    assert len(outcome) == 2
    assert outcome[1] == -1
