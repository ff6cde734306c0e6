"""Hints for packages that cannot be imported: built for another, hidden, not installed, gone."""

from __future__ import annotations

import importlib.machinery
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from import_kit import hint_of, import_fault, task_root, write_files
from lambdascope.runtime import import_hints, import_places
from lambdascope.runtime.import_search import Search, misfit_of, native_machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
OTHER_MACHINE = "aarch64" if native_machine() == "x86_64" else "x86_64"
MACHINE_NUMBERS = {"x86_64": 62, "aarch64": 183}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty task root that is first on sys.path; what is imported from it is forgotten."""
    with task_root(tmp_path, monkeypatch) as folder:
        yield folder


def _elf(machine: str) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, MACHINE_NUMBERS[machine])


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
    write_files(root, fast_orders__part="")
    (root / "fast_orders" / "__init__.py").write_text("import fast_orders._core")
    (root / "fast_orders" / f"_core{suffix}").write_bytes(content)
    write_files(root, order_app="import fast_orders")

    fault = import_fault("order_app.handler")

    assert told in str(fault.more["hint"])
    assert "--only-binary=:all: --target FOLDER fast_orders" in str(fault.more["hint"])


def test_compiled_file_that_does_not_load(root: Path) -> None:
    """The right name and the wrong machine: Python tries, and the header says why it fails."""
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (root / f"fast_orders{suffix}").write_bytes(_elf(OTHER_MACHINE))
    write_files(root, order_app="import fast_orders")

    assert f"was built for {OTHER_MACHINE}, and this is" in hint_of("order_app.handler")


def test_wrapped_import_error(root: Path) -> None:
    """Packages tell import errors in words of their own; what they came from is looked at."""
    write_files(
        root,
        numbers_kit__part="",
        order_app=(
            "try:\n    import numbers_kit._core\n"
            "except ImportError as error:\n    raise ImportError('PLEASE READ THIS') from error"
        ),
    )
    (root / "numbers_kit" / "__init__.py").touch()
    (root / "numbers_kit" / "_core.cpython-38-x86_64-linux-gnu.so").touch()

    assert "Python 3.8, and this is" in hint_of("order_app.handler")


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
    write_files(root, colorsys="", order_app="from colorsys import rgb_to_hls")

    assert f"{root}/colorsys.py hides the module colorsys of Python" in hint_of("order_app.handler")


def test_module_that_hides_a_package(root: Path) -> None:
    """A file called like an installed package takes its place, too."""
    layer = root.parent / "layer"
    write_files(layer, zzq_installed__part="")
    sys.path.append(str(layer))
    write_files(root, zzq_installed="", order_app="import zzq_installed.part")

    hint = hint_of("order_app.handler")

    assert f"{root}/zzq_installed.py hides the package zzq_installed in {layer}" in hint


def test_requirements_that_are_not_installed(root: Path) -> None:
    """Lambda installs nothing; a requirements file alone does not help."""
    (root / "requirements.txt").write_text("requests>=2\nPyYAML_x[fast]==1.0 # why\n")
    write_files(root, order_app="import pyyaml_x", other_app="import zzqwx_unheard")
    write_files(root, known_app="import skimage")

    assert "requirements.txt names pyyaml_x, but it is not installed, and" in hint_of(
        "order_app.handler"
    )
    assert hint_of("other_app.handler") == (
        "zzqwx_unheard is neither in the function's package nor in a layer: add it to one of them."
    )
    assert f"in a layer: pip install scikit-image --target {root}." in hint_of("known_app.handler")


def test_removed_modules(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that later versions of Python do not have are told as such."""
    monkeypatch.setitem(import_places.REMOVED, "zzq_old", (3, 11))
    write_files(root, order_app="import zzq_old")

    assert "zzq_old is no part of Python since 3.11." == hint_of("order_app.handler")


def test_layer_for_another_python(root: Path) -> None:
    """A layer keeps packages for one version of Python, in a folder with its name."""
    layer = root.parent / "opt" / "python" / "lib" / "python3.8" / "site-packages"
    (layer / "zzq_layered").mkdir(parents=True)
    (layer / "zzq_layered" / "__init__.py").touch()
    write_files(root, order_app="import zzq_layered")

    assert f"zzq_layered is in {layer}, which is not on sys.path." == hint_of("order_app.handler")


def test_private_modules_of_packages_are_not_offered(root: Path) -> None:
    """What an installed package carries for itself is not where the user's module should be."""
    (root / "zzq_pack").mkdir()
    (root / "zzq_pack" / "__init__.py").touch()
    (root / "zzq_pack" / "zzq_vendored.py").touch()
    write_files(root, order_app="import zzq_vendored")

    assert "zzq_pack" not in hint_of("order_app.handler")


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
