"""Where log lines go when several invocations write at a time: each to the one that it names.

Lambda asks functions on managed instances for JSON lines with the request id. What names none
belongs to nobody, except that the lines of init are shown with the first invocation, as in the log
of a function that runs one at a time.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from lambdascope.emulator.logbook import MAX_LINES, PLATFORM, Logbook
from lambdascope.emulator.records import LogLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.emulator.records import InvocationRecord

# Names of the field in a line of AWS's client and ours, and of what is widespread.
_KEYS = ("requestId", "AWSRequestId", "request_id", "function_request_id")


class ManagedLogbook(Logbook):
    """Binds lines to invocations by the request id in them."""

    def __init__(
        self,
        *,
        on_log: Callable[[LogLine], None] | None,
        on_line: Callable[[LogLine], None],
    ) -> None:
        super().__init__(on_log=on_log, on_line=on_line)
        self._lines = threading.RLock()
        self._records: dict[str, InvocationRecord] = {}
        self._init_lines: list[LogLine] = []
        self._in_init = True
        self._lost: dict[str, int] = {}

    def begin(self, record: InvocationRecord) -> None:
        """An invocation is handed out."""
        with self._lines:
            self._records[record.request_id] = record
            record.logs.extend(self._init_lines)
            self._init_lines.clear()
            self._in_init = False

    def begin_init(self) -> None:
        """Lines without a request id belong to the next invocation that is handed out."""
        with self._lines:
            self._in_init = True

    def end_of(self, record: InvocationRecord) -> None:
        """Nothing more is expected for this invocation; what comes goes to the listener only."""
        with self._lines:
            self._records.pop(record.request_id, None)
            lost = self._lost.pop(record.request_id, 0)
            if lost:
                text = f"{lost} further lines were not kept (limit {MAX_LINES})"
                record.logs.append(LogLine(time_ns=0, source=PLATFORM, text=text))

    def write(self, source: str, text: str, *, time_ns: int, who: str = "") -> None:
        """One line. `source` is platform, function or extension; `who` names the extension."""
        request_id = request_id_in(text)
        line = LogLine(time_ns=time_ns, source=source, text=text, request_id=request_id, who=who)
        with self._lines:
            self._keep(line)
            if source != PLATFORM:
                self._on_line(line)
            self._pass_on(line)

    def _keep(self, line: LogLine) -> None:
        if line.request_id is None:
            if self._in_init and len(self._init_lines) < MAX_LINES:
                self._init_lines.append(line)
            return
        record = self._records.get(line.request_id)
        if record is None:
            return
        if len(record.logs) < MAX_LINES:
            record.logs.append(line)
        else:
            self._lost[line.request_id] = self._lost.get(line.request_id, 0) + 1


def request_id_in(line: str) -> str | None:
    """The request id that a JSON line names, at its top or in the platform's `record`."""
    if not line.startswith("{"):
        return None
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    inner = fields.get("record")
    places = (fields, inner) if isinstance(inner, dict) else (fields,)
    found = (place.get(key) for place in places for key in _KEYS)
    return next((value for value in found if isinstance(value, str) and value), None)
