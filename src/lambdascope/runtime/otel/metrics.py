"""The function's meters: measurements are held until the response is out, and sent now and then.

Loaded when `opentelemetry.metrics` is first imported. Instruments are those of the API until one
has been used; then the SDK's metrics are loaded, when nobody waits for an answer, and get what has
been measured by then. Points are collected after a response, at most once in
OTEL_METRIC_EXPORT_INTERVAL, and at the end of the environment: not one for each invocation, and by
no timer. Temporality is delta unless asked otherwise, because every environment is a sender of its
own.
"""

from __future__ import annotations

from _thread import RLock
from time import monotonic

from opentelemetry import context
from opentelemetry.metrics import _internal as api

from lambdascope.runtime.faults import text_of
from lambdascope.runtime.otel.lean import Lean
from lambdascope.runtime.otel.packages import advice
from lambdascope.wire.names import METRICS_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.metrics import Meter

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.otel.metric_reader import MetricReader
    from lambdascope.runtime.otel.settings import MetricSettings

_SYNCHRONOUS = {
    "create_counter": "add",
    "create_up_down_counter": "add",
    "create_histogram": "record",
    "create_gauge": "set",
}
# More measurements than that are not held: the SDK is loaded for them at once.
_MAX_HELD = 1000


class Metrics:
    """One for the process; `due` is asked after each response."""

    def __init__(
        self, config: RuntimeConfig, settings: MetricSettings, say: Callable[[str], None]
    ) -> None:
        self._config = config
        self._settings = settings
        self._say = say
        self._lock = RLock()
        self._reader: MetricReader | None = None
        self._failed = False
        self._next_at = 0.0
        self._held: list[tuple[Context, Callable[[], object]]] = []
        self._proxy = LazyMeterProvider(self)
        # The provider that the API hands out until the function has set one of its own.
        api._PROXY_METER_PROVIDER = self._proxy

    def hold(self, measure: Callable[[], object]) -> bool:
        """Measure when the SDK has been loaded; False if it has been, or if it never will be."""
        with self._lock:
            if self._reader is not None or self._failed or api._METER_PROVIDER is not None:
                return False
            if len(self._held) < _MAX_HELD:
                self._held.append((context.get_current(), measure))
                return True
        self.load()
        return False

    def load(self) -> None:
        """Make all instruments real ones, unless the function's own provider has."""
        with self._lock:
            if self._reader is None and not self._failed and api._METER_PROVIDER is None:
                try:
                    with Lean():
                        from lambdascope.runtime.otel.metric_reader import MetricReader

                    self._reader = MetricReader(self._config, self._settings)
                    self._proxy.on_set_meter_provider(self._reader.provider)
                except Exception as fault:  # noqa: BLE001 - the function goes on without metrics
                    self._failed = True
                    self._say(
                        f"the OpenTelemetry SDK cannot be used for metrics "
                        f"({type(fault).__name__}: {fault}); the function's own are not recorded: "
                        f"{advice()}"
                    )
            held, self._held = self._held, []
        for where, measure in held:
            # The context has the span that an exemplar names.
            token = context.attach(where)
            try:
                measure()
            except Exception as fault:  # noqa: BLE001 - the others are wanted none the less
                self._say(f"a measurement is lost: {type(fault).__name__}: {text_of(fault)}")
            finally:
                context.detach(token)

    def due(self, *, at_once: bool) -> tuple[str, bytes, int]:
        """The path, an OTLP body and its number of points; an empty body when it is not time."""
        if self._reader is None and not self._proxy.observes and not self._held:
            return METRICS_PATH, b"", 0
        now = monotonic()
        if now < self._next_at and not at_once:
            return METRICS_PATH, b"", 0
        self.load()
        if self._reader is None:
            return METRICS_PATH, b"", 0
        self._next_at = now + self._settings.interval_ms / 1000
        return METRICS_PATH, *self._reader.collect()


class LazyMeterProvider(api._ProxyMeterProvider):
    """The API's provider of proxies, with proxies that hold what they measure.

    `observes`: there are instruments that are read when metrics are collected.
    """

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics
        self.observes = False

    def get_meter(self, *args: object, **kwargs: object) -> Meter:
        """A meter whose instruments have the SDK loaded when they have been used."""
        meter = super().get_meter(*args, **kwargs)  # type: ignore[arg-type]  # as they came
        if isinstance(meter, api._ProxyMeter):
            for create, measure in _SYNCHRONOUS.items():
                if hasattr(meter, create):
                    setattr(meter, create, self._lazily(getattr(meter, create), measure))
            for create in dir(meter):
                if create.startswith("create_observable"):
                    setattr(meter, create, self._observing(getattr(meter, create)))
        return meter

    def _lazily(self, create: Callable[..., object], name: str) -> Callable[..., object]:
        def make(*args: object, **kwargs: object) -> object:
            instrument = create(*args, **kwargs)

            def measure(*args: object, **kwargs: object) -> None:
                # The attributes are the caller's, who may go on to change them.
                args = tuple(map(_copied, args))
                kwargs = {key: _copied(value) for key, value in kwargs.items()}
                if not self._metrics.hold(lambda: measure(*args, **kwargs)):
                    vars(instrument).pop(name, None)
                    getattr(instrument, name)(*args, **kwargs)

            if getattr(instrument, "_real_instrument", self) is None:
                setattr(instrument, name, measure)
            return instrument

        return make

    def _observing(self, create: Callable[..., object]) -> Callable[..., object]:
        def make(*args: object, **kwargs: object) -> object:
            self.observes = True
            return create(*args, **kwargs)

        return make


def _copied(value: object) -> object:
    return dict(value) if isinstance(value, dict) else value
