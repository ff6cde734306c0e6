"""The times of the init phase, and the spans made of them.

`bootstrap` notes when each part began and ended; nothing is computed before the first next. Parts:
interpreter start, loading the runtime, loading the handler (with every import over 1 ms),
connecting to the extension. All notes are monotonic nanoseconds.
"""

from __future__ import annotations

from os import urandom

from lambdascope.otlp import names
from lambdascope.otlp.model import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.clock import Clock
    from lambdascope.runtime.import_times import ImportRecord, ImportTimes

# /proc counts a process's start in ticks of 1/100 s.
_TICK_NS = 10_000_000


class InitPhase:
    """Notes of one init. `entered_ns` is the first line of ours, `cpu_ns` the CPU time until
    then."""

    def __init__(self, *, function_name: str, init_type: str, entered_ns: int, cpu_ns: int) -> None:
        self._function_name = function_name
        self._init_type = init_type
        self._entered_ns = entered_ns
        self._cpu_ns = cpu_ns
        self._parts: list[tuple[str, int, int]] = []
        self.imports: ImportTimes | None = None
        self.ended_ns = 0

    def part(self, name: str, start_ns: int, end_ns: int) -> None:
        """A part of init is over."""
        self._parts.append((name, start_ns, end_ns))

    def spans(self, clock: Clock, *, trace_id: bytes, parent_span_id: bytes) -> list[Span]:
        """The init span, first, and its descendants."""
        started_ns = process_start_ns(self._entered_ns, self._cpu_ns)
        root = Span(
            name=f"{names.SPAN_INIT_FUNCTION_PREFIX}{self._function_name}",
            trace_id=trace_id,
            span_id=urandom(8),
            parent_span_id=parent_span_id,
            start_ns=started_ns + clock.offset_ns,
            end_ns=self.ended_ns + clock.offset_ns,
            attributes={
                names.FAAS_COLDSTART: True,
                names.LAMBDASCOPE_INIT_TYPE: self._init_type,
            },
        )
        parts = [(names.SPAN_INTERPRETER_START, started_ns, self._entered_ns), *self._parts]
        children = [
            _child(root, name, start + clock.offset_ns, end + clock.offset_ns)
            for name, start, end in parts
        ]
        return [root, *children, *self._import_spans(clock, root, children)]

    def late_imports(self, clock: Clock, invoke: Span) -> list[Span]:
        """Imports that the first invocation did, under its span."""
        if self.imports is None:
            return []
        late = [r for r in self.imports.records if r.start_ns >= self.ended_ns]
        return _import_tree(clock, late, lambda _: invoke)

    def _import_spans(self, clock: Clock, root: Span, parts: list[Span]) -> list[Span]:
        if self.imports is None:
            return []
        early = [r for r in self.imports.records if r.start_ns < self.ended_ns]

        def around(record: ImportRecord) -> Span:
            begun = record.start_ns + clock.offset_ns
            inside = (p for p in parts if p.start_ns <= begun <= p.end_ns)
            return next(inside, root)

        return _import_tree(clock, early, around)


def _import_tree(
    clock: Clock, records: list[ImportRecord], around: Callable[[ImportRecord], Span]
) -> list[Span]:
    """Spans of imports, each under the nearest import that has a span, else under `around(it)`."""
    spans: dict[int, Span] = {}
    # A record ends before the one that contains it, so parents come later: walk backwards.
    for record in reversed(records):
        holder = record.parent
        while holder is not None and id(holder) not in spans:
            holder = holder.parent
        parent = around(record) if holder is None else spans[id(holder)]
        span = _child(
            parent,
            f"{names.SPAN_IMPORT_MODULE_PREFIX}{record.name}",
            record.start_ns + clock.offset_ns,
            record.end_ns + clock.offset_ns,
        )
        span.attributes = {
            names.LAMBDASCOPE_IMPORT_MODULE: record.name,
            names.LAMBDASCOPE_IMPORT_SELF_MS: record.self_ns / 1e6,
            names.LAMBDASCOPE_IMPORT_TOTAL_MS: (record.end_ns - record.start_ns) / 1e6,
        }
        spans[id(record)] = span
    return list(spans.values())


def _child(parent: Span, name: str, start_ns: int, end_ns: int) -> Span:
    return Span(
        name=name,
        trace_id=parent.trace_id,
        span_id=urandom(8),
        parent_span_id=parent.span_id,
        start_ns=start_ns,
        end_ns=end_ns,
    )


def process_start_ns(entered_ns: int, cpu_ns: int) -> int:
    """When this process started, in monotonic ns; at the latest, what its CPU time allows.

    /proc/self/stat knows it to 10 ms only (proc(5), field starttime); the CPU time spent until
    `entered_ns` gives a bound from the other side, which is close when the start did not wait.
    """
    latest = entered_ns - cpu_ns
    try:
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        from time import CLOCK_BOOTTIME, clock_gettime_ns, monotonic_ns

        # starttime counts from boot with time in suspend, CLOCK_MONOTONIC without.
        drift = clock_gettime_ns(CLOCK_BOOTTIME) - monotonic_ns()
        earliest = int(fields[19]) * _TICK_NS - drift
    except (OSError, ValueError, IndexError, ImportError):
        return latest
    if earliest > latest:
        return latest
    return min(latest, earliest + _TICK_NS)
