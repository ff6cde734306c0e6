"""Metrics, their points and exemplars as plain records with slots.

Whoever aggregates makes them, `metric_encode` reads them. They hold what the OpenTelemetry
protocol's metrics.proto holds; times are whole nanoseconds since the epoch. They must not know the
clock, what is measured, or how it is sent. Nothing is checked here.
"""

from __future__ import annotations

from lambdascope.otlp.model import Record
from lambdascope.otlp.names import TEMPORALITY_DELTA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdascope.otlp.model import Attributes

# The kinds of a metric: the field numbers of metrics.proto's Metric.data.
GAUGE = 5
SUM = 7
HISTOGRAM = 9
EXPONENTIAL_HISTOGRAM = 10


class Exemplar(Record):
    """One measurement that shows where a point comes from (metrics.proto: Exemplar).

    The ids are those of the span in which it was made, 16 and 8 bytes, or empty. `attributes` are
    those that the point does not have.
    """

    __slots__ = ("attributes", "span_id", "time_ns", "trace_id", "value")

    def __init__(
        self,
        *,
        value: float,
        time_ns: int,
        trace_id: bytes = b"",
        span_id: bytes = b"",
        attributes: Attributes | None = None,
    ) -> None:
        self.value = value
        self.time_ns = time_ns
        self.trace_id = trace_id
        self.span_id = span_id
        self.attributes: Attributes = {} if attributes is None else attributes


class _Point(Record):
    """What every point has: the stretch of time that it stands for, and its attributes."""

    __slots__ = ("attributes", "exemplars", "flags", "start_ns", "time_ns")

    def _set(
        self,
        times_ns: tuple[int, int],
        attributes: Attributes | None,
        exemplars: Sequence[Exemplar],
        flags: int,
    ) -> None:
        self.start_ns, self.time_ns = times_ns
        self.attributes: Attributes = {} if attributes is None else attributes
        self.exemplars = exemplars
        self.flags = flags

    def _values(self) -> list[object]:
        common = [getattr(self, name) for name in _Point.__slots__]
        return [*super()._values(), *common]

    def __repr__(self) -> str:
        names = (*self.__slots__, *_Point.__slots__)
        pairs = zip(names, self._values(), strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in pairs)})"


class NumberPoint(_Point):
    """A point of a gauge or a sum (NumberDataPoint). An int stays one, as the protocol has both."""

    __slots__ = ("value",)

    def __init__(
        self,
        *,
        value: float,
        times_ns: tuple[int, int],
        attributes: Attributes | None = None,
        exemplars: Sequence[Exemplar] = (),
        flags: int = 0,
    ) -> None:
        self._set(times_ns, attributes, exemplars, flags)
        self.value = value


class HistogramPoint(_Point):
    """Counts in buckets between `bounds`, of which there is one less (HistogramDataPoint).

    A value that equals a bound belongs to the bucket below it. `total`, `minimum` and `maximum` may
    be None, which leaves them out.
    """

    __slots__ = ("bounds", "bucket_counts", "count", "maximum", "minimum", "total")

    def __init__(  # noqa: PLR0913 - one keyword for each field of the protocol's message
        self,
        *,
        count: int,
        total: float | None,
        bucket_counts: Sequence[int],
        bounds: Sequence[float],
        times_ns: tuple[int, int],
        minimum: float | None = None,
        maximum: float | None = None,
        attributes: Attributes | None = None,
        exemplars: Sequence[Exemplar] = (),
        flags: int = 0,
    ) -> None:
        self._set(times_ns, attributes, exemplars, flags)
        self.count = count
        self.total = total
        self.bucket_counts = bucket_counts
        self.bounds = bounds
        self.minimum = minimum
        self.maximum = maximum


class Buckets(Record):
    """Counts of an exponential histogram on one side of zero, from the bucket `offset` on."""

    __slots__ = ("counts", "offset")

    def __init__(self, *, offset: int, counts: Sequence[int]) -> None:
        self.offset = offset
        self.counts = counts


class ExponentialPoint(_Point):
    """Counts in buckets whose bounds grow by 2 ** (2 ** -scale) (ExponentialHistogramDataPoint)."""

    __slots__ = (
        "count",
        "maximum",
        "minimum",
        "negative",
        "positive",
        "scale",
        "total",
        "zero_count",
        "zero_threshold",
    )

    def __init__(  # noqa: PLR0913 - one keyword for each field of the protocol's message
        self,
        *,
        count: int,
        total: float | None,
        scale: int,
        times_ns: tuple[int, int],
        zero_count: int = 0,
        positive: Buckets | None = None,
        negative: Buckets | None = None,
        minimum: float | None = None,
        maximum: float | None = None,
        zero_threshold: float = 0.0,
        attributes: Attributes | None = None,
        exemplars: Sequence[Exemplar] = (),
        flags: int = 0,
    ) -> None:
        self._set(times_ns, attributes, exemplars, flags)
        self.count = count
        self.total = total
        self.scale = scale
        self.zero_count = zero_count
        self.positive = positive
        self.negative = negative
        self.minimum = minimum
        self.maximum = maximum
        self.zero_threshold = zero_threshold


class Metric(Record):
    """One named metric (metrics.proto: Metric).

    `kind` is GAUGE or SUM with NumberPoint, HISTOGRAM with HistogramPoint, EXPONENTIAL_HISTOGRAM
    with ExponentialPoint. `temporality` (see names.py) counts for all but a gauge, `is_monotonic`
    for a sum. Units are UCUM's: "s", "By", "{invocation}".
    """

    __slots__ = (
        "description",
        "is_monotonic",
        "kind",
        "name",
        "points",
        "temporality",
        "unit",
    )

    def __init__(  # noqa: PLR0913 - one keyword for each field of the protocol's message
        self,
        *,
        name: str,
        kind: int,
        points: Sequence[NumberPoint] | Sequence[HistogramPoint] | Sequence[ExponentialPoint],
        unit: str = "",
        description: str = "",
        temporality: int = TEMPORALITY_DELTA,
        is_monotonic: bool = True,
    ) -> None:
        self.name = name
        self.kind = kind
        self.points = points
        self.unit = unit
        self.description = description
        self.temporality = temporality
        self.is_monotonic = is_monotonic
