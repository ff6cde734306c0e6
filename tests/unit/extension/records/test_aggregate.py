"""Counters and histograms between two exports."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)

from lambdascope.otlp import metric_model as model
from lambdascope.otlp import names
from lambdascope_extension.records.aggregate import INSTRUMENTS, MAX_SERIES, Aggregates
from unit.otlp.official import patient

NAME = names.FAAS_INVOKE_DURATION


@patient
@given(values=st.lists(st.floats(0, 1000), min_size=1, max_size=30))
def test_histograms_are_those_of_the_sdk(values: list[float]) -> None:
    """Buckets, sum and extremes are what OpenTelemetry's SDK makes of the same values."""
    reader = InMemoryMetricReader()
    bounds = names.LONG_DURATION_BOUNDS
    view = View(instrument_name="x", aggregation=ExplicitBucketHistogramAggregation(bounds))
    meter = MeterProvider([reader], views=[view]).get_meter("m")
    histogram = meter.create_histogram("x")
    ours = Aggregates(0)
    for value in values:
        histogram.record(value)
        ours.record(NAME, value)

    data = reader.get_metrics_data()
    (theirs,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    (metric,) = ours.collect(1)
    (point,) = metric.points
    assert isinstance(point, model.HistogramPoint)
    assert theirs.bucket_counts == point.bucket_counts
    assert (theirs.count, theirs.min, theirs.max) == (point.count, point.minimum, point.maximum)
    assert theirs.sum == pytest.approx(point.total)
    assert theirs.explicit_bounds == point.bounds


@patient
@given(values=st.lists(st.floats(0, 1e12) | st.floats(0, 1e-290), min_size=1, max_size=30))
def test_exponential_histograms_are_those_of_the_sdk(values: list[float]) -> None:
    """Scale, offset and counts are what OpenTelemetry's SDK makes of the same values."""
    reader = InMemoryMetricReader()
    view = View(instrument_name="x", aggregation=ExponentialBucketHistogramAggregation())
    histogram = MeterProvider([reader], views=[view]).get_meter("m").create_histogram("x")
    ours = Aggregates(0, is_exponential=True)
    for value in values:
        histogram.record(value)
        ours.record(NAME, value)

    data = reader.get_metrics_data()
    (theirs,) = data.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points
    (metric,) = ours.collect(1)
    (point,) = metric.points
    assert isinstance(point, model.ExponentialPoint)
    assert model.EXPONENTIAL_HISTOGRAM == metric.kind
    assert (theirs.count, theirs.zero_count, theirs.min, theirs.max) == (
        point.count,
        point.zero_count,
        point.minimum,
        point.maximum,
    )
    if point.positive is None:
        assert 0 == sum(theirs.positive.bucket_counts)
        return
    assert theirs.scale == point.scale
    assert trimmed(theirs.positive) == trimmed(point.positive)


def trimmed(buckets: Any) -> tuple[int, list[int]]:
    """Offset and counts without empty buckets at the ends."""
    counts = list(getattr(buckets, "counts", None) or buckets.bucket_counts)
    filled = [index for index, count in enumerate(counts) if count]
    return buckets.offset + filled[0], counts[filled[0] : filled[-1] + 1]


def test_delta_begins_anew() -> None:
    """What was taken out is not counted again, and the next stretch begins where this one ended."""
    counts = Aggregates(10)
    counts.add(names.FAAS_INVOCATIONS, 2)
    (first,) = counts.collect(20)
    counts.add(names.FAAS_INVOCATIONS)
    (second,) = counts.collect(30)

    assert [(10, 20, 2), (20, 30, 1)] == [
        (point.start_ns, point.time_ns, point.value)
        for point in (first.points[0], second.points[0])
    ]
    assert [] == counts.collect(40)
    assert names.TEMPORALITY_DELTA == second.temporality


def test_cumulative_goes_on() -> None:
    """Counts since the start, from the start on."""
    counts = Aggregates(10, is_cumulative=True)
    counts.add(names.FAAS_INVOCATIONS, 2)
    counts.collect(20)
    counts.add(names.FAAS_INVOCATIONS)
    (second,) = counts.collect(30)

    assert [(10, 30, 3)] == [(one.start_ns, one.time_ns, one.value) for one in second.points]


def test_gauges_say_what_is() -> None:
    """The last level counts, and a gauge has no start."""
    counts = Aggregates(10)
    counts.level(names.LAMBDASCOPE_EXTENSION_HELD_SIZE, 5)
    counts.level(names.LAMBDASCOPE_EXTENSION_HELD_SIZE, 3)
    (metric,) = counts.collect(20)

    assert [(0, 20, 3)] == [(one.start_ns, one.time_ns, one.value) for one in metric.points]


def test_series_are_bounded() -> None:
    """Beyond the bound, new attributes share the series that the specification has for that."""
    counts = Aggregates(0)
    for number in range(2 * MAX_SERIES):
        counts.add(names.FAAS_ERRORS, 1, ((names.ERROR_TYPE, f"E{number}"),))
    counts.add(names.FAAS_ERRORS, 1, ((names.ERROR_TYPE, "E0"),))
    (metric,) = counts.collect(1)

    assert 2 * MAX_SERIES + 1 == sum(point.value for point in metric.points)
    assert MAX_SERIES + 1 == len(metric.points)
    overflow = [one for one in metric.points if one.attributes == {names.METRIC_OVERFLOW: True}]
    assert MAX_SERIES == overflow[0].value


def test_every_metric_of_ours_has_an_instrument() -> None:
    """Each name that is made for a metric can be counted, with a unit and a description."""
    prefixes = ("lambdascope.extension.", "lambdascope.telemetry.")
    ours = {
        value
        for name, value in vars(names).items()
        if name.isupper()
        and isinstance(value, str)
        and value.startswith(prefixes)
        and name.startswith("LAMBDASCOPE_")
    }
    faas = {one for one in INSTRUMENTS if one.startswith("faas.")}

    assert ours == set(INSTRUMENTS) - faas
    assert all(unit and text.endswith(".") for _, unit, text, _ in INSTRUMENTS.values())
