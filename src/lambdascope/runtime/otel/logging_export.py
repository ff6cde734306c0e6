"""Python's log records as OTLP logs, when OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED asks.

Loaded with `logging`. A second handler of the root logger, beside the one that writes the
function's log; no SDK is needed. Source of the attributes: OpenTelemetry semantic conventions 1.44,
code and exception.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from lambdascope.otlp import names
from lambdascope.otlp.log_model import LogRecord
from lambdascope.runtime.faults import text_of
from lambdascope.runtime.log_handler import EXTRA_FREE

if TYPE_CHECKING:
    from lambdascope.runtime.otel.logs import HeldLogs

_SAMPLED = 1
# Python's levels are tens; the protocol has four numbers for each (logs data model, severity).
_SEVERITIES = ((50, 21), (40, 17), (30, 13), (20, 9), (10, 5), (1, 1))


class OtlpHandler(logging.Handler):
    """Keeps each record for the handoff; a failure is reported the way `logging` does."""

    def __init__(self, held: HeldLogs) -> None:
        super().__init__()
        self._held = held

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        try:
            self._held.add((record.name, "", ""), record_of(record))
        except Exception:  # noqa: BLE001 - the contract of logging.Handler.emit
            self.handleError(record)


def record_of(record: logging.LogRecord) -> LogRecord:
    """A record of `logging` as one that our encoder takes."""
    attributes: dict[str, object] = {
        key: value for key, value in vars(record).items() if key not in EXTRA_FREE
    }
    trace_id = attributes.pop("trace_id", "")
    span_id = attributes.pop("span_id", "")
    attributes |= {
        names.CODE_FILE_PATH: record.pathname,
        names.CODE_FUNCTION_NAME: record.funcName,
        names.CODE_LINE_NUMBER: record.lineno,
    }
    request_id = getattr(record, "aws_request_id", "")
    if request_id:
        attributes[names.FAAS_INVOCATION_ID] = request_id
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        attributes[names.EXCEPTION_TYPE] = type(error).__name__
        attributes[names.EXCEPTION_MESSAGE] = text_of(error)
        attributes[names.EXCEPTION_STACKTRACE] = "".join(traceback.format_exception(error))
    plain = isinstance(record.msg, dict) and not record.args
    return LogRecord(
        time_ns=int(record.created * 1e9),
        body=record.msg if plain else record.getMessage(),
        severity_number=next((n for level, n in _SEVERITIES if record.levelno >= level), 0),
        severity_text=record.levelname,
        attributes=attributes,
        trace_id=bytes.fromhex(trace_id) if isinstance(trace_id, str) else b"",
        span_id=bytes.fromhex(span_id) if isinstance(span_id, str) else b"",
        flags=_SAMPLED if trace_id else 0,
    )


def install(held: HeldLogs) -> None:
    """Add the handler to the root logger."""
    root = logging.getLogger()
    handler = OtlpHandler(held)
    # Ids are put on records by the handler that writes the log.
    for other in root.handlers:
        for each in other.filters:
            handler.addFilter(each)
    root.addHandler(handler)
