"""An exception becomes what is posted, logged and put on a span: complete, bounded, always."""

from __future__ import annotations

import json
import os
import re
import string
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.runtime import faults
from lambdascope.runtime.faults import (
    ErrorReport,
    Fault,
    exit_fault,
    exit_status,
    function_error_type,
    text_of,
)
from lambdascope.wire import names
from lambdascope.wire.runtime_api import InvocationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

theirs = pytest.importorskip("awslambdaric.bootstrap", reason="awslambdaric is not installed here")
MEBIBYTE = 1024 * 1024


def _caught(function: Callable[[], object]) -> BaseException:
    """Return what `function` raises, without the frame of this helper."""
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
        return error.with_traceback(error.__traceback__.tb_next)
    raise AssertionError("nothing was raised")


def _body(function: Callable[[], object]) -> dict[str, object]:
    report = ErrorReport(_caught(function), "the id")
    return json.loads(report.to_json())


def _divide() -> None:
    _ = 1 / 0


def _raise(error: BaseException) -> None:
    raise error


def test_fields_are_those_of_awslambdaric() -> None:
    """The four fields that AWS's client posts have its names, order and values."""
    error = _caught(_divide)
    frames = theirs.extract_traceback(error.__traceback__)
    expected = theirs.make_error(
        str(error), "ZeroDivisionError", theirs.traceback.format_list(frames), "the id"
    )

    body = _body(_divide)

    assert expected == body
    assert list(expected) == list(body)


def test_fault_has_awss_type_and_no_stack() -> None:
    """A failure that the runtime found has the type it was given and an empty stack."""
    report = ErrorReport(Fault(names.FAULT_MARSHAL, "cannot"), "id")

    assert {
        "errorMessage": "cannot",
        "errorType": "Runtime.MarshalError",
        "requestId": "id",
        "stackTrace": [],
    } == report.body
    assert "Runtime.MarshalError" == report.error_type


def test_trace_of_a_fault_replaces_the_stack() -> None:
    """A syntax error brings its own trace."""
    report = ErrorReport(Fault(names.FAULT_SYNTAX, "bad", ["  File x"]), "")

    assert ["  File x"] == report.body["stackTrace"]


def test_chained_causes() -> None:
    """`raise ... from` and an exception in an except block are told as causes."""

    def chain() -> None:
        try:
            try:
                _divide()
            except ZeroDivisionError as error:
                raise KeyError("a") from error
        except KeyError:
            raise ValueError("b")  # noqa: B904 - the implicit context is the point

    body = _body(chain)

    assert ("ValueError", "b") == (body["errorType"], body["errorMessage"])
    assert ("KeyError", "'a'") == (body["cause"]["errorType"], body["cause"]["errorMessage"])
    assert "ZeroDivisionError" == body["cause"]["cause"]["errorType"]
    assert "_divide" in body["cause"]["cause"]["stackTrace"][-1]
    assert "requestId" not in body["cause"]
    assert "cause" not in body["cause"]["cause"]


def test_suppressed_context() -> None:
    """`from None` hides the context, as in Python's own traceback."""

    def suppress() -> None:
        try:
            _divide()
        except ZeroDivisionError:
            raise ValueError("b") from None

    assert "cause" not in _body(suppress)


def test_notes() -> None:
    """Notes that were added to the exception are told; odd ones do no harm."""
    error = ValueError("x")
    error.add_note("first")
    error.__notes__.append(5)
    error.__notes__.append(_Silent())

    notes = _body(lambda: _raise(error))["notes"]

    assert ["first", "5"] == notes[:2]
    assert "raised" in notes[2]


@pytest.mark.parametrize("notes", [5, None, (), "text"])
def test_notes_that_are_none(notes: object) -> None:
    """`__notes__` is an ordinary attribute: anything else than a list counts as none."""
    error = ValueError("x")
    error.__notes__ = notes

    assert "notes" not in _body(lambda: _raise(error))


def test_members_of_a_group() -> None:
    """The members of an exception group are told with their own stacks."""

    def group() -> None:
        raise ExceptionGroup("several", [_caught(_divide), ValueError("x")])

    body = _body(group)

    assert "ExceptionGroup" == body["errorType"]
    assert ["ZeroDivisionError", "ValueError"] == [e["errorType"] for e in body["exceptions"]]
    assert "_divide" in body["exceptions"][0]["stackTrace"][-1]


def test_what_is_left_out_is_counted() -> None:
    """Notes and members beyond the bounds are not told, and how many those are is."""
    group = ExceptionGroup("many", [ValueError(str(number)) for number in range(20)])
    for number in range(19):
        group.add_note(f"note {number}")

    body = _body(lambda: _raise(group))

    assert (16, 4) == (len(body["exceptions"]), body["exceptionsLeftOut"])
    assert ["note 15", "[3 more notes]"] == body["notes"][-2:]
    assert "[4 more members]" == faults.more_lines(body)[-1]


def test_cycle_of_causes() -> None:
    """A chain of causes that bites its tail ends."""
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first

    body = _body(lambda: _raise(first))

    assert "2" == body["cause"]["errorMessage"]
    assert "cause" not in body["cause"]


def test_long_chain_and_wide_groups_are_bounded() -> None:
    """Neither a long chain nor groups in groups make a body that nobody can read."""
    error: BaseException = ValueError("first")
    for number in range(50):
        chained = ValueError(str(number))
        chained.__cause__ = error
        error = chained
    for _ in range(6):
        error = ExceptionGroup("g", [ValueError(str(n)) for n in range(20)] + [error] * 3)

    text = json.dumps(_body(lambda: _raise(error)))

    assert text.count('"errorType"') <= 40
    assert len(text) < 100_000


class _Silent:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class _StrangeText(str):
    __slots__ = ()


class _StrangeError(Exception):
    def __str__(self) -> str:
        return _StrangeText("strange")


class _HostileError(Exception):
    @property
    def __cause__(self) -> object:
        raise ZeroDivisionError("hostile")


def test_broken_text() -> None:
    """An exception whose __str__ raises is reported all the same."""
    body = _body(lambda: _raise(_SilentError()))

    assert "<_SilentError whose text raised RuntimeError>" == body["errorMessage"]
    assert "_SilentError" == body["errorType"]


def test_text_is_plain_text() -> None:
    """A __str__ that returns a subclass of str gives its content."""
    assert str is type(text_of(_StrangeError()))


def test_hostile_exception() -> None:
    """An exception that cannot be described at all still has its type and its message."""
    body = _body(lambda: _raise(_HostileError("m")))

    assert "_HostileError" == body["errorType"]
    assert body["errorMessage"].startswith("m (no more can be told: ZeroDivisionError)")
    assert [] == body["stackTrace"]


def test_recursion_without_end() -> None:
    """Thousands of frames are told by their first and last ones."""

    def recurse(depth: int) -> None:
        other(depth + 1)

    def other(depth: int) -> None:
        recurse(depth + 1)

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        body = _body(lambda: recurse(0))
    finally:
        sys.setrecursionlimit(limit)

    trace = body["stackTrace"]
    assert "RecursionError" == body["errorType"]
    assert len(trace) == 201
    assert re.fullmatch(r"  \[\d{5} frames left out\]\n", trace[100])
    assert "in <lambda>" in trace[0]
    assert "in recurse" in trace[-1] + trace[-2]


def test_huge_message() -> None:
    """A message of any size fits the error body, with a word on what is missing."""
    report = ErrorReport(ValueError("\u20ac" * 20 * MEBIBYTE), "id")

    data = report.to_json()

    assert len(data) < MEBIBYTE
    assert json.loads(data)["errorMessage"].endswith("more characters]")


def test_huge_everything() -> None:
    """Also with huge causes and notes the body fits, and keeps type, message and stack."""
    error = ValueError("\u20ac" * 120_000)
    for _ in range(16):
        error.add_note("\u20ac" * 8000)
    error.__cause__ = ValueError("\u20ac" * 8000)

    data = ErrorReport(_caught(lambda: _raise(error)), "id").to_json()
    body = json.loads(data)

    assert len(data) < MEBIBYTE
    assert ["errorMessage", "errorType", "requestId", "stackTrace"] == list(body)
    assert 120_000 == len(body["errorMessage"])
    assert body["stackTrace"]


def test_huge_source_lines(tmp_path: Path) -> None:
    """A line of minified code does not make the body huge."""
    source = f"def f(): raise ValueError('{'a' * 2_000_000}')"
    path = tmp_path / "big.py"
    path.write_text(source)
    space: dict[str, Callable[[], None]] = {}
    exec(compile(source, str(path), "exec"), space)

    body = _body(space["f"])

    assert len(body["stackTrace"][-1]) < 5000


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
    error = _caught(_divide)
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
    error = _caught(_divide)
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

    error = _caught(recurse)
    error.args = ("\u20ac" * MEBIBYTE,)

    cause = ErrorReport(error, "").xray_cause

    assert 0 < len(cause) <= names.MAX_XRAY_CAUSE_BYTES


def test_deleted_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory that is gone does not stand in the way of the report."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()

    assert "" == json.loads(ErrorReport(ValueError("x"), "").xray_cause)["working_directory"]


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
    text = ErrorReport(_caught(_divide), "").stack_text()

    assert text.startswith("Traceback (most recent call last):\n  File")
    assert text.endswith("_ = 1 / 0\nZeroDivisionError: division by zero")


def test_stack_of_a_span_has_the_causes() -> None:
    """What led to the failure is often all there is to see: an import error has no stack itself."""
    fault = Fault(names.FAULT_IMPORT_MODULE, "Unable to import module 'app': no part")
    fault.add_note("a note")
    fault.__cause__ = _caught(_divide)

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


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        (None, 0, "exit status 0"),
        (3, 3, "exit status 3"),
        (256, 0, "exit status 0"),
        (-1, 255, "exit status 255"),
        (True, 1, "exit status 1"),
        ("no config", 1, "exit status 1: no config"),
        ({"a": 1}, 1, "exit status 1: {'a': 1}"),
    ],
)
def test_exit(code: object, status: int, told: str) -> None:
    """sys.exit is told in the platform's words, with its text, and has the status of a process."""
    error = SystemExit(code)

    assert status == exit_status(error)
    assert f"RequestId: r Error: Runtime exited with error: {told}" == str(exit_fault(error, "r"))
    assert f"Runtime exited with error: {told}" == str(exit_fault(error, ""))


def test_exit_keeps_the_stack() -> None:
    """Where sys.exit was called is told."""
    report = ErrorReport(exit_fault(_caught(lambda: sys.exit(2)), "r"), "r")

    assert "Runtime.ExitError" == report.error_type
    assert "sys.exit(2)" in report.body["stackTrace"][-1]


def test_no_frame_of_the_runtime() -> None:
    """Frames of the runtime are left out wherever they are."""
    folder = faults._OUR_FILES
    space: dict[str, Callable[[object], None]] = {}
    code = "def call(f):\n    f()\n"
    exec(compile(code, f"{folder}loop.py", "exec"), space)

    body = _body(lambda: space["call"](_divide))

    assert ["<lambda>", "_divide"] == [
        line.split(", in ")[1].split("\n")[0] for line in body["stackTrace"]
    ]
