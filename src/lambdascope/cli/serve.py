"""`lambdascope serve`: one execution environment behind an endpoint, until Ctrl-C or SIGTERM.

AWS's command line, boto3 and curl invoke the function there (`emulator/invoke.py`). The URL goes to
standard output, so that a script can read it; log lines and everything else go to standard error.
"""

from __future__ import annotations

import errno
import signal
import sys
import threading
from typing import TYPE_CHECKING

from lambdascope.cli.errors import EXIT_OK, CommandError
from lambdascope.cli.function import function_from
from lambdascope.cli.live_log import LiveLog
from lambdascope.cli.render import facts_lines
from lambdascope.cli.session import Session
from lambdascope.cli.summary import header_facts
from lambdascope.cli.terminal import terminal_for
from lambdascope.emulator.invoke import InvokeEndpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdascope.cli.arguments import Options
    from lambdascope.emulator.config import FunctionConfig
    from lambdascope.emulator.environment import ExecutionEnvironment


def serve(options: Options, environ: Mapping[str, str]) -> int:
    """Run the command; its exit code. Raises CommandError."""
    function = function_from(options, environ)
    terminal = terminal_for(sys.stderr, environ)
    log = LiveLog(sys.stderr, terminal, shown=not options.quiet, with_reports=True)
    ended = _end_of_the_command()
    with Session(function, environ, on_log=log.write) as session:
        endpoint = _bind(session.environment, options.port)
        try:
            session.environment.start()
            endpoint.start()
            if not options.quiet:
                for note in function.notes:
                    print(f"lambdascope: {note}", file=sys.stderr)
                for line in facts_lines(header_facts(function), terminal):
                    print(terminal.paint("bold", line), file=sys.stderr)
                print(_example(endpoint.url, function.config), file=sys.stderr)
            print(endpoint.url, flush=True)
            ended.wait()
        finally:
            endpoint.close()
    return EXIT_OK


def _bind(environment: ExecutionEnvironment, port: int) -> InvokeEndpoint:
    try:
        return InvokeEndpoint(environment, port=port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"port {port} is in use on 127.0.0.1; stop what listens there, or take another "
                "with --port (without it any free one is taken)"
            ) from None
        raise CommandError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from None


def _example(url: str, config: FunctionConfig) -> str:
    """A command that works in versions 1 and 2 of the aws command, and without credentials."""
    return (
        f"invoke it with: aws lambda invoke --endpoint-url {url} --no-sign-request "
        f"--region {config.region} --function-name {config.function_name} /dev/stdout"
    )


def _end_of_the_command() -> threading.Event:
    """Set by Ctrl-C and SIGTERM, both of which are the ordinary end of this command."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    return ended
