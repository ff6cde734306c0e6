"""The process side of concurrent invocations: the platform's log socket, and processes by choice.

With LAMBDASCOPE_CONCURRENCY=processes the runtime forks one process for each invocation that may
run at a time, before the function's code is loaded: each loads its own, as AWS's client does it.
This process then only replaces the ones that die, and answers for what they were running: they note
it in memory that is shared. Otherwise all happens in one process, in threads.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from mmap import mmap
from time import monotonic, sleep
from typing import TYPE_CHECKING

from lambdascope.runtime.api import RuntimeApi, RuntimeApiError
from lambdascope.runtime.faults import ErrorReport, Fault
from lambdascope.runtime.line_output import LineOutput
from lambdascope.runtime.logs import say
from lambdascope.wire.names import FAULT_EXIT
from lambdascope.wire.runtime_api import InvocationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.wire.runtime_api import Invocation, InvocationResponse

_STEADY_S = 10.0
_MAX_FAILURES = 5
_FIRST_PAUSE_S = 0.1
# How long the workers may take for what they hand over at the end; the platform has its own limit.
_END_S = 2.0
_LOOK_S = 0.002
# Request id and invocation id are 36 characters each.
_NOTE_BYTES = 512
_HEAD_BYTES = 3


class Note:
    """What a worker process is running, for the process that started it.

    One byte says whether it has come as far as to ask for an event. Then the length of two ids, 0
    between invocations, and the ids.
    """

    def __init__(self) -> None:
        self._memory = mmap(-1, _NOTE_BYTES)

    def ready(self) -> None:
        """The worker is about to ask for an event."""
        self._memory[:_HEAD_BYTES] = b"\x01\0\0"

    def begin(self, invocation: Invocation) -> None:
        """The worker has this one from now on."""
        ids = f"{invocation.request_id}\n{invocation.invocation_id or ''}".encode()
        if len(ids) <= _NOTE_BYTES - _HEAD_BYTES:
            self._memory[_HEAD_BYTES : _HEAD_BYTES + len(ids)] = ids
            # Last, so that what is read is whole.
            self._memory[1:_HEAD_BYTES] = len(ids).to_bytes(2, "big")

    @property
    def was_ready(self) -> bool:
        """Whether the worker's init is over."""
        return self._memory[:1] != b"\0"

    def close(self) -> tuple[str, str]:
        """The two ids, "" where there are none."""
        size = int.from_bytes(self._memory[1:_HEAD_BYTES], "big")
        ids = self._memory[_HEAD_BYTES : _HEAD_BYTES + size].decode("utf-8", "replace")
        self._memory.close()
        request_id, _, invocation_id = ids.partition("\n")
        return request_id, invocation_id


class NotedApi(RuntimeApi):
    """The Runtime API of a worker process, which notes what it is running."""

    # The worker's own; set when it is forked.
    note: Note

    def next(self) -> Invocation:
        """The next event. Raises RuntimeApiError."""
        self.note.ready()
        invocation = super().next()
        self.note.begin(invocation)
        return invocation

    def post(self, message: InvocationResponse | InvocationError) -> tuple[int, str]:
        """Post an outcome; after that nobody need answer for it. Raises RuntimeApiError."""
        done = super().post(message)
        self.note.ready()
        return done


def prepare(config: RuntimeConfig) -> None:
    """Returns in every process that is to serve; the supervising one ends in here."""
    if config.by_processes:
        _supervise(config)
    if config.log_socket:
        _redirect_output(config.log_socket)
    # Before the function is loaded, which may keep it.
    sys.stdout = LineOutput(sys.stdout, as_json=config.json_logs)


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


def _supervise(config: RuntimeConfig) -> None:
    """Fork the workers and replace them; returns in the workers only."""
    workers: dict[int, tuple[float, Note]] = {}
    failures = 0
    initialized = False

    def end(exit_status: int) -> NoReturn:
        _end_workers(workers)
        sys.exit(exit_status)

    signal.signal(signal.SIGTERM, lambda _signum, _frame: end(0))
    while True:
        while len(workers) < config.max_concurrency:
            note = Note()
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                NotedApi.note = note
                return
            workers[child] = monotonic(), note
        child, status = os.wait()
        if child not in workers:
            continue
        initialized = initialized or any(note.was_ready for _, note in workers.values())
        began, note = workers.pop(child)
        code = os.waitstatus_to_exitcode(status)
        if not initialized:
            # The worker has reported it, and what failed once in init would fail again.
            end(max(code, 1))
        lasted = note.was_ready or monotonic() - began > _STEADY_S
        failures = 0 if lasted else failures + 1
        during = _answer_for(config, note, _ending(code))
        if failures >= _MAX_FAILURES * config.max_concurrency:
            say(f"workers end in init again and again ({_ending(code)}); the runtime ends")
            end(1)
        say(f"worker process {child} ended ({_ending(code)}){during} and is replaced")
        sleep(min(_FIRST_PAUSE_S * failures, 2.0))


def _end_workers(workers: Iterable[int]) -> None:
    """Have the workers end, and wait for it: the platform kills what is left after this process."""
    for child in workers:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    until = monotonic() + _END_S
    with suppress(ChildProcessError):  # none is left
        while monotonic() < until:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                sleep(_LOOK_S)


def _ending(code: int) -> str:
    """An exit code, negative for a signal, in the platform's words."""
    if code >= 0:
        return f"exit status {code}"
    return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"


def _answer_for(config: RuntimeConfig, note: Note, how: str) -> str:
    """Tell the caller of an invocation whose process has ended, who would wait for the deadline.

    Words that name the invocation, if there is one.
    """
    request_id, invocation_id = note.close()
    if not request_id:
        return ""
    text = f"RequestId: {request_id} Error: Runtime exited with error: {how}"
    report = ErrorReport(Fault(FAULT_EXIT, text), request_id)
    message = InvocationError(
        request_id=request_id,
        body=report.to_json(),
        error_type=report.error_type,
        xray_cause=report.xray_cause,
        invocation_id=invocation_id or None,
    )
    api = RuntimeApi(config.api_host, config.api_port, "lambdascope")
    try:
        _, said = api.post(message)
    except RuntimeApiError as error:
        said = str(error)
    if said:
        say(said)
    return f" during {request_id}"
