"""The flush policy through time, without a clock: every rule, and a life simulated on it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope_extension import flush_policy as policy
from lambdascope_extension.flush_policy import Decision, State, decide
from lambdascope_extension.flush_settings import (
    ADAPTIVE,
    CONTINUOUS,
    END,
    MODES,
    PERIODIC,
    FlushSettings,
)
from lambdascope_extension.hold import HoldMeter

HOLD_S = 0.5
SETTINGS = FlushSettings(hold_s=HOLD_S)
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


@pytest.mark.parametrize(("invocations", "action"), [(1, policy.END), (2, policy.DEFER)])
def test_only_the_first_invocation_is_held_in_any_case(invocations: int, action: str) -> None:
    """The cold one holds next for its own export; those that come close behind it do not."""
    assert action == decide(policy.AT_END, state(invocations=invocations), SETTINGS).action


def test_busy_environment_defers() -> None:
    """When invocations come close together and nothing is old, nobody waits for an export."""
    assert [Decision(policy.DEFER)] * 3 == [
        decide(moment, state(), SETTINGS)
        for moment in (policy.AT_INVOKE, policy.RUNNING, policy.AT_END)
    ]


@pytest.mark.parametrize(("gap_s", "action"), [(1.19, policy.DEFER), (1.2, policy.END)])
def test_rare_invocations_flush_at_their_end(gap_s: float, action: str) -> None:
    """From a mean gap of 1.2 s on, hardly any invocation finds the environment held."""
    assert action == decide(policy.AT_END, state(gap_s=gap_s), SETTINGS).action


@pytest.mark.parametrize(
    ("since_s", "latency", "action"),
    [
        (4.9, 0.05, policy.DEFER),
        (5.1, 0.05, policy.END),
        (5.1, 0.2, policy.DEFER),
        (0.0, None, policy.END),
    ],
)
def test_rare_invocations_hold_for_a_hundredth_of_the_time(
    since_s: float, latency: float | None, action: str
) -> None:
    """The slower the collector, the less often is it asked; one that never answered always is."""
    rare = state(gap_s=2.0, last_flush=1000.0 - since_s, latency=latency)
    assert action == decide(policy.AT_END, rare, SETTINGS).action
    assert policy.DEFER == decide(policy.AT_INVOKE, rare, SETTINGS).action
    rare.ends_are_known = False
    expected = policy.PARALLEL if action == policy.END else policy.DEFER
    assert expected == decide(policy.AT_INVOKE, rare, SETTINGS).action


def test_gap_is_the_mean_of_the_last_five() -> None:
    """One long pause counts for five invocations and is then forgotten."""
    after_pause = [0.0, 0.1, 0.2, 0.3, 20.0]
    actions = []
    for count in range(7):
        arrivals = [*after_pause, *(20.0 + index / 10 for index in range(1, count + 1))][-8:]
        flushes = policy.flushes_at_end(ADAPTIVE, 50 + count, arrivals)
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
    assert policy.PARALLEL == decide(policy.AT_INVOKE, busy, SETTINGS).action
    assert policy.DEFER == decide(policy.AT_END, busy, SETTINGS).action


def test_rest_of_a_parallel_export_is_held_as_long_as_it_usually_takes() -> None:
    """The hold is twice the usual latency, within 30 ms and the user's budget."""
    budgets = [
        decide(policy.AT_INVOKE, state(oldest=980.0, latency=latency), SETTINGS).budget_s
        for latency in (None, 0.001, 0.05, 9.0)
    ]
    assert [HOLD_S, policy.LEAST_HOLD_S, 0.1, HOLD_S] == budgets
    blind = state(oldest=980.0, latency=0.001, ends_are_known=False)
    assert HOLD_S == decide(policy.AT_INVOKE, blind, SETTINGS).budget_s


def test_much_data_leaves_while_the_handler_runs() -> None:
    """In a long invocation a full buffer is not kept until the end."""
    full = state(pending_bytes=policy.MAX_PENDING_BYTES, invocations=1)
    assert policy.PARALLEL == decide(policy.RUNNING, full, SETTINGS).action


def test_rare_invocation_waits_for_its_own_data() -> None:
    """What is left over leaves with the end of a rare invocation, if that is ever told."""
    rare = state(invocations=2, gap_s=2.0)
    assert policy.DEFER == decide(policy.AT_INVOKE, rare, SETTINGS).action
    rare.ends_are_known = False
    assert policy.PARALLEL == decide(policy.AT_INVOKE, rare, SETTINGS).action


@pytest.mark.parametrize(("failures", "budget_s"), [(1, 0.25), (2, 0.125), (3, 0.0625), (9, 0.05)])
def test_failed_collector_is_asked_for_ever_shorter_times(failures: int, budget_s: float) -> None:
    """After a failure the next attempt starts beside the handler and holds less each time."""
    failing = state(failures=failures)
    assert Decision(policy.PARALLEL, budget_s) == decide(policy.AT_INVOKE, failing, SETTINGS)
    assert Decision(policy.END, budget_s) == decide(policy.AT_END, failing, SETTINGS)


def test_background_mode_exports_by_interval() -> None:
    """Without a deadline, time alone decides."""
    waiting = state(deadline=None, last_flush=996.0)
    due = state(deadline=None, last_flush=995.0)
    assert policy.DEFER == decide(policy.RUNNING, waiting, SETTINGS).action
    assert policy.PARALLEL == decide(policy.RUNNING, due, SETTINGS).action


@pytest.mark.parametrize("moment", MOMENTS[:3])
def test_nothing_pending_needs_nothing(moment: str) -> None:
    """Without anything to export nothing starts and nothing is held."""
    assert Decision(policy.DEFER) == decide(
        moment, state(oldest=0.0, pending_bytes=0, invocations=1), SETTINGS
    )


def test_shutdown_takes_what_is_left() -> None:
    """At SHUTDOWN everything until 150 ms before the deadline belongs to the last export."""
    decision = decide(policy.AT_SHUTDOWN, state(deadline=1002.0, failures=5), SETTINGS)
    assert policy.SHUTDOWN == decision.action
    assert decision.budget_s == pytest.approx(1.85, abs=0.001)
    much = decide(
        policy.AT_SHUTDOWN, state(deadline=1002.0, pending_bytes=8_000_000, failures=5), SETTINGS
    )
    assert much.budget_s == pytest.approx(1.45)
    late = decide(policy.AT_SHUTDOWN, state(deadline=1000.1), SETTINGS)
    assert Decision(policy.SHUTDOWN, 0.0) == late


@given(
    moment=st.sampled_from(MOMENTS[:3]),
    mode=st.sampled_from(MODES),
    left_s=st.floats(-10, 900),
    hold_s=st.floats(0, 5),
    pending_bytes=st.integers(0, 10_000_000),
    age_s=st.floats(0, 10_000),
    invocations=st.integers(1, 20),
    gap_s=st.floats(0, 10_000),
    failures=st.integers(0, 2000),
    latency=st.none() | st.floats(0, 100),
    has_failures=st.booleans(),
    allowance=st.floats(-3, 1),
)
def test_no_hold_goes_past_the_deadline(
    moment: str, mode: str, left_s: float, hold_s: float, **more: object
) -> None:
    """No hold exceeds the user's budget or reaches into the reserve before the deadline."""
    age_s = more.pop("age_s")
    assert isinstance(age_s, float)
    some = state(deadline=1000.0 + left_s, oldest=1000.0 - age_s + 1e-9, **more)  # type: ignore[arg-type]
    decision = decide(moment, some, FlushSettings(mode=mode, hold_s=hold_s))
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
            decision = decide(moment, made, SETTINGS)
            if decision.action != policy.DEFER:
                actions.append((invocation, decision.action))
                pending, oldest, last_flush = 0, 0.0, now
    ends = [one for one, action in actions if action == policy.END]
    beside = [one for one, action in actions if action == policy.PARALLEL]
    assert [1] == ends
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
        assert policy.DEFER == decide(moment, made, SETTINGS).action


def test_end_mode_holds_every_invocation() -> None:
    """`end`: every invocation is held for its own export, however busy the environment is."""
    settings = FlushSettings(mode=END)
    assert policy.END == decide(policy.AT_END, state(), settings).action
    assert policy.DEFER == decide(policy.AT_INVOKE, state(oldest=990.0), settings).action
    blind = state(ends_are_known=False)
    assert policy.PARALLEL == decide(policy.AT_INVOKE, blind, settings).action


@pytest.mark.parametrize(("last_flush", "action"), [(990.1, policy.DEFER), (990.0, policy.END)])
def test_periodic_mode_holds_once_in_an_interval(last_flush: float, action: str) -> None:
    """`periodic`: at the end of an invocation, when the interval is over."""
    settings = FlushSettings(mode=PERIODIC)
    settings.interval_s = 10.0
    due = state(last_flush=last_flush, invocations=1, oldest=980.0)
    assert action == decide(policy.AT_END, due, settings).action
    assert policy.DEFER == decide(policy.AT_INVOKE, due, settings).action


@pytest.mark.parametrize(("last_flush", "due"), [(990.1, False), (990.0, True)])
def test_continuous_mode_never_holds_for_long(last_flush: float, due: bool) -> None:
    """`continuous`: beside the handler when the interval is over, with a short rest at most."""
    settings = FlushSettings(mode=CONTINUOUS)
    settings.interval_s = 10.0
    some = state(last_flush=last_flush, invocations=1, latency=0.05, failures=1)
    wanted = Decision(policy.PARALLEL, 0.1) if due else Decision(policy.DEFER)
    assert [wanted] * 2 == [
        decide(moment, some, settings) for moment in (policy.AT_INVOKE, policy.RUNNING)
    ]
    assert policy.DEFER == decide(policy.AT_END, some, settings).action


def test_failed_invocation_is_not_kept_waiting() -> None:
    """What tells of a failure leaves at once, as far as the promise about holds allows it."""
    failed = state(has_failures=True)
    assert policy.END == decide(policy.AT_END, failed, SETTINGS).action
    failed.allowance = 0.5
    assert policy.DEFER == decide(policy.AT_END, failed, SETTINGS).action
    assert policy.DEFER == decide(policy.AT_INVOKE, failed, SETTINGS).action
    slow = state(has_failures=True, gap_s=2.0, allowance=0.5)
    assert policy.END == decide(policy.AT_END, slow, SETTINGS).action


@pytest.mark.parametrize(
    ("more", "action"),
    [
        ({}, policy.DEFER),
        ({"allowance": 1.0}, policy.PARALLEL),
        ({"oldest": 1000.0 - policy.STALE_S}, policy.PARALLEL),
        ({"pending_bytes": policy.MUCH_PENDING_BYTES}, policy.PARALLEL),
        ({"failures": 3}, policy.DEFER),
        ({"ends_are_known": False}, policy.DEFER),
        ({"latency": 0.05, "least_duration": 0.08}, policy.PARALLEL),
        ({"latency": 0.05, "least_duration": 0.07}, policy.DEFER),
        ({"latency": 0.05, "least_duration": 9.0, "allowance": -1.0}, policy.DEFER),
    ],
    ids=[
        "kept",
        "earned",
        "stale",
        "much",
        "failing",
        "nobody tells the end",
        "long handler",
        "short",
        "surprised",
    ],
)
def test_promise_about_holds(more: dict[str, object], action: str) -> None:
    """A busy environment puts an export off until a hold is earned, not needed, or unavoidable."""
    due = state(**{"oldest": 985.0, "last_flush": 980.0, "allowance": 0.0, **more})  # type: ignore[arg-type]
    assert action == decide(policy.AT_INVOKE, due, SETTINGS).action


@pytest.mark.parametrize(
    ("running_s", "more", "action"),
    [
        (5.0, {"oldest": 994.0}, policy.DEFER),
        (5.0, {"oldest": 990.0}, policy.PARALLEL),
        (0.9, {"oldest": 980.0}, policy.DEFER),
        (5.0, {"deadline": 1000.51}, policy.DEFER),
        (5.0, {"deadline": 1000.49}, policy.PARALLEL),
        (5.0, {"deadline": 1001.0, "latency": 0.6}, policy.PARALLEL),
    ],
    ids=["fresh", "old", "short", "time left", "nearly over", "slow collector"],
)
def test_long_invocation_is_flushed_in_the_middle(
    running_s: float, more: dict[str, object], action: str
) -> None:
    """Data does not wait for the end of an invocation that runs for long or into its time-out."""
    made = state(**{"deadline": 1600.0, **more})  # type: ignore[arg-type]
    made.arrivals = [1000.0 - running_s]
    assert action == decide(policy.RUNNING, made, SETTINGS).action


def test_first_data_of_all_does_not_wait() -> None:
    """Where nobody told when the first invocation was over, its data leaves beside the second."""
    second = state(invocations=2, last_flush=None, allowance=0.0, ends_are_known=False)
    assert policy.PARALLEL == decide(policy.AT_INVOKE, second, SETTINGS).action
    assert policy.DEFER == decide(policy.AT_END, second, SETTINGS).action


def test_export_within_the_promise_needs_no_allowance() -> None:
    """An export that is shorter than the promised hold may always begin when it is due."""
    due = state(oldest=985.0, last_flush=980.0, allowance=0.0, latency=0.05)
    patient = FlushSettings(hold_s=HOLD_S)
    patient.hold_p99_s = 0.076
    assert policy.PARALLEL == decide(policy.AT_INVOKE, due, patient).action
    due.latency = 0.051
    assert policy.DEFER == decide(policy.AT_INVOKE, due, patient).action


class Life:
    """An environment whose exports take as long as its collector, invocation by invocation."""

    def __init__(self, latency: float, handler_s: float) -> None:
        self.latency = latency
        self.handler_s = handler_s
        self.meter = HoldMeter(SETTINGS.hold_p99_s)
        self.now = 1000.0
        self.arrivals: list[float] = []
        self.last_flush: float | None = None
        self.oldest = 0.0
        self.pending = 0
        self.invocations = 0
        self.has_failed = False
        self.held: list[int] = []
        self.held_s = 0.0
        self.oldest_age_s = 0.0

    def invoke(self, gap_s: float, *, fails: bool = False) -> None:
        """One invocation, so long after the last one's next."""
        self.now += gap_s
        self.invocations += 1
        self.arrivals = [*self.arrivals, self.now][-8:]
        busy_until = 0.0
        self.meter.on_begin(self.now)
        for moment in (policy.AT_INVOKE, policy.AT_END):
            if moment == policy.AT_END:
                self.now += self.handler_s
                self.pending, self.oldest = self.pending + 600, self.oldest or self.now
                self.has_failed = self.has_failed or fails
                self.meter.on_end(self.now)
            if self.now >= busy_until and self._decide(moment) != policy.DEFER:
                busy_until = self.now + self.latency
                self.meter.on_hold()
        hold_s = max(0.0, busy_until - self.now)
        if hold_s > SETTINGS.hold_p99_s:
            self.held.append(self.invocations)
        self.held_s += hold_s
        self.now += hold_s
        self.meter.on_next(self.now, is_busy=policy.is_busy(self.invocations, self.arrivals))

    def _decide(self, moment: str) -> str:
        made = State(
            now=self.now,
            deadline=self.now + 3,
            pending_bytes=self.pending,
            oldest=self.oldest,
            invocations=self.invocations,
            arrivals=self.arrivals,
        )
        made.last_flush, made.has_failures = self.last_flush, self.has_failed
        made.latency = None if self.last_flush is None else self.latency
        made.allowance, made.least_duration = self.meter.allowance, self.meter.least_duration
        action = decide(moment, made, SETTINGS).action
        if action != policy.DEFER:
            if self.oldest:
                self.oldest_age_s = max(self.oldest_age_s, self.now - self.oldest)
            self.pending, self.oldest, self.has_failed = 0, 0.0, False
            self.last_flush = self.now + self.latency
        return action


@pytest.mark.parametrize("per_second", [1, 2, 5, 24, 175, 1000])
@pytest.mark.parametrize("failing", [0, 200, 3])
@pytest.mark.parametrize("latency", [0.05, 0.2])
def test_promise_is_kept_all_through_a_life(per_second: int, failing: int, latency: float) -> None:
    """Of the warm invocations up to any moment 99 in 100 are held 2 ms at most; data leaves."""
    life = Life(latency, 0.001)
    for invocation in range(1, 4001):
        life.invoke(1 / per_second, fails=bool(failing) and invocation % failing == 0)
        warm_and_held = [one for one in life.held if one > 1]
        assert 100 * len(warm_and_held) <= invocation - 1
    assert [1] == life.held[:1]
    assert life.meter.quantile_s(0.99) <= SETTINGS.hold_p99_s
    assert life.invocations == life.meter.invocations
    assert life.oldest_age_s <= min(policy.STALE_S, 160 / per_second + 5) + 1


@pytest.mark.parametrize("handler_s", [0.08, 1.0])
def test_long_handlers_hide_every_export(handler_s: float) -> None:
    """Where a handler takes longer than an export, only the first is held, and data is fresh."""
    life = Life(0.05, handler_s)
    for _ in range(500):
        life.invoke(0.05)
    assert [1] == life.held
    assert life.oldest_age_s <= policy.INTERVAL_S + 2


@pytest.mark.parametrize("gap_s", [1.3, 2.0, 5.0, 20.0])
@pytest.mark.parametrize("latency", [0.001, 0.05, 0.2])
def test_rare_invocations_cost_little_time_and_are_fresh(gap_s: float, latency: float) -> None:
    """The environment is held for a hundredth of the time, and nothing waits for much longer."""
    life = Life(latency, 0.001)
    for _ in range(300):
        life.invoke(gap_s)
    assert life.held_s <= 0.0101 * (life.now - 1000.0) + latency
    assert life.oldest_age_s <= 100 * latency + gap_s + 0.1


@pytest.mark.parametrize("size", [10, 50])
def test_burst_is_held_once(size: int) -> None:
    """Of invocations that come in bursts, one at most is held in each."""
    life = Life(0.05, 0.001)
    for _ in range(30):
        before = len(life.held)
        for number in range(size):
            life.invoke(0.04 if number else 60.0)
        assert len(life.held) - before <= 1
    assert life.oldest_age_s <= 61 + size * 0.1
