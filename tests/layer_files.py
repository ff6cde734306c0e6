"""Compiles what a layer carries of ours into a folder: `python -X no_debug_ranges layer_files.py
DIR`.

A layer is read-only and every import of it is a part of a cold start, so it has compiled files
only, in the place of the sources, without docstrings and without the columns of tracebacks (which
is what the option of the interpreter does; they are a quarter of the size). It has no emulator, no
command line, nothing for tests, and nothing that serves those alone.
"""

from __future__ import annotations

import py_compile
import sys
from pathlib import Path

import lambdascope
import lambdascope_extension

LEFT_OUT = (
    "emulator",
    "cli",
    "testing",
    "pytest_plugin.py",
    "listener.py",
    "exchange.py",
    "states.py",
)


def build(folder: Path) -> int:
    """Compile into `folder`; how many files that are."""
    count = 0
    for package in (lambdascope, lambdascope_extension):
        source_folder = Path(str(package.__file__)).parent
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


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
