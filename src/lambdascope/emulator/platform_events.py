"""The records of the platform.* events that the Telemetry API delivers.

Pure functions from values to JSON-ready dicts, in the shapes of schema 2025-01-29 (AWS Lambda
developer guide, "Lambda Telemetry API Event schema reference") with the fields and number formats
that were recorded from a real function on demand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdascope.emulator.answers import Fault, telemetry_type
from lambdascope.emulator.reports import fault_status, platform_status, restore_status
from lambdascope.emulator.times import MS, iso_time
from lambdascope.wire.trace_header import parse_trace_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lambdascope.emulator.config import FunctionConfig
    from lambdascope.emulator.records import InvocationRecord, Report

INIT_START = "platform.initStart"
INIT_RUNTIME_DONE = "platform.initRuntimeDone"
INIT_REPORT = "platform.initReport"
EXTENSION = "platform.extension"
TELEMETRY_SUBSCRIPTION = "platform.telemetrySubscription"
RESTORE_START = "platform.restoreStart"
RESTORE_RUNTIME_DONE = "platform.restoreRuntimeDone"
RESTORE_REPORT = "platform.restoreReport"
START = "platform.start"
RUNTIME_DONE = "platform.runtimeDone"
REPORT = "platform.report"

Fields = dict[str, object]


def span(name: str, start_ns: int, end_ns: int) -> Fields:
    """One item of `spans`."""
    return {"name": name, "start": iso_time(start_ns), "durationMs": milliseconds(start_ns, end_ns)}


def milliseconds(start_ns: int, end_ns: int) -> float:
    """A duration with the three decimals that the platform gives."""
    return round((end_ns - start_ns) / MS, 3)


def init_start(
    config: FunctionConfig, *, phase: str, log_stream: str, runtime_version: tuple[str, str]
) -> Fields:
    """Init begins. `instanceMaxMemory` is in bytes, `instanceId` is the log stream."""
    fields: Fields = {"initializationType": config.init_type, "phase": phase}
    return fields | restore_start(config, log_stream=log_stream, runtime_version=runtime_version)


def restore_start(
    config: FunctionConfig, *, log_stream: str, runtime_version: tuple[str, str]
) -> Fields:
    """A snapshot is about to be restored: what init has said, without its own fields."""
    return {
        "functionName": config.function_name,
        "functionVersion": config.version,
        "instanceId": log_stream,
        "instanceMaxMemory": config.memory_mb * 1024 * 1024,
        "runtimeVersion": runtime_version[0],
        "runtimeVersionArn": runtime_version[1],
    }


def init_runtime_done(init_type: str, phase: str, fault: Fault | None) -> Fields:
    """The runtime asked for its first event, or will never do so."""
    fields: Fields = {"initializationType": init_type, "phase": phase}
    return fields | _status(fault)


def init_report(
    init_type: str, phase: str, fault: Fault | None, *, start_ns: int, end_ns: int
) -> Fields:
    """Init is over."""
    metrics = {"durationMs": milliseconds(start_ns, end_ns)}
    return init_runtime_done(init_type, phase, fault) | {"metrics": metrics}


def restore_runtime_done(fault: Fault | None) -> Fields:
    """The runtime asked for its first event after a restore, or will never do so."""
    return _status(fault, restore_status(fault))


def restore_report(fault: Fault | None, *, start_ns: int, end_ns: int) -> Fields:
    """The restore is over."""
    metrics = {"durationMs": milliseconds(start_ns, end_ns)}
    return restore_runtime_done(fault) | {"metrics": metrics}


def extension(name: str, state: str, events: Iterable[str], error_type: str = "") -> Fields:
    """The state of one extension at the end of init."""
    fields: Fields = {"name": name, "state": state, "events": sorted(events)}
    return fields | ({"errorType": error_type} if error_type else {})


def start(record: InvocationRecord, config: FunctionConfig, tenant_id: str | None) -> Fields:
    """An event is handed out."""
    fields: Fields = {
        "requestId": record.request_id,
        "version": config.version,
        "functionArn": record.invoked_function_arn,
    }
    if tenant_id:
        fields["tenantId"] = tenant_id
    return fields | tracing(record)


def runtime_done(
    record: InvocationRecord,
    fault: Fault | None,
    *,
    end_ns: int,
    response: tuple[int, int] | None,
    produced_bytes: int,
) -> Fields:
    """The runtime asked for its next event, or the invocation ended without that.

    `response` is when the first and the last byte of the response had come in, None when no
    response was complete. An error that the handler raised is a success here.
    """
    metrics: Fields = {"durationMs": milliseconds(record.handed_out_ns, end_ns)}
    spans: list[Fields] = []
    if response is not None:
        metrics["producedBytes"] = produced_bytes
        first, last = response
        spans = [
            span("responseLatency", record.handed_out_ns, first),
            span("responseDuration", first, last),
            span("runtimeOverhead", last, end_ns),
        ]
    fields: Fields = {"requestId": record.request_id, **_status(fault), "metrics": metrics}
    return fields | ({"spans": spans} if spans else {}) | tracing(record)


def report(
    record: InvocationRecord, figures: Report, *, extension_overhead: tuple[int, int] | None
) -> Fields:
    """What is billed. `extension_overhead` is the stretch after the runtime was done."""
    metrics: Fields = {
        "durationMs": round(figures.duration_ms, 3),
        "billedDurationMs": figures.billed_duration_ms,
        "memorySizeMB": figures.memory_size_mb,
        "maxMemoryUsedMB": figures.max_memory_used_mb,
    }
    if figures.init_duration_ms is not None:
        metrics["initDurationMs"] = round(figures.init_duration_ms, 3)
    if figures.restore_duration_ms is not None:
        metrics["restoreDurationMs"] = round(figures.restore_duration_ms, 3)
        metrics["billedRestoreDurationMs"] = figures.billed_restore_duration_ms
    fields: Fields = {
        "requestId": record.request_id,
        "status": platform_status(figures.status, figures.error_type),
        "metrics": metrics,
    }
    if figures.error_type and fields["status"] in ("error", "failure"):
        fields["errorType"] = telemetry_type(figures.error_type)
    if extension_overhead is not None:
        fields["spans"] = [span("extensionOverhead", *extension_overhead)]
    return fields | tracing(record)


def _status(fault: Fault | None, status: str = "") -> Fields:
    fields: Fields = {"status": status or fault_status(fault)}
    if fault is not None and fields["status"] != "timeout":
        fields["errorType"] = telemetry_type(fault.error_type)
    return fields


def tracing(record: InvocationRecord) -> Fields:
    """The tracing field, which the platform leaves out when the trace is not sampled."""
    header = parse_trace_header(record.trace_header)
    if not header.sampled:
        return {}
    fields: Fields = {"type": "X-Amzn-Trace-Id", "value": record.trace_header}
    if header.parent_id:
        fields["spanId"] = header.parent_id
    return {"tracing": fields}
