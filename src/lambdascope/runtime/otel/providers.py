"""What the OpenTelemetry API hands out while nobody has set a tracer provider.

Loaded with the API. A tracer asked for here loads the SDK when it starts its first span; if the
function sets a provider of its own by then, the tracer is that provider's.
"""

from __future__ import annotations

import sys

from opentelemetry import trace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.otel.sdk import Sdk


class LazyTracerProvider(trace.ProxyTracerProvider):
    """Gives tracers; is itself the SDK's provider for whoever looks closer."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk

    def get_tracer(self, *args: object, **kwargs: object) -> trace.Tracer:
        """A tracer that decides with its first span whose it is."""
        own = trace._TRACER_PROVIDER
        if own is not None:
            return own.get_tracer(*args, **kwargs)  # type: ignore[arg-type]  # as they came
        # An instrumentor has its tracer for what may never come.
        if ".instrumentation." not in str(args[0] if args else ""):
            self._sdk.is_wanted = True
        if self._sdk.provider is not None:
            return self._sdk.provider.get_tracer(*args, **kwargs)  # type: ignore[arg-type]
        return LazyTracer(self._sdk, args, kwargs)

    def __getattr__(self, name: str) -> object:
        # `add_span_processor`, `resource`, `force_flush` and the like. A special name that is
        # looked for by the way must not load the SDK.
        provider = None if name.startswith("__") else self._sdk.load()
        if provider is None:
            raise AttributeError(name)
        return getattr(provider, name)

    @property  # type: ignore[misc]  # so that `isinstance` finds the SDK's class
    def __class__(self) -> type:
        module = sys.modules.get("opentelemetry.sdk.trace")
        return getattr(module, "TracerProvider", LazyTracerProvider)


class LazyTracer(trace.Tracer):
    """A tracer whose SDK has not been needed yet."""

    def __init__(self, sdk: Sdk, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        self._sdk = sdk
        self._args = args
        self._kwargs = kwargs
        self._real: trace.Tracer | None = None

    def start_span(self, *args: object, **kwargs: object) -> trace.Span:
        """See `opentelemetry.trace.Tracer`."""
        return self._tracer().start_span(*args, **kwargs)  # type: ignore[arg-type]  # as they came

    def start_as_current_span(self, *args: object, **kwargs: object) -> object:  # type: ignore[override]
        """See `opentelemetry.trace.Tracer`."""
        return self._tracer().start_as_current_span(*args, **kwargs)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._tracer(), name)

    def _tracer(self) -> trace.Tracer:
        real = self._real
        if real is None:
            provider = trace._TRACER_PROVIDER or self._sdk.load()
            if provider is None:
                return _NO_OP
            real = self._real = provider.get_tracer(*self._args, **self._kwargs)  # type: ignore[arg-type]
        return real


_NO_OP = trace.NoOpTracer()
_PROXY_ARGUMENTS = (
    "_instrumenting_module_name",
    "_instrumenting_library_version",
    "_schema_url",
    "_attributes",
)


def adopt_earlier_tracers(sdk: Sdk) -> None:
    """Let tracers that were handed out before ours, as to `opentelemetry-instrument`, be ours.

    They are the API's proxies, and would do nothing until somebody sets a provider.
    """
    original = getattr(trace.ProxyTracer, "_tracer", None)
    if not isinstance(original, property):
        return

    def tracer(proxy: trace.ProxyTracer) -> trace.Tracer:
        values = vars(proxy)
        real: trace.Tracer | None = values.get("_real_tracer")
        if real is None:
            provider = trace._TRACER_PROVIDER or sdk.load()
            if provider is None:
                return _NO_OP
            arguments = [values[name] for name in _PROXY_ARGUMENTS if name in values]
            real = proxy._real_tracer = provider.get_tracer(*arguments)
        return real

    trace.ProxyTracer._tracer = property(tracer)  # type: ignore[assignment,method-assign]  # as it is
