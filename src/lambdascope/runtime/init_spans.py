"""Init and restore as spans: the phase, its parts, and every import over 1 ms under what caused it.

Made of the notes of init_phase.py and import_times.py after the first response has been posted.
"""

from __future__ import annotations

from os import urandom

from lambdascope.otlp import names
from lambdascope.otlp.model import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.clock import Clock
    from lambdascope.runtime.import_times import ImportRecord
    from lambdascope.runtime.init_phase import InitPhase
    from lambdascope.runtime.snapshot import RestorePhase

# /proc counts a process's start in ticks of 1/100 s.
_TICK_NS = 10_000_000


def init_spans(
    init: InitPhase, clock: Clock, *, trace_id: bytes, parent_span_id: bytes
) -> list[Span]:
    """The init span, first, and its descendants."""
    # What was before a snapshot has the wall clock from before it.
    clock = init.clock or clock
    started_ns = init.started_ns or process_start_ns(init.entered_ns, init.cpu_ns)
    root = Span(
        name=f"{names.SPAN_INIT_FUNCTION_PREFIX}{init.function_name}",
        trace_id=trace_id,
        span_id=urandom(8),
        parent_span_id=parent_span_id,
        start_ns=started_ns + clock.offset_ns,
        end_ns=init.ended_ns + clock.offset_ns,
        attributes={
            names.FAAS_COLDSTART: True,
            names.LAMBDASCOPE_INIT_TYPE: init.init_type,
        },
    )
    parts = [(names.SPAN_INTERPRETER_START, started_ns, init.entered_ns), *init.parts]
    spans = [root, *_parts(root, clock, parts)]
    return spans + _import_spans(init, clock, spans, since_ns=0, until_ns=init.ended_ns)


def restore_spans(init: InitPhase, restore: RestorePhase, clock: Clock) -> list[Span]:
    """The restore span, first, and its descendants: a trace of its own."""
    root = Span(
        name=f"{names.SPAN_RESTORE_FUNCTION_PREFIX}{init.function_name}",
        trace_id=urandom(16),
        span_id=urandom(8),
        start_ns=restore.restored_ns + clock.offset_ns,
        end_ns=restore.ended_ns + clock.offset_ns,
        attributes={names.FAAS_COLDSTART: True, names.LAMBDASCOPE_INIT_TYPE: init.init_type},
    )
    spans = [root, *_parts(root, clock, restore.parts)]
    since_ns, until_ns = init.ended_ns, restore.ended_ns
    return spans + _import_spans(init, clock, spans, since_ns=since_ns, until_ns=until_ns)


def late_imports(
    init: InitPhase, clock: Clock, invoke: Span, report: Span | None = None
) -> list[Span]:
    """Imports that the first invocation did, under its span; those that its answer needed under
    `report`.
    """
    if init.imports is None:
        return []
    late = [r for r in init.imports.records if r.start_ns >= init.ready_ns]

    def around(record: ImportRecord) -> Span:
        is_after = record.start_ns + clock.offset_ns >= invoke.end_ns
        return report if is_after and report is not None else invoke

    return _import_tree(clock, late, around)


def _parts(root: Span, clock: Clock, parts: list[tuple[str, int, int]]) -> list[Span]:
    offset = clock.offset_ns
    return [_child(root, name, start + offset, end + offset) for name, start, end in parts]


def _import_spans(
    init: InitPhase, clock: Clock, phase: list[Span], *, since_ns: int, until_ns: int
) -> list[Span]:
    """The imports of a phase, under the part in which they were; `phase` is its span and parts."""
    if init.imports is None:
        return []
    root, *parts = phase
    early = [r for r in init.imports.records if since_ns <= r.start_ns < until_ns]

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
