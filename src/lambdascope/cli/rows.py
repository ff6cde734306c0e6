"""One line of an invocation's tree, and how it is made of a phase or of a span.

`timeline` and `import_rows` make rows, `render` draws them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambdascope.emulator import records
from lambdascope.otlp import names

if TYPE_CHECKING:
    from lambdascope.emulator.records import Phase
    from lambdascope.otlp.model import Span

INIT = "INIT"
RESTORE = "RESTORE"
INVOKE = "INVOKE"
AFTER = "AFTER"


@dataclass(slots=True, kw_only=True)
class Row:
    """One line of the tree. `phase` is INIT, RESTORE, INVOKE or AFTER: the colour.

    `depth` 0 is the phase itself. Without `start_ns` there is no bar, without `duration_ms` no
    figure. An `aside` is a note that may be left out where there is little room. `open` says that
    it had not ended when the environment was killed.
    """

    phase: str
    label: str
    depth: int = 1
    start_ns: int = 0
    end_ns: int = 0
    duration_ms: float | None = None
    note: str = ""
    aside: bool = False
    failed: bool = False
    open: bool = False


def phase_row(kind: str, phase: Phase, label: str, *, depth: int = 1, note: str = "") -> Row:
    """A row of the platform's view. A failure takes the place of the note."""
    failed = phase.status != records.SUCCESS
    return Row(
        phase=kind,
        label=label,
        depth=depth,
        start_ns=phase.start_ns,
        end_ns=phase.end_ns,
        duration_ms=phase.duration_ms,
        note=phase.error_type or phase.status if failed else note,
        failed=failed,
        open=phase.status == records.TIMED_OUT,
    )


def span_row(kind: str, span: Span, label: str, *, depth: int, note: str = "") -> Row:
    """A row of a span. A failure takes the place of the note."""
    failed = span.status_code == names.STATUS_ERROR
    if failed:
        note = str(span.attributes.get(names.ERROR_TYPE, "") or span.status_message or "error")
    return Row(
        phase=kind,
        label=label,
        depth=depth,
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        duration_ms=(span.end_ns - span.start_ns) / 1e6,
        note=note,
        failed=failed,
    )


def milliseconds(value: float) -> str:
    """A duration with its unit: two decimals below 10 ms, thousands apart."""
    digits = 2 if value < 10 else 1
    return f"{value:,.{digits}f} ms".replace(",", " ")
