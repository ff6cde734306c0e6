"""A log record as a plain record with slots.

Whoever turns lines or events into telemetry makes it, `log_encode` reads it. It holds what the
OpenTelemetry protocol's logs.proto holds; times are whole nanoseconds since the epoch. It must not
know where lines come from or how they are sent. Nothing is checked here.
"""

from __future__ import annotations

from lambdascope.otlp.model import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.otlp.model import Attributes


class LogRecord(Record):
    """One line or event (logs.proto: LogRecord).

    `time_ns` is when it happened, `observed_ns` when it was collected, 0 for unknown. The ids are
    16 and 8 bytes, or empty where no trace is known; `flags` are the W3C trace flags. `body` is
    anything that an attribute may be; None leaves it out. `severity_number` is from names.py, 0 for
    unknown.
    """

    __slots__ = (
        "attributes",
        "body",
        "dropped_attributes",
        "event_name",
        "flags",
        "observed_ns",
        "severity_number",
        "severity_text",
        "span_id",
        "time_ns",
        "trace_id",
    )

    def __init__(  # noqa: PLR0913 - one keyword for each field of the protocol's message
        self,
        *,
        time_ns: int,
        body: object = None,
        observed_ns: int = 0,
        severity_number: int = 0,
        severity_text: str = "",
        event_name: str = "",
        attributes: Attributes | None = None,
        trace_id: bytes = b"",
        span_id: bytes = b"",
        flags: int = 0,
        dropped_attributes: int = 0,
    ) -> None:
        self.time_ns = time_ns
        self.body = body
        self.observed_ns = observed_ns
        self.severity_number = severity_number
        self.severity_text = severity_text
        self.event_name = event_name
        self.attributes: Attributes = {} if attributes is None else attributes
        self.trace_id = trace_id
        self.span_id = span_id
        self.flags = flags
        self.dropped_attributes = dropped_attributes
