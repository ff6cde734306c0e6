"""Takes the function's spans as they end, encoded, for the handoff after the response.

Loaded with the SDK's bridge. Called by the SDK as a span processor, in whatever thread a span
starts or ends. What begins and ends is also noted in the flight file, so that spans survive the
death of the process.
"""

from __future__ import annotations

import sys

from lambdascope.otlp.encode import TraceEncoder
from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.otel.convert import opened, shift_ns, shifted, span_of
from lambdascope.runtime.termination import Terminated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from lambdascope.runtime.otel.exceptions import Exceptions

_MAX_HELD = 10_000


class SpanRecorder:
    """A span processor without threads, timers or exporter."""

    def __init__(
        self, resource: Mapping[str, object], exceptions: Exceptions | None = None
    ) -> None:
        self._resource = resource
        self._exceptions = exceptions
        self._encoders: dict[InstrumentationScope | None, TraceEncoder] = {}
        self._ended: list[tuple[TraceEncoder, bytes]] = []
        # What was to be added to the starts of open spans, by their ids.
        self._shifts: dict[int, int] = {}
        self.dropped = 0

    def on_start(self, span: ReadableSpan, parent_context: object = None) -> None:
        """A span begins: note it where it survives."""
        times, context = current_invocation.times(), span.context
        if times is None or context is None or not context.trace_flags.sampled:
            return
        shift = shift_ns(times.offset_ns)
        if shift:
            if len(self._shifts) >= _MAX_HELD:
                self._shifts.clear()  # of spans that never end
            self._shifts[context.span_id] = shift
        if times.flight is not None:
            encoder = self._encoder(span.instrumentation_scope)
            if span.links:
                encoded = encoder.span(shifted(span_of(span), shift, 0))
            else:
                encoded = opened(span, context, shift)
            span_id = context.span_id.to_bytes(8, "big")
            times.flight.span_started(encoded, span_id, encoder.scope)

    def _on_ending(self, span: object) -> None:
        """A span is about to end."""

    def on_end(self, span: ReadableSpan) -> None:
        """A span has ended: keep it, if it is sampled."""
        if not _is_sampled(span):
            return
        times = current_invocation.times()
        flight = None if times is None else times.flight
        if flight is not None and isinstance(sys.exception(), Terminated):
            return  # it is cut short by the end of the environment: the extension closes it so
        if len(self._ended) >= _MAX_HELD:
            self.dropped += 1
            return
        encoder = self._encoder(span.instrumentation_scope)
        record = span_of(span)
        begun = self._shifts.pop(int.from_bytes(record.span_id, "big"), 0) if self._shifts else 0
        ended = 0 if times is None else shift_ns(times.offset_ns)
        if begun or ended:
            shifted(record, begun, ended)
        encoded = encoder.span(record)
        if flight is not None:
            flight.span_ended(encoded, record.span_id, encoder.scope)
        exceptions = self._exceptions if record.events else None
        if exceptions is not None and exceptions.move(record, _named(span.instrumentation_scope)):
            encoded = encoder.span(record)
        self._ended.append((encoder, encoded))

    def take(self) -> tuple[bytes, int]:
        """What has ended since the last call as an OTLP body, and the number of spans."""
        count = len(self._ended)
        if not count:
            return b"", 0
        # Another thread may append meanwhile.
        ended = self._ended[:count]
        del self._ended[:count]
        by_scope: dict[TraceEncoder, list[bytes]] = {}
        for encoder, encoded in ended:
            by_scope.setdefault(encoder, []).append(encoded)
        # Requests may be joined end to end: their only field is a repeated one.
        return b"".join(e.wrap(spans) for e, spans in by_scope.items()), count

    def shutdown(self) -> None:
        """Nothing is held beyond an invocation."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is sent before the response; what has ended is handed over after it."""
        return True

    def _encoder(self, scope: InstrumentationScope | None) -> TraceEncoder:
        encoder = self._encoders.get(scope)
        if encoder is None:
            name, version, schema_url = _named(scope)
            encoder = self._encoders[scope] = TraceEncoder(
                resource=self._resource,
                scope_name=name,
                scope_version=version,
                schema_url=schema_url,
            )
        return encoder


def _named(scope: InstrumentationScope | None) -> tuple[str, str, str]:
    """Name, version and schema URL; empty where there are none."""
    if scope is None:
        return "", "", ""
    return scope.name, scope.version or "", scope.schema_url or ""


def _is_sampled(span: ReadableSpan) -> bool:
    context = span.context
    return context is not None and context.trace_flags.sampled
