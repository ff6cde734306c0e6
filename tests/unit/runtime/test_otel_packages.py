"""Which OpenTelemetry is imported: decided by the versions of what lies around, before it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime.otel import packages

if TYPE_CHECKING:
    from pathlib import Path

API, SDK = "version", "sdk/version"
SEMCONV, INSTRUMENTATION = "semconv/version", "instrumentation/version"


class Place:
    """Folders of a function and of a layer; `choose` decides between them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.theirs, self.ours = root / "task", root / "layer"
        self.said: list[str] = []
        self._monkeypatch = monkeypatch

    def add(self, folder: Path, **parts: str) -> None:
        """Files that say the versions of parts; "__" stands for a slash."""
        for part, version in parts.items():
            module = folder / "opentelemetry" / part.replace("__", "/") / "__init__.py"
            module.parent.mkdir(parents=True)
            module.write_text(version if "\n" in version else f"__version__ = {version!r}\n")

    def choose(self) -> list[str]:
        """The portions of `opentelemetry`, in order; asked for twice: a look and an import."""
        self._monkeypatch.setattr(packages, "packages_folder", lambda: str(self.ours))
        self._monkeypatch.setattr(sys, "path", [str(self.theirs)])
        packages.choose(self.said.append)
        found = packages.choose(self.said.append)
        portions = (found and found.submodule_search_locations) or [
            f"{folder}/opentelemetry" for folder in sys.path
        ]
        return [portion.split("/")[-2] for portion in portions]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Both folders empty."""
    return Place(tmp_path, monkeypatch)


WHOLE = {"version": "1.45.2", "sdk__version": "1.45.2", "semconv__version": "0.66b2"}


@pytest.mark.parametrize(
    ("theirs", "portions"),
    [
        ({}, ["task", "layer"]),
        (WHOLE, ["task", "layer"]),
        ({"version": "1.45.2"}, ["task", "layer"]),
        ({"version": "1.45.2", "semconv__version": "0.66b2"}, ["task", "layer"]),
        ({"version": "1.9.0"}, ["layer", "task"]),
        ({"version": "1.45.10"}, ["task"]),
        ({"version": "2.0.0"}, ["task"]),
        ({"version": "1.30.0", "semconv__version": "0.51b0"}, ["task"]),
        ({"version": "1.45.2", "semconv__version": "0.51b0"}, ["task"]),
        ({"version": "1.45.2", "instrumentation__version": "0.51b0"}, ["task", "layer"]),
        ({"sdk__version": "1.30.0"}, ["task"]),
        ({"version": "1.45.2", "sdk__version": "1.30.0"}, ["task"]),
        ({"proto__version": "1.30.0"}, ["task", "layer"]),
        ({"version": "raise ValueError(\n'no version')"}, ["task"]),
        ({"version": "name = 'nothing else'\n"}, ["task"]),
    ],
)
def test_which_is_used(place: Place, theirs: dict[str, str], portions: list[str]) -> None:
    """A layer's set comes behind what has its versions, before an older API, else not at all."""
    place.add(place.ours, **WHOLE)
    place.add(place.theirs, **theirs)

    assert portions == place.choose()
    assert len(place.said) == (portions == ["layer", "task"])


def test_instrumentors_of_another_version(place: Place) -> None:
    """A layer that has instrumentors of another version than the function's does not join."""
    place.add(place.ours, **WHOLE, instrumentation__version="0.66b2")
    place.add(place.theirs, **WHOLE, instrumentation__version="0.51b0")

    assert ["task"] == place.choose()


def test_no_layer(place: Place) -> None:
    """Without the folder nothing is added to the path."""
    place.add(place.theirs, version="1.30.0")

    assert ["task"] == place.choose()


def test_a_folder_left_behind(place: Place) -> None:
    """Folders of a distribution that has been removed are none of it."""
    (place.theirs / "opentelemetry/sdk/version/__pycache__").mkdir(parents=True)
    place.add(place.ours, **WHOLE)

    assert ["task", "layer"] == place.choose()
    assert {} == packages.versions_in([f"{place.theirs}/opentelemetry"])


@pytest.mark.parametrize(
    ("parts", "advice"),
    [
        ({}, "is a whole set of opentelemetry packages on the path?"),
        (WHOLE, "is a whole set of opentelemetry packages on the path?"),
        (
            {"version": "1.45.2", "sdk__version": "1.30.0"},
            "opentelemetry-api 1.45.2 and opentelemetry-sdk 1.30.0 do not go together",
        ),
        (
            {"version": "1.30.0"},
            "opentelemetry-api 1.30.0 is there without its SDK: add opentelemetry-sdk==1.30.0",
        ),
    ],
)
def test_advice(
    place: Place, monkeypatch: pytest.MonkeyPatch, parts: dict[str, str], advice: str
) -> None:
    """What is said of an SDK that cannot be used names what is there, and what to add."""
    place.add(place.theirs, **parts)
    module = type(sys)("opentelemetry")
    module.__path__ = [f"{place.theirs}/opentelemetry"]
    monkeypatch.setitem(sys.modules, "opentelemetry", module)
    monkeypatch.setattr(packages, "packages_folder", lambda: str(place.ours))

    assert advice == packages.advice().removesuffix(": install them in one version")
