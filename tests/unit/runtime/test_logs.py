"""The function's log: AWS's frames on a descriptor, JSON and text on standard output."""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime.faults import ErrorReport, Fault
from lambdascope.runtime.logs import Logs, iso_time_ms, say

if TYPE_CHECKING:
    from collections.abc import Iterator

theirs = pytest.importorskip("awslambdaric.bootstrap", reason="awslambdaric is not installed here")


class _Pipe:
    """A descriptor to write frames to, and what came out of it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def frames(self) -> list[tuple[int, int, str]]:
        """Close the writing end and return (type, microseconds, text) of every frame."""
        os.close(self.writer)
        with os.fdopen(self.reader, "rb") as file:
            data = file.read()
        found = []
        while data:
            kind, length, micros = struct.unpack(">IIQ", data[:16])
            found.append((kind, micros, data[16 : 16 + length].decode()))
            assert len(found[-1][2].encode()) == length
            data = data[16 + length :]
        return found


@pytest.fixture
def pipe() -> _Pipe:
    """A new pipe."""
    return _Pipe()


def _logs(fd: int | None = None, *, json_format: bool = False, level: str = "") -> Logs:
    return Logs(json_format=json_format, level=level, frame_fd=fd)


def _report(message: str = "no\n  more") -> ErrorReport:
    try:
        raise ValueError(message)
    except ValueError as error:
        return ErrorReport(error, "id")


TEXT_LEVELS = {
    "DEBUG": 0xA55A000B,
    "INFO": 0xA55A000F,
    "WARNING": 0xA55A0013,
    "ERROR": 0xA55A0017,
    "CRITICAL": 0xA55A001B,
    "NOTSET": 0xA55A0003,
}


@pytest.mark.parametrize(("name", "kind"), TEXT_LEVELS.items())
def test_frame_types(name: str, kind: int, pipe: _Pipe) -> None:
    """A frame's type has format and level where a level is configured or the format is JSON."""
    _logs(pipe.writer, level="INFO").write_record("a", name)
    _logs(pipe.writer, json_format=True).write_record("b", name)
    _logs(pipe.writer).write_record("c", name)

    kinds = [frame[0] for frame in pipe.frames()]

    assert [kind, kind & ~1, 0xA55A0003] == kinds


def test_frame_of_text(pipe: _Pipe) -> None:
    """context.log gives a text frame with the time in microseconds and every byte of the text."""
    before = time.time_ns() // 1000
    _logs(pipe.writer, json_format=True).write("grüße\n\U0001f600\ud800")
    ((kind, micros, text),) = pipe.frames()

    assert (0xA55A0003, "grüße\n\U0001f600\\ud800") == (kind, text)
    assert before <= micros <= time.time_ns() // 1000


def test_error_frame(pipe: _Pipe) -> None:
    """A failure is one frame of level ERROR, whatever level is configured."""
    report = _report()
    _logs(pipe.writer).error(report)
    _logs(pipe.writer, json_format=True).error(report)
    (text_kind, _, text), (json_kind, _, fields) = pipe.frames()

    assert (0xA55A0017, 0xA55A0016) == (text_kind, json_kind)
    assert text.startswith("[ERROR] ValueError: no\n  more\nTraceback (most recent call last):\n")
    assert "\n\u00a0\u00a0File" in text
    assert {**report.body, "level": "ERROR"} == _without_timestamp(fields)


def _without_timestamp(text: str) -> dict[str, object]:
    fields = json.loads(text)
    assert fields.pop("timestamp").endswith("Z")
    return fields


def test_error_on_stdout_is_one_event(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard output a failure is one line: CR inside, LF at its end."""
    _logs().error(_report())
    out = capsys.readouterr().out

    assert 1 == out.count("\n")
    assert out.startswith(
        "[ERROR] ValueError: no\r  more\rTraceback (most recent call last):\r\u00a0"
    )


@pytest.mark.parametrize("message", ["one line", ""])
def test_error_text_is_that_of_awslambdaric(
    message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure with nothing but a stack is written as AWS's client writes it."""
    report = _report(message)
    theirs.log_error(report.body, theirs.StandardLogSink())
    expected = capsys.readouterr().out

    _logs().error(report)

    assert expected == capsys.readouterr().out


def test_error_text_with_what_aws_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Notes, members of groups and causes follow the stack."""
    group = ExceptionGroup("several", [KeyError("member")])
    group.add_note("a note")
    group.__cause__ = OSError("the cause")
    _logs().error(ErrorReport(group, ""))

    lines = capsys.readouterr().out.split("\r")

    assert [
        "[ERROR] ExceptionGroup: several (1 sub-exception)",
        "Traceback (most recent call last):",
        "a note",
        "Member KeyError: 'member'",
        "Caused by OSError: the cause\n",
    ] == lines


def test_large_frames_of_threads_do_not_mix() -> None:
    """Frames larger than the pipe, written by several threads, come out whole."""
    pipe = _Pipe()
    logs = _logs(pipe.writer)
    texts = [letter * 300_000 for letter in "abcd"]
    threads = [threading.Thread(target=logs.write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    closer = threading.Thread(target=lambda: [thread.join() for thread in threads])
    found: list[tuple[int, int, str]] = []
    reader = threading.Thread(target=lambda: found.extend(_read_frames(pipe.reader, 4)))
    reader.start()
    closer.start()
    reader.join(20)
    closer.join(20)
    os.close(pipe.writer)

    assert texts == sorted(frame[2] for frame in found)


def _read_frames(fd: int, count: int) -> Iterator[tuple[int, int, str]]:
    with os.fdopen(fd, "rb") as file:
        for _ in range(count):
            kind, length, micros = struct.unpack(">IIQ", file.read(16))
            yield kind, micros, file.read(length).decode()


def test_frames_through_a_full_pipe() -> None:
    """A descriptor that does not block is waited for, so that no frame is cut."""
    pipe = _Pipe()
    os.set_blocking(pipe.writer, False)
    found: list[tuple[int, int, str]] = []
    reader = threading.Thread(target=lambda: found.extend(_read_frames(pipe.reader, 1)))
    writer = threading.Thread(target=_logs(pipe.writer).write, args=("x" * 1_000_000,))
    writer.start()
    reader.start()
    writer.join(20)
    reader.join(20)
    os.close(pipe.writer)

    assert "x" * 1_000_000 == found[0][2]


@pytest.mark.parametrize("fd", [9999, 10**30])
def test_descriptor_that_is_not_open(fd: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A descriptor that cannot be used is named once, and the log goes to standard output."""
    logs = _logs(fd)
    logs.check()
    logs.check()
    logs.write("still there")

    out, err = capsys.readouterr()

    assert "still there" == out
    assert err.startswith(f"lambdascope: _LAMBDA_TELEMETRY_LOG_FD={fd}: ")
    assert 1 == err.count("\n")


def test_descriptor_that_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    """A descriptor whose reader is gone is left, and nothing of the record is lost."""
    pipe = _Pipe()
    os.close(pipe.reader)
    logs = _logs(pipe.writer, json_format=True)
    logs.write_record("first", "INFO")
    logs.error(_report())
    os.close(pipe.writer)

    out, err = capsys.readouterr()

    assert out.startswith("first\n{")
    assert err.startswith("lambdascope: _LAMBDA_TELEMETRY_LOG_FD=")
    assert err.endswith("Broken pipe; logs go to standard output instead\n")


class _Broken(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


class _Rude:
    """Something that a user put in the place of a stream."""

    def __getattr__(self, name: str) -> object:
        raise ZeroDivisionError(name)


def _closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {"full disk": _Broken, "closed": _closed, "none": lambda: None, "rude": _Rude}


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_broken_stdout(make: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """What standard output does not take goes to standard error."""
    error = io.StringIO()
    monkeypatch.setattr(sys, "stdout", make())
    monkeypatch.setattr(sys, "stderr", error)
    logs = _logs()

    logs.write("text ")
    logs.write_record("record", "INFO")
    logs.error(_report("fails"))
    logs.flush()

    assert error.getvalue().startswith("text record\n[ERROR] ValueError: fails\rTraceback")


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_no_stream_left(make: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """With both streams broken nothing is raised."""
    monkeypatch.setattr(sys, "stdout", make())
    monkeypatch.setattr(sys, "stderr", make())
    logs = _logs()

    logs.write("text")
    logs.error(_report())
    logs.say("line")
    logs.flush()


def test_text_that_the_encoding_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure is written on any encoding, with escapes for what that does not have."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))

    _logs().error(_report("grün\ud800"))

    assert raw.getvalue().startswith(b"[ERROR] ValueError: gr\\xfcn\\ud800\rTraceback")


def test_say_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in it, what the runtime says is one line with its name in front."""
    say("a\nb\r\n  c\u2028d")

    assert "lambdascope: a b c d\n" == capsys.readouterr().err


def test_error_that_says_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A failure of the runtime has an empty stack and AWS's two lines."""
    _logs().error(ErrorReport(Fault("Runtime.X", "m"), ""))

    assert "[ERROR] Runtime.X: m\rTraceback (most recent call last):\n" == capsys.readouterr().out


def test_time_with_milliseconds() -> None:
    """Times are UTC with milliseconds."""
    assert "2026-01-02T03:04:05.006Z" == iso_time_ms(1_767_323_045_006_999_999)


def test_attach_never_raises(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A `logging` of the function's own does not fail its import; one line says what is missing."""
    monkeypatch.setitem(sys.modules, "lambdascope.runtime.log_handler", None)

    _logs().attach()

    err = capsys.readouterr().err
    assert err.startswith("lambdascope: logging is not set up (ModuleNotFoundError: ")
    assert 1 == err.count("\n")
