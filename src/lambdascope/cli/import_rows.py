"""The imports below a span as rows: the packages that cost most, nested as they happened.

A package imports dozens of its own modules; they are folded into the row of the first one, whose
"self" is then the time of the package's own code. The function's own package is not folded, because
its modules are what its author can change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lambdascope.cli.rows import Row, milliseconds, span_row
from lambdascope.cli.span_tree import is_import
from lambdascope.otlp import names

if TYPE_CHECKING:
    from lambdascope.cli.span_tree import SpanTree
    from lambdascope.otlp.model import Span

MAX_IMPORTS = 8


@dataclass(slots=True)
class _Import:
    """One row to be: `self_ms` is without `nested`, `modules` counts itself and what was folded."""

    span: Span
    self_ms: float
    modules: int = 1
    nested: list[_Import] = field(default_factory=list)

    @property
    def length_ns(self) -> int:
        return self.span.end_ns - self.span.start_ns


def import_rows(
    kind: str, tree: SpanTree, parent: Span, *, depth: int, limit: int = MAX_IMPORTS
) -> list[Row]:
    """The longest imports under `parent`, biggest first, and one row for all others."""
    roots = [_folded(tree, span) for span in _imports(tree, parent)]
    every = [one for root in roots for one in _flat(root)]
    # An import is as long as any nested in it and stands before those: its holder is shown as well.
    shown = {id(one) for one in sorted(every, key=_length, reverse=True)[:limit]}
    rows = _rows(kind, roots, depth, shown)
    rest = [one for one in every if id(one) not in shown]
    if rest:
        count = sum(one.modules for one in rest)
        label = f"and {count} more import{'s' if count > 1 else ''}"
        total_ms = sum(one.self_ms for one in rest)
        rows.append(Row(phase=kind, label=label, depth=depth, duration_ms=total_ms))
    return rows


def _rows(kind: str, imports: list[_Import], depth: int, shown: set[int]) -> list[Row]:
    rows: list[Row] = []
    for one in sorted(imports, key=_length, reverse=True):
        if id(one) in shown:
            note = f"self {milliseconds(one.self_ms)}" if one.nested else ""
            row = span_row(kind, one.span, one.span.name, depth=depth, note=note)
            row.aside = not row.failed
            rows += [row, *_rows(kind, one.nested, depth + 1, shown)]
    return rows


def _folded(tree: SpanTree, span: Span) -> _Import:
    one = _Import(span, _self_ms(span))
    package = _package(span)
    for inner in _imports(tree, span):
        found = _folded(tree, inner)
        if package == _package(inner) != tree.own_package:
            one.self_ms += found.self_ms
            one.modules += found.modules
            one.nested += found.nested
        else:
            one.nested.append(found)
    return one


def _flat(one: _Import) -> list[_Import]:
    return [one, *(inner for nested in one.nested for inner in _flat(nested))]


def _imports(tree: SpanTree, parent: Span) -> list[Span]:
    return [span for span in tree.children(parent) if is_import(span)]


def _length(one: _Import) -> int:
    return one.length_ns


def _package(span: Span) -> str:
    return str(span.attributes[names.LAMBDASCOPE_IMPORT_MODULE]).partition(".")[0]


def _self_ms(span: Span) -> float:
    value = span.attributes.get(names.LAMBDASCOPE_IMPORT_SELF_MS)
    return float(value) if isinstance(value, int | float) else (span.end_ns - span.start_ns) / 1e6
