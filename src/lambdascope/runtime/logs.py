"""Where text of the runtime and of the function goes: standard output, or AWS's framed descriptor.

Knows the two formats (text and JSON) and the frame protocol of managed runtimes. `logging` is not
imported here: when the function imports it, `attach` is called (see import_watch.py).
"""

from __future__ import annotations

import os
import sys
from _thread import RLock
from time import gmtime, strftime, time_ns

from lambdascope.wire.names import ENV_LOG_FD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from lambdascope.runtime.faults import ErrorReport

# Frame: type (4 bytes) + length (4) + microseconds since the epoch (8) + UTF-8 text, big-endian.
# The type's low byte carries format and level (awslambdaric, lambda_runtime_log_utils.py).
_FRAME_TEXT = 0xA55A0003
_FRAME_JSON = 0xA55A0002
_LEVEL_BITS = {"TRACE": 0x04, "DEBUG": 0x08, "INFO": 0x0C, "WARNING": 0x10, "WARN": 0x10}
_LEVEL_BITS |= {"ERROR": 0x14, "CRITICAL": 0x18, "FATAL": 0x18}
_LOCK_TIMEOUT_S = 0.5
_LEVEL_NAMES = {"TRACE": "DEBUG", "WARN": "WARNING", "FATAL": "CRITICAL"}
# The platform drops leading spaces. It ends an event at LF only, so that a failure stays one event
# with CR between its lines.
_NO_BREAK_SPACE = "\u00a0"


class Logs:
    """The function's log. Nothing in here raises: a full disk must not fail an invocation.

    What standard output does not take goes to standard error, which ends in the same log.
    """

    def __init__(self, *, json_format: bool, level: str, frame_fd: int | None) -> None:
        self.json_format = json_format
        self.level = _LEVEL_NAMES.get(level, level)
        self._fd = frame_fd
        self._leveled = json_format or bool(level)
        # Frames of several threads must not mix; a signal handler may log within a log call.
        self._lock = RLock()

    def __deepcopy__(self, _memo: object) -> Logs:
        """A context that is copied keeps its log."""
        return self

    def __reduce__(self) -> tuple[type[StdoutLogs], tuple[bool, str]]:
        """A context that is sent to another process writes to that process's standard output."""
        return StdoutLogs, (self.json_format, self.level)

    def check(self) -> None:
        """Leave a descriptor that cannot be written to, and say so; called once, at the start."""
        if self._fd is None:
            return
        try:
            os.fstat(self._fd)
        except (OSError, OverflowError) as error:
            self._leave_frames(error)

    def write(self, text: str) -> None:
        """Text as it is, and no line end; a text frame without a level, as context.log gives it."""
        if not self._framed(_FRAME_TEXT, text):
            self._to_stdout(text)

    def write_record(self, text: str, level: str) -> None:
        """One record of the logging module: a frame, or a line on standard output."""
        kind = _FRAME_JSON if self.json_format else _FRAME_TEXT
        if self._leveled:
            kind |= _LEVEL_BITS.get(level, 0)
        if not self._framed(kind, text):
            self._to_stdout(f"{text}\n")

    def error(self, report: ErrorReport) -> None:
        """The log record of a failed invocation or init, as AWS's client writes it."""
        if self.json_format:
            from lambdascope.runtime.faults import json_text

            fields = {"timestamp": iso_time_ms(time_ns()), "level": "ERROR", **report.body}
            text, kind = json_text(fields), _FRAME_JSON
        else:
            text, kind = _error_text(report), _FRAME_TEXT
        if not self._framed(kind | _LEVEL_BITS["ERROR"], text):
            self._to_stdout("\r".join(text.splitlines()) + "\n")

    def flush(self) -> None:
        """Push out what print() has buffered."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # noqa: BLE001 - the user may have put any object there, or closed it
                pass

    def say(self, text: str) -> None:
        """One line of the runtime itself, to standard error."""
        say(text)

    def attach(self, _module: object = None) -> None:
        """Give the root logger our handler; called when the function first imports `logging`."""
        try:
            from lambdascope.runtime.log_handler import install

            install(self)
        except Exception as fault:  # noqa: BLE001 - this runs inside an import of the function
            kind = type(fault).__name__
            self.say(f"logging is not set up ({kind}: {fault}); is there a logging.py of your own?")

    def _framed(self, kind: int, text: str) -> bool:
        """Write it as a frame; False where standard output is the log."""
        fd = self._fd
        if fd is None:
            return False
        # A thread that was lost in a fork may hold the lock for ever.
        held = self._lock.acquire(timeout=_LOCK_TIMEOUT_S)
        try:
            _write_frame(fd, kind, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            self._leave_frames(error)
            return False
        finally:
            if held:
                self._lock.release()
        return True

    def _leave_frames(self, error: Exception) -> None:
        fd, self._fd = self._fd, None
        reason = getattr(error, "strerror", None) or error
        self.say(f"{ENV_LOG_FD}={fd}: {reason}; logs go to standard output instead")

    def _to_stdout(self, text: str) -> None:
        if not _written(sys.stdout, text):
            _written(sys.stderr, text)


class StdoutLogs(Logs):
    """The log of a process that has no descriptor for frames."""

    def __init__(self, json_format: bool, level: str) -> None:
        super().__init__(json_format=json_format, level=level, frame_fd=None)


def say(text: str) -> None:
    """One line of lambdascope to standard error; nothing can be done where that is closed."""
    line = " ".join(f"lambdascope: {text}".split())
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except Exception:  # noqa: BLE001 - the user may have put any object there, or closed it
        pass


def _written(stream: TextIO, text: str) -> bool:
    """Whether the stream took the text; what its encoding does not have is escaped."""
    try:
        try:
            stream.write(text)
        except UnicodeError:
            encoding = stream.encoding
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except Exception:  # noqa: BLE001 - the user may have put any object there, or closed it
        return False
    return True


def _write_frame(fd: int, kind: int, body: bytes) -> None:
    frame = (
        kind.to_bytes(4, "big")
        + len(body).to_bytes(4, "big")
        + (time_ns() // 1000).to_bytes(8, "big")
        + body
    )
    # A short write would make the platform read the rest as the head of a frame.
    while frame:
        try:
            frame = frame[os.write(fd, frame) :]
        except BlockingIOError:
            from select import POLLOUT, poll

            waiting = poll()
            waiting.register(fd, POLLOUT)
            waiting.poll()


def iso_time_ms(now_ns: int) -> str:
    """UTC with milliseconds, as in 2026-01-01T00:00:00.000Z."""
    whole, rest = divmod(now_ns // 1_000_000, 1000)
    return f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(whole))}.{rest:03d}Z"


def _error_text(report: ErrorReport) -> str:
    from lambdascope.runtime.faults import more_lines, trace_lines

    told = f": {report.message}" if report.message else ""
    heading = f"[ERROR] {report.name}{told}"
    stack = [_indented(line) for line in trace_lines(report.body)]
    others = [_indented(line) for line in more_lines(report.body)]
    return "\n".join([heading, "Traceback (most recent call last):", *stack, *others])


def _indented(line: str) -> str:
    bare = line.lstrip(" ")
    return _NO_BREAK_SPACE * (len(line) - len(bare)) + bare
