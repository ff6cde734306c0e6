"""Where text of the runtime and of the function goes: standard output, or AWS's framed descriptor.

Knows the two formats (text and JSON) and the frame protocol of managed runtimes. `logging` is not
imported here: when the function imports it, `attach` is called (see import_watch.py).
"""

from __future__ import annotations

import os
import sys
from time import gmtime, strftime, time_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.faults import ErrorReport

# Frame: type (4 bytes) + length (4) + microseconds since the epoch (8) + UTF-8 text, big-endian.
# The type's low byte carries format and level (awslambdaric, lambda_runtime_log_utils.py).
_FRAME_TEXT = 0xA55A0003
_FRAME_JSON = 0xA55A0002
_LEVEL_BITS = {"TRACE": 0x04, "DEBUG": 0x08, "INFO": 0x0C, "WARNING": 0x10, "WARN": 0x10}
_LEVEL_BITS |= {"ERROR": 0x14, "CRITICAL": 0x18, "FATAL": 0x18}
_LEVEL_NAMES = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"}
# Standard output splits an event at LF only, so a trace stays one event with CR between its lines.
_LINE_END = "\r"
_NO_BREAK_SPACE = "\u00a0"


class Logs:
    """The function's log. `write` never raises: a full disk must not fail an invocation."""

    def __init__(self, *, json_format: bool, level: str, frame_fd: int | None) -> None:
        self.json_format = json_format
        self.level = _LEVEL_NAMES.get(level, level)
        self._fd = frame_fd
        self._leveled = json_format or bool(level)

    def write(self, text: str, level: str = "") -> None:
        """Text as it is (frames have no line end, standard output gets what is in `text`)."""
        try:
            if self._fd is None:
                sys.stdout.write(text)
                sys.stdout.flush()
            else:
                self._write_frame(text, level)
        except (OSError, ValueError):
            pass  # nowhere left to say so

    def flush(self) -> None:
        """Push out what print() has buffered."""
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            pass  # the user closed or replaced it

    def say(self, text: str) -> None:
        """One line of the runtime itself, to standard error."""
        try:
            sys.stderr.write(f"lambdascope: {text}\n")
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):
            pass  # nowhere left to say so

    def error(self, report: ErrorReport) -> None:
        """The log record of a failed invocation or init, as AWS's client writes it."""
        if self.json_format:
            import json

            fields = {"timestamp": iso_time_ms(time_ns()), "level": "ERROR", **report.body}
            self.write_record(json.dumps(fields, default=str), "ERROR")
            return
        lines = [f"[ERROR] {report.name}: {report.message}" if report.message else report.name]
        trace = report.body["stackTrace"]
        lines.append("Traceback (most recent call last):")
        for element in trace if isinstance(trace, list) else []:
            lines += [_indented(line) for line in str(element).splitlines()]
        lines += _cause_lines(report.body.get("cause"))
        self.write_record((_LINE_END if self._fd is None else "\n").join(lines), "ERROR")

    def attach(self, _module: object = None) -> None:
        """Give the root logger our handler; called when the function first imports `logging`."""
        from lambdascope.runtime.log_handler import install

        install(self)

    def write_record(self, text: str, level: str) -> None:
        """One log record: a frame, or a line on standard output."""
        self.write(text if self._fd is not None else f"{text}\n", level)

    def _write_frame(self, text: str, level: str) -> None:
        assert self._fd is not None  # noqa: S101 - the caller asked
        body = text.encode("utf-8", "backslashreplace")
        kind = _FRAME_JSON if self.json_format else _FRAME_TEXT
        if self._leveled:
            kind |= _LEVEL_BITS.get(level, 0)
        frame = (
            kind.to_bytes(4, "big")
            + len(body).to_bytes(4, "big")
            + (time_ns() // 1000).to_bytes(8, "big")
            + body
        )
        # A short write would make the platform read the rest as a frame header.
        while frame:
            frame = frame[os.write(self._fd, frame) :]


def iso_time_ms(now_ns: int) -> str:
    """UTC with milliseconds, as in 2026-01-01T00:00:00.000Z."""
    whole, rest = divmod(now_ns // 1_000_000, 1000)
    return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(whole))}.{rest:03d}Z"


def _indented(line: str) -> str:
    bare = line.lstrip(" ")
    return _NO_BREAK_SPACE * (len(line) - len(bare)) + bare


def _cause_lines(cause: object) -> list[str]:
    lines: list[str] = []
    while isinstance(cause, dict):
        lines.append(f"Caused by {cause['errorType']}: {cause['errorMessage']}")
        for element in cause["stackTrace"]:
            lines += [_indented(line) for line in str(element).splitlines()]
        cause = cause.get("cause")
    return lines
