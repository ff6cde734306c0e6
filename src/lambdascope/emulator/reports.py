"""The platform's own log lines and the figures in them.

Pure functions from values to text. Forms: AWS Lambda developer guide, "Understanding the Lambda
execution environment lifecycle" (INIT_REPORT) and "View CloudWatch logs"; the rest as CloudWatch
shows it. Fields are separated by tabs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lambdascope.emulator.answers import Fault, telemetry_type
from lambdascope.emulator.records import (
    CRASHED,
    FUNCTION_ERROR,
    INIT_ERROR,
    OUT_OF_MEMORY,
    SUCCESS,
    TIMED_OUT,
    Report,
)
from lambdascope.emulator.times import iso_time
from lambdascope.wire.names import FAULT_RESTORE_TIMEOUT, FAULT_SANDBOX_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

# Status of an invocation -> what the platform's records call it. An error that the handler raised
# is a success of the platform.
_PLATFORM_STATUS = {
    SUCCESS: "success",
    FUNCTION_ERROR: "success",
    TIMED_OUT: "timeout",
    CRASHED: "error",
    OUT_OF_MEMORY: "error",
    INIT_ERROR: "error",
}


def platform_status(status: str, error_type: str = "") -> str:
    """The status in runtimeDone, report and REPORT: success, error, failure or timeout."""
    if error_type.startswith("Sandbox.") and status != TIMED_OUT:
        return "failure"
    return _PLATFORM_STATUS[status]


def fault_status(fault: Fault | None) -> str:
    """The same for an init that ended with `fault`, or well."""
    return "success" if fault is None else platform_status(fault.status, fault.error_type)


def billed_ms(duration_ms: float, init_duration_ms: float | None) -> int:
    """What Lambda bills: init and duration together, rounded up to the next millisecond.

    Since August 2025 the init phase is billed for every kind of function on demand.
    """
    # Sums of floats carry noise far below a nanosecond, which must not become a millisecond.
    return math.ceil(round(duration_ms + (init_duration_ms or 0.0), 6))


def init_start_line(runtime_version: str, runtime_version_arn: str) -> str:
    """The first line of a log stream."""
    return (
        f"INIT_START Runtime Version: {runtime_version}\tRuntime Version ARN: {runtime_version_arn}"
    )


def init_report_line(duration_ms: float, phase: str, fault: Fault | None) -> str:
    """The line about an init that failed, or that was for a snapshot; others have none."""
    line = f"INIT_REPORT Init Duration: {duration_ms:.2f} ms\tPhase: {phase}"
    return line + _status_fields(fault_status(fault), "" if fault is None else fault.error_type)


def restore_start_line(runtime_version: str, runtime_version_arn: str) -> str:
    """A snapshot is about to be restored."""
    return init_start_line(runtime_version, runtime_version_arn).replace("INIT", "RESTORE", 1)


def restore_report_line(duration_ms: float, fault: Fault | None) -> str:
    """A snapshot has been restored, or could not be."""
    line = f"RESTORE_REPORT Restore Duration: {duration_ms:.2f} ms"
    return line + _status_fields(restore_status(fault), "" if fault is None else fault.error_type)


def restore_status(fault: Fault | None) -> str:
    """The status of a restore: success, error, failure or timeout."""
    if fault is not None and fault.error_type == FAULT_RESTORE_TIMEOUT:
        return "timeout"
    return fault_status(fault)


def extension_line(name: str, state: str, events: Iterable[str], error_type: str = "") -> str:
    """One extension at the end of init."""
    line = f"EXTENSION\tName: {name}\tState: {state}\tEvents: [{', '.join(sorted(events))}]"
    return f"{line}\tError Type: {error_type}" if error_type else line


def start_line(request_id: str, version: str) -> str:
    """An event is about to be handed out."""
    return f"START RequestId: {request_id} Version: {version}"


def end_line(request_id: str) -> str:
    """The invocation is over."""
    return f"END RequestId: {request_id}"


def fault_lines(fault: Fault, request_id: str, time_ns: int) -> list[str]:
    """What the platform writes between START and END when the environment failed."""
    if fault.status == TIMED_OUT:
        return [f"{iso_time(time_ns)} {request_id} {fault.message}"]
    if fault.body is not None:
        return []  # the runtime has logged its own init error
    return [f"RequestId: {request_id} Error: {fault.message}", fault.error_type]


def report_line(report: Report) -> str:
    """The REPORT line. Init Duration is there after a cold start only, or that of the restore."""
    line = (
        f"REPORT RequestId: {report.request_id}\tDuration: {report.duration_ms:.2f} ms\t"
        f"Billed Duration: {report.billed_duration_ms} ms\tMemory Size: {report.memory_size_mb} MB"
        f"\tMax Memory Used: {report.max_memory_used_mb} MB"
    )
    if report.init_duration_ms is not None:
        line += f"\tInit Duration: {report.init_duration_ms:.2f} ms"
    if report.restore_duration_ms is not None:
        line += (
            f"\tRestore Duration: {report.restore_duration_ms:.2f} ms\t"
            f"Billed Restore Duration: {report.billed_restore_duration_ms} ms"
        )
    status = platform_status(report.status, report.error_type)
    return line + _status_fields(status, report.error_type)


def _status_fields(status: str, error_type: str) -> str:
    if status == "success":
        return ""
    if status == "timeout" or not error_type or error_type == FAULT_SANDBOX_TIMEOUT:
        return f"\tStatus: {status}"
    return f"\tStatus: {status}\tError Type: {telemetry_type(error_type)}"
