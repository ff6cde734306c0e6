"""Imports point one way, and what runs before the first event imports nothing heavy."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from source_imports import Import, imports_of

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "src", ROOT / "extension")
OWN = ("lambdascope", "lambdascope_extension")
# Which packages of ours each package may import, in functions and for types too. The root package
# holds the version, and may be imported by all that are not pure.
ALLOWED = {
    # For the type checker; at run time the public names are loaded when they are asked for.
    "lambdascope": {"lambdascope.messages", "lambdascope.runtime"},
    "lambdascope.clock": set(),
    "lambdascope.wire": set(),
    "lambdascope.otlp": set(),
    "lambdascope.transport": {"lambdascope.wire"},
    "lambdascope.runtime": {
        "lambdascope",
        "lambdascope.clock",
        "lambdascope.otlp",
        "lambdascope.transport",
        "lambdascope.wire",
    },
    "lambdascope.asgi": {"lambdascope.runtime"},
    "lambdascope.messages": {"lambdascope", "lambdascope.otlp", "lambdascope.runtime"},
    "lambdascope.pytest_plugin": {"lambdascope.runtime", "lambdascope.testing"},
    "lambdascope.testing": {"lambdascope.clock", "lambdascope.runtime", "lambdascope.wire"},
    "lambdascope.__main__": {"lambdascope", "lambdascope.runtime"},
    # It speaks to the runtime through a socket, never by import.
    "lambdascope.emulator": {
        "lambdascope",
        "lambdascope.clock",
        "lambdascope.transport",
        "lambdascope.wire",
    },
    "lambdascope.cli": {
        "lambdascope",
        "lambdascope.clock",
        "lambdascope.emulator",
        "lambdascope.otlp",
        "lambdascope.runtime",
        "lambdascope.transport",
        "lambdascope.wire",
        "lambdascope_extension",
    },
    "lambdascope_extension": {
        "lambdascope",
        "lambdascope.clock",
        "lambdascope.otlp",
        "lambdascope.transport",
        "lambdascope.wire",
    },
}
# What a cold start pays for: these packages import none of HEAVY when they are imported.
START_PATH = (
    "lambdascope",
    "lambdascope.__main__",
    "lambdascope.clock",
    "lambdascope.otlp",
    "lambdascope.runtime",
    "lambdascope.transport",
    "lambdascope.wire",
    "lambdascope_extension",
)
HEAVY = (
    "asyncio",
    "dataclasses",
    "email",
    "enum",
    "http",
    "importlib.metadata",
    "logging",
    "re",
    "socket",
    "threading",
    "typing",
    "urllib",
)
# Modules of those packages that are loaded later, or not at all, and so may import what they need.
LATER = {
    "lambdascope.runtime.leaving": "at the end of the process, where there is threading",
    "lambdascope.runtime.log_handler": "together with logging",
    "lambdascope.runtime.concurrent": "where the platform asks for several invocations at a time",
    "lambdascope.runtime.line_output": "with it",
    "lambdascope.runtime.otel.bridge": "with the OpenTelemetry API",
    "lambdascope.runtime.otel.from_otlp": "by direct export",
    "lambdascope.runtime.otel.metrics_from_otlp": "by it",
    "lambdascope.runtime.otel.invoke_span": "with the OpenTelemetry API",
    "lambdascope.runtime.otel.log_provider": "with the API of logs",
    "lambdascope.runtime.otel.logging_export": "together with logging",
    "lambdascope.runtime.otel.metric_reader": "with the SDK's metrics",
    "lambdascope.runtime.otel.metrics": "with the API of metrics",
    "lambdascope.runtime.otel.propagators": "with the API of propagators",
    "lambdascope.runtime.otel.providers": "with it",
    "lambdascope.runtime.otel.temporality": "with the SDK's metrics",
    "lambdascope.runtime.processes": "with it",
    "lambdascope.runtime.shared_results": "with it",
    "lambdascope.transport.exchange": "by the listener",
    "lambdascope.transport.listener": "by the emulator and tests",
    "lambdascope_extension.open_sockets": "by the sender",
    "lambdascope_extension.requests_calls": "with the first call that needs it",
    "lambdascope_extension.grpc_sender": "by the exporter's loader",
    "lambdascope_extension.sender": "in the exporter's thread, after register",
}


def module_name(path: Path) -> str:
    """The dotted name of a source file."""
    folder = next(folder for folder in FOLDERS if path.is_relative_to(folder))
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_name(path): path
    for folder in FOLDERS
    for name in OWN
    for path in sorted((folder / name).rglob("*.py"))
}


def package_of(module: str) -> str:
    """The package of ours that a module or a name in it belongs to, as ALLOWED calls it."""
    if module.partition(".")[0] != "lambdascope":
        return module.partition(".")[0]
    two = ".".join(module.split(".")[:2])
    return two if two in ALLOWED or two in SOURCES else "lambdascope"


def is_ours(module: str) -> bool:
    """Whether it belongs to one of our packages."""
    return module.partition(".")[0] in OWN


def wrong_directions(module: str, imports: list[Import]) -> list[str]:
    """The imports that the module's package may not have."""
    own = package_of(module)
    return [
        f"{module}:{found.line} imports {found.module}"
        for found in imports
        if is_ours(found.module)
        and package_of(found.module) != own
        and package_of(found.module) not in ALLOWED[own]
    ]


def heavy_imports(module: str, imports: list[Import]) -> list[str]:
    """The imports that cost a cold start too much: heavy, not of Python, or loaded later."""
    return [
        f"{module}:{found.line} imports {found.module}"
        for found in imports
        if found.at_start and (_is_heavy(found.module) or _is_later(found.module))
    ]


def _is_heavy(module: str) -> bool:
    if any(module == heavy or module.startswith(f"{heavy}.") for heavy in HEAVY):
        return True
    return not is_ours(module) and module.partition(".")[0] not in sys.stdlib_module_names


def _is_later(module: str) -> bool:
    return any(module == later or module.startswith(f"{later}.") for later in LATER)


@pytest.mark.parametrize("module", SOURCES)
def test_directions(module: str) -> None:
    """No module imports a package that its own may not import, wherever the import stands."""
    assert package_of(module) in ALLOWED
    assert wrong_directions(module, imports_of(SOURCES[module].read_text())) == []


@pytest.mark.parametrize(
    "module",
    [name for name in SOURCES if package_of(name) in START_PATH and name not in LATER],
)
def test_start_path(module: str) -> None:
    """What is imported before the first event imports nothing heavy, nor what is for later."""
    assert heavy_imports(module, imports_of(SOURCES[module].read_text())) == []


@pytest.mark.parametrize("module", LATER)
def test_exemptions(module: str) -> None:
    """A module that is exempt exists, needs it, and tells its readers when it is loaded."""
    source = SOURCES[module].read_text()
    assert any(_is_heavy(found.module) for found in imports_of(source) if found.at_start)
    text = " ".join((ast.get_docstring(ast.parse(source)) or "").split())
    assert any(word in text.lower() for word in ("loaded", "loads", "start path"))


def test_the_executable_of_the_extension() -> None:
    """The file that Lambda starts imports only what the interpreter has built in, and ours."""
    script = ROOT / "extension" / "bin" / "lambdascope"
    found = {each.module for each in imports_of(script.read_text()) if not is_ours(each.module)}
    assert found <= {"posix", "sys"}


VIOLATIONS = {
    "import lambdascope.runtime.loop": "lambdascope.runtime.loop",
    "import lambdascope.runtime as r, os": "lambdascope.runtime",
    "from lambdascope import runtime": "lambdascope.runtime",
    "from lambdascope.runtime import loop": "lambdascope.runtime.loop",
    "def f():\n    from lambdascope.runtime import loop": "lambdascope.runtime.loop",
    "class A:\n    def f(self):\n        import lambdascope.runtime": "lambdascope.runtime",
    "if TYPE_CHECKING:\n    import lambdascope.runtime": "lambdascope.runtime",
    "try:\n    import lambdascope.runtime\nexcept ImportError:\n    pass": "lambdascope.runtime",
    "importlib.import_module('lambdascope.runtime')": "lambdascope.runtime",
    "x = __import__('lambdascope.runtime')": "lambdascope.runtime",
    "import lambdascope_extension": "lambdascope_extension",
}


@pytest.mark.parametrize("source", VIOLATIONS)
def test_the_check_sees_wrong_directions(source: str) -> None:
    """Each way to write an import of the runtime is seen in the emulator."""
    seen = wrong_directions("lambdascope.emulator.api", imports_of(source))
    assert [text.rpartition(" ")[2] for text in seen] == [VIOLATIONS[source]]
    assert wrong_directions("lambdascope.cli.main", imports_of(source)) == []


@pytest.mark.parametrize(
    ("source", "is_seen"),
    [
        ("import typing", True),
        ("from typing import Any", True),
        ("import http.client", True),
        ("from http.client import HTTPResponse", True),
        ("from importlib import metadata", True),
        ("import importlib.metadata", True),
        ("import opentelemetry.trace", True),
        ("from lambdascope.transport.listener import Listener", True),
        ("from lambdascope.transport import listener", True),
        ("try:\n    import re\nexcept ImportError:\n    pass", True),
        ("class A:\n    import re", True),
        ("if not TYPE_CHECKING:\n    import re", True),
        ("if TYPE_CHECKING:\n    import os\nelse:\n    import re", True),
        ("if TYPE_CHECKING:\n    import re", False),
        ("def f():\n    import re", False),
        ("class A:\n    async def f(self):\n        import re", False),
        ("from importlib import machinery", False),
        ("import _socket", False),
        ("from lambdascope.transport.connection import Connection", False),
    ],
)
def test_the_check_sees_heavy_imports(source: str, is_seen: bool) -> None:
    """Heavy, foreign and late modules are seen where the import runs at the start, only there."""
    assert bool(heavy_imports("lambdascope.runtime.loop", imports_of(source))) == is_seen


def test_relative_imports_are_refused() -> None:
    """Imports are written in full, so that the direction can be read."""
    for source in ("from . import wire", "from .wire import names", "from .. import wire"):
        with pytest.raises(ValueError, match="relative"):
            imports_of(source)


def test_all_packages_are_there() -> None:
    """The walk finds the packages that the tables name."""
    assert {package_of(module) for module in SOURCES} == set(ALLOWED)
