"""A histogram whose buckets grow with its values: no bounds to choose, and few empty buckets.

Loaded only where the user asks for it. It begins as fine as possible and halves its resolution
whenever the buckets between the least and the greatest value become too many. Source: OpenTelemetry
specification, "Base2 Exponential Bucket Histogram Aggregation".
"""

from __future__ import annotations

from math import floor, frexp, ldexp, log

from lambdascope.otlp.metric_model import Buckets, Exemplar, ExponentialPoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.otlp.model import Attributes

MAX_SCALE = 20
MAX_BUCKETS = 160
_LOG_2 = log(2)
# What is nearer to zero has fewer digits and belongs to its bucket.
_LEAST_NORMAL = ldexp(1.0, -1022)


class Exponential:
    """A histogram of one series, with its greatest value as the exemplar."""

    __slots__ = ("_counts", "_scale", "_zeros", "count", "exemplar", "maximum", "minimum", "total")

    def __init__(self) -> None:
        self._scale = MAX_SCALE
        self._zeros = 0
        self._counts: dict[int, int] = {}
        self.count = 0
        self.total = self.minimum = self.maximum = 0.0
        self.exemplar: Exemplar | None = None

    def place(self, value: float) -> None:
        """Count a value, which is not negative, in its bucket."""
        if value <= 0:
            self._zeros += 1
            return
        index = index_of(value, self._scale)
        counts = self._counts
        low, high = min(counts, default=index), max(counts, default=index)
        low, high = min(low, index), max(high, index)
        shift = 0
        while (high >> shift) - (low >> shift) >= MAX_BUCKETS:
            shift += 1
        if shift:
            self._scale -= shift
            self._counts = {}
            for old, count in counts.items():
                self._counts[old >> shift] = self._counts.get(old >> shift, 0) + count
            index >>= shift
        self._counts[index] = self._counts.get(index, 0) + 1

    def point(self, times_ns: tuple[int, int], attributes: Attributes) -> ExponentialPoint:
        """What has been recorded."""
        positive = None
        if self._counts:
            low, high = min(self._counts), max(self._counts)
            counts = [self._counts.get(index, 0) for index in range(low, high + 1)]
            positive = Buckets(offset=low, counts=counts)
        return ExponentialPoint(
            count=self.count,
            total=self.total,
            scale=self._scale,
            zero_count=self._zeros,
            positive=positive,
            times_ns=times_ns,
            minimum=self.minimum,
            maximum=self.maximum,
            attributes=attributes,
            exemplars=() if self.exemplar is None else (self.exemplar,),
        )


def index_of(value: float, scale: int) -> int:
    """The bucket of a positive value. Its upper bound 2 ** ((index + 1) / 2 ** scale) is in it."""
    mantissa, exponent = frexp(max(value, _LEAST_NORMAL))
    is_power = mantissa == 0.5
    if scale <= 0:
        return (exponent - 1 - is_power) >> -scale
    if is_power:
        return ((exponent - 1) << scale) - 1
    return floor(log(value) * ldexp(1 / _LOG_2, scale))
