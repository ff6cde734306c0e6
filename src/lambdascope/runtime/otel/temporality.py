"""Which temporality and aggregation each kind of instrument has. Loaded with the SDK's metrics.

Source: OpenTelemetry specification, "OpenTelemetry Protocol Exporter" for metrics,
OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE and _DEFAULT_HISTOGRAM_AGGREGATION.
"""

from __future__ import annotations

from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import AggregationTemporality

from lambdascope.runtime.otel.settings import EXPONENTIAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.view import Aggregation

_DELTA = AggregationTemporality.DELTA
_CUMULATIVE = AggregationTemporality.CUMULATIVE


def temporalities(preference: str) -> dict[type, AggregationTemporality]:
    """By class of instrument; `preference` is "delta", "cumulative" or "lowmemory"."""
    if preference == "cumulative":
        return {}
    chosen: dict[type, AggregationTemporality] = {
        sdk.Counter: _DELTA,
        sdk.Histogram: _DELTA,
        sdk.UpDownCounter: _CUMULATIVE,
        sdk.ObservableUpDownCounter: _CUMULATIVE,
        sdk.ObservableCounter: _CUMULATIVE if preference == "lowmemory" else _DELTA,
    }
    return chosen


def aggregations(histograms: str) -> dict[type, Aggregation]:
    """By class of instrument, where it is another than the SDK's."""
    if histograms != EXPONENTIAL:
        return {}
    from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation

    return {sdk.Histogram: ExponentialBucketHistogramAggregation()}
