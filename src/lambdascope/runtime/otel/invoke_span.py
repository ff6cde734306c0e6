"""The invoke span as the function sees it: the current span, which it may annotate.

Loaded with the OpenTelemetry API. It answers for its ids by itself, which is all that children
need; a real span of the SDK is made when the function looks closer or writes. The runtime ends it
and hands it over together with its own attributes.
"""

from __future__ import annotations

import sys

from opentelemetry import trace
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context

    from lambdascope.runtime.otel.sdk import Sdk
    from lambdascope.runtime.telemetry import InvokeTimes

_W3C_FLAGS = 0xFF


class InvokeSpan(trace.Span):
    """The span of one invocation. `real` is the SDK's, once there is one; `token` its context's."""

    def __init__(self, times: InvokeTimes, sdk: Sdk) -> None:
        self._sdk = sdk
        self._times = times
        self._context: SpanContext | None = None
        self.real: trace.Span | None = None
        self.token: Token[Context] | None = None

    @property
    def trace_id(self) -> bytes:
        """The trace's id: 16 bytes."""
        return self._times.trace.trace_id  # type: ignore[union-attr]  # there is one, see Bridge

    def current_ids(self) -> tuple[str, str] | None:
        """Trace and span id, in hex, of the span that is current; None when there is none."""
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return format(context.trace_id, "032x"), format(context.span_id, "016x")

    def get_span_context(self) -> SpanContext:
        """The ids, as children and propagators need them."""
        context = self._context
        if context is None:
            place = self._times.trace
            assert place is not None  # noqa: S101 - the bridge has looked
            context = self._context = SpanContext(
                int.from_bytes(place.trace_id, "big"),
                int.from_bytes(place.span_id, "big"),
                is_remote=False,
                trace_flags=TraceFlags(place.flags & _W3C_FLAGS),
                trace_state=TraceState.from_header([place.trace_state]),
            )
        return context

    def is_recording(self) -> bool:
        """Whether what is written to it will be seen: until the handler has returned."""
        return not self._times.returned_ns and bool(self.get_span_context().trace_flags.sampled)

    def end(self, end_time: int | None = None) -> None:
        """Do nothing: the invocation ends when the handler returns."""

    def set_attributes(self, attributes: object) -> None:
        """See `opentelemetry.trace.Span`."""
        self._annotated().set_attributes(attributes)  # type: ignore[arg-type]  # as it came

    def set_attribute(self, key: str, value: object) -> None:
        """See `opentelemetry.trace.Span`."""
        self._annotated().set_attribute(key, value)  # type: ignore[arg-type]  # as it came

    def add_event(self, *args: object, **kwargs: object) -> None:
        """See `opentelemetry.trace.Span`."""
        self._annotated().add_event(*args, **kwargs)  # type: ignore[arg-type]  # as they came

    def add_link(self, *args: object, **kwargs: object) -> None:
        """See `opentelemetry.trace.Span`."""
        self._annotated().add_link(*args, **kwargs)  # type: ignore[arg-type]  # as they came

    def update_name(self, name: str) -> None:
        """See `opentelemetry.trace.Span`."""
        self._annotated().update_name(name)

    def set_status(self, *args: object, **kwargs: object) -> None:
        """See `opentelemetry.trace.Span`."""
        self._annotated().set_status(*args, **kwargs)  # type: ignore[arg-type]  # as they came

    def record_exception(self, *args: object, **kwargs: object) -> None:
        """See `opentelemetry.trace.Span`."""
        self._annotated().record_exception(*args, **kwargs)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        # What only spans of the SDK have, as `attributes` and `name`.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._annotated(), name)

    @property  # type: ignore[misc]  # so that `isinstance` finds the SDK's class
    def __class__(self) -> type:
        module = sys.modules.get("opentelemetry.sdk.trace")
        return getattr(module, "_Span", InvokeSpan)

    def _annotated(self) -> trace.Span:
        if not self.get_span_context().trace_flags.sampled:
            return trace.NonRecordingSpan(self.get_span_context())
        if self.real is None:
            start_ns = self._times.received_ns + self._times.offset_ns
            self.real = self._sdk.start_invoke_span(self.get_span_context(), start_ns)
        return self.real
