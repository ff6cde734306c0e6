"""Holds the size of what a layer for one Python version carries of ours, and that it starts.

A layer is read-only and every import of it is a part of a cold start, so it has compiled files
only, without docstrings, in the place of the sources. It has no emulator, no command line and
nothing that serves those two alone.
"""

from __future__ import annotations

import py_compile
import subprocess
import sys
import zipfile
from pathlib import Path

import lambdascope
import lambdascope_extension

LIMIT_BYTES = 400_000
LEFT_OUT = ("emulator", "cli", "listener.py", "exchange.py", "states.py")


def build_layer(folder: Path) -> int:
    """Compile what a layer carries into `folder`; how many files that are."""
    count = 0
    for package in (lambdascope, lambdascope_extension):
        source_folder = Path(package.__file__).parent
        for source in source_folder.rglob("*.py"):
            place = source.relative_to(source_folder.parent)
            if not set(place.parts).isdisjoint(LEFT_OUT):
                continue
            py_compile.compile(
                str(source),
                cfile=str(folder / place.with_suffix(".pyc")),
                dfile=str(place),
                doraise=True,
                optimize=2,
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
            count += 1
    return count


def test_our_own_code_zips_to_less_than_400_kb(tmp_path: Path) -> None:
    """The compiled files together stay below the limit."""
    count = build_layer(tmp_path / "python")
    packed = tmp_path / "layer.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in (tmp_path / "python").rglob("*.pyc"):
            archive.write(file, file.relative_to(tmp_path))

    assert count > 60
    assert packed.stat().st_size < LIMIT_BYTES


def test_compiled_files_alone_start(tmp_path: Path) -> None:
    """Runtime and extension start from compiled files, up to the variable that Lambda sets."""
    build_layer(tmp_path)
    for start in ("-m lambdascope app.handler", "-m lambdascope_extension"):
        done = subprocess.run(
            [sys.executable, *start.split()],
            cwd=tmp_path,
            env={"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=30,
        )

        assert done.returncode != 0
        assert done.stderr.startswith("lambdascope: AWS_LAMBDA_RUNTIME_API is ")
        assert len(done.stderr.splitlines()) == 1
