"""The deadline and what is computed from it, by a clock that the tests move."""

from __future__ import annotations

import pickle
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadline_kit import FakeClock, invocations
from lambdascope.runtime.deadline import (
    MAX_TIMEOUT,
    MIN_TIMEOUT,
    NO_DEADLINE,
    BudgetInterrupt,
    Deadline,
    DeadlineExceeded,
    current_deadline,
    deadline_of,
    remaining,
    timeout,
)
from unit.runtime.kit import make_invocation, make_times

if TYPE_CHECKING:
    from lambdascope.runtime.context import CurrentInvocation

__all__ = ["invocations"]
SECONDS = st.floats(min_value=0, max_value=900)


def test_remaining_time_falls_to_zero_and_not_below() -> None:
    """What is left is the time until the deadline, and 0.0 after it."""
    clock = FakeClock()
    deadline = clock.deadline(2.5)

    seen = [(deadline.remaining(), deadline.expired)]
    for seconds in (2.0, 0.5, 10.0):
        clock.pass_by(seconds)
        seen.append((deadline.remaining(), deadline.expired))

    assert seen == [(2.5, False), (0.5, False), (0.0, True), (0.0, True)]


def test_both_clocks_are_told() -> None:
    """A deadline has the Unix time in milliseconds beside the monotonic one."""
    before_ms = time.time() * 1000

    deadline = Deadline.after(3)

    assert 2999 <= deadline.epoch_ms - before_ms <= 3200
    assert 2.8 < deadline.at - time.monotonic() <= 3


def test_deadlines_compare_by_their_moment() -> None:
    """The earlier deadline is the smaller one; equal moments are equal and hash alike."""
    early, late, same = Deadline(1.0), Deadline(2.0), Deadline(1.0, owner="x")

    assert early < late
    assert late > early
    assert early <= same
    assert early >= same
    assert early == same
    assert hash(early) == hash(same)
    assert early != late
    assert early != 1.0
    assert max(late, NO_DEADLINE) is NO_DEADLINE
    with pytest.raises(TypeError):
        _ = early < 1.0


@pytest.mark.usefixtures("invocations")
def test_without_a_deadline_time_is_infinite() -> None:
    """Outside an invocation there is no limit, so that functions can be tested by themselves."""
    assert current_deadline() is NO_DEADLINE
    assert remaining() == float("inf")
    assert not NO_DEADLINE.expired
    assert timeout(default=7) == 7
    assert timeout() == MAX_TIMEOUT


def test_the_deadline_of_the_invocation_that_is_running(invocations: CurrentInvocation) -> None:
    """Code without a context gets the deadline of the running invocation, and one for all of it."""
    invocation = make_invocation(in_ms=3000)
    invocations.set(make_times(invocation))

    deadline = current_deadline()

    assert deadline is current_deadline()
    assert deadline.epoch_ms == invocation.deadline_ms
    assert 2.5 < deadline.remaining() <= 3
    assert deadline.owner == (invocation.request_id, invocation.deadline_ms)


def test_each_invocation_has_its_own(invocations: CurrentInvocation) -> None:
    """A retry with the same request id but another deadline is another invocation."""
    left = []
    for in_ms in (3000, 9000):
        token = invocations.set(make_times(make_invocation(in_ms=in_ms)))
        left.append(round(current_deadline().remaining()))
        invocations.reset(token)

    assert left == [3, 9]


class TheirContext:
    """A context as people write it for their tests."""

    def get_remaining_time_in_millis(self) -> int:
        """Tell what is left."""
        return 1500


@pytest.mark.usefixtures("invocations")
def test_any_context_has_a_deadline() -> None:
    """A context of somebody else's is asked for its remaining time; another object is refused."""
    assert 1.3 < deadline_of(TheirContext()).remaining() <= 1.5
    assert deadline_of(None) is NO_DEADLINE
    with pytest.raises(TypeError, match="str is not a Lambda context"):
        deadline_of("context")


def test_time_out_of_a_client() -> None:
    """A client may wait for what is left less the reserve, at most its default, never 0."""
    clock = FakeClock()
    deadline = clock.deadline(10)

    seen = [timeout(default=5, reserve=1, deadline=deadline)]
    for seconds in (4, 3, 1.5, 1, 10):
        clock.pass_by(seconds)
        seen.append(timeout(default=5, reserve=1, deadline=deadline))

    assert seen == [5, 5, 2, 0.5, MIN_TIMEOUT, MIN_TIMEOUT]


@given(left=SECONDS, reserve=SECONDS, default=st.none() | st.floats(0.0001, 900))
def test_a_time_out_is_always_usable(left: float, reserve: float, default: float | None) -> None:
    """Whatever is left, a time-out is positive, and never reaches into the reserve by more."""
    deadline = FakeClock().deadline(left)

    seconds = timeout(default, reserve=reserve, deadline=deadline)

    assert seconds >= MIN_TIMEOUT
    assert seconds <= max(MIN_TIMEOUT, deadline.remaining() - reserve)
    assert seconds <= max(MIN_TIMEOUT, default or MAX_TIMEOUT)


@pytest.mark.parametrize("default", [0, -1, float("nan")])
def test_a_default_has_to_be_positive(default: float) -> None:
    """A default that no client would take is refused where it is written."""
    with pytest.raises(ValueError, match="default has to be more than 0 seconds"):
        timeout(default=default)


@pytest.mark.parametrize("reserve", [-0.1, float("nan"), float("inf")])
def test_a_reserve_is_a_time(reserve: float) -> None:
    """A reserve that is no time is refused."""
    with pytest.raises(ValueError, match="reserve has to be 0 seconds or more"):
        timeout(reserve=reserve)


@pytest.mark.parametrize("seconds", [float("inf"), float("-inf"), float("nan")])
def test_a_deadline_is_finite(seconds: float) -> None:
    """A deadline that cannot be told in Unix time is refused."""
    with pytest.raises(ValueError, match="a deadline is a finite number of seconds away"):
        Deadline.after(seconds)


def test_what_the_exceptions_are() -> None:
    """A used-up budget is a TimeoutError; the interrupt is no Exception, as a cancellation is."""
    assert issubclass(DeadlineExceeded, TimeoutError)
    assert not issubclass(BudgetInterrupt, Exception)
    assert str(pickle.loads(pickle.dumps(DeadlineExceeded("used up")))) == "used up"
