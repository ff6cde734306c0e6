"""The life of an environment, in the one thread that lives it: init, invoke, freeze, reset, end.

`environment` queues invocations and asks for the end; the phases do the work. After a failure the
environment is reset: its processes get their shutdown and are killed, and the next invocation does
the init again inside of its own time.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from lambdascope.emulator.generation import Generation
from lambdascope.emulator.init_phase import InitResult, run_init
from lambdascope.emulator.invoke_phase import InvokePhase
from lambdascope.emulator.life import Job, Life, forget_old
from lambdascope.emulator.records import TIMED_OUT, InvocationRecord
from lambdascope.emulator.restore_phase import run_restore
from lambdascope.emulator.times import MS
from lambdascope.wire import names

if TYPE_CHECKING:
    from lambdascope.emulator.answers import Fault
    from lambdascope.emulator.host import Host


class Driver(Life):
    """Lives an environment with one invocation at a time."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._jobs: collections.deque[Job] = collections.deque()
        self._under_way: Job | None = None

    def submit(self, job: Job) -> bool:
        """Queue an invocation; False when the environment is closing."""
        with self._host.lock:
            if self.closing:
                return False
            self._jobs.append(job)
            self._host.lock.notify_all()
            return True

    def _live(self) -> None:
        self._first_init()
        while (job := self._next_job()) is not None:
            self._under_way = job
            self._serve(job)
            self._under_way = None
            job.over.set()
        self._stop(self.closing)

    def _take_jobs(self) -> list[Job]:
        jobs = [*self._jobs] if self._under_way is None else [self._under_way, *self._jobs]
        self._jobs.clear()
        return jobs

    def _first_init(self) -> None:
        init = self._initialise(deadline_ns=None)
        if init.fault is not None:
            self._init = None
            self._reset(init.fault)
        with self._host.lock:
            self.init_over = True
            self._host.lock.notify_all()

    def _initialise(self, *, deadline_ns: int | None) -> InitResult:
        generation = Generation(self._host)
        self._begin_generation(generation, generation.sandbox)
        self._init = init = run_init(self._host, generation, deadline_ns=deadline_ns)
        if self._host.config.snap_start and init.fault is None:
            generation.freeze()
            init.snapshot_ns = self._host.clock.now_ns()
        return init

    def _next_job(self) -> Job | None:
        """The next invocation, or None at the end. Between two the environment is frozen."""
        host = self._host
        while True:
            generation = self.generation
            with host.lock:
                idle = not self._jobs and not self.closing
            if idle and generation is not None and host.config.freeze:
                generation.freeze()
            with host.lock:
                host.lock.wait_for(lambda: self.closing or self._jobs or self._broken())
                if self.closing:
                    return None
                if self._jobs and not self._broken():
                    return self._jobs.popleft()
                fault = self._broken()
            if fault is not None:
                # Nobody is waiting for this one: it can only be seen here.
                host.say(f"{fault.error_type}: {fault.message}")
                self._reset(fault)

    def _broken(self) -> Fault | None:
        return None if self.generation is None else self.generation.sandbox.fault

    def _serve(self, job: Job) -> None:
        host, record = self._host, job.turn.record
        inside_ns: int | None = None
        if self.generation is None and host.config.snap_start:
            # Lambda would restore the snapshot again; here there has to be a new one.
            self._initialise(deadline_ns=None)
        elif self.generation is None:
            inside_ns = host.clock.now_ns()
            record.deadline_ms = inside_ns // MS + host.config.timeout_ms
            self._initialise(deadline_ns=record.deadline_ms * MS)
        init, self._init = self._init, None
        generation = self.generation
        if generation is None:
            raise RuntimeError("no generation after init")
        self._keep(record)
        fault = None if init is None else init.fault
        if init is not None and init.snapshot_ns is not None:
            init.restore = run_restore(host, generation, snapshot_ns=init.snapshot_ns)
            init.phases += init.restore.phases()
            fault = init.restore.fault
            record.not_restored = fault is not None
        generation.thaw()
        host.logbook.begin(record)
        phase = InvokePhase(
            host, generation, job.turn, headers=job.headers, init=init, inside_ns=inside_ns
        )
        if fault is None:
            fault = phase.run()
        else:
            phase.fail(fault)
        host.logbook.end()
        if fault is not None:
            self._reset(fault)

    def _keep(self, record: InvocationRecord) -> None:
        with self._host.lock:
            self.records.append(record)
            forget_old(self.records)

    def _reset(self, fault: Fault) -> None:
        timed_out = fault.status == TIMED_OUT
        self._stop(names.SHUTDOWN_TIMEOUT if timed_out else names.SHUTDOWN_FAILURE)

    def _stop(self, reason: str) -> None:
        if self.generation is not None:
            self._end_generation(self.generation, reason)
