"""Joins the OpenTelemetry API, once the function has imported it, to the invocations of the loop.

Loaded when `opentelemetry.trace` is first imported, never before: a function that does not use
OpenTelemetry pays nothing for it. From then on each invocation's span is the current one of its
context, and tracers come from the SDK, which is loaded when the first span is started or the
invoke span is annotated. What the function sets up by hand wins: its provider is used, and its
spans still have the invoke span as their parent.
"""

from __future__ import annotations

from contextvars import Context as Variables

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context

from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.otel.invoke_span import InvokeSpan
from lambdascope.runtime.otel.providers import LazyTracerProvider, adopt_earlier_tracers
from lambdascope.runtime.otel.recorder import MAX_HELD
from lambdascope.runtime.otel.sdk import Sdk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.telemetry import InvokeTimes

# How long a provider of the function's own may take to send what it holds, after the response.
_FLUSH_S = 2.0
_RESERVE_S = 0.2


class Bridge:
    """One for the process."""

    def __init__(self, config: RuntimeConfig, say: Callable[[str], None]) -> None:
        self._say = say
        self.sdk = Sdk(config, say)
        self._flushing: object = None
        # The provider that the API hands out until the function has set one of its own.
        trace._PROXY_TRACER_PROVIDER = LazyTracerProvider(self.sdk)
        adopt_earlier_tracers(self.sdk)
        self._begun: _Begun | None = None
        times = current_invocation.times()
        if times is not None and times.trace is not None and _is_running(times):
            # Imported by the handler: this very invocation has a span from here on.
            if current_invocation.here() is times:
                self.enter(times)
            begun = self._begun = _Begun(times, self._context(times, Context()))
            context_api._RUNTIME_CONTEXT = begun  # type: ignore[assignment]  # its shape

    def enter(self, times: InvokeTimes) -> None:
        """The invocation's span becomes the current one of this context."""
        context = self._context(times, context_api.get_current())
        times.span.token = context_api.attach(context)  # type: ignore[union-attr]  # made by it

    def _context(self, times: InvokeTimes, context: Context) -> Context:
        """This context with the invocation's span, and with what baggage the caller sent."""
        span = times.span
        if span is None:
            span = times.span = InvokeSpan(times, self.sdk)
        context = trace.set_span_in_context(span, context)
        if times.trace is not None and times.trace.baggage:
            from opentelemetry.baggage.propagation import W3CBaggagePropagator

            context = W3CBaggagePropagator().extract({"baggage": times.trace.baggage}, context)
        return context

    def leave(self, times: InvokeTimes) -> None:
        """It is the current one no longer."""
        span = times.span
        if span is None:
            return
        token, span.token = span.token, None
        if token is not None and trace.get_current_span() is span:
            context_api.detach(token)
        # Else it was attached in a context that is gone.
        begun = self._begun
        if begun is not None and begun.times is times:
            self._begun = None
            current: object = context_api._RUNTIME_CONTEXT
            if current is begun:  # else the function has put its own there
                context_api._RUNTIME_CONTEXT = begun.inner

    def settle(self) -> None:
        """The function has been loaded: load the SDK in init if its tracers have been asked for."""
        if self.sdk.is_wanted and not _own_provider():
            self.sdk.load()

    def take(self) -> tuple[bytes, int]:
        """The function's spans that have ended since the last call: an OTLP body, their number."""
        recorder = self.sdk.recorder
        if recorder.dropped:
            dropped, recorder.dropped = recorder.dropped, 0
            self._say(f"{dropped} spans are dropped: an invocation may have {MAX_HELD} of its own")
        return recorder.take()

    def flush(self, left_s: float) -> None:
        """Let a provider of the function's own send what it holds before the environment freezes.

        For at most what is left of the deadline. It runs in a thread, because the time that
        `force_flush` is given is not kept to by the SDK (opentelemetry-python issue 4568).
        """
        flush = getattr(_own_provider(), "force_flush", None)
        budget_s = min(_FLUSH_S, left_s - _RESERVE_S)
        if flush is None or budget_s <= 0:
            return
        from threading import Thread

        last = self._flushing
        if isinstance(last, Thread) and last.is_alive():
            return  # it has been waited for once
        thread = Thread(target=_quietly, args=(flush, int(budget_s * 1000)), daemon=True)
        thread.start()
        thread.join(budget_s)
        if thread.is_alive():
            self._say(f"the function's own tracer provider did not flush within {budget_s:.1f} s")
        self._flushing = thread


def _is_running(times: InvokeTimes) -> bool:
    """Whether this is the handler, any thread beside it, or what it has left for afterwards."""
    return current_invocation.here() is times or times.entered_ns > 0 == times.returned_ns


class _Begun:
    """In place of the API's context variable until an invocation is over that began without it.

    Any thread or task may have been the first to import the API, and what it attaches the others
    do not see. So the invocation has a context wherever it runs and nothing has been attached.
    """

    def __init__(self, times: InvokeTimes, context: Context) -> None:
        self.times = times
        self.inner = context_api._RUNTIME_CONTEXT
        self._context = context
        self._none = Variables().run(self.inner.get_current)
        self.attach = self.inner.attach
        self.detach = self.inner.detach

    def get_current(self) -> Context:
        """See `opentelemetry.context`."""
        context = self.inner.get_current()
        is_none = context is self._none and current_invocation.here() is self.times
        return self._context if is_none else context


def _own_provider() -> object:
    return trace._TRACER_PROVIDER


def _quietly(flush: Callable[[int], object], timeout_ms: int) -> None:
    try:
        flush(timeout_ms)
    except Exception:  # noqa: BLE001 - the function's own exporter says what it has to say
        pass
