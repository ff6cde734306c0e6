"""The command line: what it yields, and what it refuses."""

from __future__ import annotations

import pytest

from lambdascope.cli.arguments import Options, parse
from lambdascope.cli.errors import CommandError
from lambdascope.cli.main import run


def test_nothing_given_means_every_default():
    """An option that is not given stays as Options has it."""
    assert Options(command="invoke") == parse(["invoke"])
    assert Options(command="serve") == parse(["serve"])


def test_everything_given_arrives():
    """Each option ends up in its field with its type."""
    argv = (
        "invoke app.handler -e sqs -n 5 --timeout 2.5 --memory 256 --env A=1 --env B=x=y --env C "
        "--json --extensions ext --no-extension --python py --task-root d --region eu-west-1 "
        "--no-telemetry --no-freeze --quiet --name shop"
    )
    expected = Options(
        command="invoke",
        handler="app.handler",
        event="sqs",
        count=5,
        timeout_s=2.5,
        memory_mb=256,
        variables=(("A", "1"), ("B", "x=y"), ("C", None)),
        json=True,
        extensions="ext",
        own_extension=False,
        python="py",
        task_root="d",
        region="eu-west-1",
        telemetry=False,
        freeze=False,
        quiet=True,
        name="shop",
        runtime="python -m awslambdaric {handler}",
    )
    found = parse([*argv.split(), "--runtime", "python -m awslambdaric {handler}"])
    assert expected == found


def test_snap_start():
    """Both commands take it, with the pause or without."""
    assert Options(command="serve", snap_start=True) == parse(["serve", "--snap-start"])
    expected = Options(command="invoke", snap_start=True, snapshot_pause_s=0.0)
    assert expected == parse(["invoke", "--snap-start", "--snapshot-pause", "0"])


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], "COMMAND"),
        (["fly"], "'fly'"),
        (["invoke", "--timeout", "0"], "seconds from 0.001 to 900"),
        (["invoke", "--timeout", "901"], "seconds from 0.001 to 900"),
        (["invoke", "--timeout", "nan"], "seconds from 0.001 to 900"),
        (["invoke", "--memory", "64"], "MB from 128 to 10240"),
        (["invoke", "--memory", "512MB"], "MB from 128 to 10240"),
        (["invoke", "-n", "0"], "1 or more"),
        (["invoke", "--env", "=1"], "is not NAME=VALUE"),
        (["invoke", "--env", "A B=1"], "is not NAME=VALUE"),
        (["invoke", "--env", ""], "is not NAME=VALUE"),
        (["invoke", "--wings"], "--wings"),
        (["serve", "--port", "70000"], "port from 0 to 65535"),
        (["invoke", "--snap-start", "--snapshot-pause", "-1"], "seconds from 0 to 86400"),
        (["invoke", "--snap-start", "--snapshot-pause", "nan"], "seconds from 0 to 86400"),
        (["invoke", "--snapshot-pause", "1"], "is for --snap-start"),
        (["serve", "--snap-start", "--concurrency", "2"], "exclude each other"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_exit_code_3(capsys, argv, expected):
    """The same code and form as every other fault that is not the function's."""
    assert run(argv) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert expected in shown.err
    assert shown.err.startswith("lambdascope: ")
    assert shown.err.count("\n") == 1


@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["invoke", "--help"]])
def test_help_and_version_are_no_faults(capsys, argv):
    """They go to standard output and end with 0."""
    assert run(argv) == 0
    assert "lambdascope" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["invoke", "serve", "replay", "index"])
def test_help_fits_into_the_terminal(capsys, monkeypatch, command):
    """No line is wider than the columns that there are."""
    monkeypatch.setenv("COLUMNS", "60")
    run([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert [] == [line for line in lines if len(line) > 60]


def test_the_samples_are_listed(capsys):
    """One line each, without a handler."""
    assert run(["invoke", "--list-events"]) == 0
    assert "sqs " in capsys.readouterr().out


def test_options_are_made_of_the_same_names():
    """A new option cannot be forgotten in one of the two places."""
    with pytest.raises(CommandError):
        parse(["serve", "--json"])
