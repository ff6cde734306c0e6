"""Times every import from the search to the end of its code, C extensions and threads included.

It replaces `_find_and_load` of the frozen import machinery, which CPython looks up by name on every
import that is not in `sys.modules` yet; imports that are cost nothing more. A meta-path finder
alone would miss the search and the loading of C extensions (dlopen happens in create_module). The
name is private: where it is missing nothing is timed, and nothing else changes.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from time import monotonic_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

# Shorter imports are not worth a span, and a span tree of thousands is not worth reading.
MIN_TOTAL_NS = 1_000_000
MAX_RECORDS = 300


class ImportRecord:
    """One import: monotonic times, and `self_ns`, which is the total without nested imports."""

    __slots__ = ("end_ns", "name", "parent", "self_ns", "start_ns")

    def __init__(self, name: str, start_ns: int, parent: ImportRecord | None) -> None:
        self.name = name
        self.start_ns = start_ns
        self.end_ns = 0
        self.self_ns = 0
        self.parent = parent


class ImportTimes:
    """Collects the records of imports that took at least MIN_TOTAL_NS, in order of their ends."""

    def __init__(self) -> None:
        self.records: list[ImportRecord] = []
        self.dropped = 0
        self._stacks: dict[int, list[ImportRecord]] = {}
        self._original: Callable[..., ModuleType] | None = None

    def install(self) -> None:
        """Start timing. Does nothing where CPython does not offer the hook."""
        machinery = sys.modules.get("_frozen_importlib")
        original = getattr(machinery, "_find_and_load", None)
        if original is None:
            return
        self._original = original
        wrapper = self._wrapper(original)
        # CPython leaves frames of this file out of the tracebacks of failed imports; ours as well.
        code = wrapper.__code__.replace(
            co_filename="<frozen importlib._bootstrap>", co_name="_call_with_frames_removed"
        )
        wrapper.__code__ = code
        machinery._find_and_load = wrapper  # type: ignore[union-attr]  # checked above

    def remove(self) -> None:
        """Stop timing and put the original back, unless somebody else has replaced ours."""
        machinery = sys.modules.get("_frozen_importlib")
        if self._original is not None and machinery is not None:
            machinery._find_and_load = self._original  # type: ignore[attr-defined]  # see install
            self._original = None

    def _wrapper(self, original: Callable[..., ModuleType]) -> Callable[..., ModuleType]:
        begin, end = self._begin, self._end

        def find_and_load(name: str, import_: object) -> ModuleType:
            record = begin(name)
            try:
                return original(name, import_)
            finally:
                end(record)

        return find_and_load

    def _begin(self, name: str) -> ImportRecord:
        thread = get_ident()
        stack = self._stacks.get(thread)
        if stack is None:
            stack = self._stacks[thread] = []
        record = ImportRecord(name, monotonic_ns(), stack[-1] if stack else None)
        stack.append(record)
        return record

    def _end(self, record: ImportRecord) -> None:
        record.end_ns = now = monotonic_ns()
        total = now - record.start_ns
        record.self_ns += total
        if record.parent is not None:
            record.parent.self_ns -= total
        stack = self._stacks.get(get_ident())
        if stack and stack[-1] is record:
            stack.pop()
        if total >= MIN_TOTAL_NS:
            if len(self.records) < MAX_RECORDS:
                self.records.append(record)
            else:
                self.dropped += 1
