"""Which invocations leave, where not all are to: what the user wants, and the ratio by trace id.

Read once, after register, only if a ratio is set. The lowest 56 bits of a trace id are random (W3C
Trace Context level 2), so that all functions with the same ratio keep the same traces; they are
compared as OpenTelemetry's consistent probability sampling does it.
"""

from __future__ import annotations

from lambdascope.wire import names
from lambdascope_extension.flush_settings import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RATIO = "ratio"
SLOW = "slow"
UNFINISHED = "unfinished"
DEFAULT_SLOW = "p99"
_BITS = 56
_WINDOW = 200
# Fewer say nothing about what is slow.
_LEAST_KNOWN = 20


class Slow:
    """Tells slow invocations: over `limit_ms`, or over the `quantile` of the last ones."""

    __slots__ = ("_limit_ms", "_quantile", "_recent", "_sorted")

    def __init__(self, limit_ms: float | None, quantile: float | None) -> None:
        self._limit_ms = limit_ms
        self._quantile = quantile
        self._recent: list[float] = []
        self._sorted: list[float] = []

    def is_slow(self, duration_ms: float) -> bool:
        """Whether an invocation is; it counts for those after it."""
        if self._limit_ms is not None:
            return duration_ms > self._limit_ms
        if self._quantile is None:
            return False
        known = self._sorted
        is_slow = (
            len(known) >= _LEAST_KNOWN and duration_ms > known[int(len(known) * self._quantile)]
        )
        self._recent.append(duration_ms)
        known.append(duration_ms)
        if len(known) > _WINDOW:
            known.remove(self._recent.pop(0))
        known.sort()  # nearly sorted, which it is fast at
        return is_slow


class Sampling:
    """`ratio` is the share of ordinary invocations that is kept, 0 to below 1."""

    __slots__ = ("_least", "ratio", "slow")

    def __init__(self, ratio: float, slow: Slow) -> None:
        self.ratio = ratio
        self.slow = slow
        self._least = int((1 - ratio) * (1 << _BITS))

    def is_kept(self, trace_id: bytes) -> bool:
        """Whether the ratio keeps a trace."""
        return int.from_bytes(trace_id[-7:], "big") >= self._least


def read_sampling(environ: Mapping[str, str], say: Callable[[str], None]) -> Sampling | None:
    """What the variables want; None to keep everything."""
    text = environ.get(names.ENV_SAMPLE, "").strip()
    ratio = number(text)
    if ratio is None or not 0 <= ratio <= 1:
        say(f"{names.ENV_SAMPLE} {text[:40]!r} is no ratio from 0 to 1: everything is kept")
        return None
    if ratio == 1:
        return None
    text = environ.get(names.ENV_SAMPLE_SLOW, "").strip().lower() or DEFAULT_SLOW
    if text in ("off", "none"):
        return Sampling(ratio, Slow(None, None))
    limit = number(text.removeprefix("p"))
    if text.startswith("p") and limit is not None and 50 <= limit < 100:
        return Sampling(ratio, Slow(None, limit / 100))
    if limit is None or limit < 0 or text.startswith("p"):
        say(
            f"{names.ENV_SAMPLE_SLOW} {text[:40]!r} is neither milliseconds, p95, p99 nor off: "
            f"using {DEFAULT_SLOW}"
        )
        return Sampling(ratio, Slow(None, 0.99))
    return Sampling(ratio, Slow(limit, None))
