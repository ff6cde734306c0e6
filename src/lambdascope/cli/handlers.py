"""Finds the handler without importing the user's code, and explains why one is not found.

Files are only parsed (ast). A guess is made when the command line names no handler; a hint is
made after the runtime failed to load one. Both look into the folder of the function alone, so a
hint is never a reason to refuse: the runtime and its import path decide.
"""

from __future__ import annotations

import ast
import difflib
import re
from typing import TYPE_CHECKING

from lambdascope.cli.errors import CommandError
from lambdascope.wire import names

if TYPE_CHECKING:
    from pathlib import Path

_GUESSES = [
    "lambda_function.lambda_handler",
    *(
        f"{module}.{function}"
        for module in ("app", "main", "handler", "index")
        for function in ("handler", "lambda_handler")
    ),
]
_MAX_NAMED = 6


def guess_handler(task_root: Path) -> str:
    """The first of the usual names that exists in `task_root`. Raises CommandError."""
    for handler in _GUESSES:
        module, _, function = handler.partition(".")
        path = module_path(task_root, module)
        if path is not None and function in top_level_names(path):
            return handler
    raise CommandError(
        f"no handler given and none found in {task_root} (looked for "
        "lambda_function.lambda_handler, then handler or lambda_handler in app.py, main.py, "
        "handler.py, index.py); name it: lambdascope invoke module.function"
    )


def handler_hint(handler: str, task_root: Path) -> str | None:
    """One line on what is wrong with a handler name, with near misses; None when it looks right."""
    module, dot, function = handler.rpartition(".")
    if not dot or not module or not function:
        return _hint_without_dot(handler, task_root)
    path = module_path(task_root, module)
    if path is None:
        return _hint_no_module(module, function, task_root)
    if function in top_level_names(path) or not _is_python(path):
        return None  # the runtime's own words say where a syntax error is
    return _hint_no_function(path, module, function)


def missing_module_hint(answer: bytes, python: str) -> str | None:
    """One line when the answer says that a module which the function imports is not there."""
    found = re.search(rb"No module named '([^'\\]+)'", answer)
    if found is None:
        return None
    module = found[1].decode("utf-8", "replace")
    package = module.partition(".")[0]
    return f"module {module!r} is not there for {python}; try {python} -m pip install {package}"


def module_path(task_root: Path, module: str) -> Path | None:
    """The source file of `module` below `task_root`; dots and slashes both separate packages."""
    parts = module.replace("/", ".").split(".")
    if not all(parts):
        return None
    base = task_root.joinpath(*parts)
    for path in (base / "__init__.py", base.with_name(base.name + ".py")):
        if path.is_file():
            return path
    return None


def top_level_names(path: Path) -> dict[str, bool]:
    """What a file defines at its top level, in order: name to whether it is a function.

    Classes, assignments and imports count as names, because any of them may be called. A file
    that cannot be parsed defines nothing.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return {}
    found: dict[str, bool] = {}
    _collect(tree.body, found)
    return found


def _is_python(path: Path) -> bool:
    try:
        ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return False
    return True


def _collect(body: list[ast.stmt], found: dict[str, bool]) -> None:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = True
        elif isinstance(node, ast.ClassDef):
            found.setdefault(node.name, False)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    found.setdefault(target.id, isinstance(node.value, ast.Lambda))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                found.setdefault(alias.asname or alias.name.partition(".")[0], False)
        elif isinstance(node, ast.If | ast.Try | ast.With):
            _collect(node.body, found)
            _collect(getattr(node, "orelse", []), found)


def _functions(path: Path) -> list[str]:
    return [name for name, is_function in top_level_names(path).items() if is_function]


def _listed(items: list[str]) -> str:
    more = f" and {len(items) - _MAX_NAMED} more" if len(items) > _MAX_NAMED else ""
    return ", ".join(items[:_MAX_NAMED]) + more


def _hint_without_dot(handler: str, task_root: Path) -> str:
    # A dot with nothing before or after it passes for a name in AWS, and fails at the import.
    fault = "" if "." in handler else f" ({names.FAULT_MALFORMED_HANDLER} in AWS)"
    stem = handler.strip("./").removesuffix(".py") or "app"
    path = module_path(task_root, stem)
    functions = _functions(path) if path is not None else []
    example = f"{stem}.{_preferred(functions)}"
    return f"handler {handler!r} is not module.function, for example {example}{fault}"


def _hint_no_module(module: str, function: str, task_root: Path) -> str:
    parent, _, last = module.replace("/", ".").rpartition(".")
    folder = task_root.joinpath(*parent.split(".")) if parent else task_root
    text = f"no module {module!r} in {task_root} ({names.FAULT_IMPORT_MODULE} in AWS)"
    near = difflib.get_close_matches(last, _modules_in(folder), n=1, cutoff=0.5)
    if not near:
        there = sorted(_modules_in(folder))
        return f"{text}; modules there: {_listed(there)}" if there else f"{text}; nothing there"
    found = f"{parent}.{near[0]}" if parent else near[0]
    path = module_path(task_root, found)
    functions = _functions(path) if path is not None else []
    defines = f" (it defines {_listed(functions)})" if functions else ""
    best = function if function in functions else _preferred(functions)
    return f"{text}; did you mean {found}.{best}?{defines}"


def _hint_no_function(path: Path, module: str, function: str) -> str:
    text = f"{path.name} has no {function!r} ({names.FAULT_HANDLER_NOT_FOUND} in AWS)"
    functions = _functions(path)
    if function == "py":
        return f"{text}; name a function, not a file: {module}.{_preferred(functions)}"
    if not functions:
        return f"{text}; it defines no function"
    near = difflib.get_close_matches(function, functions, n=1, cutoff=0.4)
    best = near[0] if near else _preferred(functions)
    return f"{text}; functions there: {_listed(functions)}. Try {module}.{best}"


def _preferred(functions: list[str]) -> str:
    """The function that is most likely meant."""
    for name in ("handler", "lambda_handler"):
        if name in functions:
            return name
    return functions[0] if functions else "handler"


def _modules_in(folder: Path) -> list[str]:
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    files = [path.stem for path in entries if path.suffix == ".py" and path.stem != "__init__"]
    return files + [path.name for path in entries if (path / "__init__.py").is_file()]
