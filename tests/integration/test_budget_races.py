"""Synchronous budgets and everything that happens at the same moment: no interrupt goes astray."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from budget_work import helper, while_condition
from deadline_kit import PATIENCE_S, spin_until, within
from lambdascope.runtime.deadline import BudgetInterrupt, DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns far more often than usual, so that each order of events is met."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


pytestmark = [
    pytest.mark.usefixtures("eager_switching"),
    pytest.mark.skipif(
        sys.version_info < (3, 12) and sys.gettrace() is not None,
        reason="in 3.11 an interrupt may hit a tracer, such as coverage, while it has a lock",
    ),
]


class Alarmed(Exception):
    """Raised by a signal handler of the user."""


def test_a_signal_handler_may_raise_at_any_moment() -> None:
    """An exception out of a signal handler ends a block like any other, and nothing comes later."""
    inside: list[int] = []

    def ring(*_: object) -> None:
        if inside:
            raise Alarmed

    before = signal.signal(signal.SIGALRM, ring)
    chance = random.Random(7)
    seen: Counter[str] = Counter()
    try:
        for _ in range(300):
            try:
                try:
                    inside.append(1)
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.002))
                    with within(chance.uniform(0.0001, 0.002)):
                        while_condition()
                finally:
                    inside.clear()
            except DeadlineExceeded:
                seen["exceeded"] += 1
            except Alarmed:
                seen["alarmed"] += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            spin_until(time.monotonic() + 0.0001)
    finally:
        signal.signal(signal.SIGALRM, before)

    assert set(seen) == {"exceeded", "alarmed"}
    assert sum(seen.values()) == 300


@pytest.mark.parametrize("threads", [1, 4])
def test_the_interrupt_never_leaves_its_block(threads: int) -> None:
    """Blocks that end around their deadline, 10 000 of them: no interrupt reaches other code."""
    results = [Counter[str]() for _ in range(threads)]
    workers = [
        threading.Thread(target=_many_blocks, args=(10_000 // threads, seed, results[seed]))
        for seed in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(50)

    total = sum(results, Counter[str]())
    assert total["left in time"] > 500
    assert total["exceeded"] > 500
    assert total["left in time"] + total["exceeded"] == 10_000
    assert total["interrupted outside"] == 0
    assert total["not converted"] == 0


def _many_blocks(count: int, seed: int, result: Counter[str]) -> None:
    chance = random.Random(seed)
    for number in range(count):
        seconds = chance.uniform(0, 0.0003)
        end = time.monotonic() + seconds * chance.choice((0.5, 0.9, 1.0, 1.1, 2.0))
        try:
            with within(seconds):
                if number % 3 == 0:
                    while time.monotonic() < end: pass  # fmt: skip  # noqa: E701
                elif number % 3 == 1:
                    spin_until(end)
                else:
                    _ = [n for n in range(500) if n]
                    time.sleep(0)
            result["left in time"] += 1
        except DeadlineExceeded:
            result["exceeded"] += 1
        except BudgetInterrupt:
            result["not converted"] += 1
        try:
            spin_until(0)
            time.sleep(0)
            _ = [n for n in range(20) if n]
        except BudgetInterrupt:
            result["interrupted outside"] += 1


def test_nested_blocks_in_any_order() -> None:
    """Whatever runs out first: each exception comes out of a block whose budget is used up."""
    chance = random.Random(3)
    outcomes: Counter[tuple[int, ...]] = Counter()
    for _ in range(3000):
        outcomes[tuple(_nested(chance, depth=3))] += 1

    # Of the eight sets of blocks that may have ended by the exception, most are seen.
    assert len(outcomes) >= 5


def _nested(chance: random.Random, *, depth: int) -> list[int]:
    """Return the depths of the blocks that ended by the exception, the innermost first."""
    limit = within(chance.uniform(0, 0.0004))
    inner: list[int] = []
    try:
        with limit:
            if depth > 1:
                inner = _nested(chance, depth=depth - 1)
            end = time.monotonic() + chance.uniform(0, 0.0003)
            while time.monotonic() < end: pass  # fmt: skip  # noqa: E701
    except DeadlineExceeded:
        assert limit.expired
        return [*inner, depth]
    return inner


def test_one_interrupt_for_nested_blocks() -> None:
    """Where an interrupt goes on to the outer block its cleaning up does not get another one."""
    chance = random.Random(1)
    seen: Counter[str] = Counter()
    for _ in range(1000):
        seconds = chance.uniform(0.0001, 0.0006)
        with contextlib.suppress(DeadlineExceeded), within(seconds):
            try:
                with within(seconds + chance.uniform(-0.00003, 0.00003)):
                    while_condition()
            except BudgetInterrupt:
                seen["went on"] += 1
                try:
                    spin_until(time.monotonic() + 0.0003)
                except BudgetInterrupt:
                    seen["another"] += 1
                raise

    assert seen["went on"] > 0
    assert seen["another"] == 0


class _Slow:
    """Something with a destructor, out of which no exception gets."""

    def __del__(self) -> None:
        spin_until(time.monotonic() + 0.00005)


def _destroy_for_ever() -> None:
    while True:
        _Slow()
        spin_until(time.monotonic() + 0.00005)


def test_no_interrupt_is_lost_in_a_destructor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that is in a destructor half of its time is interrupted in the other half."""
    sys.setswitchinterval(0.005)  # as usual; in 3.11 a look has to be done between two turns
    ignored: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    for _ in range(100):
        with pytest.raises(DeadlineExceeded), within(0.0005):
            _destroy_for_ever()

    assert ignored == []


def test_with_statements_inside_are_left_properly() -> None:
    """However the interrupt comes, a lock that was taken by `with` is free afterwards."""
    lock = threading.Lock()
    chance = random.Random(5)
    held = 0
    for _ in range(1500):
        with contextlib.suppress(DeadlineExceeded), within(chance.uniform(0.0001, 0.0005)):
            while True:
                with lock:
                    helper(1)
        held += lock.locked()

    assert held == 0


def test_threads_may_be_started_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is just being started is not hit in place of the one that starts it."""
    ignored: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: ignored.append(str(what.err_msg)))
    chance = random.Random(9)
    began: list[threading.Thread] = []
    for _ in range(300):
        with contextlib.suppress(DeadlineExceeded), within(chance.uniform(0.0001, 0.0005)):
            for _ in range(100):
                thread = threading.Thread(target=helper, args=(1,))
                began.append(thread)
                thread.start()
    for thread in began:
        if thread.ident is not None:
            thread.join(PATIENCE_S)

    assert not any(thread.is_alive() for thread in began)
    # A weak reference's callback may be hit in 3.11, where the interpreter ignores it; no thread.
    assert [text for text in ignored if "thread" in text] == []
