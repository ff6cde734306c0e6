"""One invocation as rows of a tree: the platform's phases with the spans laid over them by time.

`rows_of` merges both views; `render` draws them. The platform's phases are there for every runtime;
spans refine them where the runtime or the user sent some. Nothing here knows a terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdascope.cli.import_rows import import_rows
from lambdascope.cli.rows import AFTER, INIT, INVOKE, RESTORE, Row, phase_row, span_row
from lambdascope.cli.span_tree import SpanTree, is_import
from lambdascope.emulator import records
from lambdascope.otlp import names
from lambdascope.wire.names import INIT_TIMEOUT_MS, RESTORE_TIMEOUT_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdascope.emulator.records import InvocationRecord, Phase
    from lambdascope.otlp.model import Span

# How many rows there are for spans of which there could be hundreds; the rest is counted in one.
MAX_SPANS = 30
MAX_SPAN_IMPORTS = 3
MAX_DEPTH = 8


def rows_of(
    record: InvocationRecord, spans: Sequence[Span], *, handler: str, snap_start: bool = False
) -> list[Row]:
    """The tree of one invocation, top to bottom. With `snap_start` init was for a snapshot."""
    own_package = handler.replace("/", ".").partition(".")[0]
    tree = SpanTree(spans, own_package=own_package)
    return [
        *_init_rows(record, tree, snap_start=snap_start),
        *_restore_rows(record, tree),
        *_invoke_rows(record, tree, handler),
        *_after_rows(record),
    ]


def open_spans(rows: Sequence[Row]) -> list[Row]:
    """The innermost rows that had not ended when the environment was killed."""
    unended = [row for row in rows if row.open and row.depth > 0]
    deepest = max((row.depth for row in unended), default=0)
    return [row for row in unended if row.depth == deepest]


def _named(record: InvocationRecord, name: str) -> list[Phase]:
    return [phase for phase in record.phases if phase.name == name]


# --- init --------------------------------------------------------------------------------------


def _init_rows(record: InvocationRecord, tree: SpanTree, *, snap_start: bool) -> list[Row]:
    rows: list[Row] = []
    for phase in _named(record, "init"):
        rows.append(_init_row(record, phase, snap_start=snap_start))
        inner = [p for p in record.phases if p is not phase and _within(p, phase)]
        rows += [_extension_row(phase, part) for part in inner if part.name == "extension init"]
        runtime = next((part for part in inner if part.name == "runtime init"), None)
        rows += _runtime_rows(phase, runtime, tree)
    return rows


def _init_row(record: InvocationRecord, phase: Phase, *, snap_start: bool) -> Row:
    if snap_start:
        return phase_row(INIT, phase, "for the snapshot", depth=0)
    again = _is_inside_invocation(record, phase)
    note = "" if again else f"limit {INIT_TIMEOUT_MS // 1000} s"
    return phase_row(INIT, phase, "again, in invoke" if again else "cold", depth=0, note=note)


def _extension_row(init: Phase, part: Phase) -> Row:
    row = phase_row(INIT, part, f"extension {part.who}".rstrip())
    if init.status == records.TIMED_OUT and part.end_ns >= init.end_ns:
        row.open = row.failed = True  # the platform cut it off together with the whole init
        row.note = "still open"
    return row


def _is_inside_invocation(record: InvocationRecord, phase: Phase) -> bool:
    """Whether it is an init that Lambda made up for after a first one failed, on the clock of the
    invocation; then the report has no init of its own."""
    if record.handed_out_ns and phase.start_ns >= record.handed_out_ns:
        return True
    return record.report is not None and record.report.init_duration_ms is None


def _within(part: Phase, whole: Phase) -> bool:
    return whole.start_ns <= part.start_ns <= whole.end_ns


def _runtime_rows(phase: Phase, runtime: Phase | None, tree: SpanTree) -> list[Row]:
    """The runtime's share of an init: by the platform, and in parts where it sent spans."""
    rows = [] if runtime is None else [phase_row(INIT, runtime, "runtime")]
    init = tree.init
    if init is None or not phase.start_ns <= init.end_ns or init.start_ns > phase.end_ns:
        return rows
    if runtime is None:
        rows.append(span_row(INIT, init, "runtime", depth=1))
    for part in tree.children(init):
        if is_import(part):
            continue
        rows.append(span_row(INIT, part, part.name, depth=2))
        rows += import_rows(INIT, tree, part, depth=3)
        rows += _user_rows(INIT, tree, part, depth=3)
    return rows + import_rows(INIT, tree, init, depth=2)


def _restore_rows(record: InvocationRecord, tree: SpanTree) -> list[Row]:
    """The snapshot, in which everything stood still, and the way out of it."""
    rows = [
        phase_row(RESTORE, phase, "snapshot", depth=0, note="all processes stopped")
        for phase in _named(record, "snapshot")
    ]
    for phase in _named(record, "restore"):
        note = f"limit {RESTORE_TIMEOUT_MS // 1000} s"
        rows.append(phase_row(RESTORE, phase, "restore", note=note))
        if tree.restore is not None:
            rows += import_rows(RESTORE, tree, tree.restore, depth=2)
            rows += _user_rows(RESTORE, tree, tree.restore, depth=2)
    return rows


# --- invoke ------------------------------------------------------------------------------------


def _invoke_rows(record: InvocationRecord, tree: SpanTree, handler: str) -> list[Row]:
    rows: list[Row] = []
    unanswered = record.response_ns is None
    for phase in _named(record, "invoke"):
        rows.append(
            Row(
                phase=INVOKE,
                label=record.request_id[:8],
                depth=0,
                start_ns=phase.start_ns,
                end_ns=phase.end_ns,
                duration_ms=phase.duration_ms,
                note=_remaining(record, phase),
                failed=record.status != records.SUCCESS,
                open=unanswered,
            )
        )
        rows += _handler_rows(phase, tree, handler, unanswered=unanswered)
        rows += _report_rows(record, tree)
    return rows


def _remaining(record: InvocationRecord, phase: Phase) -> str:
    if record.status in (records.TIMED_OUT, records.OUT_OF_MEMORY, records.CRASHED):
        return record.error_type or record.status
    left_ms = max(0.0, record.deadline_ms - phase.end_ns / 1e6)
    return f"remaining {left_ms:,.0f} ms".replace(",", " ")


def _handler_rows(phase: Phase, tree: SpanTree, handler: str, *, unanswered: bool) -> list[Row]:
    span = tree.handler
    rows: list[Row] = []
    if span is not None:
        row = span_row(INVOKE, span, handler, depth=1)
        rows.append(row)
        rows += import_rows(INVOKE, tree, span, depth=2)
        rows += _user_rows(INVOKE, tree, span, depth=2)
    else:
        row = Row(phase=INVOKE, label=handler, start_ns=phase.start_ns, end_ns=phase.end_ns)
        row.duration_ms = phase.duration_ms
        if unanswered:
            rows.append(row)
    if unanswered:
        row.open = row.failed = True
        row.note = "still open"
    rows += _listed(INVOKE, tree, tree.orphans, depth=2 if rows else 1)
    return rows


def _user_rows(kind: str, tree: SpanTree, parent: Span, *, depth: int) -> list[Row]:
    spans = [span for span in tree.children(parent) if not is_import(span)]
    return _listed(kind, tree, spans, depth=depth)


def _listed(kind: str, tree: SpanTree, spans: list[Span], *, depth: int) -> list[Row]:
    """Spans by start, each with its descendants; what is too much or too deep is counted."""
    rows: list[Row] = []
    for position, span in enumerate(spans):
        if len(rows) >= MAX_SPANS or depth > MAX_DEPTH:
            left = sum(tree.size(rest) for rest in spans[position:])
            rows.append(Row(phase=kind, label=f"and {left} more spans", depth=depth))
            break
        links = len(span.links)
        label = f"{span.name} ({links} link{'s' if links > 1 else ''})" if links else span.name
        rows.append(span_row(kind, span, label, depth=depth))
        rows += import_rows(kind, tree, span, depth=depth + 1, limit=MAX_SPAN_IMPORTS)
        rows += _user_rows(kind, tree, span, depth=depth + 1)
    return rows


def _report_rows(record: InvocationRecord, tree: SpanTree) -> list[Row]:
    """The answer: its size and how the Runtime API took it, or the moment when it arrived."""
    span = tree.report
    what = "error" if record.function_error else "response"
    if span is not None:
        size = span.attributes.get(names.LAMBDASCOPE_RESPONSE_SIZE, len(record.answer))
        status = span.attributes.get(names.LAMBDASCOPE_RESPONSE_STATUS_CODE)
        note = f"{_size(size)}, status {status}" if status else _size(size)
        return [span_row(INVOKE, span, f"report {what}", depth=1, note=note)]
    if record.response_ns is None:
        return []
    row = Row(phase=INVOKE, label=what, start_ns=record.response_ns, end_ns=record.response_ns)
    row.note = _size(len(record.answer))
    return [row]


def _size(count: object) -> str:
    """A number of bytes, for people: 212 B, 14.2 kB, 5.9 MB."""
    if not isinstance(count, int):
        return "? B"
    if count < 10_000:
        return f"{count} B"
    return f"{count / 1e3:,.1f} kB" if count < 1e6 else f"{count / 1e6:,.1f} MB"


# --- after the answer ----------------------------------------------------------------------------


def _after_rows(record: InvocationRecord) -> list[Row]:
    parts = _named(record, "runtime overhead") + _named(record, "extension overhead")
    parts = [part for part in parts if part.end_ns > part.start_ns]
    if not parts:
        return []
    start_ns = min(part.start_ns for part in parts)
    end_ns = max(part.end_ns for part in parts)
    head = Row(phase=AFTER, label="", depth=0, start_ns=start_ns, end_ns=end_ns)
    head.duration_ms = (end_ns - start_ns) / 1e6
    head.note = "not seen by the caller"
    rows = [head]
    for part in parts:
        who = "runtime" if part.name == "runtime overhead" else f"extension {part.who}".rstrip()
        rows.append(phase_row(AFTER, part, who))
    return rows
