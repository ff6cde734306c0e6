"""Holds the size of what a layer for one Python version carries of ours, zipped.

A layer has the sources and, because it is read-only, the compiled files of its minor version,
without docstrings. It has no emulator and no command line.
"""

from __future__ import annotations

import io
import py_compile
import zipfile
from pathlib import Path

import lambdascope
import lambdascope_extension

LIMIT_BYTES = 400_000
LEFT_OUT = ("emulator", "cli")


def shipped_files() -> list[Path]:
    """The sources that a layer carries."""
    runtime = Path(lambdascope.__file__).parent
    extension = Path(lambdascope_extension.__file__).parent
    ours = [f for f in runtime.rglob("*.py") if f.relative_to(runtime).parts[0] not in LEFT_OUT]
    return [*ours, *extension.rglob("*.py")]


def packed_size(files: list[Path], scratch: Path) -> int:
    """Bytes of the zip with sources and compiled files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, source in enumerate(files):
            compiled = scratch / f"{number}.pyc"
            py_compile.compile(
                str(source),
                cfile=str(compiled),
                doraise=True,
                optimize=2,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
            archive.write(source, f"python/{number}/{source.name}")
            archive.write(compiled, f"python/{number}/__pycache__/{source.stem}.pyc")
    return len(packed.getvalue())


def test_our_own_code_zips_to_less_than_400_kb(tmp_path: Path) -> None:
    """Sources and compiled files together stay below the limit."""
    files = shipped_files()
    assert len(files) > 30
    assert packed_size(files, tmp_path) < LIMIT_BYTES
