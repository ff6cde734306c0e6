"""The life of an environment that runs several invocations at a time (Lambda Managed Instances).

It stands beside `driver`, which runs one at a time, and shares the processes, init, telemetry and
the end with it. An invocation goes to a waiting request for the next event; if there is none, its
caller waits, as long as the function's timeout. A deadline ends its invocation only, the processes
live on. When the runtime or an extension ends, so do all invocations under way, and the environment
is started anew. Nothing is ever frozen, and extensions get SHUTDOWN only.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from lambdascope.emulator import answers
from lambdascope.emulator.generation import Generation
from lambdascope.emulator.init_phase import run_init
from lambdascope.emulator.life import Life, forget_old
from lambdascope.emulator.managed_logbook import ManagedLogbook
from lambdascope.emulator.managed_report import write_report, write_start
from lambdascope.emulator.managed_sandbox import ManagedSandbox, Poller, Task
from lambdascope.emulator.times import MS
from lambdascope.wire import names

if TYPE_CHECKING:
    from lambdascope.emulator.answers import Fault
    from lambdascope.emulator.host import Host
    from lambdascope.emulator.life import Job
    from lambdascope.emulator.records import InvocationRecord

# What had been sent when the runtime died may be on its way for so long.
_LAST_BYTES_MS = 1000


class ManagedDriver(Life):
    """Lives an environment with several invocations at a time."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        # Set while the current generation takes invocations.
        self._sandbox: ManagedSandbox | None = None
        self._waiting: collections.deque[Task] = collections.deque()

    def submit(self, job: Job) -> bool:
        """Hand an invocation out or queue it; False when the environment is closing."""
        task = Task(job, lock=self._host.lock, clock=self._host.clock)
        with self._host.lock:
            if self.closing:
                return False
            if self._sandbox is not None:
                self._limit_wait(task)
            self._waiting.append(task)
            self._host.lock.notify_all()
        self._dispatch()
        return True

    def _live(self) -> None:
        anew = True
        while self._wait_for_use(anew=anew):
            anew = self._live_once()

    def _take_jobs(self) -> list[Job]:
        sandbox, self._sandbox = self._sandbox, None
        tasks = [*self._waiting, *([] if sandbox is None else sandbox.tasks.values())]
        self._waiting.clear()
        return [task.job for task in tasks]

    def _wait_for_use(self, *, anew: bool) -> bool:
        """Wait until processes are wanted; False at the end."""
        lock = self._host.lock
        with lock:
            lock.wait_for(lambda: anew or self.closing or self._waiting)
            return not self.closing

    def _live_once(self) -> bool:
        """One generation, from its init to its end; whether the next one begins at once."""
        host = self._host
        sandbox = ManagedSandbox(
            lock=host.lock,
            clock=host.clock,
            max_pollers=host.config.max_concurrency,
            on_idle=self._dispatch,
            on_answered=self._answered,
        )
        generation = Generation(host, sandbox=sandbox)
        if isinstance(host.logbook, ManagedLogbook):
            host.logbook.begin_init()
        self._begin_generation(generation, sandbox)
        init = self._init = run_init(host, generation, deadline_ns=None)
        fault = init.fault
        if fault is not None:
            self._fail_waiting(fault)
        else:
            self._open(sandbox)
            self._dispatch()
            fault = self._watch(sandbox)
        served = init.fault is None and self._init is None
        self._fail_under_way(sandbox, fault)
        self._end_generation(generation, self.closing or names.SHUTDOWN_FAILURE)
        # One that has never had an event would perhaps end at once again, and again.
        return served

    def _open(self, sandbox: ManagedSandbox) -> None:
        with self._host.lock:
            self._sandbox = sandbox
            self.init_over = True
            for task in self._waiting:
                self._limit_wait(task)
            self._host.lock.notify_all()

    def _limit_wait(self, task: Task) -> None:
        timeout_ns = self._host.config.timeout_ms * MS
        task.waits_until_ns = self._host.clock.now_ns() + timeout_ns

    def _dispatch(self) -> None:
        """Hand what waits to whoever polls. Called without the lock."""
        while (pair := self._next_pair()) is not None:
            poller, task = pair
            self._begin(task)
            poller.release(task.event())

    def _next_pair(self) -> tuple[Poller, Task] | None:
        with self._host.lock:
            sandbox = self._sandbox
            if sandbox is None or sandbox.fault is not None or not self._waiting:
                return None
            if self._waiting[0].record.request_id in sandbox.tasks:
                return None  # the same id again; it waits until the first one is over
            poller = sandbox.take_poller()
            if poller is None:
                return None
            task = self._waiting.popleft()
            now_ns = self._host.clock.now_ns()
            task.hand_out(now_ns, now_ns // MS + self._host.config.timeout_ms)
            sandbox.tasks[task.record.request_id] = task
            self._keep(task.record)
            # The one deadline watcher may have to wake earlier now.
            self._host.lock.notify_all()
            return poller, task

    def _keep(self, record: InvocationRecord) -> None:
        init, self._init = self._init, None
        if init is not None:
            record.cold = True
            record.phases.extend(init.phases)
        self.records.append(record)
        forget_old(self.records)

    def _begin(self, task: Task) -> None:
        self._host.logbook.begin(task.record)
        write_start(self._host, task)

    def _watch(self, sandbox: ManagedSandbox) -> Fault:
        """See to deadlines until the generation breaks or is to be closed; why it ends."""
        lock, clock = self._host.lock, self._host.clock
        while True:
            with lock:
                if sandbox.fault is not None:
                    return sandbox.fault
                if self.closing:
                    return answers.closed()
                now_ns = clock.now_ns()
                late = [t for t in sandbox.tasks.values() if t.record.deadline_ms * MS <= now_ns]
                for task in late:
                    sandbox.expire(task)
                unserved = self._take_unserved(now_ns)
                if not late and not unserved:
                    until_ns = self._next_deadline(sandbox)
                    lock.wait(None if until_ns is None else max(0, until_ns - now_ns) / 1e9)
                    continue
            for task in late:
                self._over(task, answers.timed_out(self._host.config.timeout_ms))
            for task in unserved:
                self._refuse(task)

    def _next_deadline(self, sandbox: ManagedSandbox) -> int | None:
        deadlines = [task.record.deadline_ms * MS for task in sandbox.tasks.values()]
        deadlines += [t.waits_until_ns for t in self._waiting if t.waits_until_ns is not None]
        return min(deadlines, default=None)

    def _take_unserved(self, now_ns: int) -> list[Task]:
        taken: list[Task] = []
        # In the order of their limits.
        while self._waiting and (self._waiting[0].waits_until_ns or now_ns + 1) <= now_ns:
            taken.append(self._waiting.popleft())
        return taken

    def _refuse(self, task: Task) -> None:
        config = self._host.config
        task.job.busy = True
        task.job.error = (
            f"{names.FAULT_RUNTIME_UNAVAILABLE}: no worker of the runtime was free within "
            f"{config.timeout_ms / 1000:.2f} seconds (concurrency {config.max_concurrency})"
        )
        task.job.over.set()

    def _answered(self, task: Task) -> None:
        """The runtime has answered, or broken off. Called by the server, without the lock."""
        with self._host.lock:
            sandbox = self._sandbox
            request_id = task.record.request_id
            if sandbox is None or sandbox.tasks.get(request_id) is not task:
                return  # it has ended otherwise
            del sandbox.tasks[request_id]
        self._over(task, None)
        # An invocation of the same id may have waited for this one.
        self._dispatch()

    def _over(self, task: Task, fault: Fault | None) -> None:
        """Give the caller its answer if it has none, and complete the record."""
        host = self._host
        task.settle(fault)
        host.output.drain()
        generation = self.generation
        peak_mb = 0 if generation is None else generation.memory.peak_mb
        write_report(host, task, fault, peak_memory_mb=peak_mb)
        if isinstance(host.logbook, ManagedLogbook):
            host.logbook.end_of(task.record)
        task.job.over.set()

    def _fail_waiting(self, fault: Fault) -> None:
        """Init failed: there is nobody to hand these to."""
        with self._host.lock:
            self.init_over = True
            tasks = [] if self.closing else list(self._waiting)
            if tasks:
                self._waiting.clear()
            now_ns = self._host.clock.now_ns()
            for task in tasks:
                task.record.handed_out_ns = now_ns
                task.record.deadline_ms = now_ns // MS + self._host.config.timeout_ms
                self._keep(task.record)
        for task in tasks:
            self._begin(task)
            self._over(task, fault)

    def _fail_under_way(self, sandbox: ManagedSandbox, fault: Fault) -> None:
        until_ns = self._host.clock.now_ns() + _LAST_BYTES_MS * MS
        sandbox.watch(lambda: not any(t.is_answering for t in sandbox.tasks.values()), until_ns)
        with self._host.lock:
            self._sandbox = None
            tasks = list(sandbox.tasks.values())
            sandbox.tasks.clear()
            for task in self._waiting:
                # Their time runs again when the next generation takes invocations.
                task.waits_until_ns = None
        if not tasks and not self.closing and self._init is None:
            # Nobody is waiting for this: it can only be seen here.
            self._host.warn(f"the environment ended and starts anew: {fault.message}")
        for task in tasks:
            self._over(task, fault)
