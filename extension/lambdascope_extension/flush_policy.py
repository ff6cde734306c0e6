"""When to export, and how long that may hold the execution environment: a pure decision.

The lifecycle asks at four moments and obeys. A hold after an invocation is billed and keeps the
environment from the next one; what waits may be frozen for long. So in the adaptive mode at most
one invocation in a hundred finds the environment held. Where invocations are close, that many are
held at most: exports begin beside a handler, and where handlers are too short for that, as a hold
is earned. Where they are not, they are held at their end for a hundredth of the time, and so is the
first, which is cold anyway. The other modes do what the user says. Nothing here reads a clock.
"""

from __future__ import annotations

from lambdascope_extension import flush_settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdascope_extension.flush_settings import FlushSettings

# Moments.
AT_INVOKE = "invoke"  # an invocation begins
RUNNING = "running"  # it goes on, or, in the background mode, time passes
AT_END = "end"  # it is over, and next is not asked for yet
AT_SHUTDOWN = "shutdown"
# Actions.
DEFER = "defer"  # nothing now
END = "end"  # export now and hold next for it
PARALLEL = "parallel"  # export beside the handler; hold next only if it outlasts the handler
SHUTDOWN = "shutdown"  # export everything now

INTERVAL_S = flush_settings.DEFAULT_INTERVAL_S
MAX_AGE_S = 10.0
MAX_PENDING_BYTES = 262_144
# The promise about holds is kept as long as invocations come this close to each other, until data
# is so old, which takes a hundred of them, or so much that a hold is the lesser evil.
BUSY_GAP_S = 1.2
STALE_S = 120.0
# Where they come less often, the share of the time for which the environment is held.
HELD_SHARE = 0.01
MUCH_PENDING_BYTES = 8 * MAX_PENDING_BYTES
# Of an invocation that has run for a while and may not come to its own end.
LONG_RUN_S = 1.0
PRE_TIMEOUT_S = 0.3
RESERVE_S = 0.2
SHUTDOWN_RESERVE_S = 0.15
LEAST_HOLD_S = 0.03
LEAST_PROBE_S = 0.05
# What it takes a small function to put what cannot be exported into a file or into lines.
_KEEPING_S_PER_BYTE = 0.25e-6
_LONGEST_KEEPING_S = 0.4
_GAPS = 5
_MAX_HALVINGS = 10
_LONG_S = 86_400.0


class State:
    """What the decision depends on. All times are monotonic seconds.

    `deadline` is None where there is none (background mode). `pending_bytes` and `oldest` (0 when
    nothing is pending) are of the signals whose collector may be asked now; `failures` and
    `latency`, of one round of exports (None: never succeeded), are theirs. `ends_are_known` is
    False when nobody tells when this invocation is over, `has_failures` True when something of a
    failed invocation waits. `allowance` and `least_duration` are the HoldMeter's.
    """

    __slots__ = (
        "allowance",
        "arrivals",
        "deadline",
        "ends_are_known",
        "failures",
        "has_failures",
        "invocations",
        "last_flush",
        "latency",
        "least_duration",
        "now",
        "oldest",
        "pending_bytes",
    )

    def __init__(
        self,
        *,
        now: float,
        deadline: float | None,
        pending_bytes: int,
        oldest: float,
        invocations: int,
        arrivals: Sequence[float],
    ) -> None:
        self.now = now
        self.deadline = deadline
        self.pending_bytes = pending_bytes
        self.oldest = oldest
        self.invocations = invocations
        self.arrivals = arrivals
        self.last_flush: float | None = None
        self.failures = 0
        self.latency: float | None = None
        self.ends_are_known = True
        self.has_failures = False
        self.allowance = 1.0
        self.least_duration = 0.0


class Decision:
    """What to do, and for how many seconds next may be held for it."""

    __slots__ = ("action", "budget_s")

    def __init__(self, action: str, budget_s: float = 0.0) -> None:
        self.action = action
        self.budget_s = budget_s

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        return (self.action, self.budget_s) == (other.action, other.budget_s)

    __hash__ = None  # type: ignore[assignment]  # a value for one moment

    def __repr__(self) -> str:
        return f"Decision({self.action!r}, {self.budget_s:.3f})"


def decide(moment: str, state: State, settings: FlushSettings) -> Decision:
    """What to do at `moment`."""
    if moment == AT_SHUTDOWN:
        keeping_s = min(_LONGEST_KEEPING_S, state.pending_bytes * _KEEPING_S_PER_BYTE)
        return Decision(SHUTDOWN, max(0.0, _left(state, SHUTDOWN_RESERVE_S + keeping_s)))
    left = _left(state, RESERVE_S)
    if not state.oldest or left <= 0:
        return Decision(DEFER)
    if moment == AT_END:
        if _holds_at_end(state, settings):
            return Decision(END, min(left, hold_for_end(state.failures, settings.hold_s)))
        return Decision(DEFER)
    due = _is_due_running(state, settings) if moment == RUNNING else _is_due(state, settings)
    return (
        Decision(PARALLEL, min(left, _hold_for_rest(state, settings))) if due else Decision(DEFER)
    )


def is_quiet(
    now: float, last_flush: float | None, pending_bytes: int, interval_s: float = INTERVAL_S
) -> bool:
    """Whether nothing is due beside a handler, seen from two numbers that are always at hand.

    For an environment where nothing fails and the end of an invocation is known: then `decide`
    could only say DEFER at AT_INVOKE and RUNNING. It spares busy invocations the whole question.
    """
    return (
        last_flush is not None
        and now - last_flush < min(interval_s, MAX_AGE_S)
        and pending_bytes < MAX_PENDING_BYTES
    )


def flushes_at_end(mode: str, invocations: int, arrivals: Sequence[float]) -> bool:
    """Whether an invocation may be held at its end for what it has itself, in any case.

    `invocations` counts the current one; `arrivals` are the times of the last few, in order.
    """
    if mode != flush_settings.ADAPTIVE:
        return mode == flush_settings.END
    return not is_busy(invocations, arrivals)


def is_busy(invocations: int, arrivals: Sequence[float]) -> bool:
    """Whether the promise about holds is about this invocation."""
    return invocations > 1 and mean_gap(arrivals) < BUSY_GAP_S


def mean_gap(arrivals: Sequence[float]) -> float:
    """Seconds from one invocation to the next, of the last few; a day when there was only one."""
    recent = arrivals[-_GAPS - 1 :]
    return (recent[-1] - recent[0]) / (len(recent) - 1) if len(recent) > 1 else _LONG_S


def hold_for_end(failures: int, hold_s: float) -> float:
    """The hold for an export; shorter with each failure, so that a dead collector costs little."""
    return max(min(LEAST_PROBE_S, hold_s), hold_s / (1 << min(failures, _MAX_HALVINGS)))


def wake_at(oldest: float, deadline: float, latency: float | None) -> float:
    """When something in a running invocation becomes due by time alone."""
    return min(oldest + MAX_AGE_S, deadline - RESERVE_S - _pre_timeout(latency))


def _holds_at_end(state: State, settings: FlushSettings) -> bool:
    if settings.mode == flush_settings.PERIODIC:
        return _interval_is_over(state, settings.interval_s)
    if settings.mode != flush_settings.ADAPTIVE:
        return settings.mode == flush_settings.END
    if is_busy(state.invocations, state.arrivals):
        return bool(state.failures or state.has_failures) and _may_hold(state, settings)
    return bool(state.failures) or state.has_failures or _is_share_left(state)


def _is_due(state: State, settings: FlushSettings) -> bool:
    """Whether to begin an export with an invocation."""
    if settings.mode == flush_settings.CONTINUOUS:
        return _interval_is_over(state, settings.interval_s)
    if settings.mode == flush_settings.PERIODIC:
        return not state.ends_are_known and _interval_is_over(state, settings.interval_s)
    if flushes_at_end(settings.mode, state.invocations, state.arrivals):
        # It will leave with this invocation's own, unless nobody says when that one is over.
        if settings.mode == flush_settings.ADAPTIVE and not _is_share_left(state):
            return False
        return not state.ends_are_known or bool(state.failures)
    if state.last_flush is None:
        return True  # nothing has left yet, because nobody told when the first one was over
    is_due = bool(state.failures) or _is_due_by_time(state, settings)
    return is_due and _may_hold(state, settings)


def _is_due_running(state: State, settings: FlushSettings) -> bool:
    """Whether to begin an export in the middle of an invocation, or in the background mode."""
    if state.deadline is None:
        return _is_due_by_time(state, settings)
    if settings.mode == flush_settings.CONTINUOUS and _interval_is_over(state, settings.interval_s):
        return True
    running_s = state.now - state.arrivals[-1] if state.arrivals else 0.0
    if running_s >= LONG_RUN_S:
        due_at = wake_at(state.oldest, state.deadline, state.latency)
        return state.pending_bytes >= MAX_PENDING_BYTES or state.now >= due_at
    return state.pending_bytes >= MAX_PENDING_BYTES and _may_hold(state, settings)


def _may_hold(state: State, settings: FlushSettings) -> bool:
    """Whether the promise allows an export that the handler may not outlast."""
    if not is_busy(state.invocations, state.arrivals) or state.allowance >= 1:
        return True
    if state.pending_bytes >= MUCH_PENDING_BYTES or state.now - state.oldest >= STALE_S:
        return True
    if state.latency is None or state.allowance <= -1:
        return False
    return max(state.least_duration, settings.hold_p99_s) >= 1.5 * state.latency


def _is_share_left(state: State) -> bool:
    """Whether the environment has not been held for its share of the time by the last export."""
    if state.last_flush is None or state.latency is None:
        return True
    return state.now - state.last_flush >= state.latency / HELD_SHARE


def _hold_for_rest(state: State, settings: FlushSettings) -> float:
    """The hold for what is left of an export that began beside the handler."""
    if settings.mode == flush_settings.CONTINUOUS:
        # Enough for a collector that is known to be slow, so that data leaves at all.
        return min(settings.hold_s, max(LEAST_HOLD_S, 2 * (state.latency or 0.0)))
    if state.failures or state.latency is None or not state.ends_are_known:
        # Where the end is not known the handler may well run on: do not cut it short.
        return hold_for_end(state.failures, settings.hold_s)
    return min(settings.hold_s, max(LEAST_HOLD_S, 2 * state.latency))


def _is_due_by_time(state: State, settings: FlushSettings) -> bool:
    return (
        state.has_failures
        or state.pending_bytes >= MAX_PENDING_BYTES
        or state.now - state.oldest >= MAX_AGE_S
        or _interval_is_over(state, settings.interval_s)
    )


def _interval_is_over(state: State, interval_s: float) -> bool:
    since = state.oldest if state.last_flush is None else state.last_flush
    return state.now - since >= interval_s


def _pre_timeout(latency: float | None) -> float:
    return max(PRE_TIMEOUT_S, 1.5 * (latency or 0.0))


def _left(state: State, reserve_s: float) -> float:
    """Seconds until the deadline's reserve; a day where there is no deadline."""
    return _LONG_S if state.deadline is None else state.deadline - reserve_s - state.now
