"""The function's meters: the SDK's metrics, loaded with the first measurement, sent now and then.

Loaded when `opentelemetry.metrics` is first imported. Instruments are those of the API until one is
used. Points are collected after a response, at most once in OTEL_METRIC_EXPORT_INTERVAL, and at the
end of the environment: not one for each invocation, and by no timer. Temporality is delta unless
asked otherwise, because every environment is a sender of its own.
"""

from __future__ import annotations

from _thread import RLock
from time import monotonic

from opentelemetry.metrics import _internal as api

from lambdascope.otlp.metric_encode import MetricEncoder
from lambdascope.runtime.otel.convert_metrics import metric_of
from lambdascope.runtime.otel.packages import advice
from lambdascope.runtime.resource import resource_attributes
from lambdascope.wire.names import METRICS_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.otel.settings import MetricSettings

_SYNCHRONOUS = {
    "create_counter": "add",
    "create_up_down_counter": "add",
    "create_histogram": "record",
    "create_gauge": "record",
}


class Metrics:
    """One for the process; `due` is asked after each response."""

    def __init__(
        self, config: RuntimeConfig, settings: MetricSettings, say: Callable[[str], None]
    ) -> None:
        self._config = config
        self._settings = settings
        self._say = say
        self._lock = RLock()
        self._reader: InMemoryMetricReader | None = None
        self._failed = False
        self._next_at = 0.0
        self._proxy = LazyMeterProvider(self.load)
        self.provider: MeterProvider | None = None
        # The provider that the API hands out until the function has set one of its own.
        api._PROXY_METER_PROVIDER = self._proxy

    def load(self) -> None:
        """Make all instruments real ones, unless the function's own provider has."""
        with self._lock:
            if self.provider is not None or self._failed or api._METER_PROVIDER is not None:
                return
            try:
                self.provider = self._make()
            except Exception as fault:  # noqa: BLE001 - the function goes on without metrics
                self._failed = True
                self._say(
                    f"the OpenTelemetry SDK cannot be used for metrics ({type(fault).__name__}: "
                    f"{fault}); the function's own are not recorded: {advice()}"
                )
                return
            self._proxy.on_set_meter_provider(self.provider)

    def due(self, *, at_once: bool) -> tuple[str, bytes, int]:
        """The path, an OTLP body and its number of points; an empty body when it is not time."""
        if self._reader is None and not self._proxy.observes:
            return METRICS_PATH, b"", 0
        now = monotonic()
        if now < self._next_at and not at_once:
            return METRICS_PATH, b"", 0
        self.load()
        self._next_at = now + self._settings.interval_ms / 1000
        return METRICS_PATH, *self._collect()

    def _make(self) -> MeterProvider:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource

        from lambdascope.runtime.otel.temporality import temporalities

        known = resource_attributes(self._config)
        self._reader = InMemoryMetricReader(temporalities(self._settings.temporality))
        return MeterProvider(
            [self._reader],
            Resource(known),  # type: ignore[arg-type]  # what OTLP has
            shutdown_on_exit=False,
        )

    def _collect(self) -> tuple[bytes, int]:
        data = None if self._reader is None else self._reader.get_metrics_data()
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


class LazyMeterProvider(api._ProxyMeterProvider):
    """The API's provider of proxies, with proxies that ask for the SDK when they are used.

    `observes`: there are instruments that are read when metrics are collected.
    """

    def __init__(self, load: Callable[[], None]) -> None:
        super().__init__()
        self._load = load
        self.observes = False

    def get_meter(self, *args: object, **kwargs: object) -> Meter:
        """A meter whose instruments load the SDK when they are first used."""
        meter = super().get_meter(*args, **kwargs)  # type: ignore[arg-type]  # as they came
        if isinstance(meter, api._ProxyMeter):
            for create, measure in _SYNCHRONOUS.items():
                if hasattr(meter, create):
                    setattr(meter, create, self._lazily(getattr(meter, create), measure))
            for create in dir(meter):
                if create.startswith("create_observable"):
                    setattr(meter, create, self._observing(getattr(meter, create)))
        return meter

    def _lazily(self, create: Callable[..., object], measure: str) -> Callable[..., object]:
        def make(*args: object, **kwargs: object) -> object:
            instrument = create(*args, **kwargs)

            def first(*args: object, **kwargs: object) -> object:
                vars(instrument).pop(measure, None)
                self._load()
                return getattr(instrument, measure)(*args, **kwargs)

            if getattr(instrument, "_real_instrument", self) is None:
                setattr(instrument, measure, first)
            return instrument

        return make

    def _observing(self, create: Callable[..., object]) -> Callable[..., object]:
        def make(*args: object, **kwargs: object) -> object:
            self.observes = True
            return create(*args, **kwargs)

        return make
