"""The root logger's handler, as AWS's Python client sets it up; loaded only with `logging`.

Text: level, UTC time, request id and message, tab-separated. JSON: one object a record, extra
fields merged at the top. The invocation comes from the context variable, so that concurrent ones do
not mix. A field that JSON does not know is written as text: a log call must never raise into the
function.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.logs import iso_time_ms

if TYPE_CHECKING:
    from lambdascope.runtime.logs import Logs

_TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"
# What every record has; the rest came in through `extra`.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {
    "aws_request_id",
    "asctime",
    "message",
    "tenant_id",
}


class LambdaLoggerHandler(logging.Handler):
    """Writes formatted records to the function's log."""

    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self.log_sink = logs
        self.addFilter(_add_invocation)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; failures are reported the way `logging` does."""
        try:
            self.log_sink.write_record(self.format(record), record.levelname)
        except Exception:  # noqa: BLE001 - the contract of logging.Handler.emit
            self.handleError(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a record, with the keys of AWS's client and times in milliseconds."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        fields: dict[str, object] = {
            "timestamp": iso_time_ms(int(record.created * 1e9)),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
            "requestId": getattr(record, "aws_request_id", None),
            "tenantId": getattr(record, "tenant_id", None),
        }
        if record.exc_info and record.exc_info[0] is not None:
            fields["errorType"] = record.exc_info[0].__name__
            fields["errorMessage"] = str(record.exc_info[1])
            fields["stackTrace"] = self.formatException(record.exc_info).split("\n")
            fields["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        extra = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        merged = {key: value for key, value in (fields | extra).items() if value is not None}
        return json.dumps(merged, default=str, ensure_ascii=False)


def _add_invocation(record: logging.LogRecord) -> bool:
    invocation = current_invocation.get()
    record.aws_request_id = invocation.request_id if invocation is not None else ""
    record.tenant_id = invocation.tenant_id if invocation is not None else None
    return True


def install(logs: Logs) -> None:
    """Add the handler to the root logger and set the level that Lambda was configured with."""
    handler = LambdaLoggerHandler(logs)
    formatter = (
        JsonFormatter() if logs.json_format else logging.Formatter(_TEXT_FORMAT, _TIME_FORMAT)
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    if logs.level in logging.getLevelNamesMapping():
        root.setLevel(logs.level)
    root.addHandler(handler)
