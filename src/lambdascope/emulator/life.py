"""What the lives of all environments have in common: the records, the queue's jobs, and the end.

`driver` and `managed` say how an environment lives; `environment` starts one of them in a thread of
its own and asks it to end. Knows no phases.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from lambdascope.emulator import answers
from lambdascope.wire import names

if TYPE_CHECKING:
    from lambdascope.emulator.generation import Generation
    from lambdascope.emulator.host import Host
    from lambdascope.emulator.init_phase import InitResult
    from lambdascope.emulator.records import InvocationRecord
    from lambdascope.emulator.sandbox import Sandbox, Turn

# Older invocations are forgotten: events and answers may have 6 MB each.
MAX_RECORDS = 1000
MAX_RECORD_BYTES = 64 * 1024 * 1024
_LINE_BYTES = 200  # what a log line takes, roughly


class Job:
    """One queued invocation. `over` is set when it is done; `error` says why it never began.

    `busy` says that it is because nobody was free to take it.
    """

    def __init__(self, turn: Turn, headers: dict[str, str]) -> None:
        self.turn = turn
        self.headers = headers
        self.over = threading.Event()
        self.error = ""
        self.busy = False


class Life:
    """Lives one environment. `run` is the thread's; everything else may be called from any."""

    def __init__(self, host: Host) -> None:
        self.records: list[InvocationRecord] = []
        self.generation: Generation | None = None
        self.init_over = False
        self.closing = ""
        self._host = host
        # The init that the next invocation will have as its cold start.
        self._init: InitResult | None = None

    def submit(self, job: Job) -> bool:
        """Take an invocation; False when the environment is closing."""
        raise NotImplementedError

    def close(self, reason: str) -> None:
        """End soon: also what is under way."""
        with self._host.lock:
            self.closing = self.closing or reason
            self._host.sandbox.fail(answers.closed())

    def run(self) -> None:
        """The whole life."""
        error = "the execution environment was shut down"
        try:
            self._live()
        except Exception as bug:  # noqa: BLE001 - a bug of ours must not leave callers waiting
            error = f"the emulator failed ({type(bug).__name__}: {bug}); please report this"
            print(f"lambdascope: {error}", file=sys.stderr)
        finally:
            self._end(error)

    def _live(self) -> None:
        raise NotImplementedError

    def _take_jobs(self) -> list[Job]:
        """Everybody who still waits for an answer, for the end. Called with the lock held."""
        raise NotImplementedError

    def _begin_generation(self, generation: Generation, sandbox: Sandbox) -> None:
        with self._host.lock:
            self.generation = generation
            if self.closing:
                sandbox.fail(answers.closed())

    def _end_generation(self, generation: Generation, reason: str) -> None:
        phase = generation.stop(reason)
        self._host.bus.reset()
        with self._host.lock:
            self.generation = None
            if self.records:
                self.records[-1].phases.append(phase)
            self._host.lock.notify_all()

    def _end(self, error: str) -> None:
        if self.generation is not None:
            self.generation.kill()
        self._host.close()
        with self._host.lock:
            self.closing = self.closing or names.SHUTDOWN_FAILURE
            self.generation = None
            self.init_over = True
            jobs = self._take_jobs()
            self._host.lock.notify_all()
        for job in jobs:
            job.error = error
            job.over.set()


def forget_old(records: list[InvocationRecord]) -> None:
    """Drop the oldest records beyond the limits; the last one stays whatever its size."""
    sizes = [len(r.event) + len(r.answer) + _LINE_BYTES * len(r.logs) for r in records]
    while len(sizes) > MAX_RECORDS or (len(sizes) > 1 and sum(sizes) > MAX_RECORD_BYTES):
        del sizes[0], records[0]
