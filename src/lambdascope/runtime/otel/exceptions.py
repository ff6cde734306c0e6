"""Exceptions as log records in place of span events, or beside them.

Loaded where OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN asks for it: `logs` or `logs/dup`. Works on the
records of spans that are about to be encoded. Sources: OpenTelemetry semantic conventions 1.44,
exceptions/exceptions-logs and faas/faas-exceptions; an exception that a span has survived is below
ERROR (general/recording-errors).
"""

from __future__ import annotations

from lambdascope.otlp import names
from lambdascope.otlp.log_model import LogRecord
from lambdascope.runtime.logs import say
from lambdascope.runtime.otel.join import held_logs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.otlp.model import Event, Span
    from lambdascope.runtime.config import RuntimeConfig

LOGS_AND_EVENTS = "logs/dup"
_W3C_FLAGS = 0xFF


class Exceptions:
    """Makes the records. Threads may share it."""

    def __init__(self, config: RuntimeConfig) -> None:
        self._keeps_events = config.exception_signal == LOGS_AND_EVENTS
        self._held = held_logs(config, say)

    def move(self, span: Span, scope: tuple[str, str, str], failure: Event | None = None) -> bool:
        """Make log records of the span's exceptions; whether the span has become another.

        `scope` is the name, version and schema URL. `failure` is the event of what ended an
        invocation.
        """
        events = [event for event in span.events if event.name == names.EVENT_EXCEPTION]
        for event in events:
            name = names.EVENT_FAAS_EXCEPTION if event is failure else names.EVENT_EXCEPTION
            self._held.add(scope, _record(span, event, name))
        if self._keeps_events or not events:
            return False
        span.events = [event for event in span.events if event.name != names.EVENT_EXCEPTION]
        return True


def _record(span: Span, event: Event, name: str) -> LogRecord:
    attributes = dict(event.attributes)
    request_id = span.attributes.get(names.FAAS_INVOCATION_ID)
    if request_id is not None:
        attributes[names.FAAS_INVOCATION_ID] = request_id
    is_fatal = span.status_code == names.STATUS_ERROR
    return LogRecord(
        time_ns=event.time_ns,
        severity_number=names.SEVERITY_ERROR if is_fatal else names.SEVERITY_WARN,
        severity_text="ERROR" if is_fatal else "WARN",
        event_name=name,
        attributes=attributes,
        trace_id=span.trace_id,
        span_id=span.span_id,
        flags=span.flags & _W3C_FLAGS,
        dropped_attributes=event.dropped_attributes,
    )
