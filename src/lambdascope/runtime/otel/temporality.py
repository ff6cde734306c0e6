"""Which temporality each kind of instrument has. Loaded with the SDK's metrics.

Source: OpenTelemetry specification, "OpenTelemetry Protocol Exporter" for metrics,
OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE.
"""

from __future__ import annotations

from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import AggregationTemporality

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
