"""Draws the rows of an invocation, and says the header and the lines around them, as text.

Pure: rows, records and a Terminal in, lines out. Columns: label, duration, bar, note. The bar takes
what the others leave; where that is little, a note goes to a line of its own below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdascope.cli.rows import AFTER, INIT, INVOKE, RESTORE, milliseconds
from lambdascope.cli.terminal import cells, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambdascope.cli.rows import Row
    from lambdascope.cli.terminal import Terminal

_COLOURS = {INIT: "yellow", RESTORE: "cyan", INVOKE: "green", AFTER: "blue"}
_GAP = "  "
_LABEL_SHARE = 0.42
_NARROW_SHARE = 0.5
_NARROW = 72
_MIN_LABEL = 18
_MIN_BAR = 10
_MAX_BAR = 100


class _Columns:
    """The widths of the columns for a set of rows. `notes_below` when there is no room for them."""

    def __init__(self, rows: Sequence[Row], terminal: Terminal) -> None:
        share = _NARROW_SHARE if terminal.width < _NARROW else _LABEL_SHARE
        most = max(_MIN_LABEL, int(terminal.width * share))
        self.label = min(most, max(cells(_label(row)) for row in rows))
        self.duration = max(len(_duration(row)) for row in rows)
        note = max(cells(row.note) for row in rows)
        room = terminal.width - self.label - self.duration - 2 * len(_GAP)
        beside = room - note - (len(_GAP) if note else 0)
        self.notes_below = beside < _MIN_BAR
        self.bar = max(0, min(_MAX_BAR, room if self.notes_below else beside))
        self.note = 0 if self.notes_below else note


def tree_lines(rows: Sequence[Row], terminal: Terminal) -> list[str]:
    """The tree, one or two lines for each row, none wider than the terminal."""
    if not rows:
        return []
    columns = _Columns(rows, terminal)
    timed = [row for row in rows if row.start_ns]
    first = min((row.start_ns for row in timed), default=0)
    whole = max((row.end_ns for row in timed), default=first) - first
    lines: list[str] = []
    for row in rows:
        lines += _row_lines(row, columns, terminal, first=first, whole=whole or 1)
    return lines


def _row_lines(
    row: Row, columns: _Columns, terminal: Terminal, *, first: int, whole: int
) -> list[str]:
    style = "red" if row.failed else _COLOURS[row.phase]
    label = terminal.squeeze(_label(row), columns.label)
    duration = _duration(row).rjust(columns.duration)
    bar = " " * columns.bar
    if row.start_ns and columns.bar:
        start, length = (row.start_ns - first) / whole, (row.end_ns - row.start_ns) / whole
        bar = terminal.bar(start, length, columns.bar)
    note_style = "red" if row.failed else "dim"
    painted = [
        terminal.paint("bold" if row.depth == 0 else "", label),
        duration,
        terminal.paint(style, bar),
    ]
    note = plain(row.note)
    if note and not columns.notes_below:
        painted.append(terminal.paint(note_style, terminal.cut(note, columns.note)))
    lines = [_trimmed(_GAP.join(painted))]
    if note and columns.notes_below and not row.aside:
        indent = " " * (2 * row.depth + 4)
        below = terminal.cut(note, terminal.width - len(indent))
        lines.append(indent + terminal.paint(note_style, below))
    return lines


def _label(row: Row) -> str:
    text = plain(row.label)
    return f" {row.phase:<6} {text}".rstrip() if row.depth == 0 else " " + "  " * row.depth + text


def _duration(row: Row) -> str:
    return "" if row.duration_ms is None else milliseconds(row.duration_ms)


def _trimmed(line: str) -> str:
    """Without blanks at the end, also inside the last colour."""
    if line.endswith("\x1b[0m"):
        return line.removesuffix("\x1b[0m").rstrip() + "\x1b[0m"
    return line.rstrip()


def facts_lines(facts: Iterable[str], terminal: Terminal) -> list[str]:
    """Short facts beside each other, wrapped between facts where the terminal is narrow."""
    lines: list[str] = []
    for fact in facts:
        if lines and cells(lines[-1]) + 3 + cells(fact) <= terminal.width:
            lines[-1] += "   " + fact
        else:
            lines.append(("  " if lines else "") + fact)
    return lines
