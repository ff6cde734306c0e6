"""The records of platform events: fields, units and number formats as recorded from Lambda."""

from __future__ import annotations

from lambdascope.emulator import answers, platform_events, records
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.records import InvocationRecord, Report

T0 = 1_785_265_331_803_000_000  # 2026-07-28T19:02:11.803Z
MS = 1_000_000
CONFIG = FunctionConfig(handler="a.b", task_root="/x", function_name="f", region="us-east-2")


def record(
    trace_header: str = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
) -> InvocationRecord:
    """An invocation that was handed out at T0."""
    return InvocationRecord(
        request_id="id",
        number=1,
        cold=False,
        event=b"",
        deadline_ms=0,
        trace_header=trace_header,
        invoked_function_arn=CONFIG.function_arn,
        handed_out_ns=T0,
    )


def test_init_start() -> None:
    """Memory is in bytes, the instance is the log stream."""
    expected = {
        "functionName": "f",
        "functionVersion": "$LATEST",
        "initializationType": "on-demand",
        "instanceId": "stream",
        "instanceMaxMemory": 134217728,
        "phase": "init",
        "runtimeVersion": "v",
        "runtimeVersionArn": "arn",
    }
    fields = platform_events.init_start(
        CONFIG, phase="init", log_stream="stream", runtime_version=("v", "arn")
    )
    assert expected == fields


def test_init_report() -> None:
    """Three decimals; an error type only beside an error."""
    good = platform_events.init_report(
        "on-demand", "init", None, start_ns=T0, end_ns=T0 + 131_047_499
    )
    expected = {
        "initializationType": "on-demand",
        "metrics": {"durationMs": 131.047},
        "phase": "init",
        "status": "success",
    }
    assert expected == good
    bad = platform_events.init_runtime_done("on-demand", "invoke", answers.runtime_exit(1))
    assert ("error", "Runtime.ExitError") == (bad["status"], bad["errorType"])
    late = platform_events.init_runtime_done("on-demand", "init", answers.timed_out(1000))
    assert "timeout" == late["status"]
    assert "errorType" not in late


def test_start() -> None:
    """The ARN is there on demand too; tracing only for a sampled trace."""
    expected = {
        "functionArn": "arn:aws:lambda:us-east-2:123456789012:function:f",
        "requestId": "id",
        "version": "$LATEST",
    }
    assert expected == platform_events.start(record(), CONFIG, None)
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    fields = platform_events.start(record(header), CONFIG, "blue")
    assert {**expected, "tenantId": "blue"} | {
        "tracing": {"type": "X-Amzn-Trace-Id", "value": header, "spanId": "53995c3f42cd8ad8"}
    } == fields


def test_runtime_done() -> None:
    """Three spans that follow each other from the hand-out to the runtime's return."""
    fields = platform_events.runtime_done(
        record(),
        None,
        end_ns=T0 + 13_137_000,
        response=(T0 + 12_350_000, T0 + 12_602_000),
        produced_bytes=10,
    )
    expected = {
        "metrics": {"durationMs": 13.137, "producedBytes": 10},
        "requestId": "id",
        "spans": [
            {
                "durationMs": 12.35,
                "name": "responseLatency",
                "start": "2026-07-28T19:02:11.803Z",
            },
            {
                "durationMs": 0.252,
                "name": "responseDuration",
                "start": "2026-07-28T19:02:11.815Z",
            },
            {
                "durationMs": 0.535,
                "name": "runtimeOverhead",
                "start": "2026-07-28T19:02:11.815Z",
            },
        ],
        "status": "success",
    }
    assert expected == fields


def test_runtime_done_without_a_response() -> None:
    """There is nothing to span, and the status says why."""
    fields = platform_events.runtime_done(
        record(), answers.timed_out(100), end_ns=T0 + 100 * MS, response=None, produced_bytes=0
    )
    expected = {"requestId": "id", "status": "timeout", "metrics": {"durationMs": 100.0}}
    assert expected == fields


def test_report() -> None:
    """Metrics with the report's figures, extension overhead as a span."""
    figures = Report(
        request_id="id",
        status=records.SUCCESS,
        duration_ms=503.84,
        billed_duration_ms=635,
        memory_size_mb=128,
        max_memory_used_mb=26,
        init_duration_ms=131.048,
    )
    fields = platform_events.report(
        record(), figures, extension_overhead=(T0 + 13 * MS, T0 + 13 * MS + 490_290_000)
    )
    expected = {
        "metrics": {
            "billedDurationMs": 635,
            "durationMs": 503.84,
            "initDurationMs": 131.048,
            "maxMemoryUsedMB": 26,
            "memorySizeMB": 128,
        },
        "requestId": "id",
        "spans": [
            {
                "durationMs": 490.29,
                "name": "extensionOverhead",
                "start": "2026-07-28T19:02:11.816Z",
            }
        ],
        "status": "success",
    }
    assert expected == fields


def test_report_of_a_crash() -> None:
    """Status and type as in runtimeDone."""
    figures = Report(
        request_id="id",
        status=records.CRASHED,
        duration_ms=1.0,
        billed_duration_ms=1,
        memory_size_mb=128,
        max_memory_used_mb=1,
        error_type="Extension.Crash",
    )
    fields = platform_events.report(record(), figures, extension_overhead=None)
    assert ("error", "Extension.Crash") == (fields["status"], fields["errorType"])
    assert "spans" not in fields
