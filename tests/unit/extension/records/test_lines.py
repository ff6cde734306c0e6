"""Log lines in the forms of AWS's clients, and in any other."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.otlp import names
from lambdascope.otlp.encode import RequestEncoder
from lambdascope.otlp.log_encode import LogEncoder
from lambdascope_extension.handed_over import HandedOver
from lambdascope_extension.records.joins import Joins
from lambdascope_extension.records.lines import MAX_WAITING, Lines, read_line
from unit.extension.records.platform_kit import (
    REQUEST_ID,
    SPAN_ID,
    TRACE_ID,
    at,
    at_ns,
    handed_over_spans,
)
from unit.otlp.official import patient

WRITTEN = at(299)


@pytest.mark.parametrize(
    ("line", "request_id", "level", "body"),
    [
        (f"[ERROR]\t{WRITTEN}\t{REQUEST_ID}\tbad\tthing\n", REQUEST_ID, "ERROR", "bad\tthing"),
        (f"{WRITTEN}\t{REQUEST_ID}\tINFO\tfrom Node\n", REQUEST_ID, "INFO", "from Node"),
        ("[ERROR] KeyError: 'x'\n", "", "ERROR", "[ERROR] KeyError: 'x'"),
        ("[nothing] a\n", "", "", "[nothing] a"),
        ("plain", "", "", "plain"),
        ("a\tb\tc\td\n", "", "", "a\tb\tc\td"),
        ("\n", "", "", ""),
        ("{broken}\n", "", "", "{broken}"),
    ],
)
def test_text_lines(line: str, request_id: str, level: str, body: str) -> None:
    """Level, request id and text are taken out of the known forms; other lines stay whole."""
    found, record = read_line("function", line, at_ns(500))

    assert (request_id, level, body) == (found, record.severity_text, record.body)
    assert at_ns(500) == record.observed_ns
    assert record.time_ns == (at_ns(299) if found else at_ns(500))


@pytest.mark.parametrize("as_text", [False, True])
def test_json_lines(*, as_text: bool) -> None:
    """An object is read the same as itself and as a line of text; what has a place goes there."""
    fields = {
        "timestamp": WRITTEN,
        "level": "CRITICAL",
        "message": "no order",
        "logger": "shop",
        "requestId": REQUEST_ID,
        "errorType": "KeyError",
        "errorMessage": "'x'",
        "stackTrace": ["one\n", "two\n"],
        "trace_id": TRACE_ID.hex(),
        "span_id": SPAN_ID.hex(),
        "trace_flags": "01",
        "order": {"id": 17},
    }
    line = json.dumps(fields) + "\n" if as_text else fields
    found, record = read_line("function", line, at_ns(500))

    assert (REQUEST_ID, "no order") == (found, record.body)
    assert (names.SEVERITY_FATAL, "CRITICAL") == (record.severity_number, record.severity_text)
    assert (TRACE_ID, SPAN_ID, 1) == (record.trace_id, record.span_id, record.flags)
    assert at_ns(299) == record.time_ns
    assert record.attributes == {
        "lambdascope.log.source": "function",
        "logger": "shop",
        "exception.type": "KeyError",
        "exception.message": "'x'",
        "exception.stacktrace": "one\ntwo\n",
        "order": {"id": 17},
    }


def test_objects_without_a_message_are_the_body() -> None:
    """What an application prints as an object of its own stays as it is."""
    mine = {"data": {"name": "x", "duration_ms": 12.5}, "samplerate": 1, "time": "2025"}

    _, record = read_line("function", dict(mine), 1)

    assert mine == record.body


def test_a_fault_without_a_message_has_that_of_the_exception() -> None:
    """AWS's clients report a failed handler as an object without a message."""
    fault = {"level": "ERROR", "errorType": "ValueError", "errorMessage": "nope", "requestId": "r"}

    found, record = read_line("function", fault, 1)

    assert ("r", "nope") == (found, record.body)
    assert "ValueError" == record.attributes["exception.type"]


@pytest.mark.parametrize("value", [None, 5, "x", "g" * 32, "A" * 32, [], {}])
def test_ids_that_are_none_stay_fields(value: object) -> None:
    """Only 32 and 16 lower hex digits are ids."""
    _, record = read_line("function", {"message": "m", "trace_id": value, "span_id": value}, 1)

    assert b"" == record.trace_id
    assert value == record.attributes["trace_id"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["timestamp", "level", "message", "requestId", "errorType", "stackTrace", "trace_id", "span_id"]
)


@patient
@given(line=JSON | st.dictionaries(KEYS, JSON) | st.text(alphabet='[]{}\t"AZ\n'))
def test_any_line_is_written(line: object) -> None:
    """Whatever a function writes is one record, and nothing raises."""
    _, record = read_line("function", line, 1)

    assert RequestEncoder.wrap(encoder(), [encoder().record(record)])


def encoder() -> LogEncoder:
    """An encoder of nobody in particular."""
    return LogEncoder(resource={}, scope_name="s")


def test_lines_that_wait_are_bounded() -> None:
    """Beyond the bound the lines leave without their trace; none is lost."""
    handed_over = HandedOver()
    handed_over.remember("other", handed_over_spans("other"))
    lines = Lines(Joins(handed_over))
    for number in range(MAX_WAITING + 5):
        item = {"type": "function", "record": f"line {number}\n"}
        lines.take(encoder(), item, 1, REQUEST_ID)

    assert MAX_WAITING + 5 == len(lines.ready) + lines.waiting
    assert lines.waiting < MAX_WAITING
