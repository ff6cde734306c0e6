"""Calls back when a module is first imported, whatever the function does to the import system."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import types
import uuid
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime import import_watch
from lambdascope.runtime.config import RuntimeConfig
from lambdascope.runtime.import_watch import ImportWatch
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def watch() -> Iterator[ImportWatch]:
    """A watch that is installed; the finders are put back afterwards."""
    before = sys.meta_path
    sys.meta_path = before[:]
    installed = ImportWatch()
    installed.install()
    yield installed
    sys.meta_path = before


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module that was never imported."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"watched{uuid.uuid4().hex[:8]}"
    (tmp_path / f"{name}.py").write_text("value = 1\n")
    return name


def test_called_once_after_the_code(watch: ImportWatch, name: str) -> None:
    """The callback gets the module when its code has run, and only once."""
    seen: list[int] = []
    watch.when_imported(name, lambda module: seen.append(module.value))

    importlib.import_module(name)
    del sys.modules[name]
    importlib.import_module(name)

    assert [1] == seen


def test_module_looks_untouched(watch: ImportWatch, name: str) -> None:
    """Afterwards the module has the loader of its finder, and can be reloaded."""
    watch.when_imported(name, lambda module: None)

    module = importlib.import_module(name)

    assert "SourceFileLoader" == type(module.__loader__).__name__
    assert module.__loader__ is module.__spec__.loader
    assert "value = 1\n" == module.__loader__.get_source(name)
    assert module is importlib.reload(module)


def test_called_at_once_when_loaded(watch: ImportWatch) -> None:
    """A module that is loaded already is called for at once."""
    seen: list[object] = []
    watch.when_imported("sys", seen.append)

    assert [sys] == seen


def test_search_without_import(watch: ImportWatch, name: str) -> None:
    """Asking whether a module exists does not use the callback up."""
    seen: list[object] = []
    watch.when_imported(name, seen.append)

    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert [] == seen
    module = importlib.import_module(name)

    assert [module] == seen


def test_missing_module(watch: ImportWatch, name: str) -> None:
    """A watched module that does not exist is a plain ModuleNotFoundError."""
    watch.when_imported(f"{name}x", lambda module: None)

    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{name}x")


def test_module_whose_code_fails(watch: ImportWatch, name: str, tmp_path: Path) -> None:
    """The callback waits for a successful import."""
    seen: list[object] = []
    path = tmp_path / f"{name}.py"
    path.write_text("import sys\nsys.tries = getattr(sys, 'tries', 0) + 1\n1 / (sys.tries - 1)\n")
    watch.when_imported(name, seen.append)

    with pytest.raises(ZeroDivisionError):
        importlib.import_module(name)
    failed = list(seen)
    module = importlib.import_module(name)

    assert ([], [module]) == (failed, seen)


def test_finders_replaced_by_the_function(watch: ImportWatch, name: str) -> None:
    """A function that puts other finders there loses the watch, and `settle` makes up for it."""
    seen: list[object] = []
    watch.when_imported(name, seen.append)
    sys.meta_path = [finder for finder in sys.meta_path if finder is not watch]

    module = importlib.import_module(name)
    missed = list(seen)
    watch.settle()
    watch.settle()

    assert ([], [module]) == (missed, seen)


def test_finders_copied_and_added(watch: ImportWatch, name: str) -> None:
    """Finders that others put in front still get their turn, also old ones without find_spec."""
    asked: list[str] = []

    class Spy:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            asked.append(name)

    class Old:
        pass

    seen: list[object] = []
    watch.when_imported(name, seen.append)
    sys.meta_path[:0] = [Spy()]
    sys.meta_path.append(Old())

    module = importlib.import_module(name)

    assert [module] == seen
    assert name in asked


def test_finder_that_asks_again(watch: ImportWatch, name: str) -> None:
    """A finder that searches the module through importlib itself does not loop."""
    seen: list[object] = []

    class Delegating:
        busy = False

        def find_spec(self, name: str, path: object = None, target: object = None) -> object:
            if self.busy:
                return None
            self.busy = True
            try:
                return importlib.util.find_spec(name)
            finally:
                self.busy = False

    sys.meta_path.insert(1, Delegating())
    watch.when_imported(name, seen.append)

    assert [importlib.import_module(name)] == seen


def test_builtin_module(watch: ImportWatch) -> None:
    """Modules of any loader can be watched, built-in ones included."""
    seen: list[object] = []
    kept = sys.modules.pop("_statistics", None)
    try:
        watch.when_imported("_statistics", seen.append)
        module = importlib.import_module("_statistics")
    finally:
        if kept is not None:
            sys.modules["_statistics"] = kept

    assert [module] == seen


def test_a_stand_in_for_a_missing_module(watch: ImportWatch) -> None:
    """A module that nobody has is made, and the callback is called for it as well."""
    missing = f"missing{uuid.uuid4().hex[:8]}"
    made = types.ModuleType(missing)
    seen: list[object] = []
    watch.when_missing(missing, lambda: made)
    watch.when_imported(missing, seen.append)

    assert importlib.import_module(missing) is made
    assert [made] == seen
    assert made.__spec__ is not None
    assert made.__spec__.origin is None


def test_no_stand_in_for_a_module_that_is_there(watch: ImportWatch, name: str) -> None:
    """The function's own module goes before a stand-in."""
    watch.when_missing(name, lambda: types.ModuleType(name))

    assert 1 == importlib.import_module(name).value


def test_a_callback_that_fails(
    watch: ImportWatch, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not fail the import; it is said."""
    watch.when_imported(name, lambda module: 1 / 0)

    assert 1 == importlib.import_module(name).value
    assert f"lambdascope: at the import of {name}: ZeroDivisionError" in capsys.readouterr().err


def test_before_the_code_and_after_it(
    watch: ImportWatch, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is to happen before the code happens then, and is undone before the callback."""
    (tmp_path / f"{name}.py").write_text("import os\nvalue = os.environ.get('SEEN')\n")
    seen: list[object] = []

    def before() -> Callable[[], object]:
        monkeypatch.setenv("SEEN", "inside")
        return lambda: monkeypatch.delenv("SEEN")

    def callback(module: types.ModuleType) -> None:
        seen.extend([module.value, os.environ.get("SEEN")])

    watch.when_imported(name, callback, before=before)
    importlib.import_module(name)

    assert ["inside", None] == seen


def test_undone_after_a_failure(watch: ImportWatch, name: str, tmp_path: Path) -> None:
    """An import that fails undoes it too, and is not called back."""
    (tmp_path / f"{name}.py").write_text("raise LookupError\n")
    seen: list[str] = []
    watch.when_imported(
        name,
        lambda module: seen.append("callback"),
        before=lambda: seen.append("before") or (lambda: seen.append("after")),
    )

    with pytest.raises(LookupError):
        importlib.import_module(name)
    assert ["before", "after"] == seen


def test_many_names(watch: ImportWatch, name: str) -> None:
    """Each is called for, also the loaded ones; who waited before is not displaced."""
    seen: list[str] = []
    watch.when_imported(name, lambda module: seen.append("mine"))
    watch.when_any_imported([name, "types", "no.such"], lambda module: seen.append(module.__name__))

    importlib.import_module(name)

    assert ["types", "mine"] == seen


def test_later(watch: ImportWatch) -> None:
    """A module that is just being imported is called for when things have settled."""
    seen: list[str] = []
    watch.when_settled("types", lambda module: seen.append(module.__name__))
    watch.when_imported("no.such", lambda module: None)

    assert [] == seen
    watch.settle()
    assert ["types"] == seen


def _watched(watch: ImportWatch, monkeypatch: pytest.MonkeyPatch, **environ: str) -> set[str]:
    """What is waited for in that environment, when nothing is loaded yet."""
    monkeypatch.setattr(sys, "modules", {})
    config = RuntimeConfig({"AWS_LAMBDA_RUNTIME_API": "x:1"} | environ, "")
    import_watch.watch_libraries(watch, config)
    return set(watch._callbacks)


@pytest.mark.parametrize("named", [True, False])
def test_libraries_and_the_index(
    watch: ImportWatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """All that can be instrumented is waited for: also the index, named or beside the package."""
    file = tmp_path / ("any" if named else names.INSTRUMENT_INDEX_FILE)
    file.write_text("shop.client shop_instruments:Shop shop\nledger x:Y\n")
    place = f"{tmp_path}/lambdascope/runtime/import_watch.py"
    monkeypatch.setattr(import_watch, "__file__", place)
    environ = {"LAMBDASCOPE_INSTRUMENT_INDEX": str(file)} if named else {}

    known = {*names.INSTRUMENTED.split(), "shop.client", "ledger"}
    assert known == _watched(watch, monkeypatch, **environ)


@pytest.mark.parametrize("variable", ["LAMBDASCOPE_INSTRUMENT", "OTEL_TRACES_EXPORTER"])
def test_no_libraries(watch: ImportWatch, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Nothing is waited for where nothing is to be instrumented, or nothing is recorded."""
    assert set() == _watched(watch, monkeypatch, **{variable: "none"})


def test_an_index_that_is_not_there(
    watch: ImportWatch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A named one is missed in one line; without a name there need be none."""
    assert names.INSTRUMENTED.split()[0] in _watched(watch, monkeypatch)
    assert "" == capsys.readouterr().err
    _watched(watch, monkeypatch, LAMBDASCOPE_INSTRUMENT_INDEX="/no/such")

    assert capsys.readouterr().err.startswith("lambdascope: LAMBDASCOPE_INSTRUMENT_INDEX: ")
