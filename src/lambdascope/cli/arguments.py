"""The command line: what may be given, and the checked values of it.

`parse` turns argv into Options or raises CommandError, so that a mistake on the command line ends
with exit code 3 and one line like every other fault. Nothing is looked up here: no file, no
environment variable.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from math import inf, nan
from typing import TYPE_CHECKING, NoReturn

from lambdascope import __version__
from lambdascope.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

INVOKE = "invoke"
SERVE = "serve"
REPLAY = "replay"
INDEX = "index"

# AWS Lambda developer guide, "Lambda quotas": the limits of a function.
MIN_MEMORY_MB, MAX_MEMORY_MB = 128, 10_240
MAX_TIMEOUT_S = 900
MAX_PAUSE_S = 86_400

_EPILOG = (
    "exit codes: 0 ok, 1 function error, 2 timed out or killed (crash, out of memory), "
    "3 a fault of the command line, of this machine or of lambdascope, 130 interrupted"
)
_DESCRIPTION = "An observable Python runtime for AWS Lambda, and an emulator to look at it."


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line says. None means: not given, take the default.

    `runtime` is a command line in one string. `variables` are (name, value) pairs, the value None
    where it is to be taken from the shell. `timeout_s` is in seconds.
    """

    command: str
    handler: str | None = None
    task_root: str = "."
    name: str | None = None
    timeout_s: float | None = None
    memory_mb: int | None = None
    variables: tuple[tuple[str, str | None], ...] = ()
    runtime: str | None = None
    python: str | None = None
    region: str = "us-east-1"
    extensions: str | None = None
    own_extension: bool = True
    telemetry: bool = True
    freeze: bool = True
    concurrency: int | None = None
    snap_start: bool = False
    snapshot_pause_s: float | None = None
    quiet: bool = False
    event: str = "{}"
    count: int = 1
    json: bool = False
    list_events: bool = False
    port: int = 0
    url_port: int = 0
    file: str = "-"
    endpoint: str | None = None
    folder: str | None = None


class _Parser(argparse.ArgumentParser):
    """Raises where argparse would print its usage and exit with status 2."""

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} ({self.prog} --help lists what there is)")


def parse(argv: Sequence[str]) -> Options:
    """Read the command line. Raises CommandError; SystemExit(0) after --help and --version."""
    values = vars(_parser().parse_args(argv))
    given = {name: value for name, value in values.items() if value is not None}
    given["variables"] = tuple(given.get("variables", ()))
    if "snapshot_pause_s" in given and "snap_start" not in given:
        raise CommandError("--snapshot-pause is for --snap-start: give both")
    if "snap_start" in given and "concurrency" in given:
        raise CommandError(
            "--snap-start and --concurrency exclude each other: managed instances have no snapshots"
        )
    return Options(**given)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="lambdascope",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"lambdascope {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_invoke(commands)
    _add_serve(commands)
    _add_replay(commands)
    _add_index(commands)
    return parser


def _add_invoke(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        INVOKE,
        help="run a handler and show what happened",
        description="Runs a handler in a fresh execution environment. The answer goes to standard "
        "output, everything else to standard error.",
        epilog=_EPILOG,
    )
    _add_function(parser)
    add = parser.add_argument
    add(
        "-e",
        "--event",
        metavar="EVENT",
        help="a file, JSON, - for standard input, or the name of a sample (default: {})",
    )
    add("--list-events", action="store_true", default=None, help="list the sample events and stop")
    add(
        "-n",
        dest="count",
        type=_POSITIVE,
        metavar="N",
        help="how often to invoke: one cold start, the others warm (default: 1)",
    )
    add(
        "--json",
        action="store_true",
        default=None,
        help="print one JSON document instead of the answer and the tree",
    )


def _add_serve(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        SERVE,
        help="keep a handler running and let boto3, the aws command or HTTP invoke it",
        description="Starts an execution environment and two endpoints on 127.0.0.1, until Ctrl-C: "
        "the Invoke API of Lambda, streaming included, and the function's URL.",
    )
    _add_function(parser)
    parser.add_argument(
        "--port", type=_PORT, metavar="PORT", help="where to listen (default: any free port)"
    )
    parser.add_argument(
        "--url-port",
        type=_PORT,
        metavar="PORT",
        help="where the function's URL is, for any HTTP client (default: any free port)",
    )


def _add_replay(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        REPLAY,
        help="send on the telemetry that extensions have left in a log group",
        description="Reads a log export, finds the requests that the extension wrote to the log "
        "when no collector took them, and sends each of them once. Headers, time-out and "
        "certificates come from the OTEL_EXPORTER_OTLP_* variables.",
    )
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="the log export, plain or gzip; - is standard input (default: -)",
    )
    parser.add_argument(
        "--endpoint", metavar="URL", help="the OTLP/HTTP receiver, such as http://collector:4318"
    )


def _add_index(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        INDEX,
        help="note which libraries the instrumentors in a folder are for",
        description="Looks through the packages in a folder and writes the index from which the "
        "runtime knows OpenTelemetry instrumentors that are not part of opentelemetry-python-"
        "contrib. Run it when a layer is built.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        help="the folder of the packages (default: the one that lambdascope is in)",
    )


def _add_function(parser: argparse.ArgumentParser) -> None:
    """What describes the function, the same for every command."""
    add = parser.add_argument
    add("handler", nargs="?", metavar="HANDLER", help="module.function (default: guessed)")
    add("--timeout", dest="timeout_s", type=_TIMEOUT, metavar="SECONDS", help="default: 3")
    add("--memory", dest="memory_mb", type=_MEMORY, metavar="MB", help="default: 128")
    add(
        "--env",
        dest="variables",
        type=_variable,
        action="append",
        metavar="NAME=VALUE",
        help="an environment variable of the function, repeatable; NAME alone passes on yours",
    )
    add("--task-root", metavar="DIR", help="the folder of the function's code (default: .)")
    add("--name", metavar="NAME", help="the function's name (default: the name of that folder)")
    add("--region", metavar="REGION", help="default: us-east-1")
    add(
        "--python",
        metavar="PATH",
        help="the interpreter (default: the active or the project's virtual environment)",
    )
    add(
        "--runtime",
        metavar="CMD",
        help="another runtime client in place of ours; {handler} is replaced in it, and "
        "'awslambdaric' stands for the one of AWS",
    )
    add(
        "--concurrency",
        type=_POSITIVE,
        metavar="N",
        help="run up to N invocations at a time in it, as Lambda Managed Instances do",
    )
    add(
        "--snap-start",
        action="store_true",
        default=None,
        help="stop everything after init, and restore it for the first invocation, as SnapStart",
    )
    add(
        "--snapshot-pause",
        dest="snapshot_pause_s",
        type=_PAUSE,
        metavar="SECONDS",
        help="how long it stays stopped at least (default: 0.1)",
    )
    add("--extensions", metavar="DIR", help="start every extension in this folder, too")
    for flag, dest, text in (
        ("--no-extension", "own_extension", "start without the lambdascope extension"),
        ("--no-telemetry", "telemetry", "answer as where there is no Telemetry API"),
        ("--no-freeze", "freeze", "let the processes run on between invocations"),
    ):
        add(flag, dest=dest, action="store_false", default=None, help=text)
    add("-q", "--quiet", action="store_true", default=None, help="print nothing but answer, faults")


class _Within:
    """A number from `low` to `high`, both included; `what` stands in the message."""

    def __init__(self, what: str, low: float, high: float, *, whole: bool = True) -> None:
        self._what = f"{what} from {low} to {high}" if high < inf else f"{what} of {low} or more"
        self._low, self._high, self._whole = low, high, whole

    def __call__(self, text: str) -> float:
        value = nan
        if not self._whole or (text.isascii() and text.isdigit()):
            try:
                value = int(text) if self._whole else float(text)
            except ValueError:
                pass  # no number, or one with thousands of digits
        if not self._low <= value <= self._high:
            raise argparse.ArgumentTypeError(f"{text!r} is not {self._what}")
        return value


_POSITIVE = _Within("a whole number", 1, inf)
_MEMORY = _Within("a whole number of MB", MIN_MEMORY_MB, MAX_MEMORY_MB)
_TIMEOUT = _Within("a number of seconds", 0.001, MAX_TIMEOUT_S, whole=False)
_PAUSE = _Within("a number of seconds", 0, MAX_PAUSE_S, whole=False)
_PORT = _Within("a port", 0, 65_535)


def _variable(text: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name.replace("_", "a").isalnum() or not name.isascii() or name[0].isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value if equals else None
