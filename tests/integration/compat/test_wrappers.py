"""Ways in which others start the runtime: wrapper scripts, and proxies before the Runtime API."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from compat_kit import OURS, Function, own_package

if TYPE_CHECKING:
    from collections.abc import Callable

PROXY = str(Path(__file__).parents[2] / "runtime_api_proxy.py")
# What AWS's own start script hands to a wrapper: interpreter, then the script that it would run.
LAUNCH = (sys.executable, "/var/runtime/bootstrap.py")
APP = """
import sys

def echo(event, context):
    return {"event": event, "id": context.aws_request_id, "module": __name__}

def fail(event, context):
    raise ValueError("no such order")

def has(event, context):
    return sorted(name for name in event if name in sys.modules)

def ask(event, context):
    import awslambdaric
    from awslambdaric import bootstrap
    from awslambdaric.lambda_context import LambdaContext
    from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
    import __main__
    return {
        "same": bootstrap.LambdaRuntimeClient is LambdaRuntimeClient,
        "main": __main__.bootstrap is bootstrap,
        "context": isinstance(context, LambdaContext),
        "file": getattr(awslambdaric, "__file__", None),
    }
"""
MARSHAL = (Path(__file__).parent / "functions" / "marshal_app.py").read_text()


@pytest.fixture
def function(tmp_path: Path) -> Callable[..., Function]:
    """Makes a function of the script above, in the running Python."""
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "marshal_app.py").write_text(MARSHAL)

    def make(handler: str, **settings: Any) -> Function:
        return Function(Path(sys.executable), OURS, handler, task_root=str(tmp_path), **settings)

    return make


def wrapper(folder: Path, *lines: str) -> str:
    """An executable shell script."""
    path = folder / "wrapper"
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("argument", ["", '"$_HANDLER"'])
def test_a_wrapper_that_starts_us(
    function: Callable[..., Function], tmp_path: Path, argument: str
) -> None:
    """A wrapper may run us in place of what it was given; the handler comes from _HANDLER."""
    script = wrapper(tmp_path, f'exec "$1" -m lambdascope {argument}')
    with function("app.echo", runtime=(script, *LAUNCH)) as running:
        assert 5 == running.answer(5)["event"]


def test_a_wrapper_that_sets_another_handler(
    function: Callable[..., Function], tmp_path: Path
) -> None:
    """A wrapper may redirect the handler through the environment, as instrumentation does."""
    script = wrapper(tmp_path, "export _HANDLER=app.echo", 'exec "$1" -m lambdascope')
    with function("original.handler", runtime=(script, *LAUNCH)) as running:
        assert "app" == running.answer(5)["module"]


@pytest.mark.parametrize("mode", ["closing", "chunked"])
def test_behind_a_proxy(function: Callable[..., Function], tmp_path: Path, mode: str) -> None:
    """Through a foreign proxy of the Runtime API events come and answers go as without it."""
    script = wrapper(tmp_path, f'exec "$1" {PROXY} {mode} "$1" -m lambdascope "$_HANDLER"')
    with function("app.echo", runtime=(script, *LAUNCH)) as running:
        for number in range(3):
            record = running.invoke(number)
            answer = json.loads(record.answer)
            assert ({"proxied": number}, record.request_id) == (answer["event"], answer["id"])
    with function("app.fail", runtime=(script, *LAUNCH)) as running:
        assert "ValueError" == json.loads(running.invoke(1).answer)["errorType"]
    with function("app.missing", runtime=(script, *LAUNCH)) as running:
        answer = json.loads(running.invoke(1).answer)
        assert "Runtime.HandlerNotFound" == answer["errorType"]


def bare(handler: str) -> dict[str, Any]:
    """Settings without site-packages, so that there is no real awslambdaric."""
    runtime = (sys.executable, "-S", "-m", "lambdascope", handler)
    return {"runtime": runtime, "variables": {"PYTHONPATH": own_package().name}}


def test_a_function_that_asks_for_nothing(function: Callable[..., Function]) -> None:
    """Nothing of the stand-ins is loaded for it."""
    names = ["lambdascope.runtime.compat", "lambdascope.runtime.compat_names", "awslambdaric"]
    with function("app.has", **bare("app.has")) as running:
        assert [] == running.answer(names)


def test_a_function_without_awslambdaric(function: Callable[..., Function]) -> None:
    """It finds the names all the same, and they are the ones that count."""
    with function("app.ask", **bare("app.ask")) as running:
        expected = {"same": True, "main": True, "context": True, "file": None}
        assert expected == running.answer({})


def test_a_marshaller_without_awslambdaric(function: Callable[..., Function]) -> None:
    """The override point works on the stand-in, too."""
    with function("marshal_app.handler", **bare("marshal_app.handler")) as running:
        dates, text, nothing = [running.invoke(each) for each in ("dates", "text", "nothing")]

    assert "application/vnd.own+json" == dates.content_type
    assert {"event": {"wrapped": "dates"}, "on": "2026-01-01"} == json.loads(dates.answer)
    assert b'"text"' == text.answer
    assert "Runtime.MarshalError" == json.loads(nothing.answer)["errorType"]
