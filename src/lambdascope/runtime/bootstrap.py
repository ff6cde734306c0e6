"""The init phase: configuration, logs, the handler, the extension; then the loop.

`main` is the whole life of the process. Whatever fails before the first next is posted to
init/error with AWS's error type and ends the process with a non-zero status, as the Runtime API
asks.
"""

from __future__ import annotations

import gc
import os
import sys
from time import monotonic_ns

from lambdascope import __version__
from lambdascope.clock import Clock
from lambdascope.otlp.names import (
    SPAN_CONNECT_EXTENSION,
    SPAN_LOAD_HANDLER,
    SPAN_LOAD_RUNTIME,
)
from lambdascope.runtime.api import RuntimeApi
from lambdascope.runtime.config import ConfigError, RuntimeConfig
from lambdascope.runtime.faults import ErrorReport, exit_fault, exit_status
from lambdascope.runtime.handler import is_asynchronous, load_handler
from lambdascope.runtime.handoff import Handoff
from lambdascope.runtime.import_times import ImportTimes
from lambdascope.runtime.import_watch import ImportWatch, watch_libraries
from lambdascope.runtime.init_phase import InitPhase
from lambdascope.runtime.logs import Logs, say
from lambdascope.runtime.loop import Loop
from lambdascope.runtime.telemetry import Telemetry
from lambdascope.runtime.termination import Terminated, Termination
from lambdascope.wire import names
from lambdascope.wire.runtime_api import InitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import NoReturn

    from lambdascope.runtime.compat import Compat
    from lambdascope.runtime.concurrent import Pool
    from lambdascope.runtime.flight_file import FlightFile
    from lambdascope.runtime.handler import Handler
    from lambdascope.runtime.otel.direct_export import DirectExport
    from lambdascope.runtime.phases import Phases
    from lambdascope.runtime.snapshot import Failure, Snapshot

# A threshold that no collection reaches, and that nobody else would choose.
_GC_HELD = 1_999_999_999
_INTERRUPTED = 130


def main(entered_ns: int, cpu_ns: int) -> NoReturn:
    """Run the process to its end.

    `entered_ns` (monotonic) is when its first line ran, `cpu_ns` its CPU time until then.
    """
    try:
        config = RuntimeConfig.from_env(os.environ, sys.argv)
    except ConfigError as error:
        say(str(error))
        sys.exit(1)
    if config.max_concurrency > 1:
        from lambdascope.runtime.processes import prepare

        prepare(config)
    init = InitPhase(
        function_name=config.function_name or "function",
        init_type=config.init_type,
        entered_ns=entered_ns,
        cpu_ns=cpu_ns,
    )
    runtime = Runtime(config, init)
    init.part(SPAN_LOAD_RUNTIME, entered_ns, monotonic_ns())
    status = runtime.run()
    if "threading" in sys.modules:
        from lambdascope.runtime.leaving import leave_threads

        leave_threads(status, runtime.grace_s)
    _forget_broken_streams()
    if "lambdascope.runtime.concurrent" in sys.modules:
        from lambdascope.runtime.leaving import leave_workers

        leave_workers(status)
    sys.exit(status)


class Runtime:
    """The parts of the process, wired together."""

    def __init__(self, config: RuntimeConfig, init: InitPhase) -> None:
        self._config = config
        self._init = init
        # The descriptor is for this process; a child that inherits the name would break the frames.
        os.environ.pop(names.ENV_LOG_FD, None)
        self._logs = Logs(
            json_format=config.json_logs, level=config.log_level, frame_fd=config.log_fd
        )
        version = sys.version_info
        agent = f"lambdascope/{__version__} Python/{version.major}.{version.minor}.{version.micro}"
        self._agent = agent
        self._api = RuntimeApi(config.api_host, config.api_port, agent)
        handoff = Handoff(config.handoff_file, self._logs.say)
        self._handoff: Handoff | DirectExport = handoff
        if config.time_imports:
            init.imports = ImportTimes()
        self._clock = Clock()
        make_phases = self._make_phases if config.record_spans else None
        self._telemetry = Telemetry(config, make_phases, handoff, self._logs, init.imports)
        self._pool: Pool | None = None
        # For several invocations at a time in this process.
        self._flight: FlightFile | None = None
        self._termination = Termination(self._terminated)
        self._snapshot: Snapshot | None = None
        if config.init_type == names.INIT_SNAP_START:
            # Before the imports are timed, because this one is none of the function's.
            from lambdascope.runtime.snapshot import Snapshot

            self._snapshot = Snapshot(init, self._termination, self._logs.say)

    @property
    def grace_s(self) -> float:
        """How long the function's threads may hold the process at its end.

        After SIGTERM, Lambda kills a runtime beside extensions within 300 ms.
        """
        return 0.2 if self._termination.requested else 2.0

    def _terminated(self) -> None:
        if self._pool is not None:
            self._pool.terminated()
        self._telemetry.terminated()

    def run(self) -> int:
        """Init, then the loop; the exit status."""
        self._logs.check()
        for problem in self._config.problems:
            self._logs.say(problem)
        self._termination.install()
        _line_buffered_stdout()
        try:
            status = self._init_and_serve()
        except Terminated:
            status = 0
        except SystemExit as error:
            if self._termination.forked():
                raise
            status = exit_status(error)  # raised by a signal handler of the function's
        except KeyboardInterrupt:
            status = _INTERRUPTED
        except BaseException as fault:  # noqa: BLE001 - the edge of the process
            self._say_fault(fault)
            status = 1
        self._telemetry.close()
        return status

    def _init_and_serve(self) -> int:
        gc_thresholds = gc.get_threshold()
        try:
            handler = self._load()
        except Terminated:
            raise
        except BaseException as error:
            if self._termination.forked():
                raise
            self._termination.interruptible = False
            return self._init_failed(error)
        if self._snapshot is not None:
            status = self._pass_snapshot(self._snapshot)
            if status:
                return status
        self._connect()
        # The function may have chosen thresholds of its own.
        if gc.get_threshold()[0] == _GC_HELD:
            gc.set_threshold(*gc_thresholds)
            # What init made lives as long as the process: collections need not look at it.
            gc.freeze()
        self._init.end(monotonic_ns())
        if self._config.max_concurrency > 1:
            if not self._config.by_processes:
                return self._serve_many(handler)
            from lambdascope.runtime.processes import NotedApi

            self._api = NotedApi(self._config.api_host, self._config.api_port, self._agent)
        return self._make_loop(handler).run()

    def _serve_many(self, handler: Handler) -> int:
        """Several invocations at a time, in threads of this process."""
        from lambdascope.runtime.concurrent import Pool

        pool = Pool(
            self._config,
            handler,
            logs=self._logs,
            handoff=self._handoff,
            termination=self._termination,
            make_phases=self._make_phases if self._config.record_spans else None,
        )
        pool.flight = self._flight
        self._pool = pool
        return pool.run(self._agent, self._init.imports)

    def _make_loop(self, handler: Handler) -> Loop:
        return Loop(
            self._config,
            handler,
            api=self._api,
            logs=self._logs,
            telemetry=self._telemetry,
            termination=self._termination,
        )

    def _make_phases(self) -> Phases:
        from lambdascope.runtime.phases import Phases

        return Phases(self._config, self._clock, self._init)

    def _load(self) -> Handler:
        """Import the user's code with imports timed and the collector out of the way."""
        watch = ImportWatch()
        watch.install()
        watch.when_imported("logging", self._attach_logging)
        for part in ("trace", "metrics", "_logs"):
            watch.when_imported(f"opentelemetry.{part}", self._join_opentelemetry)
        watch.when_imported(
            "opentelemetry.propagate", self._join_opentelemetry, before=_hide_propagators
        )
        watch.when_imported("botocore.handlers", self._join_aws_calls)
        watch_libraries(watch, self._config)
        self._watch_patchers(watch)
        if self._init.imports is not None:
            self._init.imports.install()
        if self._config.hold_gc:
            # Not gc.disable: when the function calls that, it has to stay so.
            gc.set_threshold(_GC_HELD)
        _put_task_root_first(self._config.task_root)
        started_ns = monotonic_ns()
        self._termination.allow()
        try:
            handler = load_handler(self._config.handler)
            if is_asynchronous(handler):
                # It would be loaded in the first invocation, in which the caller waits for it.
                import asyncio  # noqa: F401 - for its being loaded
            return handler
        finally:
            self._termination.interruptible = False
            self._init.part(SPAN_LOAD_HANDLER, started_ns, monotonic_ns())
            watch.settle()
            if Telemetry.bridge is not None:
                Telemetry.bridge.settle()

    def _attach_logging(self, module: ModuleType) -> None:
        self._logs.attach()
        if names.ENV_PYTHON_LOGGING in os.environ:
            self._join_opentelemetry(module)

    def _join_opentelemetry(self, module: ModuleType) -> None:
        """The function has imported a part of OpenTelemetry's API, or `logging`."""
        from lambdascope.runtime.otel.join import join

        join(module.__name__, self._config, self._logs.say)

    def _join_aws_calls(self, module: ModuleType) -> None:
        from lambdascope.runtime.outbound import AwsCalls

        AwsCalls(w3c="tracecontext" in self._config.propagators).join(module)

    def _pass_snapshot(self, snapshot: Snapshot) -> int:
        """SnapStart: hooks, the snapshot, hooks. The exit status when one of them failed, or 0."""
        try:
            snapshot.take(self._api, self._clock)
            self._clock = Clock()
            snapshot.resume(self._api)
        except Terminated:
            report = snapshot.cut_off()
            if report is not None:
                self._hand_over_init(report)
            raise
        except BaseException as error:
            if self._termination.forked():
                raise
            return self._init_failed(error, snapshot.failure)
        return 0

    def _watch_patchers(self, watch: ImportWatch) -> None:
        """Let libraries that patch AWS's client find one (see compat)."""

        def compat() -> Compat:
            from lambdascope.runtime.compat import compat_of

            return compat_of(self._logs.say, ensure_ascii=self._config.ensure_ascii)

        def awslambdaric(package: ModuleType) -> None:
            if package.__spec__ is not None and package.__spec__.origin is not None:
                compat().watch(watch)

        watch.when_imported("sentry_sdk", lambda _: compat())
        watch.when_imported("awslambdaric", awslambdaric)
        watch.when_missing("awslambdaric", lambda: compat().package)

    def _connect(self) -> None:
        started_ns = monotonic_ns()
        handoff = self._handoff
        to_console = self._config.to_console
        if isinstance(handoff, Handoff) and not to_console and handoff.connect():
            if self._config.record_spans:
                self._open_flight(handoff.flight_path)
            self._init.part(SPAN_CONNECT_EXTENSION, started_ns, monotonic_ns())
        elif self._config.record_spans and self._config.wants_export:
            from lambdascope.runtime.otel.direct_export import DirectExport

            export = DirectExport(self._logs.say, waits=self._config.max_concurrency == 1)
            self._telemetry.export_directly(export)
            self._handoff = export

    def _open_flight(self, path: str) -> None:
        """Let what is noted of running invocations survive this process."""
        from lambdascope.runtime.flight_file import FlightFile

        config = self._config
        file = FlightFile(self._logs.say, self._init)
        if not file.attach(path, config):
            return
        if config.max_concurrency == 1:
            self._telemetry.flight = file.recorder()
            file.watch(path, self._telemetry.near_end)
        elif config.by_processes:
            self._telemetry.flight = file.recorder(erases=True)
        else:
            self._flight = file

    def _init_failed(self, error: BaseException, failure: Failure | None = None) -> int:
        """Report it and return the exit status; `failure` says what is different at a snapshot."""
        status = 1
        if failure is not None:
            status = failure.exit_status
        elif isinstance(error, SystemExit):
            status = exit_status(error) or 1
            error = exit_fault(error, "")
        report = ErrorReport(error, "")
        self._logs.flush()
        self._logs.error(report)
        message = InitError(
            body=report.to_json(),
            error_type=report.error_type if failure is None else failure.error_type,
            xray_cause=report.xray_cause,
            restore=failure is not None and failure.restore,
        )
        post = self._api.post_init_error
        compat = Loop.compat
        said = post(message) if compat is None else compat.init_error(post, message, error)
        if said:
            self._logs.say(said)
        self._hand_over_init(report)
        return status

    def _hand_over_init(self, report: ErrorReport) -> None:
        self._connect()
        self._init.end(monotonic_ns())
        self._telemetry.init_failed(report)

    def _say_fault(self, fault: BaseException) -> None:
        """One line about a fault of ours, or of a signal handler of the function's."""
        tb = fault.__traceback__
        while tb is not None and tb.tb_next is not None:
            tb = tb.tb_next
        where = f" ({tb.tb_frame.f_code.co_filename}:{tb.tb_lineno})" if tb is not None else ""
        self._logs.say(f"{type(fault).__name__}: {fault}{where}; the runtime ends")


def _hide_propagators() -> Callable[[], object]:
    from lambdascope.runtime.otel.settings import hide_propagators

    return hide_propagators()


def _put_task_root_first(task_root: str) -> None:
    root = task_root or os.getcwd()
    if not sys.path or sys.path[0] != root:
        sys.path.insert(0, root)


def _line_buffered_stdout() -> None:
    """A line that was printed must be out when the process is killed."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


def _forget_broken_streams() -> None:
    """What cannot be written any more would be reported by Python, with status 120."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except Exception:  # noqa: BLE001 - the user may have put any object there, or closed it
            setattr(sys, name, None)
