"""When to export, and how long that may hold the execution environment: a pure decision.

The lifecycle asks at four moments and obeys. A hold after an invocation is billed and keeps the
environment from the next one; what waits may be frozen for long. So the first invocations and rare
ones flush at their end, busy environments now and then beside a handler, and a collector that
failed is asked again only after a pause, for a short time. Nothing here reads a clock.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

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

WARM_UP_INVOCATIONS = 5
RARE_GAP_S = 30.0
INTERVAL_S = 5.0
MAX_AGE_S = 10.0
MAX_PENDING_BYTES = 262_144
RESERVE_S = 0.2
SHUTDOWN_RESERVE_S = 0.15
LEAST_HOLD_S = 0.03
LEAST_PROBE_S = 0.05
_GAPS = 5
_MAX_HALVINGS = 10


class State:
    """What the decision depends on. All times are monotonic seconds.

    `deadline` is None where there is none (background mode). `pending_bytes` and `oldest` (0 when
    nothing is pending) are of the signals whose collector may be asked now; `failures` and
    `latency` (None: never succeeded) are theirs. `ends_are_known` is False when nobody tells when
    this invocation is over.
    """

    __slots__ = (
        "arrivals",
        "deadline",
        "ends_are_known",
        "failures",
        "invocations",
        "last_flush",
        "latency",
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


def decide(moment: str, state: State, hold_s: float) -> Decision:
    """What to do at `moment`. `hold_s` is the longest hold that the user allows."""
    if moment == AT_SHUTDOWN:
        return Decision(SHUTDOWN, max(0.0, _left(state, SHUTDOWN_RESERVE_S)))
    left = _left(state, RESERVE_S)
    if not state.oldest or left <= 0:
        return Decision(DEFER)
    if moment == AT_END:
        if state.failures or flushes_at_end(state.invocations, state.arrivals):
            return Decision(END, min(left, hold_for_end(state.failures, hold_s)))
        return Decision(DEFER)
    if moment == RUNNING:
        due = _is_due(state) if state.deadline is None else state.pending_bytes >= MAX_PENDING_BYTES
    elif state.failures:
        due = True
    elif flushes_at_end(state.invocations, state.arrivals):
        # It will leave with this invocation's own, unless nobody says when that one is over.
        due = not state.ends_are_known
    else:
        due = _is_due(state)
    return Decision(PARALLEL, min(left, _hold_for_rest(state, hold_s))) if due else Decision(DEFER)


def is_quiet(now: float, last_flush: float | None, pending_bytes: int) -> bool:
    """Whether nothing is due beside a handler, seen from two numbers that are always at hand.

    For an environment where nothing fails and the end of an invocation is known: then `decide`
    could only say DEFER at AT_INVOKE and RUNNING. It spares busy invocations the whole question.
    """
    return (
        last_flush is not None
        and now - last_flush < INTERVAL_S
        and pending_bytes < MAX_PENDING_BYTES
    )


def flushes_at_end(invocations: int, arrivals: Sequence[float]) -> bool:
    """Whether invocations are so few or so rare that each is flushed at its end.

    `invocations` counts the current one; `arrivals` are the times of the last few, in order.
    """
    if invocations <= WARM_UP_INVOCATIONS:
        return True
    recent = arrivals[-_GAPS - 1 :]
    if len(recent) < 2:
        return True
    return (recent[-1] - recent[0]) / (len(recent) - 1) >= RARE_GAP_S


def hold_for_end(failures: int, hold_s: float) -> float:
    """The hold for an export; shorter with each failure, so that a dead collector costs little."""
    return max(min(LEAST_PROBE_S, hold_s), hold_s / (1 << min(failures, _MAX_HALVINGS)))


def _hold_for_rest(state: State, hold_s: float) -> float:
    """The hold for what is left of an export that began beside the handler."""
    if state.failures or state.latency is None or not state.ends_are_known:
        # Where the end is not known the handler may well run on: do not cut it short.
        return hold_for_end(state.failures, hold_s)
    return min(hold_s, max(LEAST_HOLD_S, 2 * state.latency))


def _is_due(state: State) -> bool:
    return (
        state.pending_bytes >= MAX_PENDING_BYTES
        or state.now - state.oldest >= MAX_AGE_S
        or state.now - (state.oldest if state.last_flush is None else state.last_flush)
        >= INTERVAL_S
    )


def _left(state: State, reserve_s: float) -> float:
    """Seconds until the deadline's reserve; a day where there is no deadline."""
    return 86_400.0 if state.deadline is None else state.deadline - reserve_s - state.now
