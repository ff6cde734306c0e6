"""A handler that cannot be loaded is reported with what may be wrong, within bounds, always."""

from __future__ import annotations

import importlib.machinery
import json
import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdascope.runtime import import_hints, import_places
from lambdascope.runtime.faults import ErrorReport, Fault, more_lines
from lambdascope.runtime.handler import load_handler
from lambdascope.runtime.import_search import Search, misfit_of, native_machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHER_MACHINE = "aarch64" if native_machine() == "x86_64" else "x86_64"
MACHINE_NUMBERS = {"x86_64": 62, "aarch64": 183}
SECRET = "open-sesame-17"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty task root that is first on sys.path; what is imported from it is forgotten."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "task"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(import_places, "LAYERS", str(tmp_path / "opt"))
    monkeypatch.setenv("DATABASE_PASSWORD", SECRET)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if not name.startswith("lambdascope"):
            del sys.modules[name]


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".py").write_text(text)


def _fault(handler: str) -> Fault:
    with pytest.raises(Fault) as caught:
        load_handler(handler)
    return caught.value


def _hint(handler: str) -> str:
    return str(_fault(handler).more.get("hint", ""))


def _elf(machine: str) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, MACHINE_NUMBERS[machine])


def test_near_miss_of_the_handlers_module(root: Path) -> None:
    """A misspelt module is named as it is spelt, with the functions it defines."""
    _write(root, orders_app="def handler(event, context): pass\nasync def health(e, c): pass\n")

    hint = _hint("order_app.handler")

    assert "Did you mean 'orders_app'? (orders_app.py defines handler, health)" == hint


def test_modules_are_listed(root: Path) -> None:
    """Where no name is near, the modules that there are are named."""
    _write(root, alpha="", beta="")

    assert f"{root} has alpha, beta." == _hint("zzzzzz.handler")


def test_another_case(root: Path) -> None:
    """Names are case-sensitive in Lambda, which who develops on a Mac finds out last."""
    _write(root, OrderApp="")

    assert _hint("orderapp.handler").startswith(f"OrderApp.py in {root} has another case")


def test_folder_was_zipped(root: Path) -> None:
    """A zip with one folder more than meant is told as such."""
    _write(root, my_order_function__orders="def handler(e, c): pass")

    hint = _hint("orders.handler")

    assert f"orders is in {root}/my_order_function: " in hint
    assert "'my_order_function/orders'" in hint


def test_suffix_in_the_name(root: Path) -> None:
    """Both ways to write .py into the name are known."""
    _write(root, order_app="def handler(event, context): pass")

    assert "Leave '.py' out of the handler's name: 'order_app.handler'." == _hint(
        "order_app.py.handler"
    )
    assert "Name a function in place of 'py': 'order_app.handler'." == _hint("order_app.py")


def test_method_of_a_class(root: Path) -> None:
    """A method is no function of a module."""
    _write(root, order_app="class Handler:\n    def run(self): pass\n")

    assert "Handler is something in the module order_app" in _hint("order_app.Handler.run")


def test_names_without_a_dot() -> None:
    """A handler's name has a module and a function."""
    assert "A handler is named module.function: 'app.handler'." == _hint("app")
    assert "Write 'app.handler': a dot, not a colon." == _hint("app:handler")


def test_near_miss_of_the_function(root: Path) -> None:
    """A misspelt function is named as it is spelt; imported names are not offered."""
    _write(
        root,
        order_app="from json import dumps\ndef handle_order(e, c): pass\ndef health(e, c): pass",
    )

    assert (
        "Did you mean 'order_app.handle_order'? Callables in order_app: handle_order, health."
        == _hint("order_app.handle_orders")
    )


def test_function_of_another_module(root: Path) -> None:
    """A function that is in the file beside is found there, without running that."""
    _write(root, order_app="x = 1", main_app="1 / 0\ndef lambda_handler(event, context): pass")

    assert "main_app.py has it: 'main_app.lambda_handler'." == _hint("order_app.lambda_handler")


def test_folder_without_init(root: Path) -> None:
    """A folder can be imported, and has no functions."""
    _write(root, orders__main="def handler(event, context): pass")

    assert "orders is a folder without __init__.py; its modules: main." == _hint("orders.handler")


def test_folder_that_hides_a_file(root: Path) -> None:
    """A package is found before a file of the same name."""
    _write(root, orders__main="", orders="def handler(event, context): pass")
    (root / "orders" / "__init__.py").touch()

    assert f"The folder {root}/orders hides orders.py" in _hint("orders.handler")


def test_module_from_elsewhere(root: Path) -> None:
    """A handler's module that is the standard library's is told."""
    assert f"there is no such module in {root}." in _hint("colorsys.handler")


@pytest.mark.parametrize(
    ("suffix", "content", "told"),
    [
        (
            f".cpython-{OWN_VERSION.replace('.', '')}-{OTHER_MACHINE}-linux-gnu.so",
            _elf(OTHER_MACHINE),
            f"{OTHER_MACHINE}, and this is {native_machine()}",
        ),
        (".abi3.so", _elf(OTHER_MACHINE), f"{OTHER_MACHINE}, and this is"),
        (
            ".cpython-39-x86_64-linux-gnu.so",
            b"",
            f"Python 3.9, and this is Python {OWN_VERSION}",
        ),
        (".cp312-win_amd64.pyd", b"MZ\0\0", "Windows, and this is"),
        (".cpython-312-darwin.so", b"\xcf\xfa\xed\xfe" + bytes(16), "macOS, and this is"),
        (".cpython-399t-x86_64-linux-gnu.so", b"", "Python 3.99 without the global lock"),
    ],
)
def test_compiled_for_something_else(suffix: str, content: bytes, told: str, root: Path) -> None:
    """A compiled part that is there and cannot be loaded is told with what it was built for."""
    _write(root, fast_orders__part="")
    (root / "fast_orders" / "__init__.py").write_text("import fast_orders._core")
    (root / "fast_orders" / f"_core{suffix}").write_bytes(content)
    _write(root, order_app="import fast_orders")

    fault = _fault("order_app.handler")

    assert told in str(fault.more["hint"])
    assert "--only-binary=:all: --target FOLDER fast_orders" in str(fault.more["hint"])


def test_compiled_file_that_does_not_load(root: Path) -> None:
    """The right name and the wrong machine: Python tries, and the header says why it fails."""
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (root / f"fast_orders{suffix}").write_bytes(_elf(OTHER_MACHINE))
    _write(root, order_app="import fast_orders")

    assert f"was built for {OTHER_MACHINE}, and this is" in _hint("order_app.handler")


def test_wrapped_import_error(root: Path) -> None:
    """Packages tell import errors in words of their own; what they came from is looked at."""
    _write(
        root,
        numbers_kit__part="",
        order_app=(
            "try:\n    import numbers_kit._core\n"
            "except ImportError as error:\n    raise ImportError('PLEASE READ THIS') from error"
        ),
    )
    (root / "numbers_kit" / "__init__.py").touch()
    (root / "numbers_kit" / "_core.cpython-38-x86_64-linux-gnu.so").touch()

    assert "Python 3.8, and this is" in _hint("order_app.handler")


def test_loadable_file_is_no_misfit(tmp_path: Path) -> None:
    """Python's own compiled modules fit, whichever files are beside them."""
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (tmp_path / f"part{suffix}").write_bytes(_elf(native_machine()))
    (tmp_path / "part.cpython-38-x86_64-linux-gnu.so").write_bytes(_elf(OTHER_MACHINE))

    assert "" == misfit_of(str(tmp_path / f"part{suffix}"))
    assert "" == Search().misfit(str(tmp_path), "part")


def test_module_that_hides_a_standard_one(root: Path) -> None:
    """A file called like a module of Python takes its place for everybody."""
    # Other tests may have loaded Python's own, which then has its place already.
    sys.modules.pop("colorsys", None)
    _write(root, colorsys="", order_app="from colorsys import rgb_to_hls")

    assert f"{root}/colorsys.py hides the module colorsys of Python" in _hint("order_app.handler")


def test_module_that_hides_a_package(root: Path) -> None:
    """A file called like an installed package takes its place, too."""
    layer = root.parent / "layer"
    _write(layer, zzq_installed__part="")
    sys.path.append(str(layer))
    _write(root, zzq_installed="", order_app="import zzq_installed.part")

    hint = _hint("order_app.handler")

    assert f"{root}/zzq_installed.py hides the package zzq_installed in {layer}" in hint


def test_near_miss_of_an_imported_name(root: Path) -> None:
    """`from module import name` with a misspelt name."""
    _write(root, order_parts="def total(): pass", order_app="from order_parts import totals")

    assert "Did you mean 'total', from order_parts?" == _hint("order_app.handler")


def test_near_miss_of_an_imported_module(root: Path) -> None:
    """A misspelt import is told, for the user's modules and for Python's."""
    _write(root, order_parts="", order_app="import order_part", other_app="import colorsis")

    assert "Did you mean 'order_parts'?" == _hint("order_app.handler")
    assert "Did you mean 'colorsys'?" == _hint("other_app.handler")


def test_near_miss_in_a_package(root: Path) -> None:
    """A misspelt part of a package is told as it is spelt."""
    _write(root, orders__inner="", order_app="import orders.iner")

    assert "Did you mean 'orders.inner'?" == _hint("order_app.handler")


def test_requirements_that_are_not_installed(root: Path) -> None:
    """Lambda installs nothing; a requirements file alone does not help."""
    (root / "requirements.txt").write_text("requests>=2\nPyYAML_x[fast]==1.0 # why\n")
    _write(root, order_app="import pyyaml_x", other_app="import zzqwx_unheard")
    _write(root, known_app="import skimage")

    assert "requirements.txt names pyyaml_x, but it is not installed, and" in _hint(
        "order_app.handler"
    )
    assert _hint("other_app.handler") == (
        "zzqwx_unheard is neither in the function's package nor in a layer: add it to one of them."
    )
    assert f"in a layer: pip install scikit-image --target {root}." in _hint("known_app.handler")


def test_removed_modules(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that later versions of Python do not have are told as such."""
    monkeypatch.setitem(import_places.REMOVED, "zzq_old", (3, 11))
    _write(root, order_app="import zzq_old")

    assert "zzq_old is no part of Python since 3.11." == _hint("order_app.handler")


def test_layer_for_another_python(root: Path) -> None:
    """A layer keeps packages for one version of Python, in a folder with its name."""
    layer = root.parent / "opt" / "python" / "lib" / "python3.8" / "site-packages"
    (layer / "zzq_layered").mkdir(parents=True)
    (layer / "zzq_layered" / "__init__.py").touch()
    _write(root, order_app="import zzq_layered")

    assert f"zzq_layered is in {layer}, which is not on sys.path." == _hint("order_app.handler")


def test_private_modules_of_packages_are_not_offered(root: Path) -> None:
    """What an installed package carries for itself is not where the user's module should be."""
    (root / "zzq_pack").mkdir()
    (root / "zzq_pack" / "__init__.py").touch()
    (root / "zzq_pack" / "zzq_vendored.py").touch()
    _write(root, order_app="import zzq_vendored")

    assert "zzq_pack" not in _hint("order_app.handler")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("type Order = dict[str, int]", "Type statements need Python 3.12"),
        ("def first[T](items: list[T]) -> T: pass", "Type parameters in brackets need Python 3.12"),
        ("greeting = t'hello {name}'", "Template strings need Python 3.14"),
        ("try: pass\nexcept ValueError, KeyError: pass", "without parentheses need Python 3.14"),
        ("<<<<<<< HEAD", "A merge was not finished"),
        ("def handler(event, context)", ""),
    ],
)
def test_syntax_of_newer_pythons(line: str, told: str) -> None:
    """Code that a newer Python compiles is told with the version; other faults are Python's."""
    error = SyntaxError("invalid syntax")
    error.text = line.rpartition("\n")[2] + "\n"

    fields = import_hints.for_syntax(error)

    if "3.12" in told and sys.version_info >= (3, 12):
        told = ""
    if "3.14" in told and sys.version_info >= (3, 14):
        told = ""
    assert told in fields.get("hint", "")
    assert bool(told) == bool(fields)


def test_searched_tells_sys_path(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest has each entry of sys.path in turn: does it exist, how much is in it."""
    _write(root, alpha="", beta="")
    (root / "archive.zip").touch()
    path = [str(root), str(root / "nowhere"), str(root / "archive.zip")]
    monkeypatch.setattr(sys, "path", path)

    searched = _fault("zzq.handler").more["searched"]

    assert [
        {"path": path[0], "exists": True, "entries": 3},
        {"path": path[1], "exists": False},
        {"path": path[2], "exists": True},
    ] == searched


def test_fields_are_in_the_body_and_in_the_log(root: Path) -> None:
    """What the caller gets has the hint after AWS's fields; the log has it as lines."""
    _write(root, orders_app="")
    fault = _fault("order_app.handler")

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
    _write(root, order_app="import zzq_nothing\n", other="x = 1")

    for handler in ("order_app.handler", "zzq.handler", "other.handler", "zzq"):
        assert SECRET not in ErrorReport(_fault(handler), "").to_json().decode()


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
    _write(root, order_app="import sys\nsys.modules[__name__] = object()")

    fault = _fault("order_app.handler")

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
