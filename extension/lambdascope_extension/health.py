"""How the collector of one signal has answered lately: a circuit breaker, and how long it takes.

The flusher tells it about every export and passes what it knows to the flush policy. Closed: ask
whenever the policy wants to. After more failures in a row than the grace allows it is open: nobody
asks until a pause is over. Then it is half open: one short request finds out. Nothing sleeps. All
times are monotonic seconds. Source of the waiting: OTLP specification 1.11, "OTLP/HTTP Throttling".
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CLOSED = "closed"
OPEN = "open"
HALF_OPEN = "half_open"

# One failure happens; two in a row are an outage.
GRACE_FAILURES = 1
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
LONGEST_RETRY_AFTER_S = 600.0
_MAX_DOUBLINGS = 10
# Weight of the newest export in the mean.
_NEWEST = 0.3
_RANDOM_BYTES = 4


class Health:
    """`failures` in a row, `retry_at` (0: at once), `latency` of successes, None before the first.
    No pause that is drawn is longer than `longest_pause_s`.

    `random` gives a number from 0 to 1. It is the kernel's by default: environments of one function
    fail together and must not come back together, also those restored from one snapshot.
    """

    __slots__ = ("_random", "failures", "latency", "longest_pause_s", "retry_at")

    def __init__(self, random: Callable[[], float] | None = None) -> None:
        self.failures = 0
        self.retry_at = 0.0
        self.latency: float | None = None
        self.longest_pause_s = LONGEST_PAUSE_S
        self._random = random or _random

    def state(self, now: float) -> str:
        """One of the three constants above."""
        if not self.outage:
            return CLOSED
        return HALF_OPEN if self.is_ready(now) else OPEN

    @property
    def outage(self) -> int:
        """The failures beyond the grace: 0 while it may be a coincidence."""
        return max(0, self.failures - GRACE_FAILURES)

    def is_ready(self, now: float) -> bool:
        """Whether the collector may be asked now."""
        return now >= self.retry_at

    def succeeded(self, elapsed: float) -> None:
        """It answered 2xx after `elapsed` seconds."""
        self.answered()
        known = elapsed if self.latency is None else self.latency
        self.latency = known + _NEWEST * (elapsed - known)

    def answered(self) -> None:
        """It refused the data but is there, and need not be waited for."""
        self.failures = 0
        self.retry_at = 0.0

    def failed(self, now: float, retry_after: float = 0.0) -> None:
        """It did not take the data and may later.

        The pause is drawn between nothing and a limit that doubles. A time that the collector asked
        for is waited for first: it tells all environments the same one.
        """
        self.failures += 1
        doubled = 1 << min(self.failures - 1, _MAX_DOUBLINGS)
        limit = min(self.longest_pause_s, FIRST_PAUSE_S * doubled)
        self.retry_at = now + min(retry_after, LONGEST_RETRY_AFTER_S) + limit * self._random()

    def was_cut(self, now: float, elapsed: float) -> None:
        """It had `elapsed` seconds and was not finished: expect it to take twice as long."""
        self.latency = max(self.latency or 0.0, 2 * elapsed)
        self.failed(now)


def _random() -> float:
    return int.from_bytes(posix.urandom(_RANDOM_BYTES), "big") / (1 << 8 * _RANDOM_BYTES)
