"""The init phase: configuration, logs, the handler, the extension; then the loop.

`main` is the whole life of the process. Whatever fails before the first next is posted to
init/error with AWS's error type and ends the process with a non-zero status, as the Runtime API
asks.
"""

from __future__ import annotations

import gc
import os
import sys
from _signal import SIGTERM, signal  # type: ignore[import-not-found]  # `signal` needs enum
from time import monotonic_ns, process_time_ns

from lambdascope import __version__
from lambdascope.clock import Clock
from lambdascope.otlp.names import (
    SPAN_CONNECT_EXTENSION,
    SPAN_LOAD_HANDLER,
    SPAN_LOAD_RUNTIME,
)
from lambdascope.runtime.api import RuntimeApi
from lambdascope.runtime.config import ConfigError, RuntimeConfig
from lambdascope.runtime.faults import ErrorReport, Fault
from lambdascope.runtime.handler import load_handler
from lambdascope.runtime.handoff import Handoff
from lambdascope.runtime.import_times import ImportTimes
from lambdascope.runtime.import_watch import ImportWatch
from lambdascope.runtime.init_phase import InitPhase
from lambdascope.runtime.logs import Logs
from lambdascope.runtime.loop import Loop, Terminated, exit_status
from lambdascope.runtime.telemetry import Telemetry
from lambdascope.runtime.trace_env import TraceEnv
from lambdascope.wire import names
from lambdascope.wire.runtime_api import InitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn

    from lambdascope.runtime.handler import Handler
    from lambdascope.runtime.phases import Phases


def main(entered_ns: int) -> NoReturn:
    """Run the process from its first line (`entered_ns`, monotonic) to its end."""
    cpu_ns = process_time_ns() - (monotonic_ns() - entered_ns)
    try:
        config = RuntimeConfig.from_env(os.environ, sys.argv)
    except ConfigError as error:
        sys.stderr.write(f"lambdascope: {error}\n")
        sys.exit(1)
    init = InitPhase(
        function_name=config.function_name or "function",
        init_type=config.init_type,
        entered_ns=entered_ns,
        cpu_ns=cpu_ns,
    )
    runtime = Runtime(config, init)
    init.part(SPAN_LOAD_RUNTIME, entered_ns, monotonic_ns())
    sys.exit(runtime.run())


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
        self._api = RuntimeApi(config.api_host, config.api_port, agent)
        self._handoff = Handoff(config.handoff_file, self._logs.say)
        if config.time_imports:
            init.imports = ImportTimes()
        self._clock = Clock()
        make_phases = self._make_phases if config.record_spans else None
        self._telemetry = Telemetry(make_phases, self._handoff, self._logs, init.imports)

    def run(self) -> int:
        """Init, then the loop; the exit status."""
        for problem in self._config.problems:
            self._logs.say(problem)
        signal(SIGTERM, self._on_sigterm)
        _line_buffered_stdout()
        gc_was_on = self._config.hold_gc and gc.isenabled()
        try:
            handler = self._load()
        except Terminated:
            return 0
        except BaseException as error:  # noqa: BLE001 - whatever it is, init/error tells it
            return self._init_failed(error)
        self._connect()
        if gc_was_on:
            # What init made lives as long as the process: later collections need not look at it.
            gc.freeze()
            gc.enable()
        self._init.ended_ns = monotonic_ns()
        loop = Loop(
            self._config,
            handler,
            api=self._api,
            logs=self._logs,
            telemetry=self._telemetry,
            trace_env=TraceEnv(),
        )
        status = loop.run()
        self._telemetry.close()
        return status

    def _make_phases(self) -> Phases:
        from lambdascope.runtime.phases import Phases

        return Phases(self._config, self._clock, self._init)

    def _load(self) -> Handler:
        """Import the user's code with imports timed and the collector out of the way."""
        watch = ImportWatch()
        watch.install()
        watch.when_imported("logging", self._logs.attach)
        if self._init.imports is not None:
            self._init.imports.install()
        if self._config.hold_gc:
            gc.disable()
        _put_task_root_first(self._config.task_root)
        started_ns = monotonic_ns()
        try:
            return load_handler(self._config.handler)
        finally:
            self._init.part(SPAN_LOAD_HANDLER, started_ns, monotonic_ns())

    def _connect(self) -> None:
        started_ns = monotonic_ns()
        if self._handoff.connect():
            self._init.part(SPAN_CONNECT_EXTENSION, started_ns, monotonic_ns())
        elif self._config.record_spans and self._config.wants_export:
            self._logs.say(
                "an OTLP endpoint is configured but no lambdascope extension is running: "
                "spans are not exported. Add the extension, or set OTEL_TRACES_EXPORTER=none"
            )

    def _init_failed(self, error: BaseException) -> int:
        status = exit_status(error) if isinstance(error, SystemExit) else 1
        report = ErrorReport(_told(error, status), "")
        self._logs.flush()
        self._logs.error(report)
        message = InitError(
            body=report.to_json(), error_type=_init_error_type(report), xray_cause=report.xray_cause
        )
        said = self._api.post_init_error(message)
        if said:
            self._logs.say(said)
        self._init.ended_ns = monotonic_ns()
        self._connect()
        self._telemetry.init_failed(report)
        return status or 1

    def _on_sigterm(self, _signum: int, _frame: FrameType | None) -> None:
        self._telemetry.terminated()
        raise Terminated


def _told(error: BaseException, status: int) -> BaseException:
    """The failure to report: sys.exit in the words that the platform has for a dead runtime."""
    if not isinstance(error, SystemExit):
        return error
    fault = Fault(names.FAULT_EXIT, f"Runtime exited with error: exit status {status}")
    return fault.with_traceback(error.__traceback__)


def _init_error_type(report: ErrorReport) -> str:
    """AWS's client sends the body's errorType in this header: `Runtime.*`, or a bare class name."""
    return report.name if report.name.startswith("Runtime.") else report.error_type


def _put_task_root_first(task_root: str) -> None:
    root = task_root or os.getcwd()
    if not sys.path or sys.path[0] != root:
        sys.path.insert(0, root)


def _line_buffered_stdout() -> None:
    """A line that was printed must be out when the process is killed."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)
