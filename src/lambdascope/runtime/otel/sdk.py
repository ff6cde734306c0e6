"""The OpenTelemetry SDK, loaded when the function first needs it, and never for nothing.

One provider for the function's tracers, whose spans end in our recorder, and one for the invoke
spans, which the runtime ends itself. Samplers and limits are those of the OTEL_* variables. Its
batches, timers and exit hooks are not used: nothing may run across a freeze.
"""

from __future__ import annotations

import os
from _thread import RLock, get_ident
from os import urandom

from lambdascope import __version__
from lambdascope.otlp import names
from lambdascope.runtime.otel.lean import Lean
from lambdascope.runtime.otel.packages import advice
from lambdascope.runtime.otel.recorder import SpanRecorder
from lambdascope.runtime.otel.settings import span_limits
from lambdascope.runtime.resource import resource_attributes
from lambdascope.runtime.sampling import settle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, SpanContext, Tracer

    from lambdascope.runtime.config import RuntimeConfig


class Sdk:
    """`is_wanted`: a tracer has been asked for. `provider` is None until the SDK is loaded."""

    def __init__(self, config: RuntimeConfig, say: Callable[[str], None]) -> None:
        self._config = config
        self._say = say
        self._lock = RLock()
        self._failed = False
        self._ids: Ids | None = None
        self._invoke_tracer: Tracer | None = None
        self.is_wanted = False
        self.provider: TracerProvider | None = None
        exceptions = None
        if config.exception_signal:
            from lambdascope.runtime.otel.exceptions import Exceptions

            exceptions = Exceptions(config)
        self.recorder = SpanRecorder(resource_attributes(config), exceptions)

    def load(self) -> TracerProvider | None:
        """The provider of the function's tracers; None, said once, where there is no SDK."""
        if self.provider is None and not self._failed:
            with self._lock:
                if self.provider is None and not self._failed:
                    try:
                        self._load()
                    except Exception as fault:  # noqa: BLE001 - the function goes on without spans
                        self._failed = True
                        self._say(
                            f"the OpenTelemetry SDK cannot be used ({type(fault).__name__}: "
                            f"{fault}); the function's own spans are not recorded: {advice()}"
                        )
        return self.provider

    def _load(self) -> None:
        limits = span_limits(os.environ, self._say)
        settle(os.environ)
        with Lean():
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import SpanLimits
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        known = resource_attributes(self._config)
        resource = Resource(known, names.SCHEMA_URL)  # type: ignore[arg-type]  # what OTLP has
        ids = Ids()
        numbers = {k: SpanLimits.UNSET if n < 0 else n for k, n in limits.items()}
        common = {
            "resource": resource,
            "id_generator": ids,
            "span_limits": SpanLimits(**numbers),
        }
        provider = _provider(**common)
        provider.add_span_processor(self.recorder)  # type: ignore[arg-type]  # its shape
        # That an invocation is recorded has been decided before its first span.
        own = _provider(**common, sampler=ALWAYS_ON)
        self._ids = ids
        self._invoke_tracer = own.get_tracer(names.SCOPE_RUNTIME, __version__, names.SCHEMA_URL)
        self.provider = provider

    def start_invoke_span(self, context: SpanContext, start_ns: int) -> Span:
        """A span of the SDK with these ids; what is written to it is lost where there is no SDK."""
        from opentelemetry import trace

        if self.load() is None or self._invoke_tracer is None or self._ids is None:
            return trace.NonRecordingSpan(context)
        with self._ids.chosen(context.trace_id, context.span_id):
            return self._invoke_tracer.start_span(
                self._config.function_name or "function",
                context=trace.set_span_in_context(trace.INVALID_SPAN),
                kind=trace.SpanKind.SERVER,
                start_time=start_ns,
            )


class Ids:
    """Random ids from the kernel, also after a fork or a restored snapshot, or chosen ones."""

    def __init__(self) -> None:
        self._chosen: dict[int, tuple[int, int]] = {}

    def chosen(self, trace_id: int, span_id: int) -> Ids:
        """Within the block that begins, this thread's next root span has these ids."""
        self._chosen[get_ident()] = (trace_id, span_id)
        return self

    def __enter__(self) -> None:
        """Nothing is left to do."""

    def __exit__(self, *_: object) -> None:
        self._chosen.pop(get_ident(), None)

    def generate_span_id(self) -> int:
        """A span id that is not 0."""
        chosen = self._chosen.get(get_ident()) if self._chosen else None
        return chosen[1] if chosen else int.from_bytes(urandom(8), "big") or 1

    def generate_trace_id(self) -> int:
        """A trace id that is not 0."""
        chosen = self._chosen.get(get_ident()) if self._chosen else None
        return chosen[0] if chosen else int.from_bytes(urandom(16), "big") or 1

    def is_trace_id_random(self) -> bool:
        """Whether the ids have the randomness of W3C trace context, level 2."""
        return not self._chosen


def _provider(**arguments: object) -> TracerProvider:
    from opentelemetry.metrics import NoOpMeterProvider
    from opentelemetry.sdk.trace import TracerProvider

    arguments["shutdown_on_exit"] = False
    try:
        # Measures of the SDK itself would load its metrics.
        return TracerProvider(**arguments, meter_provider=NoOpMeterProvider())  # type: ignore[arg-type]
    except TypeError:  # before 1.40 or so it did not measure itself
        return TracerProvider(**arguments)  # type: ignore[arg-type]
