"""SnapStart: the snapshot after init, and the restore before the first invocation.

A snapshot is every process stopped where it is, and there is one restore of it, since a process
cannot be copied: what many environments from one snapshot have in common is not seen here. Stopped
are the runtime and the extensions with all that they started; the time goes on. Restoring cuts idle
connections to the emulator's APIs, continues the processes, answers restore/next, and is over when
the runtime asks for its first event. Source: AWS Lambda developer guide, "Improving startup
performance with Lambda SnapStart"; order and gates are those of AWS's Runtime Interface Emulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambdascope.emulator import answers, platform_events, reports
from lambdascope.emulator.records import TIMED_OUT, Phase
from lambdascope.emulator.sandbox import DeadlinePassed, EnvironmentFailed
from lambdascope.emulator.times import MS
from lambdascope.wire import names, states

if TYPE_CHECKING:
    from lambdascope.emulator.answers import Fault
    from lambdascope.emulator.generation import Generation
    from lambdascope.emulator.host import Host

# A runtime that has posted a restore error exits next; its last lines should not be cut off.
_EXIT_WAIT_MS = 500


@dataclass(kw_only=True)
class RestoreResult:
    """How a restore went. `released_ns` is when the processes were continued; from then on it is
    billed. `fault` is None after success.
    """

    snapshot_ns: int
    start_ns: int
    released_ns: int
    end_ns: int
    fault: Fault | None

    @property
    def duration_ms(self) -> float:
        """The Restore Duration."""
        return (self.end_ns - self.start_ns) / 1e6

    @property
    def billed_ms(self) -> int:
        """The Billed Restore Duration."""
        return math.ceil((self.end_ns - self.released_ns) / 1e6)

    def phases(self) -> list[Phase]:
        """The snapshot and the restore."""
        snapshot = Phase(name="snapshot", start_ns=self.snapshot_ns, end_ns=self.start_ns)
        restore = Phase(name="restore", start_ns=self.start_ns, end_ns=self.end_ns)
        if self.fault is not None:
            timed_out = self.fault.error_type == names.FAULT_RESTORE_TIMEOUT
            restore.status = TIMED_OUT if timed_out else self.fault.status
            restore.error_type = self.fault.error_type
        return [snapshot, restore]


def run_restore(host: Host, generation: Generation, *, snapshot_ns: int) -> RestoreResult:
    """Go on from the snapshot. Never raises: a failure is the result's `fault`."""
    fault = _pause(host, generation, snapshot_ns)
    start_ns = host.clock.now_ns()
    host.tell(
        platform_events.RESTORE_START,
        platform_events.restore_start(
            host.config, log_stream=host.log_stream, runtime_version=host.runtime_version
        ),
        start_ns,
        line=reports.restore_start_line(*host.runtime_version),
    )
    released_ns = host.clock.now_ns()
    if fault is None:
        host.api.cut_idle()
        generation.thaw()
        fault = _release(host, generation, start_ns)
    if fault is not None and fault.body is not None:
        generation.let_runtime_exit(_EXIT_WAIT_MS)
    result = RestoreResult(
        snapshot_ns=snapshot_ns,
        start_ns=start_ns,
        released_ns=released_ns,
        end_ns=host.clock.now_ns(),
        fault=fault,
    )
    _announce(host, result)
    return result


def _pause(host: Host, generation: Generation, snapshot_ns: int) -> Fault | None:
    """Let the snapshot lie as long as is wanted; a Fault when something ends in it."""
    until_ns = snapshot_ns + host.config.snapshot_pause_ms * MS
    try:
        generation.sandbox.wait_for(lambda: False, until_ns)
    except EnvironmentFailed as failure:
        return failure.fault
    except DeadlinePassed:
        pass
    return None


def _release(host: Host, generation: Generation, start_ns: int) -> Fault | None:
    """Answer restore/next and wait for the first next; a runtime that asked for that at once has
    no hooks and is not waited for.
    """
    sandbox = generation.sandbox
    limit_ms = host.config.restore_timeout_ms
    with host.lock:
        sandbox.runtime.restore = True
        host.lock.notify_all()
    try:
        sandbox.wait_for(lambda: sandbox.runtime.state == states.READY, start_ns + limit_ms * MS)
    except EnvironmentFailed as failure:
        return failure.fault
    except DeadlinePassed:
        return answers.restore_timed_out(limit_ms)
    return None


def _announce(host: Host, result: RestoreResult) -> None:
    host.output.drain()
    host.tell(
        platform_events.RESTORE_RUNTIME_DONE,
        platform_events.restore_runtime_done(result.fault),
        result.end_ns,
    )
    host.tell(
        platform_events.RESTORE_REPORT,
        platform_events.restore_report(
            result.fault, start_ns=result.start_ns, end_ns=result.end_ns
        ),
        result.end_ns,
        line=reports.restore_report_line(result.duration_ms, result.fault),
    )
