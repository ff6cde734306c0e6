"""`lambdascope serve`: one execution environment behind two endpoints, until Ctrl-C or SIGTERM.

AWS's command line and boto3 invoke the function at the first (`emulator/invoke.py`), browsers and
curl at the second, its function URL (`emulator/function_url.py`). The two URLs go to standard
output in this order, a line each, so that a script can read them; log lines and everything else go
to standard error.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import TYPE_CHECKING, TypeVar

from lambdascope.cli.errors import EXIT_OK, CommandError
from lambdascope.cli.function import function_from
from lambdascope.cli.live_log import LiveLog
from lambdascope.cli.render import facts_lines
from lambdascope.cli.session import Session
from lambdascope.cli.summary import header_facts
from lambdascope.cli.terminal import terminal_for
from lambdascope.emulator.function_url import FunctionUrl
from lambdascope.emulator.invoke import InvokeEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from lambdascope.cli.arguments import Options
    from lambdascope.emulator.config import FunctionConfig
    from lambdascope.emulator.environment import ExecutionEnvironment

_Endpoint = TypeVar("_Endpoint", InvokeEndpoint, FunctionUrl)


def serve(options: Options, environ: Mapping[str, str]) -> int:
    """Run the command; its exit code. Raises CommandError."""
    function = function_from(options, environ)
    terminal = terminal_for(sys.stderr, environ)
    log = LiveLog(sys.stderr, terminal, shown=not options.quiet, with_reports=True)
    end = _End()
    with Session(function, environ, on_log=log.write) as session:
        endpoint = _bind(InvokeEndpoint, session.environment, options.port, "--port")
        try:
            site = _bind(FunctionUrl, session.environment, options.url_port, "--url-port")
        except CommandError:
            endpoint.close()
            raise
        try:
            # Before the environment writes its first line.
            if not options.quiet:
                for note in function.notes:
                    print(f"lambdascope: {note}", file=sys.stderr)
                for line in facts_lines(header_facts(function), terminal):
                    print(terminal.paint("bold", line), file=sys.stderr)
                print(_example(endpoint.url, function.config), file=sys.stderr)
                print(f"or with HTTP:   curl -N {site.url}", file=sys.stderr)
            session.environment.start()
            endpoint.start()
            site.start()
            print(endpoint.url, site.url, sep="\n", flush=True)
            end.wait()
        finally:
            site.close()
            endpoint.close()
    return EXIT_OK


def _bind(
    kind: Callable[..., _Endpoint], environment: ExecutionEnvironment, port: int, option: str
) -> _Endpoint:
    try:
        return kind(environment, port=port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CommandError(
                f"port {port} is in use on 127.0.0.1; stop what listens there, or take another "
                f"with {option} (without it any free one is taken)"
            ) from None
        raise CommandError(f"cannot listen on 127.0.0.1:{port}: {error.strerror}") from None


def _example(url: str, config: FunctionConfig) -> str:
    """A command that works in versions 1 and 2 of the aws command, and without credentials."""
    return (
        f"invoke it with: aws lambda invoke --endpoint-url {url} --no-sign-request "
        f"--region {config.region} --function-name {config.function_name} /dev/stdout"
    )


class _End:
    """Ctrl-C and SIGTERM, both of which are the ordinary end of this command.

    The interpreter writes a byte into a pipe for each, whichever thread it reaches. A handler that
    sets an Event could find the main thread holding the lock of that very Event.
    """

    def __init__(self) -> None:
        self._read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _ignore)

    def wait(self) -> None:
        """Until one of them has arrived, be it before this call."""
        os.read(self._read, 1)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """The byte in the pipe is what counts."""
