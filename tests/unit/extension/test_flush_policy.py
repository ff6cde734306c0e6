"""The flush policy through time, without a clock: every rule, and a life simulated on it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope_extension import flush_policy as policy
from lambdascope_extension.flush_policy import Decision, State, decide

HOLD_S = 0.5
MOMENTS = (policy.AT_INVOKE, policy.RUNNING, policy.AT_END, policy.AT_SHUTDOWN)


def state(
    *,
    now: float = 1000.0,
    deadline: float | None = 1003.0,
    pending_bytes: int = 1000,
    oldest: float = 999.9,
    invocations: int = 100,
    gap_s: float = 0.1,
    **more: object,
) -> State:
    """A busy, healthy environment in the middle of an invocation with a little to export."""
    made = State(
        now=now,
        deadline=deadline,
        pending_bytes=pending_bytes,
        oldest=oldest,
        invocations=invocations,
        arrivals=[now - gap_s * back for back in range(min(invocations, 8) - 1, -1, -1)],
    )
    made.last_flush = now - 1
    for name, value in more.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("invocations", range(1, policy.WARM_UP_INVOCATIONS + 1))
def test_first_invocations_flush_at_their_end(invocations: int) -> None:
    """Each of the first invocations holds next for its own export, however close they come."""
    assert Decision(policy.END, HOLD_S) == decide(
        policy.AT_END, state(invocations=invocations), HOLD_S
    )


def test_busy_environment_defers() -> None:
    """When invocations come close together and nothing is old, nobody waits for an export."""
    assert [Decision(policy.DEFER)] * 3 == [
        decide(moment, state(), HOLD_S)
        for moment in (policy.AT_INVOKE, policy.RUNNING, policy.AT_END)
    ]


@pytest.mark.parametrize(("gap_s", "action"), [(29.9, policy.DEFER), (30.0, policy.END)])
def test_rare_invocations_flush_at_their_end(gap_s: float, action: str) -> None:
    """From a mean gap of 30 s on, the next invocation is too far away to wait for it."""
    assert action == decide(policy.AT_END, state(gap_s=gap_s), HOLD_S).action


def test_gap_is_the_mean_of_the_last_five() -> None:
    """One long pause counts for five invocations and is then forgotten."""
    after_pause = [0.0, 1.0, 2.0, 3.0, 200.0]
    actions = []
    for count in range(7):
        arrivals = [*after_pause, *(200.0 + index for index in range(1, count + 1))][-8:]
        flushes = policy.flushes_at_end(50 + count, arrivals)
        actions.append(flushes)
    assert [True] * 5 + [False] * 2 == actions


@pytest.mark.parametrize(
    "due",
    [
        {"pending_bytes": policy.MAX_PENDING_BYTES},
        {"oldest": 990.0},
        {"last_flush": 995.0},
        {"last_flush": None, "oldest": 995.0},
    ],
    ids=["bytes", "age", "interval", "never flushed"],
)
def test_busy_environment_exports_beside_a_handler(due: dict[str, object]) -> None:
    """Size, age or the time since the last export starts one at INVOKE, and not at the end."""
    busy = state(**due)  # type: ignore[arg-type]
    assert policy.PARALLEL == decide(policy.AT_INVOKE, busy, HOLD_S).action
    assert policy.DEFER == decide(policy.AT_END, busy, HOLD_S).action


def test_rest_of_a_parallel_export_is_held_as_long_as_it_usually_takes() -> None:
    """The hold is twice the usual latency, within 30 ms and the user's budget."""
    budgets = [
        decide(policy.AT_INVOKE, state(oldest=980.0, latency=latency), HOLD_S).budget_s
        for latency in (None, 0.001, 0.05, 9.0)
    ]
    assert [HOLD_S, policy.LEAST_HOLD_S, 0.1, HOLD_S] == budgets
    blind = state(oldest=980.0, latency=0.001, ends_are_known=False)
    assert HOLD_S == decide(policy.AT_INVOKE, blind, HOLD_S).budget_s


def test_much_data_leaves_while_the_handler_runs() -> None:
    """In a long invocation a full buffer is not kept until the end."""
    full = state(pending_bytes=policy.MAX_PENDING_BYTES, invocations=1)
    assert policy.PARALLEL == decide(policy.RUNNING, full, HOLD_S).action


def test_early_invocation_waits_for_its_own_data() -> None:
    """What is left over leaves with the end of an early invocation, if that is ever told."""
    early = state(invocations=2)
    assert policy.DEFER == decide(policy.AT_INVOKE, early, HOLD_S).action
    early.ends_are_known = False
    assert policy.PARALLEL == decide(policy.AT_INVOKE, early, HOLD_S).action


@pytest.mark.parametrize(("failures", "budget_s"), [(1, 0.25), (2, 0.125), (3, 0.0625), (9, 0.05)])
def test_failed_collector_is_asked_for_ever_shorter_times(failures: int, budget_s: float) -> None:
    """After a failure the next attempt starts beside the handler and holds less each time."""
    failing = state(failures=failures)
    assert Decision(policy.PARALLEL, budget_s) == decide(policy.AT_INVOKE, failing, HOLD_S)
    assert Decision(policy.END, budget_s) == decide(policy.AT_END, failing, HOLD_S)


def test_background_mode_exports_by_interval() -> None:
    """Without a deadline, time alone decides."""
    waiting = state(deadline=None, last_flush=996.0)
    due = state(deadline=None, last_flush=995.0)
    assert policy.DEFER == decide(policy.RUNNING, waiting, HOLD_S).action
    assert policy.PARALLEL == decide(policy.RUNNING, due, HOLD_S).action


@pytest.mark.parametrize("moment", MOMENTS[:3])
def test_nothing_pending_needs_nothing(moment: str) -> None:
    """Without anything to export nothing starts and nothing is held."""
    assert Decision(policy.DEFER) == decide(
        moment, state(oldest=0.0, pending_bytes=0, invocations=1), HOLD_S
    )


def test_shutdown_takes_what_is_left() -> None:
    """At SHUTDOWN everything until 150 ms before the deadline belongs to the last export."""
    decision = decide(policy.AT_SHUTDOWN, state(deadline=1002.0, failures=5), HOLD_S)
    assert policy.SHUTDOWN == decision.action
    assert decision.budget_s == pytest.approx(1.85)
    late = decide(policy.AT_SHUTDOWN, state(deadline=1000.1), HOLD_S)
    assert Decision(policy.SHUTDOWN, 0.0) == late


@given(
    moment=st.sampled_from(MOMENTS[:3]),
    left_s=st.floats(-10, 900),
    hold_s=st.floats(0, 5),
    pending_bytes=st.integers(0, 10_000_000),
    age_s=st.floats(0, 10_000),
    invocations=st.integers(1, 20),
    gap_s=st.floats(0, 10_000),
    failures=st.integers(0, 2000),
    latency=st.none() | st.floats(0, 100),
)
def test_no_hold_goes_past_the_deadline(
    moment: str, left_s: float, hold_s: float, **more: object
) -> None:
    """No hold exceeds the user's budget or reaches into the reserve before the deadline."""
    age_s = more.pop("age_s")
    assert isinstance(age_s, float)
    some = state(deadline=1000.0 + left_s, oldest=1000.0 - age_s + 1e-9, **more)  # type: ignore[arg-type]
    decision = decide(moment, some, hold_s)
    assert 0 <= decision.budget_s <= hold_s
    assert decision.action == policy.DEFER or decision.budget_s <= left_s - policy.RESERVE_S + 1e-9


def test_steady_traffic() -> None:
    """At eight invocations a second, one in forty exports, and always beside its handler."""
    now, arrivals, last_flush = 1000.0, [], None
    oldest, pending, actions = 0.0, 0, []
    for invocation in range(1, 3600):
        now += 0.125
        arrivals = [*arrivals, now][-8:]
        for moment in (policy.AT_INVOKE, policy.AT_END):
            if moment == policy.AT_END:
                pending, oldest = pending + 600, oldest or now
            made = State(
                now=now,
                deadline=now + 3,
                pending_bytes=pending,
                oldest=oldest,
                invocations=invocation,
                arrivals=arrivals,
            )
            made.last_flush, made.latency = last_flush, 0.02
            decision = decide(moment, made, HOLD_S)
            if decision.action != policy.DEFER:
                actions.append((invocation, decision.action))
                pending, oldest, last_flush = 0, 0.0, now
    ends = [one for one, action in actions if action == policy.END]
    beside = [one for one, action in actions if action == policy.PARALLEL]
    assert [1, 2, 3, 4, 5] == ends
    assert {40} == {later - sooner for sooner, later in pairwise(beside)}


@given(
    moment=st.sampled_from([policy.AT_INVOKE, policy.RUNNING]),
    since_flush=st.one_of(st.none(), st.floats(0, 20)),
    waits_since_flush=st.floats(0, 1),
    pending_bytes=st.integers(1, 2 * policy.MAX_PENDING_BYTES),
    invocations=st.integers(1, 50),
    gap_s=st.floats(0.001, 60),
)
def test_quiet_means_that_nothing_is_due(
    moment: str,
    since_flush: float | None,
    waits_since_flush: float,
    pending_bytes: int,
    invocations: int,
    gap_s: float,
) -> None:
    """The short question never spares an export that the long one would start."""
    now = 1000.0
    last_flush = None if since_flush is None else now - since_flush
    # What was there at the last flush has left with it.
    oldest = now - 30 if last_flush is None else last_flush + waits_since_flush * (now - last_flush)
    made = State(
        now=now,
        deadline=now + 10,
        pending_bytes=pending_bytes,
        oldest=oldest,
        invocations=invocations,
        arrivals=[now - gap_s * back for back in range(min(invocations, 8), -1, -1)],
    )
    made.last_flush = last_flush

    if policy.is_quiet(now, last_flush, pending_bytes):
        assert policy.DEFER == decide(moment, made, 0.5).action
