"""The init phase: extensions first, then the runtime, until all of them ask for their next event.

Order and gates are those of AWS's Runtime Interface Emulator (rapid/handlers.go) and of the page
"Understanding the Lambda execution environment lifecycle": every external extension must have
registered before the runtime is started; registration closes when the runtime asks for its first
event; subscriptions close when the last extension does.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lambdascope.emulator import answers, platform_events, reports
from lambdascope.emulator.answers import Fault
from lambdascope.emulator.generation import OWN_EXTENSION, Generation, own_extension_argv
from lambdascope.emulator.records import SUCCESS, TIMED_OUT, Phase
from lambdascope.emulator.sandbox import DeadlinePassed, EnvironmentFailed
from lambdascope.emulator.times import MS
from lambdascope.wire import names, states

if TYPE_CHECKING:
    from lambdascope.emulator.host import Host
    from lambdascope.emulator.restore_phase import RestoreResult
    from lambdascope.emulator.sandbox import ExtensionSide

IN_INIT = "init"
IN_INVOKE = "invoke"
# A runtime that has posted an init error exits next; its last lines should not be cut off.
_EXIT_WAIT_MS = 500


@dataclass(kw_only=True)
class InitResult:
    """How an init went. `phases` begins with the init as a whole; `fault` is None after success."""

    start_ns: int
    end_ns: int
    fault: Fault | None
    phases: list[Phase] = field(default_factory=list)
    # With SnapStart: when everything was stopped, and how the restore went.
    snapshot_ns: int | None = None
    restore: RestoreResult | None = None

    @property
    def duration_ms(self) -> float:
        """The Init Duration."""
        return (self.end_ns - self.start_ns) / 1e6


def run_init(host: Host, generation: Generation, *, deadline_ns: int | None) -> InitResult:
    """Bring a new generation up. Never raises: a failure is the result's `fault`.

    An init that runs inside of an invocation has that one's deadline, any other its own limit.
    """
    start_ns = host.clock.now_ns()
    phase = IN_INIT if deadline_ns is None else IN_INVOKE
    until_ns = deadline_ns or start_ns + host.config.init_timeout_ms * MS
    fields = platform_events.init_start(
        host.config, phase=phase, log_stream=host.log_stream, runtime_version=host.runtime_version
    )
    host.tell(
        platform_events.INIT_START,
        fields,
        start_ns,
        line=reports.init_start_line(*host.runtime_version),
    )
    fault: Fault | None = None
    try:
        _bring_up(host, generation, until_ns)
    except EnvironmentFailed as failure:
        fault = failure.fault
    except DeadlinePassed:
        fault = _timeout(host, phase)
    if fault is not None and fault.body is not None:
        generation.let_runtime_exit(_EXIT_WAIT_MS)
    result = InitResult(start_ns=start_ns, end_ns=host.clock.now_ns(), fault=fault)
    _announce(host, generation, result, phase)
    result.phases = _phases(generation, result)
    return result


def _bring_up(host: Host, generation: Generation, until_ns: int) -> None:
    sandbox = generation.sandbox
    _start_extensions(host, generation)
    with sandbox.lock:
        external = list(sandbox.extensions.values())
    sandbox.wait_for(lambda: all(e.registered for e in external), until_ns)
    generation.start_runtime()
    waiting = (states.READY, states.RESTORE_READY)
    sandbox.wait_for(lambda: sandbox.runtime.state in waiting, until_ns)
    sandbox.wait_for(lambda: all(e.back for e in sandbox.extensions.values()), until_ns)


def _start_extensions(host: Host, generation: Generation) -> None:
    config = host.config
    wanted: list[tuple[str, tuple[str, ...]]] = []
    if config.own_extension:
        wanted.append((OWN_EXTENSION, own_extension_argv(sys.executable)))
    wanted.extend((os.path.basename(path), (path,)) for path in config.extensions)
    if len(wanted) > names.MAX_EXTENSIONS:
        raise EnvironmentFailed(answers.too_many_extensions())
    with host.lock:
        sides = [generation.sandbox.add_extension(name, external=True) for name, _ in wanted]
    for side, (_, argv) in zip(sides, wanted, strict=True):
        try:
            _check_executable(argv[0])
            generation.start_extension(side, argv)
        except EnvironmentFailed:
            with host.lock:
                side.step(states.LAUNCH_FAILED)
                side.error_type = names.FAULT_EXTENSION_LAUNCH
            raise


def _check_executable(path: str) -> None:
    """What the system would refuse, before anything is started."""
    if os.path.isfile(path) and not os.access(path, os.X_OK):
        raise EnvironmentFailed(answers.extension_launch(f"fork/exec {path}: permission denied"))


def _timeout(host: Host, phase: str) -> Fault:
    if phase == IN_INVOKE:
        return answers.timed_out(host.config.timeout_ms)
    limit_s = host.config.init_timeout_ms / 1000
    return Fault(
        error_type=names.FAULT_SANDBOX_TIMEOUT,
        message=f"Init timed out after {limit_s:.2f} seconds",
        status=TIMED_OUT,
    )


def _announce(host: Host, generation: Generation, result: InitResult, phase: str) -> None:
    """The events and lines at the end of init, in the order in which Lambda gives them."""
    sandbox = generation.sandbox
    init_type = host.config.init_type
    host.output.drain()
    runtime_end_ns = sandbox.runtime.ready_ns or result.end_ns
    host.tell(
        platform_events.INIT_RUNTIME_DONE,
        platform_events.init_runtime_done(init_type, phase, result.fault),
        runtime_end_ns,
    )
    with host.lock:
        sides = list(sandbox.extensions.values())
    for side in sides:
        _announce_extension(host, side, result.end_ns)
    line = ""
    if result.fault is not None or host.config.snap_start:
        line = reports.init_report_line(result.duration_ms, phase, result.fault)
    fields = platform_events.init_report(
        init_type, phase, result.fault, start_ns=result.start_ns, end_ns=result.end_ns
    )
    host.tell(platform_events.INIT_REPORT, fields, result.end_ns, line=line)
    host.bus.close_subscriptions()


def _announce_extension(host: Host, side: ExtensionSide, time_ns: int) -> None:
    line = reports.extension_line(side.name, side.state, side.events, side.error_type)
    fields = platform_events.extension(side.name, side.state, side.events, side.error_type)
    host.tell(platform_events.EXTENSION, fields, time_ns, line=line)


def _phases(generation: Generation, result: InitResult) -> list[Phase]:
    fault, sandbox = result.fault, generation.sandbox
    status, error_type = (SUCCESS, "") if fault is None else (fault.status, fault.error_type)
    phases = [
        Phase(
            name="init",
            start_ns=result.start_ns,
            end_ns=result.end_ns,
            status=status,
            error_type=error_type,
        )
    ]
    extensions = sandbox.extensions.values()
    marks = [("extension init", e.name, e.started_ns, e.ready_ns) for e in extensions]
    marks.append(("runtime init", "", sandbox.runtime.started_ns, sandbox.runtime.ready_ns))
    for name, who, start_ns, ready_ns in marks:
        if start_ns is not None:
            part = Phase(name=name, who=who, start_ns=start_ns, end_ns=ready_ns or result.end_ns)
            if ready_ns is None and status == TIMED_OUT:
                part.status, part.error_type = status, error_type  # cut off with the whole init
            phases.append(part)
    return phases
