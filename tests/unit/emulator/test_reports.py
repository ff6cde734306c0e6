"""The platform's lines, and the figures in them."""

from __future__ import annotations

import pytest

from lambdascope.emulator import answers, records, reports
from lambdascope.emulator.records import Report
from lambdascope.emulator.times import iso_time


@pytest.mark.parametrize(
    ("duration_ms", "init_ms", "expected"),
    [
        # The first two were recorded from a real function on demand.
        (503.84, 131.048, 635),
        (502.976, 120.381, 624),
        (503.549, None, 504),
        (3000.0, None, 3000),
        (0.1 + 0.2, 0.7, 1),
        (0.01, None, 1),
        (0.0, None, 0),
    ],
)
def test_init_and_duration_are_billed_together(
    duration_ms: float, init_ms: float | None, expected: int
) -> None:
    """The sum is rounded up, not its parts."""
    assert expected == reports.billed_ms(duration_ms, init_ms)


def report(**changes: object) -> Report:
    """A report of a warm success, with changes."""
    values: dict[str, object] = {
        "request_id": "r",
        "status": records.SUCCESS,
        "duration_ms": 12.345,
        "billed_duration_ms": 13,
        "memory_size_mb": 128,
        "max_memory_used_mb": 41,
    }
    return Report(**{**values, **changes})  # type: ignore[arg-type]


WARM = (
    "REPORT RequestId: r\tDuration: 12.35 ms\tBilled Duration: 13 ms\t"
    "Memory Size: 128 MB\tMax Memory Used: 41 MB"
)


@pytest.mark.parametrize(
    ("changes", "tail"),
    [
        ({}, ""),
        ({"init_duration_ms": 131.047}, "\tInit Duration: 131.05 ms"),
        (
            {"restore_duration_ms": 500.795, "billed_restore_duration_ms": 53},
            "\tRestore Duration: 500.80 ms\tBilled Restore Duration: 53 ms",
        ),
        ({"status": records.FUNCTION_ERROR}, ""),
        ({"status": records.TIMED_OUT, "error_type": "Sandbox.Timedout"}, "\tStatus: timeout"),
        (
            {"status": records.CRASHED, "error_type": "Runtime.ExitError"},
            "\tStatus: error\tError Type: Runtime.ExitError",
        ),
        (
            {"status": records.OUT_OF_MEMORY, "error_type": "Runtime.OutOfMemory"},
            "\tStatus: error\tError Type: Runtime.OutOfMemory",
        ),
        (
            {"status": records.CRASHED, "error_type": "Sandbox.Failure"},
            "\tStatus: failure\tError Type: Sandbox.Failure",
        ),
    ],
)
def test_the_report_line(changes: dict[str, object], tail: str) -> None:
    """Init Duration and Status come last, and only when there is something to say."""
    assert WARM + tail == reports.report_line(report(**changes))


def test_a_failed_init_is_reported() -> None:
    """INIT_REPORT carries phase, status and, unless it is a timeout, the error type."""
    line = reports.init_report_line(206.719, "init", answers.runtime_exit(0))
    expected = "INIT_REPORT Init Duration: 206.72 ms\tPhase: init\tStatus: error"
    assert f"{expected}\tError Type: Runtime.ExitError" == line
    line = reports.init_report_line(180000.4, "invoke", answers.timed_out(180_000))
    assert "INIT_REPORT Init Duration: 180000.40 ms\tPhase: invoke\tStatus: timeout" == line


def test_a_snapshot_is_reported() -> None:
    """Init has its line also when it went well; a restore has two, and a status if it failed."""
    line = reports.init_report_line(206.719, "init", None)
    assert "INIT_REPORT Init Duration: 206.72 ms\tPhase: init" == line
    expected = "RESTORE_START Runtime Version: v\tRuntime Version ARN: INIT"
    assert expected == reports.restore_start_line("v", "INIT")
    expected = "RESTORE_REPORT Restore Duration: 1.50 ms"
    assert expected == reports.restore_report_line(1.5, None)
    failed = reports.restore_report_line(1.5, answers.runtime_exit(1))
    assert f"{expected}\tStatus: error\tError Type: Runtime.ExitError" == failed
    late = reports.restore_report_line(1.5, answers.restore_timed_out(10_000))
    assert f"{expected}\tStatus: timeout" == late


def test_what_stands_between_start_and_end() -> None:
    """A timeout is one line with a time, another fault two, a posted init error none."""
    timeout = reports.fault_lines(answers.timed_out(3000), "r", 1_767_225_600_123_456_789)
    assert ["2026-01-01T00:00:00.123Z r Task timed out after 3.00 seconds"] == timeout
    fault = answers.runtime_exit(1)
    expected = ["RequestId: r Error: Runtime exited with error: exit status 1", "Runtime.ExitError"]
    assert expected == reports.fault_lines(fault, "r", 0)
    assert [] == reports.fault_lines(answers.init_error("", b"{}"), "r", 0)


def test_extension_lines_sort_the_events() -> None:
    """Events stand in brackets in a fixed order."""
    line = reports.extension_line("x", "Ready", ("SHUTDOWN", "INVOKE"))
    assert "EXTENSION\tName: x\tState: Ready\tEvents: [INVOKE, SHUTDOWN]" == line


def test_times_are_cut_to_milliseconds() -> None:
    """As the platform writes them: never rounded up into the future."""
    assert "1970-01-01T00:00:00.999Z" == iso_time(999_999_999)
    assert "2026-07-28T19:02:11.667Z" == iso_time(1_785_265_331_667_000_000)
