"""Counters and histograms between two exports, and the metrics that are made of them.

Whoever knows something adds it here; the collector empties it at its moment. Delta by default: the
environments of a function are many and short-lived, and each cumulative series of each would have
to be kept apart for ever. Knows no records and no clock. The number of series is bounded.
"""

from __future__ import annotations

from _bisect import bisect_left

from lambdascope.otlp import names as otel
from lambdascope.otlp.metric_model import (
    EXPONENTIAL_HISTOGRAM,
    GAUGE,
    HISTOGRAM,
    SUM,
    Exemplar,
    ExponentialPoint,
    HistogramPoint,
    Metric,
    NumberPoint,
)
from lambdascope.otlp.names import TEMPORALITY_CUMULATIVE, TEMPORALITY_DELTA
from lambdascope_extension.hold import BOUNDS_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from lambdascope_extension.records.exponential import Exponential

    _Histogram: TypeAlias = "_Bars | Exponential"
    _Point: TypeAlias = NumberPoint | HistogramPoint | ExponentialPoint
    Attributes: TypeAlias = tuple[tuple[str, str | bool], ...]

MAX_SERIES = 200
_OVERFLOW: Attributes = ((otel.METRIC_OVERFLOW, True),)

# Name: kind, unit, description, and the bounds of a histogram.
_LONG = otel.LONG_DURATION_BOUNDS
INSTRUMENTS: dict[str, tuple[int, str, str, tuple[float, ...]]] = {
    otel.FAAS_INVOKE_DURATION: (HISTOGRAM, "s", "Duration of the function's own work.", _LONG),
    otel.FAAS_INIT_DURATION: (HISTOGRAM, "s", "Duration of inits and restores.", _LONG),
    otel.FAAS_MEM_USAGE: (HISTOGRAM, "By", "Most memory used until now.", otel.MEMORY_BOUNDS),
    otel.FAAS_COLDSTARTS: (SUM, otel.UNIT_COLDSTARTS, "Cold starts.", ()),
    otel.FAAS_ERRORS: (SUM, otel.UNIT_ERRORS, "Invocations that failed.", ()),
    otel.FAAS_INVOCATIONS: (SUM, otel.UNIT_INVOCATIONS, "Invocations that succeeded.", ()),
    otel.FAAS_TIMEOUTS: (SUM, otel.UNIT_TIMEOUTS, "Invocations that timed out.", ()),
    otel.LAMBDASCOPE_EXTENSION_ACCEPTED: (SUM, otel.UNIT_ITEMS, "Taken from senders.", ()),
    otel.LAMBDASCOPE_EXTENSION_EXPORTED: (SUM, otel.UNIT_ITEMS, "Taken by the collector.", ()),
    otel.LAMBDASCOPE_EXTENSION_DROPPED: (SUM, otel.UNIT_ITEMS, "Lost, by reason.", ()),
    otel.LAMBDASCOPE_EXTENSION_HELD: (GAUGE, otel.UNIT_ITEMS, "Waiting to be exported.", ()),
    otel.LAMBDASCOPE_EXTENSION_HELD_SIZE: (GAUGE, "By", "Size of what waits.", ()),
    otel.LAMBDASCOPE_EXTENSION_REFUSED: (SUM, otel.UNIT_REQUESTS, "Not taken, by reason.", ()),
    otel.LAMBDASCOPE_EXTENSION_CPU_TIME: (SUM, "s", "CPU time of the extension.", ()),
    otel.LAMBDASCOPE_EXTENSION_MEMORY_USAGE: (GAUGE, "By", "Resident memory of it.", ()),
    otel.LAMBDASCOPE_EXTENSION_HOLD: (HISTOGRAM, "s", "Environment held after a call.", BOUNDS_S),
    otel.LAMBDASCOPE_EXTENSION_OVERHEAD: (
        HISTOGRAM,
        "s",
        "What all extensions added to an invocation.",
        (0.0005, 0.001, 0.002, *_LONG),
    ),
    otel.LAMBDASCOPE_TELEMETRY_RECORDS: (SUM, otel.UNIT_RECORDS, "Records, by type.", ()),
    otel.LAMBDASCOPE_TELEMETRY_PROBLEMS: (SUM, otel.UNIT_RECORDS, "Odd records, by reason.", ()),
    otel.LAMBDASCOPE_TELEMETRY_DROPPED_RECORDS: (
        SUM,
        otel.UNIT_RECORDS,
        "Records that the platform dropped.",
        (),
    ),
    otel.LAMBDASCOPE_TELEMETRY_DROPPED_SIZE: (SUM, "By", "Size of these.", ()),
}


class _Bars:
    """A histogram of one series, with its greatest value as the exemplar."""

    __slots__ = ("_bounds", "_counts", "count", "exemplar", "maximum", "minimum", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.count = 0
        self.total = self.minimum = self.maximum = 0.0
        self.exemplar: Exemplar | None = None

    def place(self, value: float) -> None:
        """Count a value in its bucket."""
        self._counts[bisect_left(self._bounds, value)] += 1

    def point(self, times_ns: tuple[int, int], attributes: dict[str, object]) -> HistogramPoint:
        """What has been recorded."""
        return HistogramPoint(
            count=self.count,
            total=self.total,
            bucket_counts=tuple(self._counts),
            bounds=self._bounds,
            times_ns=times_ns,
            minimum=self.minimum,
            maximum=self.maximum,
            attributes=attributes,
            exemplars=() if self.exemplar is None else (self.exemplar,),
        )


class _Counted:
    """A histogram that somebody else has filled: its extremes are not known."""

    __slots__ = ("_bounds", "_counts", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, counts: Sequence[int], total: float) -> None:
        self._counts = [old + new for old, new in zip(self._counts, counts, strict=True)]
        self._total += total

    def point(self, times_ns: tuple[int, int], attributes: dict[str, object]) -> HistogramPoint:
        return HistogramPoint(
            count=sum(self._counts),
            total=self._total,
            bucket_counts=tuple(self._counts),
            bounds=self._bounds,
            times_ns=times_ns,
            attributes=attributes,
        )


class Aggregates:
    """`add` counts, `record` and `merge` fill histograms, `level` sets a gauge; `collect` takes all
    of it out."""

    __slots__ = ("_histogram", "_is_cumulative", "_series", "_start_ns")

    def __init__(
        self, now_ns: int, *, is_cumulative: bool = False, is_exponential: bool = False
    ) -> None:
        self._is_cumulative = is_cumulative
        self._start_ns = now_ns
        self._series: dict[tuple[str, Attributes], float | _Histogram | _Counted] = {}
        self._histogram: Callable[[str], _Histogram] = _bars_of
        if is_exponential:
            from lambdascope_extension.records.exponential import Exponential

            self._histogram = lambda name: Exponential()

    def add(self, name: str, amount: float = 1, attributes: Attributes = ()) -> None:
        """Count `amount` more; nothing for 0."""
        if amount:
            key = self._key(name, attributes)
            known = self._series.get(key, 0)
            if isinstance(known, (int, float)):
                self._series[key] = known + amount

    def level(self, name: str, value: float, attributes: Attributes = ()) -> None:
        """What something is at the moment."""
        self._series[self._key(name, attributes)] = value

    def record(
        self,
        name: str,
        value: float,
        attributes: Attributes = (),
        *,
        ids: tuple[bytes, bytes] | None = None,
        time_ns: int = 0,
    ) -> None:
        """One more value of a histogram, measured in the span with these ids."""
        key = self._key(name, attributes)
        known = self._series.get(key)
        if known is None or isinstance(known, (int, float, _Counted)):
            known = self._series[key] = self._histogram(name)
        known.minimum = min(known.minimum, value) if known.count else value
        if not known.count or value > known.maximum:
            known.maximum = value
            if ids is not None:
                trace_id, span_id = ids
                known.exemplar = Exemplar(
                    value=value, time_ns=time_ns, trace_id=trace_id, span_id=span_id
                )
        known.count += 1
        known.total += value
        known.place(value)

    def merge(self, name: str, counts: Sequence[int], total: float) -> None:
        """More values of a histogram, counted already in the buckets of its bounds."""
        if any(counts):
            known = self._series.get((name, ()))
            if not isinstance(known, _Counted):
                known = self._series[name, ()] = _Counted(INSTRUMENTS[name][3])
            known.add(counts, total)

    def collect(self, now_ns: int) -> list[Metric]:
        """The metrics since the last call, or, when cumulative, since the first."""
        points: dict[str, list[_Point]] = {}
        for (name, attributes), value in self._series.items():
            times_ns = (self._start_ns, now_ns)
            point = _point(value, times_ns, dict(attributes), INSTRUMENTS[name][0])
            points.setdefault(name, []).append(point)
        if not self._is_cumulative:
            self._series.clear()
            self._start_ns = now_ns
        temporality = TEMPORALITY_CUMULATIVE if self._is_cumulative else TEMPORALITY_DELTA
        return [_metric(name, found, temporality) for name, found in points.items()]

    def _key(self, name: str, attributes: Attributes) -> tuple[str, Attributes]:
        key = (name, attributes)
        if len(self._series) >= MAX_SERIES and key not in self._series:
            return name, _OVERFLOW
        return key


def _bars_of(name: str) -> _Bars:
    return _Bars(INSTRUMENTS[name][3])


def _point(
    value: float | _Histogram | _Counted,
    times_ns: tuple[int, int],
    attributes: dict[str, object],
    kind: int,
) -> _Point:
    if not isinstance(value, (int, float)):
        return value.point(times_ns, attributes)
    if kind == GAUGE:
        times_ns = (0, times_ns[1])
    return NumberPoint(value=value, times_ns=times_ns, attributes=attributes)


def _metric(name: str, points: list[_Point], temporality: int) -> Metric:
    kind, unit, description, _ = INSTRUMENTS[name]
    return Metric(
        name=name,
        kind=EXPONENTIAL_HISTOGRAM if isinstance(points[0], ExponentialPoint) else kind,
        unit=unit,
        description=description,
        points=points,  # type: ignore[arg-type]  # one name, one kind of points
        temporality=temporality,
    )
