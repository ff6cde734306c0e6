"""A metric of the SDK as a record that our encoder takes. Loaded with the SDK's metrics.

Kinds of points are told by their fields, so that no class of the SDK is imported here.
"""

from __future__ import annotations

from lambdascope.otlp import metric_model as model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from opentelemetry.sdk.metrics.export import Metric as SdkMetric


def metric_of(metric: SdkMetric) -> model.Metric:
    """The whole metric with its points."""
    data: Any = metric.data
    points = [_point_of(point) for point in data.data_points]
    if not hasattr(data, "aggregation_temporality"):
        kind = model.GAUGE
    elif hasattr(data, "is_monotonic"):
        kind = model.SUM
    elif points and isinstance(points[0], model.ExponentialPoint):
        kind = model.EXPONENTIAL_HISTOGRAM
    else:
        kind = model.HISTOGRAM
    temporality = getattr(data, "aggregation_temporality", None)
    return model.Metric(
        name=metric.name,
        kind=kind,
        points=points,
        unit=metric.unit or "",
        description=metric.description or "",
        temporality=temporality.value if temporality is not None else 0,
        is_monotonic=getattr(data, "is_monotonic", False),
    )


def _point_of(point: Any) -> Any:
    common: dict[str, Any] = {
        "times_ns": (point.start_time_unix_nano or 0, point.time_unix_nano),
        "attributes": dict(point.attributes or ()),
        "exemplars": [_exemplar_of(each) for each in getattr(point, "exemplars", ())],
    }
    if hasattr(point, "value"):
        return model.NumberPoint(value=point.value, **common)
    common |= {
        "count": point.count,
        "total": point.sum,
        "minimum": point.min if point.count else None,
        "maximum": point.max if point.count else None,
    }
    if hasattr(point, "explicit_bounds"):
        return model.HistogramPoint(
            bucket_counts=point.bucket_counts, bounds=point.explicit_bounds, **common
        )
    return model.ExponentialPoint(
        scale=point.scale,
        zero_count=point.zero_count,
        positive=_buckets_of(point.positive),
        negative=_buckets_of(point.negative),
        flags=point.flags,
        **common,
    )


def _buckets_of(buckets: Any) -> model.Buckets:
    return model.Buckets(offset=buckets.offset, counts=buckets.bucket_counts)


def _exemplar_of(exemplar: Any) -> model.Exemplar:
    span_id, trace_id = exemplar.span_id, exemplar.trace_id
    return model.Exemplar(
        value=exemplar.value,
        time_ns=exemplar.time_unix_nano,
        trace_id=trace_id.to_bytes(16, "big") if trace_id else b"",
        span_id=span_id.to_bytes(8, "big") if span_id else b"",
        attributes=dict(exemplar.filtered_attributes or ()),
    )
