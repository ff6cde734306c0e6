"""Several invocations at a time in one process (Lambda Managed Instances).

The platform sets AWS_LAMBDA_MAX_CONCURRENCY to N and expects up to N simultaneous requests for the
next event, each on a connection of its own. Here that is N threads, each with the ordinary loop: a
sync handler runs in its thread; an async one as a task on one event loop that all of them share, so
that connection pools and the like are shared too. The invocation is in a context variable, never in
a global or in the process's environment. What ends a worker does not end the others; it is
replaced. Loaded only where the platform sets that variable. Source: AWS Lambda developer guide,
"Lambda Managed Instances", Python runtime.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING

from lambdascope.runtime.api import RuntimeApi, RuntimeApiError
from lambdascope.runtime.loop import Loop
from lambdascope.runtime.shared_results import SharedEventLoop, SharedResults
from lambdascope.runtime.telemetry import Telemetry
from lambdascope.runtime.trace_env import TraceEnv

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.faults import ErrorReport
    from lambdascope.runtime.flight_file import FlightFile
    from lambdascope.runtime.handler import Handler
    from lambdascope.runtime.handoff import Handoff
    from lambdascope.runtime.import_times import ImportTimes
    from lambdascope.runtime.live_results import LiveResults
    from lambdascope.runtime.logs import Logs
    from lambdascope.runtime.otel.direct_export import DirectExport
    from lambdascope.runtime.phases import Phases
    from lambdascope.runtime.telemetry import InvokeTimes
    from lambdascope.runtime.termination import Termination

# A worker that lasted this long has not failed at once again.
_STEADY_S = 10.0
_MAX_FAILURES = 5
_FIRST_PAUSE_S = 0.1
# Managed instances give the runtime 600 ms after SIGTERM.
_HAND_OVER_S = 0.4
_LOOK_AGAIN_S = 0.005


class _NoTraceEnv(TraceEnv):
    """The environment belongs to all invocations, so that none puts its trace header there."""

    def set(self, header: str | None) -> None:
        """Do nothing."""


class _NeverInterrupted:
    """Stands for Termination in a worker: signals come to the main thread alone."""

    interruptible = False
    requested = False

    def __init__(self, termination: Termination) -> None:
        self.forked = termination.forked

    def allow(self) -> None:
        """Do nothing."""


class SharedTelemetry(Telemetry):
    """One worker's; spans are made and handed over under a lock that all workers share."""

    def __init__(
        self, shared: Pool, handoff: Handoff | DirectExport, logs: Logs, imports: ImportTimes | None
    ) -> None:
        super().__init__(shared.config, shared.make_phases, handoff, logs, imports)
        self._lock = shared.lock

    def ended(self, times: InvokeTimes, error: ErrorReport | None) -> None:
        """An invocation of this worker has been reported."""
        with self._lock:
            # Else SIGTERM has come meanwhile, and it was handed over as it was then.
            if self._open is times:
                super().ended(times, error)

    @property
    def is_finishing(self) -> bool:
        """Whether the handler has returned and the worker is about to hand over."""
        times = self._open
        return times is not None and times.returned_ns > 0

    def cut_short(self, until: float) -> None:
        """SIGTERM: hand over the invocation that is still running here; `until` is monotonic."""
        pause = threading.Event()
        while self.is_finishing and monotonic() < until:
            pause.wait(_LOOK_AGAIN_S)
        # A worker that is handing over has the lock.
        held = self._lock.acquire(timeout=max(0.0, until - monotonic()))
        try:
            self.hand_over_open()
        finally:
            if held:
                self._lock.release()


class WorkerLoop(Loop):
    """The loop of one worker. `failure` tells why its Runtime API cannot be used any more."""

    failure = ""

    def __init__(self, pool: Pool, api: RuntimeApi, telemetry: Telemetry) -> None:
        super().__init__(
            pool.config,
            pool.handler,
            api=api,
            logs=pool.logs,
            telemetry=telemetry,
            termination=_NeverInterrupted(pool.termination),  # type: ignore[arg-type]  # its shape
        )
        self._event_loop = pool.event_loop
        self._worker_api = api

    def on_api_gone(self, error: RuntimeApiError) -> None:
        """The pool tells it, unless the environment turns out to be at its end."""
        self.failure = str(error)

    def _make_trace_env(self) -> TraceEnv:
        return _NoTraceEnv()

    def _live(self) -> LiveResults:
        if self._live_results is None:
            self._live_results = SharedResults(
                self._worker_api,
                self._logs.say,
                self._event_loop,
                keep_tasks=self._config.keep_async_tasks,
            )
        return self._live_results


class Pool:
    """All workers of the process. `run` returns when none is left."""

    def __init__(
        self,
        config: RuntimeConfig,
        handler: Handler,
        *,
        logs: Logs,
        handoff: Handoff | DirectExport,
        termination: Termination,
        make_phases: Callable[[], Phases] | None,
    ) -> None:
        self.config = config
        self.handler = handler
        self.logs = logs
        self.termination = termination
        self.lock = threading.RLock()
        self.event_loop = SharedEventLoop()
        self.make_phases = self._shared_phases if make_phases is not None else None
        self._make_first = make_phases
        self._phases: Phases | None = None
        self._handoff = handoff
        # Set where there is an extension.
        self.flight: FlightFile | None = None
        self._telemetries: dict[int, SharedTelemetry] = {}
        self._left = 0
        self._none_left = threading.Event()

    def run(self, user_agent: str, imports: ImportTimes | None) -> int:
        """Serve with as many workers as the platform asks for; the process's exit status."""
        self._left = self.config.max_concurrency
        for number in range(self._left):
            args = (number, user_agent, imports if number == 0 else None)
            name = f"lambdascope-worker-{number}"
            threading.Thread(target=self._work, args=args, name=name, daemon=True).start()
        self.termination.allow()
        # Waiting without a limit would not let signals in on every platform.
        while not self._none_left.wait(3600):
            pass
        self.termination.interruptible = False
        return 1

    def terminated(self) -> None:
        """SIGTERM: hand over what is still running."""
        until = monotonic() + _HAND_OVER_S
        for telemetry in list(self._telemetries.values()):
            telemetry.cut_short(until)

    def _shared_phases(self) -> Phases:
        # Called under the lock.
        if self._phases is None:
            assert self._make_first is not None  # noqa: S101 - else nobody calls this
            self._phases = self._make_first()
        return self._phases

    def _work(self, number: int, user_agent: str, imports: ImportTimes | None) -> None:
        failures = 0
        file = self.flight
        flight = file.recorder(number, erases=True) if file is not None else None
        while failures < _MAX_FAILURES:
            began = monotonic()
            api = RuntimeApi(self.config.api_host, self.config.api_port, user_agent)
            telemetry = SharedTelemetry(self, self._handoff, self.logs, imports)
            telemetry.flight = flight
            self._telemetries[number] = telemetry
            imports = None
            worker = WorkerLoop(self, api, telemetry)
            try:
                status = worker.run()
            except BaseException as error:  # noqa: BLE001 - one worker must not end the others
                worker.failure = f"{type(error).__name__}: {error}"
                status = 1
            if status != 1 or monotonic() - began > _STEADY_S:
                # The handler called sys.exit, which here ends no more than its invocation.
                failures = 0
                continue
            failures += 1
            # A platform that ends the environment closes connections before it sends SIGTERM.
            threading.Event().wait(_FIRST_PAUSE_S * 2**failures)
            if self.termination.requested:
                return
            self.logs.say(f"worker {number}: {worker.failure}; it starts anew")
        self.logs.say(f"worker {number} failed {failures} times in a row and is given up")
        with self.lock:
            self._left -= 1
            if self._left == 0:
                self._none_left.set()
