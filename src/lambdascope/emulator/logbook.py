"""Where every log line of an environment goes: to the invocation that it belongs to, and on.

The output reader and the platform write, from several threads. A line between two invocations
belongs to the next one, because init comes before the event; what comes after the last one goes to
the listener only.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from lambdascope.emulator.records import InvocationRecord, LogLine

if TYPE_CHECKING:
    from collections.abc import Callable

PLATFORM = "platform"
FUNCTION = "function"
EXTENSION = "extension"
# Of one invocation, kept in memory; the listener gets all of them.
MAX_LINES = 10_000


class Logbook:
    """Binds lines to invocations and passes them to `on_log` in order.

    `on_line` (the telemetry) sees the lines of the function and of extensions as well.
    """

    def __init__(
        self,
        *,
        on_log: Callable[[LogLine], None] | None,
        on_line: Callable[[LogLine], None],
    ) -> None:
        self._lock = threading.RLock()
        self._on_log = on_log
        self._on_line = on_line
        self._record: InvocationRecord | None = None
        self._unbound: list[LogLine] = []
        self._dropped = 0

    def begin(self, record: InvocationRecord) -> None:
        """Lines belong to this invocation from now on, and those since the last one."""
        with self._lock:
            record.logs.extend(self._unbound)
            self._unbound.clear()
            self._record = record

    def end(self) -> None:
        """Lines belong to the next invocation from now on."""
        with self._lock:
            record, self._record = self._record, None
            if record is not None and self._dropped:
                text = f"{self._dropped} further lines were not kept (limit {MAX_LINES})"
                record.logs.append(LogLine(time_ns=0, source=PLATFORM, text=text))
            self._dropped = 0

    def write(self, source: str, text: str, *, time_ns: int, who: str = "") -> None:
        """One line. `source` is platform, function or extension; `who` names the extension."""
        with self._lock:
            record = self._record
            request_id = None if record is None else record.request_id
            line = LogLine(
                time_ns=time_ns, source=source, text=text, request_id=request_id, who=who
            )
            kept = self._unbound if record is None else record.logs
            if len(kept) < MAX_LINES:
                kept.append(line)
            else:
                self._dropped += 1
            if source != PLATFORM:
                self._on_line(line)
            self._pass_on(line)

    def _pass_on(self, line: LogLine) -> None:
        if self._on_log is None:
            return
        try:
            self._on_log(line)
        except Exception as error:  # noqa: BLE001 - the caller's code runs here; it may do anything
            self._on_log = None
            print(f"lambdascope: no further log lines are passed on: {error!r}", file=sys.stderr)
