"""Metrics, held equal to the official encoder byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from lambdascope.otlp import names
from lambdascope.otlp.metric_model import (
    EXPONENTIAL_HISTOGRAM,
    GAUGE,
    HISTOGRAM,
    SUM,
    Buckets,
    Exemplar,
    ExponentialPoint,
    HistogramPoint,
    Metric,
    NumberPoint,
)
from unit.otlp.official import SPAN_ID, TRACE_ID, patient
from unit.otlp.official_metrics import metric_encoder, official_metrics

TIMES = (1_763_000_000_000_000_000, 1_763_000_060_000_000_000)
EXEMPLARS = (
    Exemplar(value=0.25, time_ns=TIMES[1], trace_id=TRACE_ID, span_id=SPAN_ID),
    Exemplar(value=7, time_ns=TIMES[1], attributes={"faas.trigger": "http"}),
)


def gauge(value: float, **fields: object) -> Metric:
    """Return a gauge with one point; the SDK gives a gauge's point no start."""
    point = NumberPoint(value=value, times_ns=(0, TIMES[1]), **fields)
    return Metric(name="lambdascope.x", kind=GAUGE, points=[point], unit="By")


CASES = {
    "int gauge": gauge(134_217_728),
    "float gauge": gauge(0.5, attributes={"a": "b"}),
    "zero": gauge(0),
    "float zero": gauge(0.0),
    "negative": gauge(-5),
    "exemplars on an int": gauge(3, exemplars=EXEMPLARS),
    "sum": Metric(
        name=names.FAAS_INVOCATIONS,
        kind=SUM,
        unit=names.UNIT_INVOCATIONS,
        description="Number of successful invocations.",
        points=[
            NumberPoint(value=3, times_ns=TIMES, attributes={"faas.trigger": "http"}),
            NumberPoint(value=0.5, times_ns=TIMES, exemplars=EXEMPLARS),
        ],
    ),
    "cumulative sum": Metric(
        name="x",
        kind=SUM,
        points=[NumberPoint(value=1, times_ns=TIMES)],
        temporality=names.TEMPORALITY_CUMULATIVE,
        is_monotonic=False,
    ),
    "histogram": Metric(
        name=names.FAAS_INVOKE_DURATION,
        kind=HISTOGRAM,
        unit="s",
        points=[
            HistogramPoint(
                count=3,
                total=0.9,
                bucket_counts=[0, 2, 1],
                bounds=[0.25, 0.5],
                times_ns=TIMES,
                minimum=0.0,
                maximum=0.6,
                attributes={"faas.trigger": "http"},
                exemplars=EXEMPLARS,
            )
        ],
    ),
    "empty histogram": Metric(
        name="x",
        kind=HISTOGRAM,
        points=[
            HistogramPoint(count=0, total=None, bucket_counts=[], bounds=[], times_ns=TIMES),
            HistogramPoint(count=0, total=0.0, bucket_counts=[0], bounds=[], times_ns=TIMES),
        ],
    ),
    "exponential histogram": Metric(
        name="x",
        kind=EXPONENTIAL_HISTOGRAM,
        points=[
            ExponentialPoint(
                count=8,
                total=-1.5,
                scale=-3,
                times_ns=TIMES,
                zero_count=2,
                positive=Buckets(offset=-200, counts=[1, 300, 0]),
                negative=Buckets(offset=0, counts=[1]),
                minimum=-4.0,
                maximum=8.0,
                attributes={"a": [1, "b"]},
                exemplars=EXEMPLARS,
                flags=1,
            ),
            ExponentialPoint(count=0, total=None, scale=20, times_ns=TIMES),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bytes_are_the_official_ones(case: str) -> None:
    """Our bytes are those that the official package makes of the same metric."""
    assert official_metrics([CASES[case]]).SerializeToString() == metric_encoder().encode(
        [CASES[case]]
    )


def test_many_metrics_share_one_resource_and_scope() -> None:
    """All metrics of a call are in one ResourceMetrics and one ScopeMetrics, in order."""
    metrics = list(CASES.values())

    assert official_metrics(metrics).SerializeToString() == metric_encoder().encode(metrics)


def test_no_metrics_give_an_empty_request() -> None:
    """Without metrics there is nothing to say about the resource either."""
    assert metric_encoder().encode([]) == b""


def test_fields_that_the_official_encoder_leaves_out() -> None:
    """Flags and the zero threshold are written, which the SDK's classes do not hold."""
    points = [NumberPoint(value=1, times_ns=TIMES, flags=1)]
    exponential = ExponentialPoint(
        count=0, total=None, scale=0, times_ns=TIMES, zero_threshold=0.5, flags=1
    )
    bars = HistogramPoint(count=0, total=None, bucket_counts=[], bounds=[], times_ns=TIMES, flags=1)
    body = metric_encoder().encode(
        [
            Metric(name="a", kind=SUM, points=points),
            Metric(name="b", kind=HISTOGRAM, points=[bars]),
            Metric(name="c", kind=EXPONENTIAL_HISTOGRAM, points=[exponential]),
        ]
    )

    first, second, third = parse(body)
    assert first.sum.data_points[0].flags == 1
    assert second.histogram.data_points[0].flags == 1
    (point,) = third.exponential_histogram.data_points
    assert (point.flags, point.zero_threshold) == (1, 0.5)


def test_an_int_beyond_64_bits_becomes_a_float() -> None:
    """A count that no field can hold loses digits and not the request."""
    (metric,) = parse(metric_encoder().encode([gauge(1 << 80)]))

    assert metric.gauge.data_points[0].as_double == float(1 << 80)


def test_points_are_equal_when_all_fields_are() -> None:
    """Equality and text of a point cover its own fields and those that all points have."""
    one = NumberPoint(value=1, times_ns=TIMES)

    assert one == NumberPoint(value=1, times_ns=TIMES)
    assert one != NumberPoint(value=1, times_ns=(0, 1))
    assert one != NumberPoint(value=2, times_ns=TIMES)
    assert repr(one).startswith("NumberPoint(value=1, attributes={}, exemplars=(), flags=0, ")


def parse(body: bytes) -> list:
    """Return the metrics that the official package reads from `body`."""
    message = ExportMetricsServiceRequest.FromString(body)
    return list(message.resource_metrics[0].scope_metrics[0].metrics)


COUNTS = st.integers(0, (1 << 64) - 1)
FLOATS = st.floats(allow_nan=False)
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1) | FLOATS
ATTRIBUTES = st.dictionaries(st.text(), st.text() | st.booleans() | FLOATS, max_size=3)
SPANS = st.tuples(
    st.binary(min_size=16, max_size=16).filter(any), st.binary(min_size=8, max_size=8).filter(any)
)
EXEMPLAR = st.builds(
    lambda value, time, ids, attributes: Exemplar(
        value=value, time_ns=time, trace_id=ids[0], span_id=ids[1], attributes=attributes
    ),
    NUMBERS,
    COUNTS,
    SPANS | st.just((b"", b"")),
    ATTRIBUTES,
)
COMMON = {
    "times_ns": st.tuples(COUNTS, COUNTS),
    "attributes": ATTRIBUTES,
    "exemplars": st.lists(EXEMPLAR, max_size=2),
}
TOTALS = {
    "count": COUNTS,
    "total": FLOATS | st.none(),
    "minimum": FLOATS | st.none(),
    "maximum": FLOATS | st.none(),
}
BUCKETS = st.none() | st.builds(
    lambda offset, counts: Buckets(offset=offset, counts=counts),
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.lists(COUNTS, max_size=5),
)
POINTS = {
    SUM: st.builds(lambda **fields: NumberPoint(**fields), value=NUMBERS, **COMMON),
    HISTOGRAM: st.builds(
        lambda **fields: HistogramPoint(**fields),
        bucket_counts=st.lists(COUNTS, max_size=5),
        bounds=st.lists(FLOATS, max_size=5),
        **COMMON,
        **TOTALS,
    ),
    EXPONENTIAL_HISTOGRAM: st.builds(
        lambda **fields: ExponentialPoint(**fields),
        scale=st.integers(-(1 << 31), (1 << 31) - 1),
        zero_count=COUNTS,
        positive=BUCKETS,
        negative=BUCKETS,
        flags=st.integers(0, (1 << 32) - 1),
        **COMMON,
        **TOTALS,
    ),
}


@patient
@given(data=st.data(), kind=st.sampled_from(sorted(POINTS)))
def test_any_metric_is_written_as_officially(data: st.DataObject, kind: int) -> None:
    """For any points that the official encoder takes, our bytes are the same as its bytes."""
    metric = Metric(
        name=data.draw(st.text()),
        kind=kind,
        unit=data.draw(st.text()),
        description=data.draw(st.text()),
        # Without points the official encoder does not say which kind the metric is.
        points=data.draw(st.lists(POINTS[kind], min_size=1, max_size=3)),
        temporality=data.draw(st.integers(0, 2)),
        is_monotonic=data.draw(st.booleans()),
    )

    assert official_metrics([metric]).SerializeToString() == metric_encoder().encode([metric])
