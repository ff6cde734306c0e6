"""What is written when one of several invocations is over: its figures, its event, its last line.

On managed instances an invocation has no runtimeDone, and its report nothing but the duration,
because the instance is billed and not the invocation. An error that the handler raised counts as
an error here. Shapes recorded from AWS's own emulator in that mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdascope.emulator import platform_events, reports
from lambdascope.emulator.answers import telemetry_type
from lambdascope.emulator.records import FUNCTION_ERROR, SUCCESS, Phase, Report
from lambdascope.emulator.times import MS

if TYPE_CHECKING:
    from lambdascope.emulator.answers import Fault
    from lambdascope.emulator.host import Host
    from lambdascope.emulator.managed_sandbox import Task
    from lambdascope.emulator.platform_events import Fields


def write_start(host: Host, task: Task) -> None:
    """An event is about to be handed out."""
    record = task.record
    line = reports.start_line(record.request_id, host.config.version)
    fields = platform_events.start(record, host.config, task.turn.tenant_id)
    host.tell(platform_events.START, fields, record.handed_out_ns, line=line)


def write_report(host: Host, task: Task, fault: Fault | None, *, peak_memory_mb: int) -> None:
    """The invocation is over: `record.report`, its phase and the platform.report event."""
    turn, record = task.turn, task.record
    end_ns = turn.response_end_ns if fault is None else None
    end_ns = end_ns or host.clock.now_ns()
    duration_ms = (end_ns - record.handed_out_ns) / MS
    if fault is not None and fault.status == "timeout":
        # What passed after the deadline until the emulator noticed is not the function's.
        duration_ms = float(host.config.timeout_ms)
    record.report = Report(
        request_id=record.request_id,
        status=record.status,
        duration_ms=duration_ms,
        billed_duration_ms=reports.billed_ms(duration_ms, None),
        memory_size_mb=host.config.memory_mb,
        max_memory_used_mb=peak_memory_mb,
        init_duration_ms=record.phases[0].duration_ms if record.cold else None,
        error_type=record.error_type,
    )
    record.phases.append(
        Phase(
            name="invoke",
            start_ns=record.handed_out_ns,
            end_ns=end_ns,
            status=SUCCESS if fault is None else fault.status,
            error_type="" if fault is None else fault.error_type,
        )
    )
    line = reports.report_line(record.report)
    fields = report_fields(task, duration_ms=duration_ms)
    host.tell(platform_events.REPORT, fields, end_ns, line=line)


def report_fields(task: Task, *, duration_ms: float) -> Fields:
    """The record of platform.report."""
    turn, record = task.turn, task.record
    status = reports.platform_status(record.status, record.error_type)
    if record.status == FUNCTION_ERROR:
        status = "error"
    fields: Fields = {
        "requestId": record.request_id,
        "status": status,
        "metrics": {"durationMs": round(duration_ms, 3)},
    }
    first, last = record.response_ns, turn.response_end_ns
    if first is not None and last is not None and record.status in (SUCCESS, FUNCTION_ERROR):
        fields["spans"] = [
            platform_events.span("responseLatency", record.handed_out_ns, first),
            platform_events.span("responseDuration", first, last),
        ]
    if status in ("error", "failure"):
        fields["errorType"] = telemetry_type(record.error_type)
    return fields | platform_events.tracing(record)
