"""An exception becomes what is posted, logged and put on a span: complete, bounded, always."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from fault_kit import Silent, body_of, caught, divide, raise_
from lambdascope.runtime import faults
from lambdascope.runtime.faults import (
    ErrorReport,
    Fault,
    exit_fault,
    exit_status,
)
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

theirs = pytest.importorskip("awslambdaric.bootstrap", reason="awslambdaric is not installed here")


def test_fields_are_those_of_awslambdaric() -> None:
    """The four fields that AWS's client posts have its names, order and values."""
    error = caught(divide)
    frames = theirs.extract_traceback(error.__traceback__)
    expected = theirs.make_error(
        str(error), "ZeroDivisionError", theirs.traceback.format_list(frames), "the id"
    )

    body = body_of(divide)

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
                divide()
            except ZeroDivisionError as error:
                raise KeyError("a") from error
        except KeyError:
            raise ValueError("b")  # noqa: B904 - the implicit context is the point

    body = body_of(chain)

    assert ("ValueError", "b") == (body["errorType"], body["errorMessage"])
    assert ("KeyError", "'a'") == (body["cause"]["errorType"], body["cause"]["errorMessage"])
    assert "ZeroDivisionError" == body["cause"]["cause"]["errorType"]
    assert "divide" in body["cause"]["cause"]["stackTrace"][-1]
    assert "requestId" not in body["cause"]
    assert "cause" not in body["cause"]["cause"]


def test_suppressed_context() -> None:
    """`from None` hides the context, as in Python's own traceback."""

    def suppress() -> None:
        try:
            divide()
        except ZeroDivisionError:
            raise ValueError("b") from None

    assert "cause" not in body_of(suppress)


def test_notes() -> None:
    """Notes that were added to the exception are told; odd ones do no harm."""
    error = ValueError("x")
    error.add_note("first")
    error.__notes__.append(5)
    error.__notes__.append(Silent())

    notes = body_of(lambda: raise_(error))["notes"]

    assert ["first", "5"] == notes[:2]
    assert "raised" in notes[2]


@pytest.mark.parametrize("notes", [5, None, (), "text"])
def test_notes_that_are_none(notes: object) -> None:
    """`__notes__` is an ordinary attribute: anything else than a list counts as none."""
    error = ValueError("x")
    error.__notes__ = notes

    assert "notes" not in body_of(lambda: raise_(error))


def test_members_of_a_group() -> None:
    """The members of an exception group are told with their own stacks."""

    def group() -> None:
        raise ExceptionGroup("several", [caught(divide), ValueError("x")])

    body = body_of(group)

    assert "ExceptionGroup" == body["errorType"]
    assert ["ZeroDivisionError", "ValueError"] == [e["errorType"] for e in body["exceptions"]]
    assert "divide" in body["exceptions"][0]["stackTrace"][-1]


def test_what_is_left_out_is_counted() -> None:
    """Notes and members beyond the bounds are not told, and how many those are is."""
    group = ExceptionGroup("many", [ValueError(str(number)) for number in range(20)])
    for number in range(19):
        group.add_note(f"note {number}")

    body = body_of(lambda: raise_(group))

    assert (16, 4) == (len(body["exceptions"]), body["exceptionsLeftOut"])
    assert ["note 15", "[3 more notes]"] == body["notes"][-2:]
    assert "[4 more members]" == faults.more_lines(body)[-1]


def test_cycle_of_causes() -> None:
    """A chain of causes that bites its tail ends."""
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first

    body = body_of(lambda: raise_(first))

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

    text = json.dumps(body_of(lambda: raise_(error)))

    assert text.count('"errorType"') <= 40
    assert len(text) < 100_000


def test_deleted_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory that is gone does not stand in the way of the report."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()

    assert "" == json.loads(ErrorReport(ValueError("x"), "").xray_cause)["working_directory"]


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
    report = ErrorReport(exit_fault(caught(lambda: sys.exit(2)), "r"), "r")

    assert "Runtime.ExitError" == report.error_type
    assert "sys.exit(2)" in report.body["stackTrace"][-1]


def test_no_frame_of_the_runtime() -> None:
    """Frames of the runtime are left out wherever they are."""
    folder = faults._OUR_FILES
    space: dict[str, Callable[[object], None]] = {}
    code = "def call(f):\n    f()\n"
    exec(compile(code, f"{folder}loop.py", "exec"), space)

    body = body_of(lambda: space["call"](divide))

    assert ["<lambda>", "divide"] == [
        line.split(", in ")[1].split("\n")[0] for line in body["stackTrace"]
    ]
