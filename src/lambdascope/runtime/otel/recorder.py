"""Takes the function's spans as they end, encoded, for the handoff after the response.

Loaded with the SDK's bridge. Called by the SDK as a span processor, in whatever thread a span
starts or ends. What begins and ends is also noted in the flight file, so that spans survive the
death of the process.
"""

from __future__ import annotations

import sys

from lambdascope.otlp.encode import TraceEncoder
from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.otel.convert import (
    closed,
    head_of,
    is_simple,
    opened,
    shift_ns,
    shifted,
    span_of,
)
from lambdascope.runtime.termination import Terminated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from lambdascope.runtime.otel.exceptions import Exceptions

# What one invocation may hold; the rest is counted.
MAX_HELD = 10_000


class SpanRecorder:
    """A span processor without threads, timers or exporter."""

    def __init__(
        self, resource: Mapping[str, object], exceptions: Exceptions | None = None
    ) -> None:
        self._resource = resource
        self._exceptions = exceptions
        self._encoders: dict[InstrumentationScope | None, TraceEncoder] = {}
        self._ended: list[tuple[TraceEncoder, bytes]] = []
        # What was to be added to the starts of open spans, by their ids; and how their encoded form
        # begins, as long as they have this name.
        self._shifts: dict[int, int] = {}
        self._heads: dict[int, tuple[bytes, str]] = {}
        self._latest: tuple[InstrumentationScope | None, TraceEncoder] | None = None
        self.dropped = 0

    def on_start(self, span: ReadableSpan, parent_context: object = None) -> None:
        """A span begins: note it where it survives."""
        times, context = current_invocation.times(), span.context
        if times is None or context is None or not context.trace_flags.sampled:
            return
        shift = shift_ns(times.offset_ns)
        if shift:
            if len(self._shifts) >= MAX_HELD:
                self._shifts.clear()  # of spans that never end
            self._shifts[context.span_id] = shift
        if times.flight is not None:
            encoder = self._encoder(span.instrumentation_scope)
            if is_simple(span, context):
                head = head_of(span, context, shift)
                encoded = opened(span, context, head)
                if len(self._heads) >= MAX_HELD:
                    self._heads.clear()
                self._heads[context.span_id] = head, span.name
            else:
                encoded = encoder.span(shifted(span_of(span), shift, 0))
            span_id = context.span_id.to_bytes(8, "big")
            times.flight.span_started(encoded, span_id, encoder.scope)

    def _on_ending(self, span: object) -> None:
        """A span is about to end."""

    def on_end(self, span: ReadableSpan) -> None:
        """A span has ended: keep it, if it is sampled."""
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        begun = self._shifts.pop(context.span_id, 0) if self._shifts else 0
        known = self._heads.pop(context.span_id, None)
        times = current_invocation.times()
        flight = None if times is None else times.flight
        if flight is not None and isinstance(sys.exception(), Terminated):
            return  # it is cut short by the end of the environment: the extension closes it so
        if len(self._ended) >= MAX_HELD:
            self.dropped += 1
            return
        encoder = self._encoder(span.instrumentation_scope)
        ended = 0 if times is None else shift_ns(times.offset_ns)
        if is_simple(span, context):
            if known is None or known[1] != span.name:
                known = head_of(span, context, begun), span.name
            encoded = kept = closed(span, context, known[0], ended)
        else:
            record = shifted(span_of(span), begun, ended)
            encoded = kept = encoder.span(record)
            exceptions, scope = self._exceptions, _named(span.instrumentation_scope)
            if exceptions is not None and record.events and exceptions.move(record, scope):
                kept = encoder.span(record)
        if flight is not None:
            flight.span_ended(encoded, context.span_id.to_bytes(8, "big"), encoder.scope)
        self._ended.append((encoder, kept))

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
        latest = self._latest
        if latest is not None and latest[0] is scope:
            return latest[1]
        encoder = self._encoders.get(scope)
        if encoder is None:
            name, version, schema_url = _named(scope)
            encoder = self._encoders[scope] = TraceEncoder(
                resource=self._resource,
                scope_name=name,
                scope_version=version,
                schema_url=schema_url,
            )
        self._latest = scope, encoder
        return encoder


def _named(scope: InstrumentationScope | None) -> tuple[str, str, str]:
    """Name, version and schema URL; empty where there are none."""
    if scope is None:
        return "", "", ""
    return scope.name, scope.version or "", scope.schema_url or ""
