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
    from types import FunctionType, ModuleType

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
    """Collects the records of imports that took at least MIN_TOTAL_NS, in order of their ends.

    Beyond MAX_RECORDS the longest are kept, so that no kept import loses the one that contains it;
    `dropped` counts the others.
    """

    def __init__(self) -> None:
        self.records: list[ImportRecord] = []
        self.dropped = 0
        self._stacks: dict[int, list[ImportRecord]] = {}
        self._original: Callable[..., ModuleType] | None = None
        self._wrapper: Callable[..., ModuleType] | None = None
        self._stopped = False

    def install(self) -> None:
        """Start timing. Does nothing where CPython does not offer the hook."""
        machinery = sys.modules.get("_frozen_importlib")
        original = getattr(machinery, "_find_and_load", None)
        if original is None:
            return
        wrapper = self._wrap(original)
        # CPython leaves frames of this file out of the tracebacks of failed imports; ours as well.
        code = wrapper.__code__.replace(
            co_filename="<frozen importlib._bootstrap>", co_name="_call_with_frames_removed"
        )
        wrapper.__code__ = code
        self._original, self._wrapper = original, wrapper
        machinery._find_and_load = wrapper  # type: ignore[union-attr]  # checked above

    def remove(self) -> None:
        """Stop timing and put the original back, unless somebody else has wrapped ours."""
        self._stopped = True
        machinery = sys.modules.get("_frozen_importlib")
        current = getattr(machinery, "_find_and_load", None)
        if current is not None and current is self._wrapper:
            machinery._find_and_load = self._original  # type: ignore[union-attr]  # checked above
        self._stacks.clear()
        self._keep_longest()

    def _wrap(self, original: Callable[..., ModuleType]) -> FunctionType:
        begin, end = self._begin, self._end

        def find_and_load(name: str, import_: object) -> ModuleType:
            record = begin(name)
            try:
                return original(name, import_)
            finally:
                end(record)

        return find_and_load  # type: ignore[return-value]  # a function defined here is one

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
        parent = record.parent
        if parent is not None:
            # Where greenlets mix imports, one may end before what it contains.
            ended_ns = min(now, parent.end_ns or now)
            parent.self_ns -= max(0, ended_ns - record.start_ns)
        stack = self._stacks.get(get_ident())
        if stack and stack[-1] is record:
            stack.pop()
        elif stack and record in stack:
            # Greenlets share a thread and may end their imports in any order.
            stack.remove(record)
        if total >= MIN_TOTAL_NS and not self._stopped and not _is_runtimes(record):
            self.records.append(record)
            if len(self.records) >= 2 * MAX_RECORDS:
                self._keep_longest()

    def _keep_longest(self) -> None:
        excess = len(self.records) - MAX_RECORDS
        if excess > 0:
            by_length = sorted(self.records, key=lambda record: record.end_ns - record.start_ns)
            left_out = {id(record) for record in by_length[:excess]}
            self.records = [record for record in self.records if id(record) not in left_out]
            self.dropped += excess


def _is_runtimes(record: ImportRecord) -> bool:
    """Whether the runtime imports it for itself, in a phase that has a span already."""
    while record.parent is not None:
        record = record.parent
    return record.name.startswith("lambdascope.runtime.")
