"""Guessing the handler, and explaining why one was not found, without importing anything."""

from __future__ import annotations

import pytest

from lambdascope.cli.errors import CommandError
from lambdascope.cli.handlers import (
    guess_handler,
    handler_hint,
    missing_module_hint,
    top_level_names,
)


def _write(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content)
    return folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"lambda_function": "def lambda_handler(e, c): ..."}, "lambda_function.lambda_handler"),
        (
            {
                "app": "def handler(e, c): ...",
                "lambda_function": "def lambda_handler(e, c): ...",
            },
            "lambda_function.lambda_handler",
        ),
        ({"app": "async def handler(e, c): ..."}, "app.handler"),
        ({"app": "x = 1", "main": "def lambda_handler(e, c): ..."}, "main.lambda_handler"),
        ({"index": "handler = make()"}, "index.handler"),
        ({"handler": "from web import app as handler"}, "handler.handler"),
        ({"app": "if True:\n    def handler(e, c): ..."}, "app.handler"),
        ({"app": "def broken(", "main": "def handler(e, c): ..."}, "main.handler"),
    ],
)
def test_the_usual_names_are_tried_in_order(tmp_path, files, expected):
    """AWS's default name first, then those of examples and frameworks."""
    assert expected == guess_handler(_write(tmp_path, **files))


def test_guessing_imports_nothing(tmp_path):
    """The user's code runs in the execution environment only."""
    _write(tmp_path, app="raise SystemExit('imported')\ndef handler(e, c): ...")
    assert guess_handler(tmp_path) == "app.handler"


def test_no_guess_is_one_line_that_says_where_it_looked(tmp_path):
    """The line names the folder, what was looked for, and what to type."""
    with pytest.raises(CommandError) as caught:
        guess_handler(tmp_path)
    line = str(caught.value)
    assert "\n" not in line
    for part in (str(tmp_path), "lambda_function.lambda_handler", "lambdascope invoke"):
        assert part in line


APP = "def handler(e, c): ...\ndef health(e, c): ...\nclass Model: ...\nhook = lambda e, c: 1\n"


@pytest.mark.parametrize(
    ("handler", "parts"),
    [
        ("app", ["Runtime.MalformedHandlerName", "app.handler"]),
        ("app.py", ["Runtime.HandlerNotFound", "not a file", "app.handler"]),
        ("ap.handler", ["Runtime.ImportModuleError", "did you mean app.handler?", "health"]),
        ("zzz.handler", ["Runtime.ImportModuleError", "modules there: app, bad"]),
        ("app.helth", ["Runtime.HandlerNotFound", "handler, health, hook", "Try app.health"]),
        ("pkg.ap.handler", ["Runtime.ImportModuleError", "did you mean pkg.app.handler?"]),
    ],
)
def test_a_wrong_handler_gets_one_line_with_the_error_type_and_a_near_miss(
    tmp_path, handler, parts
):
    """What is wrong, what AWS calls it, and what was probably meant."""
    _write(tmp_path, app=APP, bad="\ndef handler(:\n")
    (tmp_path / "pkg").mkdir()
    _write(tmp_path / "pkg", __init__="", app=APP)
    line = handler_hint(handler, tmp_path)
    assert line is not None
    assert "\n" not in line
    for part in parts:
        assert part in line


@pytest.mark.parametrize(
    "handler", ["app.handler", "app.Model", "pkg/app.handler", "pkg.f", "bad.handler"]
)
def test_a_right_handler_gets_no_hint(tmp_path, handler):
    """Anything that can be called counts, in packages too; a syntax error speaks for itself."""
    _write(tmp_path, app=APP, bad="\ndef handler(:\n")
    (tmp_path / "pkg").mkdir()
    _write(tmp_path / "pkg", __init__="def f(e, c): ...", app=APP)
    assert handler_hint(handler, tmp_path) is None


def test_a_dot_without_a_function_is_not_given_the_error_type_of_no_dot(tmp_path):
    """AWS splits 'app.' at its dot and fails with the import: no malformed name there."""
    _write(tmp_path, app=APP)
    line = handler_hint("app.", tmp_path)
    assert line == "handler 'app.' is not module.function, for example app.handler"


def test_names_come_in_the_order_of_the_file(tmp_path):
    """Functions are told from other names."""
    _write(tmp_path, app="import os.path\nx: int = 1\n" + APP)
    assert top_level_names(tmp_path / "app.py") == {
        "os": False,
        "x": False,
        "handler": True,
        "health": True,
        "Model": False,
        "hook": True,
    }


def test_a_missing_dependency_is_named_with_the_command_that_installs_it():
    """The interpreter is part of it, because there are several on a machine."""
    answer = b"{\"errorMessage\": \"Unable to import module 'app': No module named 'yaml.nodes'\"}"
    assert (
        missing_module_hint(answer, "/v/python")
        == "module 'yaml.nodes' is not there for /v/python; try /v/python -m pip install yaml"
    )
    assert missing_module_hint(b"{}", "/v/python") is None
