"""Log lines of the platform's batches, and the trace of their invocation."""

from __future__ import annotations

from lambdascope.otlp import names
from lambdascope.wire.names import ENV_LOGS
from unit.extension.records.platform_kit import (
    REQUEST_ID,
    SPAN_ID,
    TRACE_ID,
    Kit,
    at,
    at_ns,
    attributes,
    done,
    handed_over_spans,
    start,
)


def test_log_lines_join_the_trace_of_their_invocation() -> None:
    """Lines in any form wait for the place of their invocation, and have it when they leave."""
    kit = Kit(**{ENV_LOGS: "otlp,extension"})
    kit.handed_over.remember("r0", handed_over_spans("r0"))
    kit.take(
        start(),
        {"time": at(301), "type": "function", "record": "plain\n"},
        {
            "time": at(302),
            "type": "function",
            "record": f"[WARNING]\t{at(299)}\t{REQUEST_ID}\tcareful\n",
        },
        {
            "time": at(303),
            "type": "function",
            "record": {"level": "INFO", "requestId": REQUEST_ID, "message": "m", "order": 17},
        },
        {"time": at(304), "type": "extension", "record": "other extension\n"},
    )
    (early,) = kit.made().logs
    assert "other extension" == early.body.string_value
    kit.handed_over.remember(REQUEST_ID, handed_over_spans())
    kit.take(done())
    logs = kit.made().logs

    assert ["plain", "careful", "m"] == [one.body.string_value for one in logs]
    assert [(TRACE_ID, SPAN_ID)] * 3 == [(one.trace_id, one.span_id) for one in logs]
    assert [0, names.SEVERITY_WARN, names.SEVERITY_INFO] == [one.severity_number for one in logs]
    assert [at_ns(301), at_ns(299), at_ns(303)] == [one.time_unix_nano for one in logs]
    assert {
        "order": 17,
        "faas.invocation_id": REQUEST_ID,
        "lambdascope.log.source": "function",
    } == attributes(logs[2])


def test_a_line_behind_the_end_belongs_to_what_has_just_ended() -> None:
    """Lines and records come by different ways, so that a line may be late."""
    kit = Kit(**{ENV_LOGS: "function"})
    kit.handed_over.remember(REQUEST_ID, handed_over_spans())
    kit.take(start(), done())
    kit.take({"time": at(301), "type": "function", "record": "plain\n"})
    (line,) = kit.finish().logs

    assert REQUEST_ID == attributes(line)["faas.invocation_id"]
    assert b"" != line.trace_id


def test_log_lines_do_not_wait_for_ever() -> None:
    """A line whose invocation is never found leaves without a trace."""
    kit = Kit(**{ENV_LOGS: "function"})
    kit.handed_over.remember("r0", handed_over_spans("r0"))
    kit.take(start(), {"time": at(301), "type": "function", "record": "plain\n"}, now=1.0)
    kit.collector.collect(5.0)
    assert [] == kit.made().logs
    kit.collector.collect(11.5)
    (line,) = kit.made().logs

    assert b"" == line.trace_id
    assert REQUEST_ID == attributes(line)["faas.invocation_id"]


def test_log_lines_are_not_made_unless_asked() -> None:
    """Without the variable a line that comes all the same is left alone."""
    kit = Kit()
    kit.take({"time": at(301), "type": "function", "record": "plain\n"})

    assert [] == kit.finish().logs
