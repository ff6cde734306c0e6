"""The forms that a fault has beside its body: headers, X-Ray's cause, a span's stack."""

from __future__ import annotations

import json
import os
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fault_kit import MEBIBYTE, caught, divide
from lambdascope.runtime.faults import (
    ErrorReport,
    Fault,
    function_error_type,
)
from lambdascope.wire import names
from lambdascope.wire.runtime_api import InvocationError

theirs = pytest.importorskip("awslambdaric.bootstrap", reason="awslambdaric is not installed here")


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("ValueError", "Function.ValueError"),
        ("myError2", "Function.MyError"),
        ("_Private_Error", "Function.PrivateError"),
        ("E", names.FAULT_FUNCTION_UNKNOWN),
        ("Ошибка", names.FAULT_FUNCTION_UNKNOWN),
        ("", names.FAULT_FUNCTION_UNKNOWN),
        ("ÄrgerError\r\nX: y", "Function.RgerErrorXy"),
    ],
)
def test_header_form(name: str, header: str) -> None:
    """The error-type header is Function.<letters>, as Lambda's pattern wants it."""
    assert header == function_error_type(name)


@given(st.text())
def test_header_form_of_any_name(name: str) -> None:
    """Whatever a class is called, the header matches Lambda's pattern and is a legal header."""
    header = function_error_type(name)

    assert re.fullmatch(r"(Runtime|Function)\.[A-Z][a-zA-Z]+", header)


def test_xray_cause_is_that_of_awslambdaric() -> None:
    """The X-Ray cause has AWS's shape and values."""
    error = caught(divide)
    frames = theirs.extract_traceback(error.__traceback__)
    expected = theirs.make_xray_fault("ZeroDivisionError", str(error), os.getcwd(), frames)

    assert expected == json.loads(ErrorReport(error, "").xray_cause)


def test_xray_cause_of_a_fault() -> None:
    """A failure of the runtime's own has AWS's name for those, and no stack."""
    expected = theirs.make_xray_fault("LambdaValidationError", "cannot", os.getcwd(), [])

    assert expected == json.loads(ErrorReport(Fault(names.FAULT_MARSHAL, "cannot"), "").xray_cause)


def test_xray_cause_is_a_legal_header() -> None:
    """Whatever the message holds, the header is printable ASCII on one line."""
    hostile = "".join(map(chr, range(0x180))) + "\ud800\u2028" + chr(0x1F600)
    report = ErrorReport(ValueError(hostile), "")

    assert report.xray_cause.isascii()
    assert report.xray_cause.isprintable()
    assert hostile == json.loads(report.xray_cause)["exceptions"][0]["message"]


def test_xray_cause_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too long a cause loses its frames first, and is left out when that is not enough."""
    error = caught(divide)
    monkeypatch.setattr(names, "MAX_XRAY_CAUSE_BYTES", len(ErrorReport(error, "").xray_cause) - 1)
    without_frames = json.loads(ErrorReport(error, "").xray_cause)
    monkeypatch.setattr(names, "MAX_XRAY_CAUSE_BYTES", 40)

    assert ([], []) == (without_frames["paths"], without_frames["exceptions"][0]["stack"])
    assert "division by zero" == without_frames["exceptions"][0]["message"]
    assert "" == ErrorReport(error, "").xray_cause


def test_xray_cause_of_a_huge_failure_fits() -> None:
    """A long message over a deep stack stays within X-Ray's limit."""

    def recurse() -> None:
        recurse()

    error = caught(recurse)
    error.args = ("\u20ac" * MEBIBYTE,)

    cause = ErrorReport(error, "").xray_cause

    assert 0 < len(cause) <= names.MAX_XRAY_CAUSE_BYTES


def test_report_can_be_posted() -> None:
    """Every header of a report goes through the encoder of requests, hostile names included."""
    kind = type("Naïve\r\nError\x7f", (Exception,), {})
    report = ErrorReport(kind("a\r\nb\x7f"), "id")
    message = InvocationError(
        request_id="id",
        body=report.to_json(),
        error_type=report.error_type,
        xray_cause=report.xray_cause,
    )

    head = message.to_request([("Host", "x")]).partition(b"\r\n\r\n")[0]

    assert head.isascii()
    assert set(head.decode()) <= set(string.printable)


def test_stack_of_a_span() -> None:
    """A span gets the trace as Python prints it."""
    text = ErrorReport(caught(divide), "").stack_text()

    assert text.startswith("Traceback (most recent call last):\n  File")
    assert text.endswith("_ = 1 / 0\nZeroDivisionError: division by zero")


def test_stack_of_a_span_has_the_causes() -> None:
    """What led to the failure is often all there is to see: an import error has no stack itself."""
    fault = Fault(names.FAULT_IMPORT_MODULE, "Unable to import module 'app': no part")
    fault.add_note("a note")
    fault.__cause__ = caught(divide)

    lines = ErrorReport(fault, "").stack_text().splitlines()

    assert [
        "Traceback (most recent call last):",
        "Runtime.ImportModuleError: Unable to import module 'app': no part",
        "a note",
        "Caused by ZeroDivisionError: division by zero",
    ] == lines[:4]
    assert "    _ = 1 / 0" == lines[-1]


def test_stack_of_a_span_is_bounded() -> None:
    """A chain of long messages does not become a span that no backend takes."""
    error = cause = ValueError("x" * 100_000)
    for _ in range(6):
        cause.__cause__ = cause = ValueError("y" * 100_000)

    assert len(ErrorReport(error, "").stack_text()) < 140_000
