"""One monotonic clock, anchored to the wall clock.

Every time of a span is monotonic, so that no step of the wall clock (NTP, a restored snapshot) can
make a child begin before its parent. An invocation, with the init before it, is anchored to the
wall clock as it was on receipt of the event, see `InvokeTimes.offset_ns`. Imports `time` alone.
"""

from __future__ import annotations

from time import monotonic_ns, time_ns


class Clock:
    """Unix time in nanoseconds that only moves forward.

    `offset_ns` added to a monotonic reading (CLOCK_MONOTONIC) gives Unix time as it was anchored.
    """

    __slots__ = ("offset_ns",)

    def __init__(self) -> None:
        self.offset_ns = time_ns() - monotonic_ns()

    def now_ns(self) -> int:
        """The current Unix time in nanoseconds."""
        return monotonic_ns() + self.offset_ns
