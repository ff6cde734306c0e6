"""Log lines of the Telemetry API as OTLP log records, with their place in a trace.

A line is text or, in the JSON log format, an object; which invocation it belongs to stands in it,
or else it is the one that runs. Where that one's trace is not known yet, the lines wait for it,
bounded by number and by time. Source of the forms: AWS Lambda developer guide, "Log and monitor
Python Lambda functions", "Configuring JSON and plain text log formats".
"""

from __future__ import annotations

from lambdascope.otlp import names
from lambdascope.otlp.log_model import LogRecord
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.json_text import loads
from lambdascope_extension.records.record import parse_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.otlp.log_encode import LogEncoder
    from lambdascope.otlp.model import Attributes
    from lambdascope_extension.records.joins import Joins

MAX_WAITING = 1000
MAX_WAIT_S = 10.0
_LEVELS = {
    "TRACE": names.SEVERITY_TRACE,
    "DEBUG": names.SEVERITY_DEBUG,
    "INFO": names.SEVERITY_INFO,
    "WARN": names.SEVERITY_WARN,
    "WARNING": names.SEVERITY_WARN,
    "ERROR": names.SEVERITY_ERROR,
    "CRITICAL": names.SEVERITY_FATAL,
    "FATAL": names.SEVERITY_FATAL,
}
_REQUEST_IDS = ("requestId", "AWSRequestId", "function_request_id")
_EXCEPTIONS = {
    "errorType": names.EXCEPTION_TYPE,
    "errorMessage": names.EXCEPTION_MESSAGE,
    "stackTrace": names.EXCEPTION_STACKTRACE,
}
_HEX = frozenset("0123456789abcdef")


def read_line(source: str, line: object, time_ns: int) -> tuple[str, LogRecord]:
    """The record of a line and the request id that stands in it, "" for none."""
    fields = line if isinstance(line, dict) else None
    if isinstance(line, str):
        line = line.removesuffix("\n")
        fields = _object(line)
    record = LogRecord(time_ns=time_ns, observed_ns=time_ns, body=line)
    record.attributes[names.LAMBDASCOPE_LOG_SOURCE] = source
    if fields is not None:
        return _read_fields(record, dict(fields)), record
    return (_read_text(record, line) if isinstance(line, str) else ""), record


def _object(line: str) -> dict[str, object] | None:
    """The line as a JSON object, which functions with text format may print too."""
    if not (line.startswith("{") and line.endswith("}")):
        return None
    try:
        found = loads(line.encode("utf-8", "replace"))
    except RemoteProtocolError:
        return None
    return found if isinstance(found, dict) else None


def _read_fields(record: LogRecord, fields: dict[str, object]) -> str:
    """Take out what the record has a place for; what is left are attributes. Without a message the
    object itself is the body."""
    value = fields.get("timestamp")
    time_ns = parse_time(value) if isinstance(value, str) else 0
    if time_ns:
        record.time_ns = time_ns
        del fields["timestamp"]
    level = fields.get("level")
    if isinstance(level, str):
        record.severity_number = _LEVELS.get(level.upper(), 0)
        record.severity_text = level
        del fields["level"]
    request_id = ""
    for name in _REQUEST_IDS:
        value = fields.get(name)
        if isinstance(value, str) and value:
            request_id = value
            del fields[name]
            break
    _read_ids(record, fields)
    for name, attribute in _EXCEPTIONS.items():
        value = fields.pop(name, None)
        if value is not None:
            is_list = isinstance(value, list)
            record.attributes[attribute] = _stack(value) if is_list else value
    message = fields.pop("message", None)
    if message is not None:
        record.body = message
        _add(record.attributes, fields)
    elif names.EXCEPTION_MESSAGE in record.attributes:
        record.body = record.attributes[names.EXCEPTION_MESSAGE]
        _add(record.attributes, fields)
    else:
        record.body = fields
    return request_id


def _read_ids(record: LogRecord, fields: dict[str, object]) -> None:
    trace_id, span_id = fields.get("trace_id"), fields.get("span_id")
    if _is_id(trace_id, 32) and _is_id(span_id, 16):
        record.trace_id = bytes.fromhex(str(fields.pop("trace_id")))
        record.span_id = bytes.fromhex(str(fields.pop("span_id")))
        record.flags = names.FLAG_SAMPLED
        fields.pop("trace_flags", None)


def _is_id(value: object, length: int) -> bool:
    return isinstance(value, str) and len(value) == length and _HEX.issuperset(value)


def _stack(value: object) -> str:
    return "".join(str(part) for part in value) if isinstance(value, list) else str(value)


def _add(attributes: Attributes, fields: dict[str, object]) -> None:
    for name, value in fields.items():
        attributes.setdefault(name, value)


def _read_text(record: LogRecord, line: str) -> str:
    """The forms of AWS's clients: Python's `[LEVEL]`, time, request id and text, and Node's time,
    request id, level and text, all with tabs between."""
    if line.startswith("["):  # also without the rest, as a fault of the handler is written
        level = line[1 : line.find("]", 1, 12)]
        record.severity_number = _LEVELS.get(level.upper(), 0)
        record.severity_text = level if record.severity_number else ""
    parts = line.split("\t", 3)
    if len(parts) < 4:
        return ""
    if parts[0].startswith("[") and parts[0].endswith("]"):
        level, time, request_id = parts[0][1:-1], parts[1], parts[2]
    else:
        time, request_id, level = parts[:3]
    time_ns = parse_time(time)
    number = _LEVELS.get(level.upper(), 0)
    if not time_ns or not number:
        return ""
    record.time_ns = time_ns
    record.severity_number, record.severity_text = number, level
    record.body = parts[3]
    return request_id


class Lines:
    """`ready` holds encoded records; those that wait for their trace become ready later."""

    __slots__ = ("_count", "_joins", "_waiting", "ready")

    def __init__(self, joins: Joins) -> None:
        self.ready: list[bytes] = []
        self._joins = joins
        self._waiting: dict[str, list[LogRecord]] = {}
        self._count = 0

    def take(
        self, encoder: LogEncoder, item: dict[str, object], time_ns: int, running: str
    ) -> None:
        """One function or extension line; `running` is the invocation that has not ended."""
        source = str(item.get("type"))
        request_id, record = read_line(source, item.get("record"), time_ns)
        if source == "function":
            request_id = request_id or running
        if request_id:
            record.attributes[names.FAAS_INVOCATION_ID] = request_id
        if record.trace_id or not request_id or not self._joins.is_fed:
            self.ready.append(encoder.record(record))
            return
        self._waiting.setdefault(request_id, []).append(record)
        self._count += 1
        if self._count > MAX_WAITING:
            self.release(encoder, everything=True)

    def release(self, encoder: LogEncoder, *, everything: bool = False) -> None:
        """Make ready what has found its trace; with `everything`, also what has not."""
        for request_id in list(self._waiting):
            joined = self._joins.find(request_id)
            if joined is None and not everything:
                continue
            for record in self._waiting.pop(request_id):
                if joined is not None:
                    record.trace_id, record.span_id = joined.trace_id, joined.span_id
                    record.flags = names.FLAG_SAMPLED
                self.ready.append(encoder.record(record))
                self._count -= 1

    @property
    def waiting(self) -> int:
        """How many lines wait for their trace."""
        return self._count
