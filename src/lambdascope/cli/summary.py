"""The sentences around the tree: header, outcome, one line for each further invocation, hints.

Pure functions from records and configuration to text without colours.
"""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING

from lambdascope.cli import function as functions
from lambdascope.cli.errors import is_load_fault
from lambdascope.cli.handlers import handler_hint, missing_module_hint
from lambdascope.cli.rows import INVOKE, milliseconds
from lambdascope.cli.terminal import plain
from lambdascope.cli.timeline import open_spans
from lambdascope.emulator import records
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdascope.cli.function import Function
    from lambdascope.cli.rows import Row
    from lambdascope.emulator.records import InvocationRecord

_MAX_MESSAGE = 300
_TWICE = 2


def header_facts(function: Function) -> list[str]:
    """What is run, and what of it nobody asked for."""
    config = function.config
    facts = [f"handler {config.handler}"]
    if config.runtime:
        facts.append(f"runtime {' '.join(config.runtime_argv)}")
    else:
        facts.append(f"python {function.interpreter.version_text}")
    facts += [f"{config.memory_mb} MB", f"timeout {config.timeout_ms / 1000:g} s"]
    if config.managed:
        facts.append(f"up to {config.max_concurrency} at a time")
    if config.snap_start:
        facts.append("SnapStart")
    if len(function.defaults) > 1:
        facts.append("(Lambda's defaults)")
    elif function.defaults:
        facts.append(f"({function.defaults[0]}: Lambda's default)")
    return facts


def title(record: InvocationRecord, position: int, count: int) -> str:
    """What is above the tree when there are several."""
    return f"invocation {position} of {count}, {_temperature(record)}"


def outcome(record: InvocationRecord, rows: Sequence[Row], function: Function) -> str | None:
    """One sentence on how it failed and what to do; None when it did not."""
    config = function.config
    if record.status == records.SUCCESS:
        return None
    kind, message = _error_of(record)
    if record.status == records.FUNCTION_ERROR:
        return f"function error: {kind}: {message}" if message else f"function error: {kind}"
    if record.status == records.TIMED_OUT and _has_no_snapshot(record, function):
        return f"init failed: {kind}: {message}"
    if record.status == records.TIMED_OUT:
        return _timeout_outcome(record, rows, function)
    if record.status == records.OUT_OF_MEMORY:
        return (
            f"killed at the memory limit of {config.memory_mb} MB ({names.FAULT_OUT_OF_MEMORY}); "
            f"try --memory {min(config.memory_mb * _TWICE, 10_240)}"
        )
    where = "init failed" if record.status == records.INIT_ERROR else "the environment failed"
    if record.not_restored:
        where = "restore failed"
    return f"{where}: {kind}: {message}" if message else f"{where}: {kind}"


def _has_no_snapshot(record: InvocationRecord, function: Function) -> bool:
    """Whether init failed before the snapshot; it has a limit of its own there."""
    phases = {phase.name for phase in record.phases}
    return function.config.snap_start and "init" in phases and "snapshot" not in phases


def _timeout_outcome(record: InvocationRecord, rows: Sequence[Row], function: Function) -> str:
    """Who used up the time: the handler, or the runtime or an extension before or after it."""
    unended = open_spans(rows)
    labels = ", ".join(plain(row.label) for row in unended) or function.config.handler
    text = f"timed out after {function.config.timeout_ms / 1000:g} s; still open: {labels}"
    if record.response_ns is not None:
        return text + " (the function had answered)"
    if "timeout" in function.defaults and all(row.phase == INVOKE for row in unended):
        return text + "; --timeout SECONDS gives it more"
    return text


def hint(record: InvocationRecord, function: Function) -> str | None:
    """One line that explains a fault by what is on the disk; None when nothing is to be said."""
    from pathlib import Path

    config = function.config
    if record.error_type == names.FAULT_EXTENSION_LAUNCH:
        return functions.launch_hint(config.extensions)
    if not is_load_fault(record):
        return None
    found = handler_hint(config.handler, Path(config.task_root))
    if found is None and record.error_type == names.FAULT_IMPORT_MODULE:
        found = missing_module_hint(record.answer, config.python)
    return found


def short_line(record: InvocationRecord, position: int) -> str:
    """One invocation in one line, for those whose tree is not shown."""
    report = record.report
    parts = [f"{position:>4}", f"{_temperature(record):<4}", record.request_id[:8]]
    if report is not None:
        parts += [
            f"{milliseconds(report.duration_ms):>11}",
            f"billed {report.billed_duration_ms} ms",
            f"{report.max_memory_used_mb} MB",
        ]
    parts.append("ok" if record.status == records.SUCCESS else record.error_type or record.status)
    return "  ".join(parts)


def median_line(found: Sequence[InvocationRecord]) -> str | None:
    """The middle of the warm invocations that went well; None when there are fewer than two."""
    warm = [
        record.report
        for record in found
        if not record.cold and record.status == records.SUCCESS and record.report is not None
    ]
    if len(warm) < 2:
        return None
    duration_ms = statistics.median(report.duration_ms for report in warm)
    billed_ms = statistics.median(report.billed_duration_ms for report in warm)
    return f"median of {len(warm)} warm: {milliseconds(duration_ms)}, billed {billed_ms:g} ms"


def _temperature(record: InvocationRecord) -> str:
    return "cold" if record.cold else "warm"


def _error_of(record: InvocationRecord) -> tuple[str, str]:
    """Type and message of an error answer; what is no such answer gives what the record knows."""
    kind, message = record.error_type or record.status, ""
    try:
        fields = json.loads(record.answer)
    except (ValueError, RecursionError):
        return kind, message
    if isinstance(fields, dict):
        kind = str(fields.get("errorType") or kind)
        message = plain(str(fields.get("errorMessage") or ""))
    prefix = f"RequestId: {record.request_id} Error: "
    message = message.removeprefix(prefix)
    cut = "..." if len(message) > _MAX_MESSAGE else ""
    return kind, message[:_MAX_MESSAGE] + cut
