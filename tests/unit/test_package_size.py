"""Holds the size of what a layer for one Python version carries of ours, and that it starts."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

# The runtime and extension of the first version had 400 kB; since then the function's own
# telemetry, the platform's records and what makes delivery survive have come.
LIMIT_BYTES = 700_000
BUILD = Path(__file__).parents[1] / "layer_files.py"


def build_layer(folder: Path) -> int:
    """Compile what a layer carries into `folder`; how many files that are."""
    command = [sys.executable, "-X", "no_debug_ranges", str(BUILD), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return int(done.stdout)


def test_our_own_code_zips_to_less_than_700_kb(tmp_path: Path) -> None:
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
