"""The SDK's metrics behind the function's meters: the provider, and what it has collected as OTLP.

Loaded when the first measurements are to be taken in, after a response.
"""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

from lambdascope.otlp.metric_encode import MetricEncoder
from lambdascope.runtime.otel.convert_metrics import metric_of
from lambdascope.runtime.otel.temporality import aggregations, temporalities
from lambdascope.runtime.resource import resource_attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.otel.settings import MetricSettings


class MetricReader:
    """`provider` is what the instruments belong to; deltas unless the temporality is another."""

    def __init__(self, config: RuntimeConfig, settings: MetricSettings) -> None:
        self._config = config
        self._reader = InMemoryMetricReader(
            temporalities(settings.temporality), aggregations(settings.histograms)
        )
        self.provider = MeterProvider(
            [self._reader],
            Resource(resource_attributes(config)),  # type: ignore[arg-type]  # what OTLP has
            shutdown_on_exit=False,
        )

    def collect(self) -> tuple[bytes, int]:
        """An OTLP body of what there is since the last time, and its number of points."""
        data = self._reader.get_metrics_data()
        bodies, points = [], 0
        for resource in data.resource_metrics if data is not None else ():
            for group in resource.scope_metrics:
                encoder = MetricEncoder(
                    resource=resource_attributes(self._config),
                    scope_name=group.scope.name,
                    scope_version=group.scope.version or "",
                    schema_url=group.schema_url or "",
                )
                metrics = [metric_of(metric) for metric in group.metrics]
                bodies.append(encoder.encode(metrics))
                points += sum(len(metric.points) for metric in metrics)
        return b"".join(bodies), points
