"""From a handler's name to a function, with awslambdaric's own lookup as the oracle."""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime.faults import ErrorReport, Fault
from lambdascope.runtime.handler import load_handler
from lambdascope.wire import names

if TYPE_CHECKING:
    from pathlib import Path

theirs = pytest.importorskip("awslambdaric.bootstrap", reason="awslambdaric is not installed here")


class _Folder:
    """A folder on sys.path whose modules have names that no test used before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.prefix = f"m{uuid.uuid4().hex[:8]}"

    def write(self, name: str, text: str) -> str:
        """Write the module, or the module of a package, and return its name."""
        target = self.path / f"{self.prefix}{name}.py"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace("PREFIX", self.prefix))
        return f"{self.prefix}{name}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Folder:
    """An empty folder of modules."""
    monkeypatch.syspath_prepend(tmp_path)
    return _Folder(tmp_path)


def test_function_of_a_module(folder: _Folder) -> None:
    """module.function is the function of that module."""
    module = folder.write("a", "def handler(event, context): return 1")

    assert 1 == load_handler(f"{module}.handler")({}, None)


def test_module_in_packages(folder: _Folder) -> None:
    """Both a.b.handler and a/b.handler are found."""
    module = folder.write("pkg/inner", "def handler(event, context): return __name__")
    dotted = module.replace("/", ".")

    assert dotted == load_handler(f"{module}.handler")({}, None)
    assert dotted == load_handler(f"{dotted}.handler")({}, None)


def test_any_object_is_returned(folder: _Folder) -> None:
    """What is found is not looked at: a failing call is an error of the invocation, as at AWS."""
    module = folder.write("a", "handler = 5")

    assert 5 == load_handler(f"{module}.handler")


SOURCES = {
    "missing_function": "x = 1",
    "syntax": "def handler(:\n",
    "indent": "def handler():\nreturn 1\n",
    "null": "a = '\0'\n",
    "import_error": "from os import nothing_such\n",
    "module_missing": "import PREFIX_nothing\n",
    "other_error": "1 / 0\n",
}
HANDLERS = [
    "handler",
    "",
    "sys.handler",
    "_io.x.handler",
    "{prefix}nowhere.handler",
    "{prefix}a/b.handler",
    *(f"{{prefix}}{name}.handler" for name in SOURCES),
    "{prefix}missing_function.",
    ".handler",
]


@pytest.mark.parametrize("handler", HANDLERS)
def test_errors_are_those_of_awslambdaric(handler: str, folder: _Folder) -> None:
    """Error type, text and syntax trace agree with AWS's client."""
    for name, text in SOURCES.items():
        folder.write(name, text)
    handler = handler.format(prefix=folder.prefix)
    expected = _outcome(theirs._get_handler, handler)
    for module in [name for name in sys.modules if name.startswith(folder.prefix)]:
        del sys.modules[module]

    found = _outcome(load_handler, handler)

    assert expected == found


def _outcome(load: object, handler: str) -> tuple[object, ...]:
    try:
        load(handler)
    except theirs.FaultException as fault:
        return fault.exception_type, fault.msg, fault.trace or []
    except Fault as fault:
        return fault.error_type, str(fault), fault.trace or []
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return type(error).__name__, str(error), []
    return ("nothing was raised",)


def _described(error: BaseException) -> dict[str, object]:
    """The error JSON, as if the runtime and not this file had called."""
    assert error.__traceback__ is not None
    return ErrorReport(error.with_traceback(error.__traceback__.tb_next), "").body


def test_traceback_of_a_nested_import(folder: _Folder) -> None:
    """What AWS's client drops is kept: where the import failed that the module needs."""
    folder.write("inner", "import PREFIX_nothing\n")
    outer = folder.write("outer", "import PREFIXinner\n")

    with pytest.raises(Fault) as caught:
        load_handler(f"{outer}.handler")
    body = _described(caught.value)

    assert names.FAULT_IMPORT_MODULE == body["errorType"]
    assert [] == body["stackTrace"]
    cause = body["cause"]
    assert "ModuleNotFoundError" == cause["errorType"]
    assert [f"{outer}.py", f"{folder.prefix}inner.py"] == [
        line.partition('", line')[0].rpartition("/")[2] for line in cause["stackTrace"]
    ]


def test_missing_module_has_no_cause(folder: _Folder) -> None:
    """Where the module itself is missing there is nothing to add to the message."""
    with pytest.raises(Fault) as caught:
        load_handler(f"{folder.prefix}nowhere.handler")

    assert "cause" not in _described(caught.value)


def test_traceback_of_a_nested_syntax_error(folder: _Folder) -> None:
    """A syntax error in another file than the handler's keeps the way there."""
    folder.write("inner", "def (:\n")
    outer = folder.write("outer", "import PREFIXinner\n")

    with pytest.raises(Fault) as caught:
        load_handler(f"{outer}.handler")
    body = _described(caught.value)

    assert names.FAULT_SYNTAX == body["errorType"]
    assert f"{outer}.py" in body["cause"]["stackTrace"][0]


def test_own_exceptions_pass_through(folder: _Folder) -> None:
    """Whatever else a module raises is told as it is, without frames of ours."""
    module = folder.write("a", "def fail():\n    raise LookupError('x')\nfail()\n")

    with pytest.raises(LookupError) as caught:
        load_handler(f"{module}.handler")
    body = _described(caught.value)

    assert 2 == len(body["stackTrace"])
    assert all(f"{module}.py" in line for line in body["stackTrace"])


def test_exit_passes_through(folder: _Folder) -> None:
    """sys.exit in a module is not an import error."""
    module = folder.write("a", "import sys; sys.exit(3)")

    with pytest.raises(SystemExit):
        load_handler(f"{module}.handler")
