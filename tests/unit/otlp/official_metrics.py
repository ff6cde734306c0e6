"""Our metric and log records put through OpenTelemetry's own classes and encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry._logs import LogRecord as ApiLogRecord
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics import export as sdk
from opentelemetry.sdk.metrics._internal.point import Buckets as SdkBuckets
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from lambdascope.otlp import metric_model as model
from lambdascope.otlp import names
from lambdascope.otlp.log_encode import LogEncoder
from lambdascope.otlp.metric_encode import MetricEncoder
from unit.otlp.official import RESOURCE, SCOPE_NAME, SCOPE_VERSION

if TYPE_CHECKING:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )

    from lambdascope.otlp.log_model import LogRecord

_SCOPE = InstrumentationScope(SCOPE_NAME, SCOPE_VERSION, names.SCHEMA_URL)
_ENCODER_FIELDS = {
    "resource": RESOURCE,
    "scope_name": SCOPE_NAME,
    "scope_version": SCOPE_VERSION,
    "schema_url": names.SCHEMA_URL,
}


def metric_encoder() -> MetricEncoder:
    """Return our encoder with the resource and the scope of `official_metrics`."""
    return MetricEncoder(**_ENCODER_FIELDS)


def log_encoder() -> LogEncoder:
    """Return our encoder with the resource and the scope of `official_logs`."""
    return LogEncoder(**_ENCODER_FIELDS)


def official_metrics(metrics: list[model.Metric]) -> ExportMetricsServiceRequest:
    """Return the message that the official encoder makes of the same metrics."""
    scope = sdk.ScopeMetrics(_SCOPE, [_sdk_metric(metric) for metric in metrics], names.SCHEMA_URL)
    resource = Resource(RESOURCE, names.SCHEMA_URL)
    data = sdk.ResourceMetrics(resource, [scope], names.SCHEMA_URL)
    return encode_metrics(sdk.MetricsData([data]))


def _sdk_metric(metric: model.Metric) -> sdk.Metric:
    temporality = sdk.AggregationTemporality(metric.temporality)
    points = [_sdk_point(point) for point in metric.points]
    data: sdk.Gauge | sdk.Sum | sdk.Histogram | sdk.ExponentialHistogram
    if metric.kind == model.GAUGE:
        data = sdk.Gauge(points)
    elif metric.kind == model.SUM:
        data = sdk.Sum(points, temporality, metric.is_monotonic)
    elif metric.kind == model.HISTOGRAM:
        data = sdk.Histogram(points, temporality)
    else:
        data = sdk.ExponentialHistogram(points, temporality)
    return sdk.Metric(metric.name, metric.description, metric.unit, data)


def _sdk_point(point: object) -> object:
    if isinstance(point, model.NumberPoint):
        return sdk.NumberDataPoint(value=point.value, **_common(point))
    common = {
        **_common(point),
        "count": point.count,
        "sum": point.total,
        "min": point.minimum,
        "max": point.maximum,
    }
    if isinstance(point, model.HistogramPoint):
        return sdk.HistogramDataPoint(
            bucket_counts=point.bucket_counts, explicit_bounds=point.bounds, **common
        )
    return sdk.ExponentialHistogramDataPoint(
        scale=point.scale,
        zero_count=point.zero_count,
        positive=_sdk_buckets(point.positive),
        negative=_sdk_buckets(point.negative),
        flags=point.flags,
        **common,
    )


def _common(point: object) -> dict[str, object]:
    return {
        "attributes": point.attributes,
        "start_time_unix_nano": point.start_ns,
        "time_unix_nano": point.time_ns,
        "exemplars": [_sdk_exemplar(exemplar) for exemplar in point.exemplars],
    }


def _sdk_buckets(buckets: model.Buckets | None) -> SdkBuckets:
    return SdkBuckets(buckets.offset, buckets.counts) if buckets else SdkBuckets(0, [])


def _sdk_exemplar(exemplar: model.Exemplar) -> SdkExemplar:
    return SdkExemplar(
        filtered_attributes=exemplar.attributes,
        value=exemplar.value,
        time_unix_nano=exemplar.time_ns,
        span_id=int.from_bytes(exemplar.span_id, "big") if exemplar.span_id else None,
        trace_id=int.from_bytes(exemplar.trace_id, "big") if exemplar.trace_id else None,
    )


def official_logs(records: list[LogRecord]) -> ExportLogsServiceRequest:
    """Return the message that the official encoder makes of the same records."""
    return encode_logs(
        [
            ReadableLogRecord(_api_record(record), Resource(RESOURCE, names.SCHEMA_URL), _SCOPE)
            for record in records
        ]
    )


def _api_record(record: LogRecord) -> ApiLogRecord:
    span = SpanContext(
        int.from_bytes(record.trace_id, "big"),
        int.from_bytes(record.span_id, "big"),
        is_remote=False,
        trace_flags=TraceFlags(record.flags),
    )
    return ApiLogRecord(
        timestamp=record.time_ns,
        observed_timestamp=record.observed_ns,
        context=set_span_in_context(NonRecordingSpan(span)),
        severity_text=record.severity_text,
        severity_number=SeverityNumber(record.severity_number),
        body=record.body,
        attributes=record.attributes,
        event_name=record.event_name,
    )
