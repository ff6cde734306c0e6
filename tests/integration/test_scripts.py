"""The two commands of the README, as far as they can be checked without setting anything up."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_readme_begins_with_two_commands_that_are_there():
    """The first block of the first screen has exactly those two, and they can be executed."""
    first = re.search(r"```\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert first is not None
    commands = [line.split()[0] for line in first[1].splitlines()]
    assert commands == ["scripts/demo", "scripts/test"]
    for command in commands:
        assert os.access(ROOT / command, os.X_OK)


@pytest.mark.parametrize("script", ["demo", "test"])
def test_a_machine_without_a_new_enough_python_gets_one_line(script, tmp_path):
    """It says what was found and what to do, and nothing is set up."""
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\ncase $2 in *exit*) exit 1 ;; esac\necho 3.9\n")
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        env={"PATH": "/usr/bin:/bin", "LAMBDASCOPE_PYTHON": str(old)},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{script}: needs Python 3.11 or newer (found: {old} is 3.9); install one, or set "
        "LAMBDASCOPE_PYTHON=/path/to/python3\n"
    )


def test_the_version_has_an_entry_in_the_changelog():
    """A release without one would leave its users without a word."""
    from lambdascope import __version__

    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == __version__
