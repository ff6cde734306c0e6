"""Why the handler could not be loaded: hints beside AWS's error, for the cases that are common.

`handler` asks here when an import or a look-up has failed, never before. Each function gives fields
for the error JSON: `hint` (sentences for a person, the likeliest first) and `searched` (a digest of
sys.path). A hint is a guess from names and headers of files; nothing is imported and no variable of
the environment is shown.
"""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches

from lambdascope.runtime import import_places
from lambdascope.runtime.faults import text_of
from lambdascope.runtime.import_search import Search, misfit_of, native_machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MAX_HINTS = 3
_MAX_HINT = 600
_MAX_SHOWN = 8
_MAX_CANDIDATES = 500
_MAX_CHAIN = 8
_FILES_LOOKED_INTO = 40


def for_name(handler: str) -> dict[str, object]:
    """Fields for a handler name without a dot."""
    if ":" in handler:
        return _fields([f"Write {_quoted(handler.replace(':', '.'))}: a dot, not a colon."])
    return _fields([f"A handler is named module.function: {_quoted(handler + '.handler')}."])


def for_import(module: str, root: str, error: ImportError) -> dict[str, object]:
    """Fields for a module that cannot be imported. `root` is the first folder of sys.path."""
    search = Search()
    hints: list[str] = []
    for each in _chain(error):
        hints = _Missing(search, root, module).hints(each)
        if hints:
            break
    return _fields(hints) | {"searched": search.digest()}


def for_function(module: str, root: str, function: str, found: object) -> dict[str, object]:
    """Fields for a module, `found`, that has no such function."""
    search = Search()
    if function == "py":
        return _fields([f"Name a function in place of 'py': {_examples(search, root, module)}."])
    hints = _of_folder(search, root, module, found)
    known = _callables(found)
    near = _near(function, known)
    if near:
        hints.append(f"Did you mean {_quoted(f'{module}.{near[0]}')}?")
    if known:
        hints.append(f"Callables in {module}: {_listed(known)}.")
    file = text_of(getattr(found, "__file__", None) or "")
    if file and root and not file.startswith(root.rstrip("/") + "/"):
        hints.append(f"{module} came from {file}; there is no such module in {root}.")
    if not near:
        hints += _defined_elsewhere(search, root, module, function)
    return _fields(hints)


def for_syntax(error: SyntaxError) -> dict[str, object]:
    """Fields for code that this Python cannot compile, when a newer one could."""
    line = text_of(error.text or "").strip()
    if line.startswith(("<<<<<<<", "=======", ">>>>>>>")):
        return _fields(["A merge was not finished: this line is a conflict marker."])
    needed = import_places.needed_version(line)
    if needed is None or sys.version_info[:2] >= needed[0]:
        return {}
    (major, minor), what = needed
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    return _fields([f"{what} need Python {major}.{minor} or newer; this is Python {running}."])


class _Missing:
    """The hints for one ImportError."""

    def __init__(self, search: Search, root: str, handler_module: str) -> None:
        self._search = search
        self._root = root
        self._handler = handler_module.replace("/", ".")

    def hints(self, error: ImportError) -> list[str]:
        """What may be wrong, the likeliest first; empty when there is nothing to go by."""
        name = error.name
        if isinstance(name, str) and isinstance(error, ModuleNotFoundError):
            return self._absent_part(name) if "." in name else self._absent(name)
        hints = self._compiled(error)
        if not hints and isinstance(name, str) and name in sys.modules:
            hints = self._shadow(name.partition(".")[0])
            hints += self._absent_name(error, name)
        return hints

    def _absent(self, name: str) -> list[str]:
        """A module at the top, `name`, was not found."""
        is_handler = name == self._handler.partition(".")[0]
        for folder in self._search.paths():
            misfit = self._search.misfit(folder, name)
            if misfit:
                return [f"{misfit}. {_reinstall(name)}"]
        hints = self._other_case(self._search.paths(), name)
        hints += self._elsewhere(name, is_handler=is_handler)
        if hints:
            return hints
        removed = import_places.REMOVED.get(name)
        if removed is not None and sys.version_info[:2] >= removed:
            return [f"{name} is no part of Python since {removed[0]}.{removed[1]}."]
        near = self._near_modules(name, is_handler=is_handler)
        return near or ([] if is_handler else self._not_installed(name))

    def _absent_part(self, name: str) -> list[str]:
        """A part of a package, `name`, was not found; its parent was."""
        parent_name, _, part = name.rpartition(".")
        parent = sys.modules.get(parent_name)
        if parent is not None and not hasattr(parent, "__path__"):
            return self._no_package(name, parent_name, part, parent)
        hints: list[str] = []
        paths = [text_of(folder) for folder in getattr(parent, "__path__", ())]
        if not paths:
            # A package that failed because of this is no longer among the modules.
            inner = parent_name.replace(".", "/")
            paths = [os.path.join(folder, inner) for folder in self._search.paths()]
        for folder in paths:
            misfit = self._search.misfit(folder, part)
            if misfit:
                return [f"{misfit}. {_reinstall(name.partition('.')[0])}"]
        hints += self._other_case(paths, part)
        known = [module for folder in paths for module in self._search.modules(folder)]
        near = [] if hints else _near(part, known)
        if near:
            hints.append(f"Did you mean {_quoted(f'{parent_name}.{near[0]}')}?")
        return hints + self._shadow(name.partition(".")[0])

    def _no_package(self, name: str, parent_name: str, part: str, parent: object) -> list[str]:
        if name == self._handler:
            if part == "py":
                example = _examples(self._search, self._root, parent_name)
                return [f"Leave '.py' out of the handler's name: {example}."]
            if hasattr(parent, part):
                told = (
                    f"{part} is something in the module {parent_name}, and a handler is a function"
                )
                return [f"{told} of a module. Give it a name there: handler = {part}.method"]
        return self._shadow(parent_name.partition(".")[0])

    def _absent_name(self, error: ImportError, name: str) -> list[str]:
        """`from name import wanted` found no `wanted`."""
        wanted = getattr(error, "name_from", None)  # Python 3.12
        if not isinstance(wanted, str):
            wanted = text_of(error).partition("cannot import name '")[2].partition("'")[0]
        if not wanted:
            return []
        near = _near(wanted, [key for key in vars(sys.modules[name]) if isinstance(key, str)])
        return [f"Did you mean {_quoted(near[0])}, from {name}?"] if near else []

    def _compiled(self, error: ImportError) -> list[str]:
        """A compiled file was found and could not be loaded."""
        path = error.path
        if not isinstance(path, str) or path.endswith((".py", ".pyc")):
            return []
        reason = misfit_of(path)
        if reason:
            return [f"{path} was built for {reason}. {_reinstall(self._package(path))}"]
        text = text_of(error)
        if "GLIBC" in text:
            return [f"It needs a newer C library than this. {_reinstall(self._package(path))}"]
        library, is_missing, _ = text.partition(": cannot open shared object file")
        if is_missing and library != path:
            return [f"Put the library {_quoted(library)} into lib/ of the function or of a layer."]
        return []

    def _package(self, path: str) -> str:
        for folder in sorted(self._search.paths(), key=len, reverse=True):
            if folder and path.startswith(folder.rstrip("/") + "/"):
                return path[len(folder) :].strip("/").partition("/")[0].partition(".")[0]
        return "PACKAGE"

    def _shadow(self, name: str) -> list[str]:
        """Whether a module of the function's hides one that the importer meant."""
        file = text_of(getattr(sys.modules.get(name), "__file__", None) or "")
        if not file or not self._root or not file.startswith(self._root.rstrip("/") + "/"):
            return []
        if name in sys.stdlib_module_names:
            return [f"{file} hides the module {name} of Python: rename it."]
        for folder in self._search.paths():
            if folder != self._root and name in self._search.modules(folder):
                return [f"{file} hides the package {name} in {folder}: rename it."]
        return []

    def _other_case(self, folders: Iterable[str], name: str) -> list[str]:
        for folder in folders:
            for module, source in self._search.modules(folder).items():
                if module != name and module.lower() == name.lower():
                    return [f"{source} in {folder} has another case: names are case-sensitive."]
        return []

    def _elsewhere(self, name: str, *, is_handler: bool) -> list[str]:
        place = import_places.find(self._search, self._root, name, in_packages=is_handler)
        if not place:
            return []
        inside = os.path.relpath(place, self._root) if self._root else ".."
        if is_handler and not inside.startswith(".."):
            told = f"{name} is in {place}: name it in the handler as {_quoted(f'{inside}/{name}')}"
            return [f"{told}, or zip the content of {_quoted(inside)} and not the folder."]
        return [f"{name} is in {place}, which is not on sys.path."]

    def _near_modules(self, name: str, *, is_handler: bool) -> list[str]:
        own = self._search.modules(self._root)
        near = _near(name, own)
        if near:
            source = own[near[0]]
            functions = self._search.functions(os.path.join(self._root, source))
            told = f" ({source} defines {_listed(functions)})" if functions else ""
            return [f"Did you mean {_quoted(near[0])}?{told}"]
        if is_handler:
            return [f"{self._root} has {_listed(own) if own else 'no modules'}."]
        near = _near(name, sys.stdlib_module_names, cutoff=0.8)
        for folder in [] if near else self._search.paths():
            near = near or _near(name, self._search.modules(folder), cutoff=0.8)
        return [f"Did you mean {_quoted(near[0])}?"] if near else []

    def _not_installed(self, name: str) -> list[str]:
        known = import_places.DISTRIBUTIONS.get(name, name)
        command = f"pip install {known} --target {self._root or '.'}"
        words = {known.lower().replace("_", "-"), name.lower().replace("_", "-")}
        for file in ("requirements.txt", "pyproject.toml", "Pipfile"):
            path = os.path.join(self._root, file)
            if file in self._search.entries(self._root) and self._search.mentions(path, words):
                told = f"{file} names {known}, but it is not installed, and Lambda installs nothing"
                return [f"{told}. Before zipping: {command}"]
        told = f"{name} is neither in the function's package nor in a layer"
        # No command for any name: a misspelt one may be somebody's trap.
        how = command if name in import_places.DISTRIBUTIONS else "add it to one of them"
        return [f"{told}: {how}."]


def _of_folder(search: Search, root: str, module: str, found: object) -> list[str]:
    """Hints for a module that is a folder where the user may have meant a file."""
    folders = [text_of(each) for each in getattr(found, "__path__", None) or ()]
    if not folders:
        return []
    hints: list[str] = []
    own_file = f"{module.replace('.', '/')}.py"
    if os.path.isfile(os.path.join(root, own_file)):
        hints.append(f"The folder {folders[0]} hides {own_file} beside it: rename one of them.")
    elif getattr(found, "__file__", None) is None:
        inside = search.modules(folders[0])
        hints.append(f"{module} is a folder without __init__.py; its modules: {_listed(inside)}.")
    return hints


def _defined_elsewhere(search: Search, root: str, module: str, function: str) -> list[str]:
    sources = [name for name in search.entries(root) if name.endswith(".py")]
    for source in sources[:_FILES_LOOKED_INTO]:
        stem = source.removesuffix(".py")
        if stem != module and function in search.functions(os.path.join(root, source)):
            return [f"{source} has it: {_quoted(f'{stem}.{function}')}."]
    return []


def _examples(search: Search, root: str, module: str) -> str:
    functions = search.functions(os.path.join(root, f"{module.replace('.', '/')}.py"))
    shown = [_quoted(f"{module}.{name}") for name in functions[:_MAX_SHOWN] or ["handler"]]
    return " or ".join(shown)


def _callables(found: object) -> list[str]:
    """The public functions of a module; those that it defines, where it defines any."""
    fields = [(name, value) for name, value in vars(found).items() if callable(value)]
    public = [(name, value) for name, value in fields if not name.startswith("_")]
    own_name = getattr(found, "__name__", "")
    own = [name for name, value in public if getattr(value, "__module__", "") == own_name]
    return own or [name for name, _ in public]


def _chain(error: ImportError) -> list[ImportError]:
    """The error and the import errors that led to it: packages wrap them in words of their own."""
    found: list[ImportError] = []
    each: BaseException | None = error
    for _ in range(_MAX_CHAIN):
        if each is None:
            break
        if isinstance(each, ImportError):
            found.append(each)
        each = each.__cause__ or each.__context__
    return found


def _near(name: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    candidates = [each for each in known if each != name][:_MAX_CANDIDATES]
    for each in candidates:
        if each.lower() == name.lower():
            return [each]
    return get_close_matches(name, candidates, n=1, cutoff=cutoff)


def _reinstall(package: str) -> str:
    machine = native_machine()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    platform = f"--platform manylinux2014_{machine} " if machine != "macOS" else ""
    return (
        f"Reinstall it: pip install {platform}--python-version {version} "
        f"--only-binary=:all: --target FOLDER {package}"
    )


def _quoted(text: str) -> str:
    return f"'{text[:100]}'"


def _listed(names: Iterable[str]) -> str:
    shown = sorted(names)
    more = len(shown) - _MAX_SHOWN
    return ", ".join(shown[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _fields(hints: list[str]) -> dict[str, object]:
    if not hints:
        return {}
    return {"hint": " ".join(hint[:_MAX_HINT] for hint in hints[:_MAX_HINTS])}
