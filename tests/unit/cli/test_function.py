"""From the command line to the function: folder, interpreter, runtime, variables, collector."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lambdascope.cli.arguments import Options
from lambdascope.cli.collector import collector_problems, collector_urls, sender_variables
from lambdascope.cli.errors import CommandError
from lambdascope.cli.function import function_from
from lambdascope.cli.interpreter import Interpreter, OwnPackage, find_interpreter
from lambdascope.emulator.config import TELEMETRY_UNSUPPORTED


def _function(root, environ=None, **options):
    known = {"command": "invoke", "task_root": str(root), "handler": "app.handler"}
    return function_from(Options(**{**known, **options}), environ or {})


def test_nothing_given_is_a_new_function_on_lambda(tmp_path):
    """128 MB, 3 s, us-east-1, and the header will say so."""
    function = _function(tmp_path)
    config = function.config
    assert (config.memory_mb, config.timeout_ms, config.region) == (128, 3000, "us-east-1")
    assert function.defaults == ("memory", "timeout")
    assert config.task_root == str(tmp_path)
    assert config.own_extension
    assert not function.guessed


def test_snap_start(tmp_path):
    """The pause is in milliseconds, and init has more time."""
    config = _function(tmp_path, snap_start=True, snapshot_pause_s=1.5).config
    assert ("snap-start", 1500, 130_000) == (
        config.init_type,
        config.snapshot_pause_ms,
        config.init_timeout_ms,
    )
    assert 100 == _function(tmp_path, snap_start=True).config.snapshot_pause_ms


def test_what_is_given_arrives(tmp_path):
    """Every option has its place in the configuration."""
    function = _function(
        tmp_path,
        {"HOME_OF_MINE": "h"},
        timeout_s=0.5,
        memory_mb=512,
        variables=(("A", "1"), ("HOME_OF_MINE", None)),
        own_extension=False,
        telemetry=False,
        freeze=False,
        name="shop",
        region="eu-west-1",
    )
    config = function.config
    assert (config.timeout_ms, config.memory_mb, config.region) == (500, 512, "eu-west-1")
    assert config.variables == {"A": "1", "HOME_OF_MINE": "h"}
    assert config.telemetry == TELEMETRY_UNSUPPORTED
    assert (config.own_extension, config.freeze, config.function_name) == (False, False, "shop")
    assert function.defaults == ()


def test_the_functions_name_is_made_of_its_folder(tmp_path):
    """Lambda's names have letters, digits, - and _ only."""
    root = tmp_path / "my shop (v2)"
    root.mkdir()
    assert _function(root).config.function_name == "my-shop-v2"


def test_a_guessed_handler_is_said(tmp_path):
    """Nobody should wonder which function ran."""
    (tmp_path / "main.py").write_text("def handler(e, c): ...")
    function = _function(tmp_path, handler=None)
    assert function.guessed
    assert "no handler given: taking main.handler" in function.notes


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"task_root": "/nowhere"}, "--task-root /nowhere"),
        ({"variables": (("AWS_REGION", "x"),)}, "--env AWS_REGION: Lambda sets"),
        ({"variables": (("_HANDLER", "x"),)}, "--env _HANDLER: Lambda sets"),
        ({"variables": (("UNSET_HERE", None),)}, "not set in this shell"),
        ({"runtime": "no-such-program {handler}"}, "no program 'no-such-program'"),
        ({"runtime": "'open"}, "No closing quotation"),
        ({"runtime": " "}, "--runtime is empty"),
        ({"python": "no-such-python"}, "--python no-such-python"),
        ({"python": "/bin/false"}, "/bin/false cannot be used as a Python: asked for its version"),
        ({"variables": (("LAMBDASCOPE_HANDOFF_FILE", "x"),)}, "the emulator sets this variable"),
        (
            {"variables": (("AWS_CONTAINER_AUTHORIZATION_TOKEN", "x"),), "snap_start": True},
            "with --snap-start the emulator sets",
        ),
        ({"extensions": "/nowhere"}, "--extensions /nowhere: No such file"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, options, expected):
    """The line names the option and the value."""
    with pytest.raises(CommandError) as caught:
        _function(tmp_path, **options)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_foreign_runtime_keeps_its_placeholder(tmp_path):
    """The emulator puts the handler in; a program is looked up on PATH."""
    runtime = _function(tmp_path, runtime="sh -c 'exec x' {handler}").config.runtime
    assert runtime[1:] == ("-c", "exec x", "{handler}")
    assert os.path.isabs(runtime[0])


def test_every_file_of_the_extensions_folder_is_one(tmp_path):
    """In the order of names, folders left out, as Lambda does with /opt/extensions."""
    folder = tmp_path / "ext"
    (folder / "folder").mkdir(parents=True)
    for name in ("b", "a"):
        (folder / name).write_text("")
    found = _function(tmp_path, extensions=str(folder)).config.extensions
    assert found == (str(folder / "a"), str(folder / "b"))


def _environment(folder, version="3.12.1"):
    """A virtual environment whose Python says what it is told to."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    parts = version.replace(".", ", ")
    python.write_text(f"#!/bin/sh\necho '[[{parts}], []]'\n")
    python.chmod(0o755)
    return str(python)


def test_the_active_environment_goes_before_that_of_the_project(tmp_path):
    """And both before the Python that lambdascope was installed into."""
    assert find_interpreter(None, tmp_path, {}).path == sys.executable
    own = _environment(tmp_path / ".venv")
    active = _environment(tmp_path / "active")
    assert find_interpreter(None, tmp_path, {}).path == own
    environ = {"VIRTUAL_ENV": str(tmp_path / "active")}
    assert find_interpreter(None, tmp_path, environ).path == active


def test_an_environment_that_is_too_old_is_passed_over_and_said(tmp_path):
    """Nobody asked for it, so it is no fault; the user still hears of it."""
    _environment(tmp_path / ".venv", version="3.9.2")
    found = find_interpreter(None, tmp_path, {})
    assert found.path == sys.executable
    assert "3.9.2" in found.notes[0]


def test_a_python_that_is_too_old_is_refused_when_asked_for(tmp_path):
    """Asked for by name, it is a fault."""
    python = _environment(tmp_path / "old", version="3.9.2")
    with pytest.raises(CommandError, match=r"is Python 3\.9\.2; the runtime needs 3\.11"):
        _function(tmp_path, python=python)


def test_another_python_finds_our_package_and_nothing_else_beside_it():
    """What our installation has in its site-packages must not hide the project's packages."""
    other = Interpreter(path="python", version=(3, 12), modules=frozenset())
    with OwnPackage(other) as path:
        assert os.listdir(path) == ["lambdascope"]
        assert (Path(path) / "lambdascope" / "__main__.py").is_file()
    assert not os.path.exists(path)
    ours = Interpreter(path="python", version=(3, 12), modules=frozenset({"lambdascope"}))
    with OwnPackage(ours) as path:
        assert path == ""


def test_the_collector_comes_from_env_before_the_shell():
    """A signal's own variable wins over the general one, as exporters have it."""
    shell = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4318/"}
    assert collector_urls({}, shell) == {
        "/v1/traces": "http://a:4318/v1/traces",
        "/v1/metrics": "http://a:4318/v1/metrics",
        "/v1/logs": "http://a:4318/v1/logs",
    }
    given = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b/own"}
    assert collector_urls(given, {}) == {"/v1/traces": "http://b/own"}
    assert collector_urls(given, shell)["/v1/traces"] == "http://b/own"
    assert collector_urls({}, {}) == {}
    own = {"LAMBDASCOPE_OTLP_ENDPOINT": "http://c"}
    assert collector_urls(own, {**shell, **given})["/v1/traces"] == "http://c/v1/traces"
    assert "LAMBDASCOPE_OTLP_ENDPOINT" not in sender_variables(own, own)


def test_the_sender_keeps_how_to_send_and_loses_where_to():
    """The sink stands in the collector's place."""
    shell = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a",
        "OTEL_EXPORTER_OTLP_HEADERS": "k=shell",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "PATH": "/bin",
    }
    given = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b", "A": "1"}
    given["OTEL_EXPORTER_OTLP_HEADERS"] = "k=given"
    assert sender_variables(given, shell) == {
        "LAMBDASCOPE_STDOUT_BYTES": "0",
        "OTEL_EXPORTER_OTLP_HEADERS": "k=given",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "A": "1",
    }


def test_grpc_does_not_keep_telemetry_from_the_sink():
    """The sink speaks HTTP: the sender does so too, and a collector for gRPC is left out aloud."""
    shell = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "gRPC",
    }
    assert "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL" not in sender_variables({}, shell)
    assert {"/v1/metrics", "/v1/logs"} == set(collector_urls({}, shell))
    (line,) = collector_problems({}, shell)
    assert line.startswith(
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=grpc: it is passed on over HTTP only"
    )
    everywhere = {**shell, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert {} == collector_urls({}, everywhere)
    assert 2 == len(collector_problems({}, everywhere))
    assert [] == collector_problems({}, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


def test_leftovers_stay_out_of_a_terminal_unless_they_are_wanted():
    """The extension prints what it could not send only where the user says how much."""
    given = {"LAMBDASCOPE_STDOUT_BYTES": "1000"}
    assert sender_variables(given, {}) == given
