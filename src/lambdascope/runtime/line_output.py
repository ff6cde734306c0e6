"""Standard output for several invocations at a time: whole lines, each with its invocation.

`print` writes its text and its line end in two steps, so that the lines of several threads would
run into each other. Here each thread's text is kept until its line is whole. With the JSON log
format a line that is no JSON object becomes one, with the request id of the invocation that printed
it. Loaded with `processes`.
"""

from __future__ import annotations

from _thread import get_ident
from time import time_ns
from typing import TYPE_CHECKING

from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.logs import iso_time_ms

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TextIO

# A text without an end is written out at this length, whatever it is.
_MAX_LINE = 262_144


class LineOutput:
    """A text stream in front of `stream`, which everything else is asked of."""

    def __init__(self, stream: TextIO, *, as_json: bool) -> None:
        self._stream = stream
        self._as_json = as_json
        self._begun: dict[int, str] = {}

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Keep what is no whole line yet, write the rest at once."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        thread = get_ident()
        kept = self._begun.pop(thread, "") + text
        whole, end, rest = kept.rpartition("\n")
        if len(rest) >= _MAX_LINE:
            whole, end, rest = kept, "", ""
        if rest:
            self._begun[thread] = rest
        if whole or end:
            self._stream.write(self._marked(whole + end))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write out what this thread has begun."""
        rest = self._begun.pop(get_ident(), "")
        if rest:
            self._stream.write(self._marked(rest))
        self._stream.flush()

    def _marked(self, lines: str) -> str:
        if not self._as_json:
            return lines
        # At LF alone: splitlines knows ends, as U+2028, that a JSON text may have in it.
        *whole, rest = lines.split("\n")
        marked = [_as_object(f"{line}\n") for line in whole]
        return "".join([*marked, _as_object(rest)])


def _as_object(line: str) -> str:
    text = line.rstrip("\r\n")
    if not text or text.startswith("{"):
        return line
    import json

    invocation = current_invocation.get()
    fields = {"timestamp": iso_time_ms(time_ns()), "level": "INFO", "message": text}
    if invocation is not None:
        fields["requestId"] = invocation.request_id
    return json.dumps(fields) + "\n"
