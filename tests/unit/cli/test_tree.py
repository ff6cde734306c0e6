"""The tree of an invocation: what its rows are, and how they look at several widths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import stories
from lambdascope.cli.render import tree_lines
from lambdascope.cli.span_tree import spans_by_invocation
from lambdascope.cli.terminal import Terminal, cells
from lambdascope.cli.timeline import open_spans, rows_of
from lambdascope.otlp import names
from lambdascope.otlp.model import Span

if TYPE_CHECKING:
    from lambdascope.cli.rows import Row

COLD_80 = """\
 INIT   cold                       612.4 ms  █████████▌   limit 10 s
   extension lambdascope            38.1 ms  ▋
   runtime                         573.0 ms  ████████▉
     interpreter start              12.0 ms  ▏
     load runtime                   12.0 ms  ▏
     load handler                  548.0 ms  ████████▌
       import app                  547.0 ms  ████████▌    self 9.50 ms
         import boto3              231.0 ms   ███▋        self 26.0 ms
           import botoco….session  200.0 ms   ███▏
         import pydantic            97.0 ms      █▌
       import part0                 5.00 ms        ▏
       import part1                 5.00 ms        ▏
       import part2                 5.00 ms        ▏
       import part3                 5.00 ms        ▏
       and 2 more imports           10.0 ms
     connect extension              1.00 ms           ▏
 INVOKE 7c1f0d3a                    84.2 ms           █▎  remaining 2 916 ms
   app.handler                      81.8 ms           █▎
     sqs process (3 links)          79.0 ms           █▎
       dynamodb.PutItem             61.5 ms           █
   report response                  2.00 ms            ▏  212 B, status 202
 AFTER                              11.7 ms            ▏  not seen by the caller
   runtime                          0.70 ms            ▏
   extension                        11.0 ms            ▏
"""

WARM_60 = """\
 INVOKE 7c1f0d3a            84.2 ms  ████████████████████▎
    remaining 2 916 ms
   app.handler              81.8 ms  ███████████████████▋
     sqs process (3 links)  79.0 ms  ███████████████████
       dynamodb.PutItem     61.5 ms     ██████████████▊
   report response          2.00 ms                     ▌
      212 B, status 202
 AFTER                      11.7 ms                      ██▊
    not seen by the caller
   runtime                  0.70 ms                      ▏
   extension                11.0 ms                      ██▋
"""

WARM_80_ASCII = """\
 INVOKE 7c1f0d3a            84.2 ms  #################    remaining 2 916 ms
   app.handler              81.8 ms  ################
     sqs process (3 links)  79.0 ms  ################
       dynamodb.PutItem     61.5 ms    ############
   report response          2.00 ms                  |    212 B, status 202
 AFTER                      11.7 ms                  ##   not seen by the caller
   runtime                  0.70 ms                  |
   extension                11.0 ms                  ##
"""

TIMED_OUT_60 = """\
 INVOKE 7c1f0d3a  3 000.0 ms  ████████████  Sandbox.Timedout
   app.handler    3 000.0 ms  ████████████  still open
"""


def _text(rows: list[Row], terminal: Terminal) -> str:
    return "\n".join(tree_lines(rows, terminal)) + "\n"


def test_a_cold_start_shows_the_platforms_phases_with_the_spans_laid_over_them():
    """Init has its extension, the runtime's parts and its longest imports with their self times."""
    record, spans = stories.cold()
    rows = rows_of(record, spans, handler="app.handler")
    assert _text(rows, Terminal(width=80)) == COLD_80


def test_a_note_moves_below_its_row_where_the_terminal_is_narrow():
    """At 60 columns nothing of a note is lost, and the bars stay."""
    record, spans = stories.warm()
    assert _text(rows_of(record, spans, handler="app.handler"), Terminal(width=60)) == WARM_60


def test_bars_are_ascii_where_the_encoding_has_no_blocks():
    """No character outside ASCII is used then."""
    record, spans = stories.warm()
    rows = rows_of(record, spans, handler="app.handler")
    shown = _text(rows, Terminal(width=80, unicode=False))
    assert shown == WARM_80_ASCII
    assert shown.isascii()


def test_a_timeout_shows_the_handler_as_still_open():
    """Without any span of the runtime the platform's view is enough to say what was open."""
    record, spans = stories.timed_out()
    rows = rows_of(record, spans, handler="app.handler")
    assert _text(rows, Terminal(width=60)) == TIMED_OUT_60
    assert [row.label for row in open_spans(rows)] == ["app.handler"]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("story", [stories.cold, stories.warm, stories.timed_out])
def test_no_line_is_wider_than_the_terminal(width, story):
    """Whatever the width, a line never wraps."""
    record, spans = story()
    lines = tree_lines(rows_of(record, spans, handler="a" * 90 + ".handler"), Terminal(width=width))
    assert [line for line in lines if cells(line) > width] == []


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_bars_grow_with_the_terminal(width):
    """The bars take what labels, figures and notes leave."""
    record, spans = stories.warm()
    lines = tree_lines(rows_of(record, spans, handler="app.handler"), Terminal(width=width))
    assert max(line.count("█") for line in lines) >= width // 2 - 30


def test_colours_add_nothing_but_escape_sequences():
    """A coloured tree without its colours is the plain tree."""
    import re

    record, spans = stories.cold()
    rows = rows_of(record, spans, handler="app.handler")
    coloured = _text(rows, Terminal(width=100, colour=True))
    assert "\x1b[" in coloured
    assert _text(rows, Terminal(width=100)) == re.sub("\x1b\\[[0-9;]*m", "", coloured)


def test_a_foreign_runtime_has_the_platforms_view_only():
    """Without spans there are phases, and the answer is a mark at the time it arrived."""
    record, _ = stories.cold()
    labels = [(row.phase, row.label) for row in rows_of(record, [], handler="app.handler")]
    assert labels == [
        ("INIT", "cold"),
        ("INIT", "extension lambdascope"),
        ("INIT", "runtime"),
        ("INVOKE", "7c1f0d3a"),
        ("INVOKE", "response"),
        ("AFTER", ""),
        ("AFTER", "runtime"),
        ("AFTER", "extension"),
    ]


def test_an_init_inside_the_invocation_is_named_so():
    """A second init after a failed one is not a cold start of its own."""
    record, _ = stories.cold()
    del record.phases[:3]
    record.phases.insert(0, stories.phase("init", -20, -10, status="init_error", error_type="E"))
    record.phases.insert(1, stories.phase("init", 1, 9))
    inits = [row for row in rows_of(record, [], handler="h") if row.phase == "INIT"]
    assert [(row.label, row.note, row.failed) for row in inits] == [
        ("cold", "E", True),
        ("again, in invoke", "", False),
    ]


def test_snap_start_shows_the_snapshot_and_the_restore():
    """Init and restore have their own spans below them, although these have the same attributes."""
    make = stories.SpanMaker()
    about = {names.LAMBDASCOPE_INIT_TYPE: "snap-start"}
    init = make("init f", 0, 100, attributes=about)
    make("load handler", 10, 90, init)
    restore = make("restore f", 300, 330, attributes=about)
    make("after restore app.connect", 301, 329, restore)
    record, _ = stories.warm()
    begin = [("init", 0, 100), ("runtime init", 1, 100), ("snapshot", 100, 300)]
    record.phases = [stories.phase(*part) for part in (*begin, ("restore", 300, 330))]
    rows = rows_of(record, make.spans, handler="h", snap_start=True)

    assert [
        ("INIT", 0, "for the snapshot", ""),
        ("INIT", 1, "runtime", ""),
        ("INIT", 2, "load handler", ""),
        ("RESTORE", 0, "snapshot", "all processes stopped"),
        ("RESTORE", 1, "restore", "limit 10 s"),
        ("RESTORE", 2, "after restore app.connect", ""),
    ] == [(row.phase, row.depth, row.label, row.note) for row in rows[:6]]


def test_a_span_that_failed_shows_its_error_type():
    """An error is red and named, wherever in the tree it is."""
    record, spans = stories.warm()
    spans[2].status_code = names.STATUS_ERROR
    spans[2].attributes[names.ERROR_TYPE] = "ConditionalCheckFailed"
    failed = [row for row in rows_of(record, spans, handler="h") if row.failed]
    assert [(row.label, row.note) for row in failed] == [
        ("dynamodb.PutItem", "ConditionalCheckFailed")
    ]


def test_hundreds_of_spans_are_counted_instead_of_listed():
    """The tree stays readable, and nothing is left out silently."""
    record, _ = stories.warm()
    make = stories.SpanMaker()
    handler = stories.add_invocation_spans(make)
    for index in range(300):
        make(f"query {index}", 2, 3, handler)
    labels = [row.label for row in rows_of(record, make.spans, handler="h")]
    assert len(labels) < 50
    shown = sum(label.startswith("query") for label in labels)
    assert f"and {300 - shown} more spans" in labels


def test_control_characters_in_names_do_not_reach_the_terminal():
    """A span's name is the user's text."""
    record, spans = stories.warm()
    spans[1].name = "evil\x1b[2J\nname"
    shown = _text(rows_of(record, spans, handler="h"), Terminal(width=80))
    assert "\x1b" not in shown
    assert "evil [2J name" in shown


def test_wide_characters_keep_the_columns_straight():
    """East Asian text takes two columns a character."""
    record, spans = stories.warm()
    spans[1].name = "注文を処理する"
    lines = tree_lines(rows_of(record, spans, handler="h"), Terminal(width=80))
    places = {cells(line[: line.index(" ms")]) for line in lines}
    assert len(places) == 1


def test_spans_go_to_the_invocation_that_their_trace_names():
    """A trace without a request id goes by time instead."""
    first, spans = stories.warm()
    second = stories.record(request_id="other", handed_out_ns=stories.at(5000))
    foreign = stories.SpanMaker(trace_id=bytes(16))("foreign", 5001, 5002)
    late = stories.SpanMaker()("late span of the first trace", 6000, 6001)
    late.span_id = b"its own!"
    found = spans_by_invocation([first, second], [foreign, late, *spans])
    assert [[*spans, late], [foreign]] == [
        sorted(own, key=lambda span: (span is late, spans.index(span) if span in spans else 0))
        for own in found
    ]


def test_a_span_that_was_sent_twice_is_shown_once():
    """An extension sends again what the collector behind the command did not take."""
    record, spans = stories.warm()
    assert spans_by_invocation([record], [*spans, *spans]) == [spans]


def test_the_platforms_own_spans_are_not_shown():
    """The extension's account of the platform's records would repeat the emulator's figures."""
    record, spans = stories.warm()
    said = Span(
        name=names.SPAN_PLATFORM_REPORT,
        trace_id=spans[0].trace_id,
        span_id=b"platform",
        parent_span_id=spans[0].span_id,
        attributes={names.LAMBDASCOPE_PLATFORM_STATUS: "success"},
    )
    users = Span(name=names.SPAN_PLATFORM_REPORT, trace_id=spans[0].trace_id, span_id=b"theusers")
    (found,) = spans_by_invocation([record], [*spans, said, users])
    assert said not in found
    assert users in found


def test_a_packages_own_modules_are_folded_into_its_row():
    """What boto3 imports of boto3 is its own time; what it imports of others stays below it."""
    record, spans = stories.cold()
    rows = {row.label: row for row in rows_of(record, spans, handler="app.handler")}
    assert "import boto3.session" not in rows
    assert rows["import boto3"].note == "self 26.0 ms"
    assert rows["import botocore.session"].depth == rows["import boto3"].depth + 1


def test_the_functions_own_modules_are_not_folded():
    """Its author wants to know which of them costs the time."""
    record, spans = stories.cold()
    labels = [row.label for row in rows_of(record, spans, handler="boto3.handler")]
    assert "import boto3.session" in labels
