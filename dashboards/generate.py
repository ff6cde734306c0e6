"""Writes the dashboards' JSON files: `python -m dashboards.generate`; `--check` only compares.

To be run in the project's folder, where lambdascope is installed. A test holds the files equal to
what this makes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dashboards import cloudwatch, datadog, grafana

_FOLDER = Path(__file__).parent
_VENDORS = {
    "grafana.json": grafana.dashboard,
    "datadog.json": datadog.dashboard,
    "cloudwatch.json": cloudwatch.dashboard,
}


def files() -> dict[Path, str]:
    """Every file with its content."""
    return {_FOLDER / name: _text(make()) for name, make in _VENDORS.items()}


def main(arguments: list[str]) -> int:
    """Write the files, or say which of them differ; the exit status."""
    wanted = files()
    if arguments == ["--check"]:
        stale = [path for path, text in wanted.items() if not _is(path, text)]
        for path in stale:
            print(f"{path.name} differs: run python -m dashboards.generate", file=sys.stderr)
        return 1 if stale else 0
    if arguments:
        print("usage: python -m dashboards.generate [--check]", file=sys.stderr)
        return 2
    for path, text in wanted.items():
        path.write_text(text)
    return 0


def _text(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text() == text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
