"""Bytes of processes to lines, and lines to invocations."""

from __future__ import annotations

import itertools
import os

from hypothesis import given
from hypothesis import strategies as st

from lambdascope.emulator.logbook import Logbook
from lambdascope.emulator.output import LineSplitter, OutputReader
from lambdascope.emulator.records import InvocationRecord, LogLine


def lines_of(pieces: list[bytes], limit: int = 8) -> list[str]:
    """What a splitter makes of the pieces."""
    splitter = LineSplitter(limit)
    lines = [line for piece in pieces for line in splitter.feed(piece)]
    return lines + splitter.end()


@given(
    data=st.text("ab\ncdé", max_size=60),
    cuts=st.lists(st.integers(min_value=0, max_value=80), max_size=6),
)
def test_any_cut_of_the_bytes_gives_the_same_lines(data: str, cuts: list[int]) -> None:
    """How the kernel delivers the bytes makes no difference."""
    raw = data.encode()
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    pieces = [raw[a:b] for a, b in itertools.pairwise(edges)]
    assert lines_of([raw], 1000) == lines_of(pieces, 1000)


@given(data=st.binary(max_size=80), limit=st.integers(min_value=1, max_value=9))
def test_no_line_is_longer_than_the_limit_and_no_byte_is_lost(data: bytes, limit: int) -> None:
    """A long line is cut into several, however it arrives."""
    splitter = LineSplitter(limit)
    counted = 0
    for byte in data:
        for line in splitter.feed(bytes((byte,))):
            counted += len(line)
            assert len(line) <= limit
    counted += sum(len(line) for line in splitter.end())
    if data.isascii() and b"\r" not in data:
        assert len(data.replace(b"\n", b"")) == counted


def test_bytes_that_are_no_text_are_replaced() -> None:
    """Invalid UTF-8 does not end the reading."""
    assert ["a\ufffdb", "c"] == lines_of([b"a\xffb\nc"])


def test_a_carriage_return_is_a_line_break_within_the_event() -> None:
    """AWS's Python client joins the lines of one event so; at the end of a line it is dropped."""
    assert ["a\nb", "c"] == lines_of([b"a\rb\r\nc\n"])


def test_an_unfinished_line_ends_with_the_process() -> None:
    """What was written without a line end is not lost."""
    assert ["whole", "rest"] == lines_of([b"whole\nre", b"st"])


def test_drain_reads_what_is_there() -> None:
    """After drain everything that was written before has been passed on."""
    reader = OutputReader()
    read_end, write_end = os.pipe()
    lines: list[str] = []
    try:
        reader.watch(read_end, lines.append)
        os.write(write_end, b"one\ntwo\nthr")
        reader.drain()
        assert ["one", "two"] == lines
        reader.forget()
        assert ["one", "two", "thr"] == lines
        reader.forget()
    finally:
        reader.close()
        reader.close()
        os.close(read_end)
        os.close(write_end)


def record(request_id: str) -> InvocationRecord:
    """A record to bind lines to."""
    return InvocationRecord(
        request_id=request_id,
        number=1,
        cold=False,
        event=b"",
        deadline_ms=0,
        trace_header="",
        invoked_function_arn="",
    )


def test_lines_belong_to_the_invocation_or_to_the_next() -> None:
    """What comes between two invocations is kept for the next one, without its id."""
    passed: list[LogLine] = []
    told: list[LogLine] = []
    book = Logbook(on_log=passed.append, on_line=told.append)
    first, second = record("1"), record("2")
    book.write("platform", "init", time_ns=1)
    book.begin(first)
    book.write("function", "a", time_ns=2)
    book.end()
    book.write("extension", "b", time_ns=3, who="x")
    book.begin(second)
    assert [("init", None), ("a", "1")] == [(line.text, line.request_id) for line in first.logs]
    assert [("b", None, "x")] == [(line.text, line.request_id, line.who) for line in second.logs]
    assert ["init", "a", "b"] == [line.text for line in passed]
    assert ["a", "b"] == [line.text for line in told]


def test_a_listener_that_raises_is_not_asked_again(capsys: object) -> None:
    """Lines go on into the record; the loss is said once."""
    calls: list[LogLine] = []

    def listen(line: LogLine) -> None:
        calls.append(line)
        raise ValueError("no")

    book = Logbook(on_log=listen, on_line=lambda _: None)
    target = record("1")
    book.begin(target)
    book.write("function", "a", time_ns=1)
    book.write("function", "b", time_ns=1)
    assert 1 == len(calls)
    assert 2 == len(target.logs)
    read = getattr(capsys, "readouterr")  # noqa: B009 - typed loosely by pytest's plugin
    assert read().err.startswith("lambdascope: no further log lines are passed on")
