"""Measures how long next was held after each invocation, and keeps the promise about it.

The lifecycle tells it when an invocation begins, when it is over, when it holds next for an export
and when next is asked for. The flush policy learns from it how many holds the promise still allows
and how short handlers are. The measure is a histogram, so that its size does not grow. All times
are monotonic seconds.
"""

from __future__ import annotations

# The upper borders of the histogram's buckets; the last one has none.
BOUNDS_S = (
    0.0001,
    0.0002,
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
)
# One busy invocation in 150 may be held for longer than promised: under 1 in 100 even with those
# that a busy machine delays. The first is earned like any other.
EARNED = 1 / 150
_MOST_EARNED = 1.0
# A hold that was not foreseen is paid off later.
_LEAST_EARNED = -3.0
_DURATIONS = 8


class HoldMeter:
    """`counts` has one number for each bucket of BOUNDS_S and one beyond; `total_s` and `longest_s`
    are of all holds, which are `invocations`. `allowance`: from 1 on, one hold is allowed."""

    __slots__ = (
        "_begun_at",
        "_durations",
        "_ended_at",
        "_is_for_export",
        "_promise_s",
        "allowance",
        "counts",
        "invocations",
        "longest_s",
        "total_s",
    )

    def __init__(self, promise_s: float) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.invocations = 0
        self.total_s = 0.0
        self.longest_s = 0.0
        self.allowance = 0.0
        self._promise_s = promise_s
        self._begun_at = 0.0
        self._ended_at = 0.0
        self._is_for_export = False
        self._durations: list[float] = []

    @property
    def least_duration(self) -> float:
        """The shortest of the last invocations but the first, which is cold: what can be done
        beside it costs nothing."""
        return min(self._durations, default=0.0)

    def on_begin(self, now: float) -> None:
        """An invocation begins."""
        self._begun_at = now
        self._ended_at = 0.0
        self._is_for_export = False

    def on_end(self, now: float) -> None:
        """It is known to be over; only the first call for an invocation counts."""
        if not self._ended_at:
            self._ended_at = now
            if self.invocations:
                self._durations = [*self._durations[1 - _DURATIONS :], now - self._begun_at]

    def on_hold(self) -> None:
        """Next is held for an export; what else delays it cannot be helped by exporting less."""
        self._is_for_export = True

    def on_next(self, now: float, *, is_busy: bool) -> None:
        """Next is asked for. `is_busy`: the promise is about this invocation."""
        if not self._ended_at:
            return
        held_s = now - self._ended_at
        self._ended_at = 0.0
        self.counts[sum(held_s > bound for bound in BOUNDS_S)] += 1
        self.invocations += 1
        self.total_s += held_s
        self.longest_s = max(self.longest_s, held_s)
        if is_busy:
            spent = 1.0 if self._is_for_export and held_s > self._promise_s else 0.0
            self.allowance = min(_MOST_EARNED, max(_LEAST_EARNED, self.allowance + EARNED - spent))

    def quantile_s(self, share: float) -> float:
        """A bound that this share of all holds did not exceed; 0 before the first."""
        wanted = share * self.invocations
        seen = 0
        for count, bound in zip(self.counts, BOUNDS_S, strict=False):
            seen += count
            if seen >= wanted:
                return min(bound, self.longest_s)
        return self.longest_s
