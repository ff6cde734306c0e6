"""From the command line to the function that is emulated: defaults, the interpreter, variables.

Everything that a person did not say and that matters is remembered in `Function.facts`, so that the
header can tell it. Reads the file system and the environment; starts no environment.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lambdascope.cli.errors import CommandError
from lambdascope.cli.handlers import guess_handler
from lambdascope.cli.interpreter import Interpreter, find_interpreter
from lambdascope.emulator.config import TELEMETRY_ON, TELEMETRY_UNSUPPORTED, FunctionConfig
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdascope.cli.arguments import Options

AWSLAMBDARIC = "awslambdaric"
# AWS Lambda developer guide, "Defined runtime environment variables": what Lambda does not let a
# function set. Credentials are reserved there as well, but here somebody may want to give some.
RESERVED = frozenset(
    (
        names.ENV_RUNTIME_API,
        names.ENV_HANDLER,
        names.ENV_TASK_ROOT,
        names.ENV_RUNTIME_DIR,
        names.ENV_TRACE_ID,
        names.ENV_REGION,
        names.ENV_DEFAULT_REGION,
        names.ENV_FUNCTION_NAME,
        names.ENV_FUNCTION_VERSION,
        names.ENV_MEMORY_SIZE,
        names.ENV_LOG_GROUP,
        names.ENV_LOG_STREAM,
        names.ENV_INIT_TYPE,
        names.ENV_MAX_CONCURRENCY,
    )
)
_MAX_NAME = 64


@dataclass(frozen=True, kw_only=True)
class Function:
    """What is run. `notes` are lines that say what was chosen in place of the user."""

    config: FunctionConfig
    interpreter: Interpreter
    guessed: bool
    defaults: tuple[str, ...]
    notes: tuple[str, ...]


def function_from(options: Options, environ: Mapping[str, str]) -> Function:
    """The function that the command line describes. Raises CommandError."""
    root = _task_root(options.task_root)
    handler = options.handler or guess_handler(root)
    interpreter = find_interpreter(options.python, root, environ)
    runtime = _runtime(options.runtime, interpreter)
    if not runtime:
        interpreter.check_ours()
    config = FunctionConfig(
        handler=handler,
        task_root=str(root),
        runtime=runtime,
        python=interpreter.path,
        function_name=options.name or _name_of(root),
        memory_mb=options.memory_mb or FunctionConfig.memory_mb,
        timeout_ms=_timeout_ms(options.timeout_s),
        region=options.region,
        variables=_variables(options, environ),
        extensions=_extensions(options.extensions),
        own_extension=options.own_extension,
        telemetry=TELEMETRY_ON if options.telemetry else TELEMETRY_UNSUPPORTED,
        freeze=options.freeze,
        init_type=_init_type(options),
        snapshot_pause_ms=_pause_ms(options.snapshot_pause_s),
        max_concurrency=options.concurrency or 1,
    )
    notes = [*interpreter.notes]
    if options.handler is None:
        notes.insert(0, f"no handler given: taking {handler}")
    given = {"memory": options.memory_mb, "timeout": options.timeout_s}
    return Function(
        config=config,
        interpreter=interpreter,
        guessed=options.handler is None,
        defaults=tuple(name for name, value in given.items() if value is None),
        notes=tuple(notes),
    )


def _task_root(text: str) -> Path:
    root = Path(text).resolve()
    if not root.is_dir():
        raise CommandError(f"--task-root {text}: {root} is not a folder")
    return root


def _name_of(root: Path) -> str:
    """A function name that Lambda would take, made of the folder's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", root.name).strip("-")[:_MAX_NAME] or "function"


def _timeout_ms(seconds: float | None) -> int:
    return FunctionConfig.timeout_ms if seconds is None else max(1, round(seconds * 1000))


def _init_type(options: Options) -> str:
    if options.snap_start:
        return names.INIT_SNAP_START
    return names.INIT_MANAGED_INSTANCES if options.concurrency else names.INIT_ON_DEMAND


def _pause_ms(seconds: float | None) -> int:
    return FunctionConfig.snapshot_pause_ms if seconds is None else round(seconds * 1000)


def _runtime(command: str | None, interpreter: Interpreter) -> tuple[str, ...]:
    """The argv of a foreign runtime, with its program found. Empty for ours."""
    if command is None:
        return ()
    if command.strip() == AWSLAMBDARIC:
        interpreter.check_module(AWSLAMBDARIC)
        return (interpreter.path, "-m", AWSLAMBDARIC, "{handler}")
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise CommandError(f"--runtime {command!r}: {error}") from None
    if not argv:
        raise CommandError("--runtime is empty: it takes the command line of a runtime client")
    program = shutil.which(argv[0])
    if program is None:
        raise CommandError(f"--runtime: no program {argv[0]!r}, neither on PATH nor as a file")
    return (os.path.abspath(program), *argv[1:])


def _variables(options: Options, environ: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in options.variables:
        if name in RESERVED or name.startswith("_"):
            raise CommandError(f"--env {name}: Lambda sets this variable itself")
        if name == names.ENV_HANDOFF_FILE:
            raise CommandError(f"--env {name}: the emulator sets this variable itself")
        if options.snap_start and name in (names.ENV_CREDENTIALS_URI, names.ENV_CREDENTIALS_TOKEN):
            raise CommandError(
                f"--env {name}: with --snap-start the emulator sets this variable itself; what "
                "--env AWS_ACCESS_KEY_ID and its kin give is found there"
            )
        if value is None and name not in environ:
            raise CommandError(f"--env {name}: not set in this shell; use --env {name}=VALUE")
        found[name] = environ[name] if value is None else value
    return found


def _extensions(folder: str | None) -> tuple[str, ...]:
    """Every file of the folder, in the order of names, as Lambda takes those of /opt/extensions."""
    if folder is None:
        return ()
    try:
        entries = sorted(Path(folder).resolve().iterdir())
    except OSError as error:
        raise CommandError(f"--extensions {folder}: {error.strerror}") from None
    found = tuple(str(path) for path in entries if not path.is_dir())
    if not found:
        raise CommandError(f"--extensions {folder}: there is no file in it")
    return found


def launch_hint(extensions: tuple[str, ...]) -> str | None:
    """One line on the extensions that the system will not execute; None when all are fine."""
    for path in extensions:
        if not os.access(path, os.X_OK):
            return (
                f"{path} is not executable ({names.FAULT_EXTENSION_LAUNCH} in AWS); "
                "chmod +x it, or take it out of the folder"
            )
    return None
