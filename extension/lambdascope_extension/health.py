"""How the collector of one signal has answered lately: when to ask again, and how long it takes.

The lifecycle tells it about every export and passes what it knows to the flush policy. After a
failure the next attempt waits for a pause that doubles, or for the time that the collector asked
for; nothing sleeps. All times are monotonic seconds.
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0
_JITTER = 0.2
# Weight of the newest export in the mean.
_NEWEST = 0.3


class Health:
    """`failures` in a row, `retry_at` (0: at once), `latency` of successes, None before the first.

    `random` gives a number from 0 to 1: environments of one function must not come back at once.
    """

    __slots__ = ("_random", "failures", "latency", "retry_at")

    def __init__(self, random: Callable[[], float] | None = None) -> None:
        self.failures = 0
        self.retry_at = 0.0
        self.latency: float | None = None
        self._random = random or _random

    def is_ready(self, now: float) -> bool:
        """Whether the collector may be asked now."""
        return now >= self.retry_at

    def succeeded(self, elapsed: float) -> None:
        """It answered 2xx after `elapsed` seconds."""
        self.failures = 0
        self.retry_at = 0.0
        known = elapsed if self.latency is None else self.latency
        self.latency = known + _NEWEST * (elapsed - known)

    def answered(self) -> None:
        """It refused the data but is there, and need not be waited for."""
        self.failures = 0
        self.retry_at = 0.0

    def failed(self, now: float, retry_after: float = 0.0) -> None:
        """It did not take the data and may later."""
        self.failures += 1
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self.failures - 1, 10))
        pause *= 1 + _JITTER * (2 * self._random() - 1)
        self.retry_at = now + max(pause, min(retry_after, LONGEST_RETRY_AFTER_S))

    def was_cut(self, now: float, elapsed: float) -> None:
        """It had `elapsed` seconds and was not finished: expect it to take twice as long."""
        self.latency = max(self.latency or 0.0, 2 * elapsed)
        self.failed(now)


def _random() -> float:
    return posix.urandom(1)[0] / 255
