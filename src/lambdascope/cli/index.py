"""`lambdascope index`: writes down which libraries the instrumentors of a folder are for.

Run when a layer or a function's package is built, so that no cold start looks through the
distributions. The runtime reads the file and knows OpenTelemetry's own instrumentors without it;
here are all others, found by their entry points. Nothing of the folder is imported or run.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING

import lambdascope
from lambdascope.cli.errors import EXIT_OK, CommandError
from lambdascope.runtime.otel.instruments import known_instrumentors
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lambdascope.cli.arguments import Options

_GROUP = "opentelemetry_instrumentor"
# It wraps the handler, which has its span already.
_NEVER = {"opentelemetry.instrumentation.aws_lambda"}
# How instrumentors name what they are for: `Requires-Dist: redis>=2.6; extra == "instruments"`.
_LIBRARY = re.compile(r"([A-Za-z0-9._-]+)[^;]*;.*extra *== *['\"]instruments(?:-any)?['\"]")


def index(options: Options) -> int:
    """Write the index of the folder; the exit code."""
    folder = Path(options.folder or Path(lambdascope.__file__).parents[1])
    if not folder.is_dir():
        raise CommandError(f"{folder} is not a folder; name the one that holds the packages")
    file = folder / names.INSTRUMENT_INDEX_FILE
    lines = lines_of(folder)
    try:
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None
    print(*lines, sep="\n", end="\n" if lines else "")
    print(f"lambdascope: {file}: {len(lines)} beside those known by name", file=sys.stderr)
    return EXIT_OK


def lines_of(folder: Path) -> list[str]:
    """The lines of the index: `target module:Class name`, sorted."""
    installed = list(distributions(path=[str(folder)]))
    modules = {_plain(each.name): _modules(each) for each in installed}
    known = {f"{one.module}:{one.kind}" for one in known_instrumentors(on_request=True)}
    found = set()
    for distribution in installed:
        for point in distribution.entry_points.select(group=_GROUP):
            # Text that came from elsewhere must not make lines of its own.
            value, name = "".join(point.value.split()), "-".join(point.name.split())
            if value in known or value.partition(":")[0] in _NEVER or value.count(":") != 1:
                continue
            for target in _targets(distribution, name, modules):
                found.add(f"{target} {value} {name}")
    return sorted(found)


def _targets(distribution: Distribution, name: str, modules: dict[str, list[str]]) -> Iterable[str]:
    """The modules of the libraries that it is for; by its name where it does not say."""
    matches = [_LIBRARY.match(each) for each in distribution.requires or ()]
    libraries = [_plain(match[1]) for match in matches if match] or [_plain(name)]
    for library in libraries:
        yield from modules.get(library) or [library]


def _modules(distribution: Distribution) -> list[str]:
    """The top modules of an installed library."""
    told = (distribution.read_text("top_level.txt") or "").split()
    if not told:
        heads = {file.parts[0] for file in distribution.files or () if file.suffix == ".py"}
        told = sorted(head.removesuffix(".py") for head in heads)
    return [each for each in told if each.isidentifier() and not each.startswith("_")]


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")
