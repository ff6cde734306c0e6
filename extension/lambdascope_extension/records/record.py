"""One record of the Telemetry API as values, whatever may be missing or wrong in it.

Knows every type and field of schema 2025-01-29 and of the older ones, so that what it does not know
can be counted; nothing here raises on what a record holds. It must not know what is made of it.
Source: AWS Lambda developer guide, "Lambda Telemetry API Event schema reference".
"""

from __future__ import annotations

PREFIX = "platform."
INIT_START = "platform.initStart"
INIT_RUNTIME_DONE = "platform.initRuntimeDone"
INIT_REPORT = "platform.initReport"
RESTORE_START = "platform.restoreStart"
RESTORE_RUNTIME_DONE = "platform.restoreRuntimeDone"
RESTORE_REPORT = "platform.restoreReport"
START = "platform.start"
RUNTIME_DONE = "platform.runtimeDone"
REPORT = "platform.report"
LOGS_DROPPED = "platform.logsDropped"
FUNCTION = "function"
EXTENSION = "extension"

_PHASE = {"initializationType", "phase", "status", "errorType", "metrics", "spans", "tracing"}
_BEGIN = {
    "functionName",
    "functionVersion",
    "functionArn",
    "instanceId",
    "instanceMaxMemory",
    "runtimeVersion",
    "runtimeVersionArn",
    "initializationType",
    "phase",
    "tracing",
}
_CALL = {"requestId", "version", "functionArn", "tenantId", "tracing"}
_END = {"requestId", "status", "errorType", "metrics", "spans", "tracing", "tenantId"}
_FIELDS: dict[str, set[str]] = {
    INIT_START: _BEGIN,
    INIT_RUNTIME_DONE: _PHASE,
    INIT_REPORT: _PHASE,
    RESTORE_START: _BEGIN,
    RESTORE_RUNTIME_DONE: _PHASE,
    RESTORE_REPORT: _PHASE,
    START: _CALL,
    RUNTIME_DONE: _END | {"internalMetrics"},
    REPORT: _END,
    LOGS_DROPPED: {"reason", "droppedRecords", "droppedBytes"},
    "platform.extension": {"name", "state", "events", "errorType"},
    "platform.telemetrySubscription": {"name", "state", "types"},
    # Of the older Logs API, which some emulators still send.
    "platform.end": {"requestId"},
    "platform.fault": set(),
    "platform.logsSubscription": {"name", "state", "types"},
}
_METRICS = {
    "durationMs",
    "producedBytes",
    "billedDurationMs",
    "memorySizeMB",
    "maxMemoryUsedMB",
    "initDurationMs",
    "restoreDurationMs",
    "billedRestoreDurationMs",
}
_MAX_SPANS = 32


class PlatformRecord:
    """`time_ns` is Unix time, 0 where it could not be read. `spans` are (name, start_ns, ms).

    `metrics` holds the numbers among the metrics, in the platform's units. `trace` is the X-Ray
    header's text. `unknown` names what the schema does not have, "" for the type itself.
    """

    __slots__ = (
        "error_type",
        "fields",
        "kind",
        "metrics",
        "request_id",
        "spans",
        "status",
        "time_ns",
        "trace",
        "unknown",
    )

    def __init__(self, kind: str, time_ns: int, fields: dict[str, object]) -> None:
        self.kind = kind
        self.time_ns = time_ns
        self.fields = fields
        self.request_id = self.text("requestId")
        self.status = self.text("status")
        self.error_type = self.text("errorType")
        metrics = fields.get("metrics")
        self.metrics = _numbers(metrics) if isinstance(metrics, dict) else {}
        self.spans = _spans(fields.get("spans"))
        tracing = fields.get("tracing")
        value = tracing.get("value") if isinstance(tracing, dict) else None
        self.trace = value if isinstance(value, str) else ""
        known = _FIELDS.get(kind)
        self.unknown = [""] if known is None else [name for name in fields if name not in known]
        if metrics:
            self.unknown += [name for name in self.metrics if name not in _METRICS]

    def text(self, name: str) -> str:
        """A field that is a string, "" where it is none."""
        value = self.fields.get(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> float:
        """A field that is a number and not negative, else 0."""
        value = self.fields.get(name)
        return value if _is_number(value) else 0  # type: ignore[return-value]  # just asked

    @property
    def failed(self) -> bool:
        """Whether the status says that the phase did not end well; none at all does not."""
        return self.status not in ("", "success")


def read_record(item: dict[str, object]) -> PlatformRecord:
    """The record of a `platform.*` item of a batch."""
    fields = item.get("record")
    kind, time = item.get("type"), item.get("time")
    return PlatformRecord(
        str(kind),
        parse_time(time) if isinstance(time, str) else 0,
        fields if isinstance(fields, dict) else {},
    )


def parse_time(text: str) -> int:
    """An ISO time as Unix time in ns, 0 when it is none. Without a zone it is UTC.

    The fraction may have any number of digits and follow a point, a comma or a colon, which the
    documentation has in one place.
    """
    try:
        year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
        hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
        if not (0 < month < 13 and 0 < day < 32):
            return 0
        zone = text[19:].lstrip(".,:0123456789")
        digits = text[20 : len(text) - len(zone)][:9]
        fraction = int(digits.ljust(9, "0")) if digits else 0
        offset_s = 0
        if zone[:1] in ("+", "-") and zone:
            offset_s = int(zone[1:3]) * 3600 + int(zone[-2:]) * 60
            offset_s = -offset_s if zone[0] == "-" else offset_s
    except ValueError:
        return 0
    seconds = _days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_s
    return max(0, seconds * 1_000_000_000 + fraction)


def _days(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 in the Gregorian calendar; years that begin in March end in leap days.

    `datetime` would do it too, and is a shared library more to load.
    """
    year -= month < 3
    in_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + in_year - 719_468


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e18


def _numbers(fields: dict[str, object]) -> dict[str, float]:
    return {name: value for name, value in fields.items() if _is_number(value)}  # type: ignore[misc]


def _spans(items: object) -> list[tuple[str, int, float]]:
    found = []
    for item in items[:_MAX_SPANS] if isinstance(items, list) else ():
        if not isinstance(item, dict):
            continue
        name, start, duration = item.get("name"), item.get("start"), item.get("durationMs")
        if isinstance(name, str) and isinstance(duration, (int, float)) and _is_number(duration):
            start_ns = parse_time(start) if isinstance(start, str) else 0
            found.append((name, start_ns, float(duration)))
    return found
