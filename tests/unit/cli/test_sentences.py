"""Cost, exit codes, the sentences around the tree, the JSON document, the terminal."""

from __future__ import annotations

import io
import json

import pytest

import stories
from lambdascope.cli.cost import cost_of, cost_text
from lambdascope.cli.document import document
from lambdascope.cli.errors import exit_code_of
from lambdascope.cli.function import Function
from lambdascope.cli.interpreter import Interpreter
from lambdascope.cli.live_log import LiveLog
from lambdascope.cli.render import facts_lines
from lambdascope.cli.summary import (
    header_facts,
    hint,
    median_line,
    outcome,
    short_line,
)
from lambdascope.cli.terminal import Terminal, cells, terminal_for
from lambdascope.cli.timeline import rows_of
from lambdascope.emulator import records
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.records import LogLine, Report


def _report(**fields):
    known = {
        "request_id": "r",
        "status": "success",
        "duration_ms": 95.9,
        "billed_duration_ms": 96,
        "memory_size_mb": 128,
        "max_memory_used_mb": 71,
    }
    return Report(**{**known, **fields})


def _function(defaults=("memory", "timeout"), **fields):
    known = {"handler": "app.handler", "task_root": "/task", "python": "/v/python"}
    return Function(
        config=FunctionConfig(**{**known, **fields}),
        interpreter=Interpreter(path="/v/python", version=(3, 12, 4), modules=frozenset()),
        guessed=False,
        defaults=defaults,
        notes=(),
    )


def test_the_cost_of_a_million_follows_the_price_list():
    """0.709 s x 0.125 GB x 0.0000166667 USD x 1e6 + 0.20 USD."""
    cost = cost_of(_report(billed_duration_ms=709, init_duration_ms=612.4))
    assert pytest.approx(1.67709, abs=1e-4) == cost.usd_per_million
    assert pytest.approx(0.7608, abs=1e-3) == cost.init_share


def test_the_cost_line_names_its_basis_and_that_init_is_billed():
    """Nobody has to guess where the figure comes from."""
    assert (
        cost_text(_report(billed_duration_ms=709, init_duration_ms=612.4))
        == "$1.68 per million like this (list price, x86, us-east-1; 76% is billed init)"
    )
    assert cost_text(_report()) == "$0.40 per million like this (list price, x86, us-east-1)"


def test_snap_start_has_sentences_of_its_own():
    """What failed is the restore, or the init that has a limit of its own, not the function."""
    function = _function(init_type="snap-start")
    record, _ = stories.warm()
    record.status, record.error_type = records.CRASHED, "Runtime.RestoreHookUserTimeout"
    record.answer = b'{"errorMessage": "too late"}'
    record.not_restored = True
    expected = "restore failed: Runtime.RestoreHookUserTimeout: too late"
    assert expected == outcome(record, [], function)
    record, _ = stories.warm()
    record.phases = [stories.phase("init", 0, 400)]
    record.status, record.error_type = records.TIMED_OUT, "Sandbox.Timedout"
    record.answer = b'{"errorMessage": "Init timed out after 0.40 seconds"}'
    expected = "init failed: Sandbox.Timedout: Init timed out after 0.40 seconds"
    assert expected == outcome(record, [], function)
    assert "SnapStart" in header_facts(function)
    assert "SnapStart's own charges" in cost_text(_report(restore_duration_ms=20.0))


@pytest.mark.parametrize(
    ("status", "error_type", "expected"),
    [
        (records.SUCCESS, "", 0),
        (records.FUNCTION_ERROR, "ValueError", 1),
        (records.INIT_ERROR, "Runtime.ImportModuleError", 1),
        (records.INIT_ERROR, "Runtime.HandlerNotFound", 1),
        (records.INIT_ERROR, "KeyError", 1),
        (records.INIT_ERROR, "Runtime.ExitError", 2),
        (records.TIMED_OUT, "Sandbox.Timedout", 2),
        (records.CRASHED, "Runtime.ExitError", 2),
        (records.CRASHED, "Extension.LaunchError", 2),
        (records.OUT_OF_MEMORY, "Runtime.OutOfMemory", 2),
    ],
)
def test_exit_codes_tell_the_functions_errors_from_what_the_platform_ended(
    status, error_type, expected
):
    """1 is the function's own, 2 the platform's."""
    assert expected == exit_code_of(stories.record(status=status, error_type=error_type))


def test_the_header_says_what_nobody_asked_for():
    """Defaults are Lambda's and named as such."""
    assert header_facts(_function()) == [
        "handler app.handler",
        "python 3.12.4",
        "128 MB",
        "timeout 3 s",
        "(Lambda's defaults)",
    ]
    facts = header_facts(_function(defaults=(), timeout_ms=2500, runtime=("ric", "{handler}")))
    assert facts == ["handler app.handler", "runtime ric app.handler", "128 MB", "timeout 2.5 s"]


def test_facts_wrap_between_facts():
    """A narrow terminal gets a second line, not half a fact."""
    assert facts_lines(["aaaa", "bbbb", "cccc"], Terminal(width=12)) == ["aaaa   bbbb", "  cccc"]


def test_a_timeout_says_what_was_open_and_how_to_get_more_time():
    """The option is named only where the time was Lambda's default."""
    record, spans = stories.timed_out()
    rows = rows_of(record, spans, handler="app.handler")
    assert (
        outcome(record, rows, _function())
        == "timed out after 3 s; still open: app.handler; --timeout SECONDS gives it more"
    )
    assert (
        outcome(record, rows, _function(defaults=()))
        == "timed out after 3 s; still open: app.handler"
    )


def test_a_timeout_after_the_answer_is_not_blamed_on_the_handler():
    """What was still at work then is the extension, and more time is no remedy."""
    record, spans = stories.warm()
    record.status, record.error_type = records.TIMED_OUT, "Sandbox.Timedout"
    record.phases[-1].status = records.TIMED_OUT
    rows = rows_of(record, spans, handler="app.handler")
    assert (
        outcome(record, rows, _function())
        == "timed out after 3 s; still open: extension (the function had answered)"
    )


def test_an_init_that_hangs_in_an_extension_names_it():
    """The handler had not been loaded, so it is not what was open."""
    record, _ = stories.timed_out()
    record.phases = [
        stories.phase("init", 0, 3000, status=records.TIMED_OUT, error_type="Sandbox.Timedout"),
        stories.phase("extension init", 0, 20, who="quick"),
        stories.phase("extension init", 1, 3000, who="hangs"),
    ]
    rows = rows_of(record, [], handler="app.handler")
    assert outcome(record, rows, _function()) == "timed out after 3 s; still open: extension hangs"


def test_an_error_answer_becomes_one_line():
    """Type and message, without the request id that the platform puts in front."""
    answer = {"errorType": "ValueError", "errorMessage": "two\nlines", "stackTrace": []}
    record = stories.record(
        status=records.FUNCTION_ERROR, error_type="ValueError", answer=json.dumps(answer).encode()
    )
    assert outcome(record, [], _function()) == "function error: ValueError: two lines"
    text = f"RequestId: {record.request_id} Error: Runtime exited with error: exit status 7"
    record.status = records.CRASHED
    record.answer = json.dumps({"errorType": "Runtime.ExitError", "errorMessage": text}).encode()
    assert (
        outcome(record, [], _function())
        == "the environment failed: Runtime.ExitError: Runtime exited with error: exit status 7"
    )
    record.status = records.OUT_OF_MEMORY
    assert "try --memory 256" in str(outcome(record, [], _function()))
    assert outcome(stories.warm()[0], [], _function()) is None


@pytest.mark.parametrize("answer", [b"", b"[", b"[]", b'"text"', b'{"errorType": null}', b"\xff"])
def test_an_error_answer_of_any_shape_is_survived(answer):
    """A foreign runtime may post anything as its error."""
    record = stories.record(status=records.FUNCTION_ERROR, error_type="Odd", answer=answer)
    assert outcome(record, [], _function()) == "function error: Odd"


def test_a_load_fault_is_explained_by_what_is_on_the_disk(tmp_path):
    """A runtime's error in the handler itself is not."""
    (tmp_path / "app.py").write_text("def handler(e, c): ...")
    wrong = _function(handler="app.main", task_root=str(tmp_path))
    record = stories.record(status=records.INIT_ERROR, error_type="Runtime.HandlerNotFound")
    assert "Try app.handler" in str(hint(record, wrong))
    record.error_type = "KeyError"
    assert hint(record, wrong) is None


def test_an_extension_without_execute_bit_is_explained(tmp_path):
    """AWS's error type alone does not say which file it was."""
    path = tmp_path / "README"
    path.write_text("")
    record = stories.record(status=records.CRASHED, error_type="Extension.LaunchError")
    line = str(hint(record, _function(extensions=(str(path),))))
    assert str(path) in line
    assert "chmod +x" in line


def test_further_invocations_take_one_line_each():
    """Position, temperature, id, duration, billed, memory, outcome."""
    record, _ = stories.warm()
    assert short_line(record, 3) == "   3  warm  7c1f0d3a      95.9 ms  billed 96 ms  71 MB  ok"
    record.status, record.error_type = records.FUNCTION_ERROR, "ValueError"
    assert short_line(record, 3).endswith("  ValueError")


def test_the_median_is_of_warm_invocations_that_went_well():
    """Cold starts and errors would say nothing about the usual case."""
    found = []
    for duration_ms in (1.0, 9.0, 5.0):
        record, _ = stories.warm()
        assert record.report is not None
        record.report.duration_ms, record.report.billed_duration_ms = duration_ms, int(duration_ms)
        found.append(record)
    assert median_line(found[:1]) is None
    found.append(stories.cold()[0])
    found.append(stories.timed_out()[0])
    assert median_line(found) == "median of 3 warm: 5.00 ms, billed 5 ms"


def test_the_document_is_json_whatever_is_in_it():
    """Bytes, infinities and NaN of attributes and answers do not break it."""
    record, spans = stories.cold()
    spans[0].attributes.update({"b": b"\x01", "inf": float("inf"), "list": [1, (2.5, None)]})
    record.answer = b'{"x": NaN}'
    found = document(_function(), [record], [spans], exit_code=0, hints=["h"])
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again["version"] == 1
    assert again["invocations"][0]["answer"] == {"x": "NaN"}
    attributes = again["invocations"][0]["spans"][0]["attributes"]
    assert tuple(attributes[key] for key in ("b", "inf", "list")) == ("01", "inf", [1, [2.5, None]])


def test_the_documents_shape_is_a_promise():
    """A field that goes away or changes its name needs a new version of the document."""
    record, spans = stories.cold()
    found = document(_function(), [record], [spans], exit_code=0, hints=[])
    assert list(found) == [
        "version",
        "lambdascope",
        "function",
        "exit_code",
        "hints",
        "invocations",
    ]
    (one,) = found["invocations"]
    assert list(one) == [
        "request_id",
        "number",
        "cold",
        "status",
        "error_type",
        "function_error",
        "trace_header",
        "deadline_ms",
        "began_unix_ns",
        "event",
        "answer",
        "content_type",
        "phases",
        "spans",
        "logs",
        "report",
        "usd_per_million",
    ]
    assert list(one["phases"][0]) == [
        "name",
        "who",
        "start_ms",
        "duration_ms",
        "status",
        "error_type",
    ]
    assert one["phases"][0]["start_ms"] == 0.0
    assert one["usd_per_million"] == 1.6771


class Stream(io.StringIO):
    """A text stream that says what it is told to about itself."""

    def __init__(self, *, tty=False, encoding="utf-8"):
        super().__init__()
        self._tty, self._encoding = tty, encoding

    @property
    def encoding(self):
        """What the text is encoded with."""
        return self._encoding

    def isatty(self):
        """Whether a person looks at it."""
        return self._tty


@pytest.mark.parametrize(
    ("tty", "environ", "expected"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (False, {"FORCE_COLOR": "1"}, True),
        (True, {"FORCE_COLOR": "0"}, False),
        (False, {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colour_follows_the_terminal_and_the_two_variables(tty, environ, expected):
    """NO_COLOR wins over FORCE_COLOR, which wins over what the stream is."""
    assert expected == terminal_for(Stream(tty=tty), environ).colour


def test_the_width_is_that_of_columns_or_80():
    """A file or a pipe has none of its own."""
    assert terminal_for(Stream(), {}).width == 80
    assert terminal_for(Stream(), {"COLUMNS": "120"}).width == 120
    assert terminal_for(Stream(), {"COLUMNS": "wide"}).width == 80
    assert terminal_for(Stream(), {"COLUMNS": "3"}).width == 40


@pytest.mark.parametrize(
    ("encoding", "expected"), [("utf-8", True), ("ascii", False), ("latin-1", False)]
)
def test_blocks_need_an_encoding_that_has_them(encoding, expected):
    """Otherwise ASCII it is."""
    assert expected == terminal_for(Stream(encoding=encoding), {}).unicode


def test_text_is_cut_by_columns():
    """Wide characters are not cut in half."""
    terminal = Terminal()
    assert terminal.cut("abc", 3) == "abc"
    assert terminal.cut("abcd", 3) == "ab…"
    assert terminal.cut("注文注文", 4) == "注…"
    assert cells(terminal.pad("注文", 6)) == 6


def test_live_lines_leave_out_the_report_and_count_what_is_held():
    """REPORT belongs below the tree; held lines are said later."""
    stream = Stream()
    log = LiveLog(stream, Terminal(), shown=True)

    def write(source, text):
        log.write(LogLine(time_ns=0, source=source, text=text))

    write("platform", "START RequestId: r Version: $LATEST")
    write("function", "hello")
    write("platform", "REPORT RequestId: r\tDuration: 1.00 ms")
    log.hold()
    write("function", "unseen")
    write("platform", "END RequestId: r")
    assert stream.getvalue() == "START RequestId: r Version: $LATEST\nhello\n"
    assert log.held == 1
