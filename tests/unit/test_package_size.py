"""Holds the size of what a layer carries of ours, zipped, with compiled files for every minor version.

The layer has no emulator and no command line. The compiled files of the interpreter at hand stand for
those of each supported minor version, which differ by a few per cent.
"""

from __future__ import annotations

import io
import py_compile
import zipfile
from pathlib import Path

import lambdascope
import lambdascope_extension

SUPPORTED_MINORS = (11, 12, 13, 14)
LIMIT_BYTES = 400_000
LEFT_OUT = ("emulator", "cli", "viewer")


def shipped_files() -> list[Path]:
    runtime = Path(lambdascope.__file__).parent
    extension = Path(lambdascope_extension.__file__).parent
    ours = [f for f in runtime.rglob("*.py") if f.relative_to(runtime).parts[0] not in LEFT_OUT]
    return [*ours, *extension.rglob("*.py")]


def test_our_own_code_zips_to_less_than_400_kb(tmp_path: Path) -> None:
    """Sources and compiled files of four minor versions stay below the limit."""
    files = shipped_files()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, source in enumerate(files):
            compiled = tmp_path / f"{number}.pyc"
            py_compile.compile(
                str(source),
                cfile=str(compiled),
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
            archive.write(source, f"python/{number}/{source.name}")
            for minor in SUPPORTED_MINORS:
                archive.write(compiled, f"python/{number}/{source.stem}.cpython-3{minor}.pyc")
    assert len(files) > 30
    assert len(packed.getvalue()) < LIMIT_BYTES
