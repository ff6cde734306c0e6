"""Reads the import statements of source files without importing them."""

from __future__ import annotations

import ast
from typing import NamedTuple

_TYPE_CHECKING = {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


class Import(NamedTuple):
    """One imported module or name, written in full, and where it stands.

    `at_start` is False inside functions, which run later. `for_types` is True below
    `if TYPE_CHECKING:`, which never runs.
    """

    module: str
    line: int
    at_start: bool
    for_types: bool


def imports_of(source: str) -> list[Import]:
    """All imports of a file, wherever they stand. Raises ValueError for a relative import."""
    found: list[Import] = []
    _collect(ast.parse(source), found, at_start=True, for_types=False)
    return found


def _collect(node: ast.AST, found: list[Import], *, at_start: bool, for_types: bool) -> None:
    for module in _modules(node):
        line = getattr(node, "lineno", 0)
        found.append(Import(module, line, at_start and not for_types, for_types))
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        at_start = False
    if isinstance(node, ast.If) and ast.unparse(node.test) in _TYPE_CHECKING:
        for child in node.body:
            _collect(child, found, at_start=at_start, for_types=True)
        for child in node.orelse:
            _collect(child, found, at_start=at_start, for_types=for_types)
        return
    for inner in ast.iter_child_nodes(node):
        _collect(inner, found, at_start=at_start, for_types=for_types)


def _modules(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        if node.level or node.module is None:
            raise ValueError(f"line {node.lineno}: relative import")
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func).rpartition(".")[2]
        first = node.args[0] if node.args else None
        if name in {"import_module", "__import__"} and isinstance(first, ast.Constant):
            return [str(first.value)]
    return []
