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
import traceback

from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.faults import text_of
from lambdascope.runtime.logs import iso_time_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.logs import Logs

_TEXT_FORMAT = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"
# What every record has; the rest came in through `extra`.
EXTRA_FREE = frozenset(vars(logging.makeLogRecord({}))) | {
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
            # A formatter that was made for AWS's handler ends its lines itself.
            text = self.format(record).removesuffix("\n")
            self.log_sink.write_record(text, level_name(record.levelno))
        except Exception:  # noqa: BLE001 - the contract of logging.Handler.emit
            self.handleError(record)


class JsonFormatter(logging.Formatter):
    """One JSON object a record, with the keys of AWS's client and times in milliseconds."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        fields: dict[str, object] = {
            "timestamp": iso_time_ms(int(record.created * 1e9)),
            "level": level_name(record.levelno),
            # An object that is logged by itself stays an object.
            "message": record.msg
            if isinstance(record.msg, dict) and not record.args
            else record.getMessage(),
            "logger": record.name,
            **_failure(record),
            "requestId": getattr(record, "aws_request_id", None),
        }
        if getattr(record, "tenant_id", None) is not None:
            fields["tenantId"] = record.tenant_id  # type: ignore[attr-defined]  # just asked
        for key, value in vars(record).items():
            if key not in EXTRA_FREE and key not in fields:
                fields[key] = value
        present = {key: value for key, value in fields.items() if value is not None}
        try:
            return json.dumps(present, default=text_of, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            # Keys that JSON does not know, or an object that holds itself.
            return json.dumps({k: _plain(v) for k, v in present.items()}, ensure_ascii=False)


def level_name(number: int) -> str:
    """The level in the frame and in JSON: as in AWS's client, the standard one at or below."""
    return logging.getLevelName(min(50, max(0, number)) // 10 * 10)


def _failure(record: logging.LogRecord) -> dict[str, object]:
    """The fields of the exception that was logged, None for each where there was none."""
    exc_info = record.exc_info
    if not exc_info or exc_info[1] is None:
        return {}
    return {
        "stackTrace": traceback.format_tb(exc_info[2]),
        "errorType": type(exc_info[1]).__name__,
        "errorMessage": text_of(exc_info[1]),
        "location": f"{record.pathname}:{record.funcName}:{record.lineno}",
    }


def _plain(value: object) -> object:
    return value if isinstance(value, (str, int, float)) else text_of(value)


def _add_invocation(record: logging.LogRecord) -> bool:
    times = current_invocation.times()
    if times is None:
        record.aws_request_id, record.tenant_id = "", None
        return True
    record.aws_request_id = times.invocation.request_id
    record.tenant_id = times.invocation.tenant_id
    if times.trace is not None and not hasattr(record, "trace_id"):
        # Of the span that is current, where the function has spans of its own.
        ids = None if times.span is None else times.span.current_ids()
        record.trace_id, record.span_id = ids or times.trace.hex_ids()
    return True


def install(logs: Logs) -> None:
    """Add the handler to the root logger and set the level that Lambda was configured with."""
    # Of all formatters, also the function's own, as with AWS's client: UTC whatever TZ says.
    logging.Formatter.converter = time.gmtime
    handler = LambdaLoggerHandler(logs)
    formatter = (
        JsonFormatter() if logs.json_format else logging.Formatter(_TEXT_FORMAT, _TIME_FORMAT)
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    if logs.level in logging.getLevelNamesMapping():
        root.setLevel(logs.level)
    root.addHandler(handler)
