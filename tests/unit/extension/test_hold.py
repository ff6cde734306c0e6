"""The measure of holds, and what it allows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope_extension.hold import BOUNDS_S, EARNED, HoldMeter


def measured(
    *holds_s: float, is_busy: bool = True, promise_s: float = 0.002, for_export: bool = True
) -> HoldMeter:
    """A meter that saw these holds, each after a handler of 10 ms."""
    meter = HoldMeter(promise_s)
    for number, hold_s in enumerate(holds_s):
        begun = 100.0 * number
        meter.on_begin(begun)
        meter.on_end(begun + 0.01)
        meter.on_end(begun + 0.02)
        if for_export:
            meter.on_hold()
        meter.on_next(begun + 0.01 + hold_s, is_busy=is_busy)
    return meter


@given(holds_s=st.lists(st.floats(0, 10), min_size=1), share=st.floats(0.01, 1))
def test_quantile_is_a_bound(holds_s: list[float], share: float) -> None:
    """At least that share of the holds is not longer, and it is a border or the longest."""
    meter = measured(*holds_s)
    bound = meter.quantile_s(share)
    within = sum(hold_s <= bound + 1e-9 for hold_s in holds_s)
    assert within >= share * len(holds_s) - 1e-6
    assert bound in BOUNDS_S or bound == meter.longest_s
    assert len(holds_s) == meter.invocations


def test_short_holds_earn_a_long_one() -> None:
    """After 150 short holds one long one is allowed, and a long one takes as much away."""
    meter = measured(*[0.001] * round(1 / EARNED))
    assert meter.allowance == pytest.approx(1)
    assert 1.0 == measured(*[0.001] * 900).allowance
    assert -1.9 > measured(0.5, 0.5).allowance


def test_only_exports_cost() -> None:
    """What a busy machine adds is measured, and does not keep data from leaving."""
    meter = measured(*[0.5] * 300, for_export=False)
    assert (1.0, 0.5) == (meter.allowance, meter.quantile_s(0.5))


def test_only_busy_invocations_count_for_the_promise() -> None:
    """What is held by design earns and costs nothing, but is measured."""
    meter = measured(0.5, 0.5, is_busy=False)
    assert (0.0, 2, 0.5) == (meter.allowance, meter.invocations, pytest.approx(meter.longest_s))


def test_handlers_are_as_short_as_the_shortest_of_the_last() -> None:
    """The shortest of the last eight invocations is what can be relied upon."""
    meter = measured(0.0)
    assert 0.0 == meter.least_duration  # of the first one, which is cold, nothing can be said
    for duration in (0.001, *[0.5] * 7):
        meter.on_begin(0.0)
        meter.on_end(duration)
    assert 0.001 == meter.least_duration
    meter.on_begin(0.0)
    meter.on_end(0.5)
    assert 0.5 == meter.least_duration


def test_next_without_an_invocation_is_no_hold() -> None:
    """The first next, and one that is asked again, are not measured."""
    meter = HoldMeter(0.002)
    meter.on_next(5.0, is_busy=True)
    assert (0, 0.0) == (meter.invocations, meter.quantile_s(0.99))
