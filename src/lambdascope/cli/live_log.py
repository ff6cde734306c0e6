"""Prints the log lines of a running environment as they come.

The environment calls `write` from a thread of its own; the command only switches. The platform's
REPORT lines are left out where they belong below the tree of their invocation.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from lambdascope.cli.terminal import Terminal
    from lambdascope.emulator.records import LogLine

_STYLES = {"platform": "dim", "extension": "cyan"}


class LiveLog:
    """Where log lines go. `held` counts those that were not printed since `hold`."""

    def __init__(
        self, stream: TextIO, terminal: Terminal, *, shown: bool, with_reports: bool = False
    ) -> None:
        self._stream = stream
        self._terminal = terminal
        self._shown = shown
        self._with_reports = with_reports
        self._lock = threading.Lock()
        self._holding = False
        self.held = 0

    def hold(self) -> None:
        """Print no more lines, but count those of the function."""
        with self._lock:
            self._holding = True

    def resume(self) -> None:
        """Print lines again; those that were held stay unprinted and counted."""
        with self._lock:
            self._holding = False

    def write(self, line: LogLine) -> None:
        """One line, as CloudWatch would show it."""
        if not self._shown or (not self._with_reports and _is_report(line)):
            return
        with self._lock:
            if self._holding:
                self.held += line.source != "platform"
                return
            style = _STYLES.get(line.source, "")
            print(self._terminal.paint(style, line.text), file=self._stream, flush=True)


def _is_report(line: LogLine) -> bool:
    return line.source == "platform" and line.text.startswith("REPORT RequestId: ")
