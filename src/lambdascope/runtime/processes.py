"""The process side of concurrent invocations: the platform's log socket, and processes by choice.

With LAMBDASCOPE_CONCURRENCY=processes the runtime forks one process for each invocation that may
run at a time, before the function's code is loaded: each loads its own, as AWS's client does it.
This process then only replaces the ones that die. Otherwise all happens in one process, in threads.
"""

from __future__ import annotations

import os
import signal
import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING

from lambdascope.runtime.logs import say

if TYPE_CHECKING:
    from lambdascope.runtime.config import RuntimeConfig

_STEADY_S = 10.0
_MAX_FAILURES = 5
_FIRST_PAUSE_S = 0.1


def prepare(config: RuntimeConfig) -> None:
    """Returns in every process that is to serve; the supervising one ends in here."""
    if config.by_processes:
        _supervise(config.max_concurrency)
    if config.log_socket:
        _redirect_output(config.log_socket)


def _redirect_output(path: str) -> None:
    """Standard output and error go to the platform's socket, one connection each."""
    import socket

    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.connect(path)
                os.dup2(connection.fileno(), stream.fileno())
        except (OSError, ValueError) as error:
            say(f"log socket {path}: {error}; the output stays where it is")
            return


def _supervise(count: int) -> None:
    """Fork `count` workers and replace them; returns in the workers only."""
    began: dict[int, float] = {}
    failures = 0

    def end(_signum: int, _frame: object) -> None:
        for child in began:
            os.kill(child, signal.SIGTERM)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        while len(began) < count:
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                return
            began[child] = monotonic()
        child, status = os.wait()
        age_s = monotonic() - began.pop(child, 0.0)
        code = os.waitstatus_to_exitcode(status)
        failures = 0 if age_s > _STEADY_S else failures + 1
        if failures >= _MAX_FAILURES * count:
            say(f"workers end at once again and again (the last with {code}); the runtime ends")
            sys.exit(1)
        say(f"worker process {child} ended with {code} and is replaced")
        sleep(min(_FIRST_PAUSE_S * failures, 2.0))
