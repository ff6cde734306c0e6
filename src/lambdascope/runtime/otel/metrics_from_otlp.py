"""Metrics of an OTLP request read back into the SDK's objects. Loaded by direct export."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics.export import AggregationTemporality

from lambdascope.runtime.otel import from_otlp


def metric_of(metric: Any) -> sdk.Metric:
    """The whole metric with its points. Exemplars are left out."""
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    if kind == "gauge":
        made: Any = sdk.Gauge([_number_point(point) for point in data.data_points])
    elif kind == "sum":
        made = sdk.Sum(
            [_number_point(point) for point in data.data_points],
            AggregationTemporality(data.aggregation_temporality),
            data.is_monotonic,
        )
    elif kind == "histogram":
        points = [_histogram_point(point) for point in data.data_points]
        made = sdk.Histogram(points, AggregationTemporality(data.aggregation_temporality))
    else:
        exponential = [_exponential_point(point) for point in data.data_points]
        made = sdk.ExponentialHistogram(
            exponential, AggregationTemporality(data.aggregation_temporality)
        )
    return sdk.Metric(metric.name, metric.description, metric.unit, made)


def _common(point: Any) -> dict[str, Any]:
    return {
        "attributes": {pair.key: from_otlp.value_of(pair.value) for pair in point.attributes},
        "start_time_unix_nano": point.start_time_unix_nano,
        "time_unix_nano": point.time_unix_nano,
    }


def _number_point(point: Any) -> sdk.NumberDataPoint:
    value = getattr(point, point.WhichOneof("value") or "as_int")
    return sdk.NumberDataPoint(value=value, **_common(point))


def _histogram_point(point: Any) -> sdk.HistogramDataPoint:
    return sdk.HistogramDataPoint(
        count=point.count,
        sum=point.sum,
        bucket_counts=list(point.bucket_counts),
        explicit_bounds=list(point.explicit_bounds),
        min=point.min,
        max=point.max,
        **_common(point),
    )


def _exponential_point(point: Any) -> Any:
    return sdk.ExponentialHistogramDataPoint(
        count=point.count,
        sum=point.sum,
        scale=point.scale,
        zero_count=point.zero_count,
        positive=_buckets(point.positive),
        negative=_buckets(point.negative),
        flags=point.flags,
        min=point.min,
        max=point.max,
        **_common(point),
    )


def _buckets(buckets: Any) -> Any:
    from opentelemetry.sdk.metrics.export import Buckets

    return Buckets(buckets.offset, list(buckets.bucket_counts))
