"""What tests of deadlines share: a clock that is moved by hand, and work that takes its time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime import deadline as deadline_module
from lambdascope.runtime.budget import Budget
from lambdascope.runtime.context import CurrentInvocation
from lambdascope.runtime.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT_S = 0.03
# Enough for what is to be done within it where many processes share few processors.
LONG_S = 1.0
# Far more than an interrupt takes, and far less than what is interrupted would: for slow machines.
PATIENCE_S = 10.0


class FakeClock:
    """Seconds that pass when they are told to."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Tell the time."""
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def deadline(self, seconds: float) -> Deadline:
        """Return a deadline by this clock."""
        return Deadline.after(seconds, clock=self)


@pytest.fixture
def invocations(monkeypatch: pytest.MonkeyPatch) -> CurrentInvocation:
    """A process without an invocation so far."""
    fresh = CurrentInvocation()
    monkeypatch.setattr(deadline_module, "current_invocation", fresh)
    monkeypatch.setattr(deadline_module, "_latest", deadline_module._Latest())
    return fresh


def within(seconds: float = SHORT_S) -> Budget:
    """Return a budget of so much time from now on."""
    return Budget(Deadline.after(seconds), reserve=0)


def spin_until(moment: float, then: Callable[[], object] = int) -> int:
    """Keep the processor busy, in Python code alone; then call `then`. How many rounds that was."""
    rounds = 0
    while time.monotonic() < moment:
        rounds += 1
    then()
    return rounds
