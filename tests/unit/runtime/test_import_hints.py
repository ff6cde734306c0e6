"""A handler that cannot be loaded is reported with what may be wrong, within bounds, always."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from import_kit import SECRET, hint_of, import_fault, task_root, write_files
from lambdascope.runtime import import_hints
from lambdascope.runtime.faults import ErrorReport, more_lines
from lambdascope.runtime.import_search import Search

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty task root that is first on sys.path; what is imported from it is forgotten."""
    with task_root(tmp_path, monkeypatch) as folder:
        yield folder


def test_near_miss_of_the_handlers_module(root: Path) -> None:
    """A misspelt module is named as it is spelt, with the functions it defines."""
    write_files(
        root, orders_app="def handler(event, context): pass\nasync def health(e, c): pass\n"
    )

    hint = hint_of("order_app.handler")

    assert "Did you mean 'orders_app'? (orders_app.py defines handler, health)" == hint


def test_modules_are_listed(root: Path) -> None:
    """Where no name is near, the modules that there are are named."""
    write_files(root, alpha="", beta="")

    assert f"{root} has alpha, beta." == hint_of("zzzzzz.handler")


def test_another_case(root: Path) -> None:
    """Names are case-sensitive in Lambda, which who develops on a Mac finds out last."""
    write_files(root, OrderApp="")

    assert hint_of("orderapp.handler").startswith(f"OrderApp.py in {root} has another case")


def test_folder_was_zipped(root: Path) -> None:
    """A zip with one folder more than meant is told as such."""
    write_files(root, my_order_function__orders="def handler(e, c): pass")

    hint = hint_of("orders.handler")

    assert f"orders is in {root}/my_order_function: " in hint
    assert "'my_order_function/orders'" in hint


def test_suffix_in_the_name(root: Path) -> None:
    """Both ways to write .py into the name are known."""
    write_files(root, order_app="def handler(event, context): pass")

    assert "Leave '.py' out of the handler's name: 'order_app.handler'." == hint_of(
        "order_app.py.handler"
    )
    assert "Name a function in place of 'py': 'order_app.handler'." == hint_of("order_app.py")


def test_method_of_a_class(root: Path) -> None:
    """A method is no function of a module."""
    write_files(root, order_app="class Handler:\n    def run(self): pass\n")

    assert "Handler is something in the module order_app" in hint_of("order_app.Handler.run")


def test_names_without_a_dot() -> None:
    """A handler's name has a module and a function."""
    assert "A handler is named module.function: 'app.handler'." == hint_of("app")
    assert "Write 'app.handler': a dot, not a colon." == hint_of("app:handler")


def test_near_miss_of_the_function(root: Path) -> None:
    """A misspelt function is named as it is spelt; imported names are not offered."""
    write_files(
        root,
        order_app="from json import dumps\ndef handle_order(e, c): pass\ndef health(e, c): pass",
    )

    assert (
        "Did you mean 'order_app.handle_order'? Callables in order_app: handle_order, health."
        == hint_of("order_app.handle_orders")
    )


def test_function_of_another_module(root: Path) -> None:
    """A function that is in the file beside is found there, without running that."""
    write_files(root, order_app="x = 1", main_app="1 / 0\ndef lambda_handler(event, context): pass")

    assert "main_app.py has it: 'main_app.lambda_handler'." == hint_of("order_app.lambda_handler")


def test_folder_without_init(root: Path) -> None:
    """A folder can be imported, and has no functions."""
    write_files(root, orders__main="def handler(event, context): pass")

    assert "orders is a folder without __init__.py; its modules: main." == hint_of("orders.handler")


def test_folder_that_hides_a_file(root: Path) -> None:
    """A package is found before a file of the same name."""
    write_files(root, orders__main="", orders="def handler(event, context): pass")
    (root / "orders" / "__init__.py").touch()

    assert f"The folder {root}/orders hides orders.py" in hint_of("orders.handler")


def test_module_from_elsewhere(root: Path) -> None:
    """A handler's module that is the standard library's is told."""
    assert f"there is no such module in {root}." in hint_of("colorsys.handler")


def test_near_miss_of_an_imported_name(root: Path) -> None:
    """`from module import name` with a misspelt name."""
    write_files(root, order_parts="def total(): pass", order_app="from order_parts import totals")

    assert "Did you mean 'total', from order_parts?" == hint_of("order_app.handler")


def test_near_miss_of_an_imported_module(root: Path) -> None:
    """A misspelt import is told, for the user's modules and for Python's."""
    write_files(root, order_parts="", order_app="import order_part", other_app="import colorsis")

    assert "Did you mean 'order_parts'?" == hint_of("order_app.handler")
    assert "Did you mean 'colorsys'?" == hint_of("other_app.handler")


def test_near_miss_in_a_package(root: Path) -> None:
    """A misspelt part of a package is told as it is spelt."""
    write_files(root, orders__inner="", order_app="import orders.iner")

    assert "Did you mean 'orders.inner'?" == hint_of("order_app.handler")


def test_searched_tells_sys_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest has each entry of sys.path in turn: does it exist, how much is in it."""
    write_files(root, alpha="", beta="")
    (root / "archive.zip").touch()
    path = [str(root), str(root / "nowhere"), str(root / "archive.zip")]
    monkeypatch.setattr(sys, "path", path)

    searched = import_fault("zzq.handler").more["searched"]

    assert [
        {"path": path[0], "exists": True, "entries": 3},
        {"path": path[1], "exists": False},
        {"path": path[2], "exists": True},
    ] == searched


def test_fields_are_in_the_body_and_in_the_log(root: Path) -> None:
    """What the caller gets has the hint after AWS's fields; the log has it as lines."""
    write_files(root, orders_app="")
    fault = import_fault("order_app.handler")

    body = json.loads(ErrorReport(fault, "").to_json())

    assert [
        "errorMessage",
        "errorType",
        "requestId",
        "stackTrace",
        "hint",
        "searched",
    ] == list(body)
    lines = more_lines(body)
    assert "Hint: Did you mean 'orders_app'?" == lines[0]
    assert f"Searched: {root} (1 entries)" == lines[1]


def test_no_variable_is_shown(root: Path) -> None:
    """Nothing of the environment is in a report, however the import failed."""
    write_files(root, order_app="import zzq_nothing\n", other="x = 1")

    for handler in ("order_app.handler", "zzq.handler", "other.handler", "zzq"):
        assert SECRET not in ErrorReport(import_fault(handler), "").to_json().decode()


def test_work_is_bounded(tmp_path: Path) -> None:
    """A search sees so many entries at most, and says of folders that they have more."""
    for number in range(50):
        (tmp_path / f"m{number}.py").touch()
    search = Search(entries=20)

    assert 20 == len(search.entries(str(tmp_path)))
    assert search.spent
    assert [] == search.functions(str(tmp_path / "m1.py"))
    sys.path.insert(0, str(tmp_path))
    try:
        digest = search.digest()
    finally:
        sys.path.remove(str(tmp_path))
    assert {"path": str(tmp_path), "exists": True, "entries": 20, "at_least": True} == digest[0]
    assert Search(time_ns=-1).spent


def test_hostile_module(root: Path) -> None:
    """A module that put something else in its place does not stand in the way of the report."""
    write_files(root, order_app="import sys\nsys.modules[__name__] = object()")

    fault = import_fault("order_app.handler")

    assert "Handler 'handler' missing on module 'order_app'" == str(fault)


@settings(deadline=None, max_examples=60)
@given(
    module=st.text(max_size=20),
    name=st.one_of(st.none(), st.text(max_size=20), st.integers()),
    path=st.one_of(st.none(), st.text(max_size=20), st.just("\0"), st.integers()),
    text=st.text(max_size=40),
)
def test_hints_never_raise(module: str, name: object, path: object, text: str) -> None:
    """Whatever a module's name is and an ImportError says, there are fields or none."""
    for kind in (ImportError, ModuleNotFoundError):
        error = kind(text)
        error.name, error.path = name, path
        fields = import_hints.for_import(module, sys.path[0], error)
        assert {"hint", "searched"} >= fields.keys()
    assert {"hint"} >= import_hints.for_name(module).keys()
    assert {"hint"} >= import_hints.for_function(module, text, module, sys).keys()
    error = SyntaxError(text)
    error.text = text
    assert {"hint"} >= import_hints.for_syntax(error).keys()


def test_not_loaded_without_a_failure() -> None:
    """A handler that loads does not pay for the hints."""
    code = (
        "import sys\nfrom lambdascope.runtime.handler import load_handler\n"
        "load_handler('colorsys.rgb_to_hls')\n"
        "print([m for m in sys.modules if 'import_hints' in m or m == 'difflib'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, env=os.environ
    )

    assert ("[]\n", "") == (done.stdout, done.stderr)
