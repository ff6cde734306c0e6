"""The command `lambdascope`: reads the command line, runs one command, returns its exit code.

The one place where faults of this package become a line on standard error, and where signals become
an orderly end: whatever a command started, it ends in its own `finally` or `with`.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from lambdascope.cli.arguments import INDEX, INVOKE, REPLAY, parse
from lambdascope.cli.errors import (
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TERMINATED,
    CommandError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

# Set it to see the traceback of a fault of ours.
DEBUG_VARIABLE = "LAMBDASCOPE_DEBUG"


class Terminated(BaseException):
    """SIGTERM arrived."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The entry point of the command."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Run a command; its exit code."""
    try:
        return _command(argv)
    except CommandError as error:
        return _fault(str(error))
    except SystemExit as end:  # argparse after --help and --version
        return end.code if isinstance(end.code, int) else EXIT_OK
    except KeyboardInterrupt:
        _say("interrupted")
        return EXIT_INTERRUPTED
    except Terminated:
        _say("terminated")
        return EXIT_TERMINATED
    except BrokenPipeError:
        # The reader of our output has left; without this Python complains once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _fault("standard output was closed before the answer was written")
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        # Broad, because a person at a terminal is no reader of our tracebacks.
        return _fault(
            f"a fault of lambdascope itself: {type(error).__name__}: {error} "
            f"({DEBUG_VARIABLE}=1 shows where)"
        )


def _command(argv: Sequence[str]) -> int:
    options = parse(argv)
    if options.command == INVOKE:
        from lambdascope.cli.invoke import invoke

        return invoke(options, os.environ)
    if options.command == REPLAY:
        from lambdascope.cli.replay import replay

        return replay(options, os.environ)
    if options.command == INDEX:
        from lambdascope.cli.index import index

        return index(options)
    from lambdascope.cli.serve import serve

    return serve(options, os.environ)


def _fault(message: str) -> int:
    _say(" ".join(message.split("\n")))
    return EXIT_FAULT


def _say(message: str) -> None:
    print(f"lambdascope: {message}", file=sys.stderr, flush=True)


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


if __name__ == "__main__":
    main()
