"""Records in any order, twice, torn, unknown or missing are counted once, and bounded."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from lambdascope.otlp import names
from lambdascope_extension.records.invocations import MAX_OPEN
from unit.extension.records.platform_kit import (
    COLD,
    INIT,
    REQUEST_ID,
    TRACE_ID,
    WARM,
    Kit,
    at_ns,
    attributes,
    cold,
    done,
    handed_over_spans,
    item,
    report,
    start,
)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_records_come_in_any_order(order: tuple[int, ...]) -> None:
    """In one batch the order of an invocation's records does not matter."""
    kit = Kit()
    kit.handed_over.remember(REQUEST_ID, handed_over_spans())
    records = [start(), done(), report()]
    kit.take(*INIT, *[records[index] for index in order])
    made = kit.finish()

    (span,) = [one for one in made.spans if one.name == names.SPAN_PLATFORM_REPORT]
    assert 13.1 == attributes(span)["lambdascope.platform.runtime_duration_ms"]
    assert {("http",): (1, 0.0131)} == made.values(names.FAAS_INVOKE_DURATION)
    assert {("http",): 1} == made.values(names.FAAS_COLDSTARTS)


def test_batches_that_come_twice_count_once() -> None:
    """The platform delivers at least once: a repeated batch adds nothing but its mention."""
    kit = cold(Kit())
    kit.take(*COLD)
    kit.take(*COLD)
    made = kit.finish()

    assert [names.SPAN_PLATFORM_INIT, names.SPAN_PLATFORM_REPORT] == sorted(
        one.name for one in made.spans
    )
    assert {("http",): 1} == made.values(names.FAAS_INVOCATIONS)
    assert {(): (1, 0.1205)} == made.values(names.FAAS_INIT_DURATION)
    assert {("repeated_or_late",): 12} == made.values(names.LAMBDASCOPE_TELEMETRY_PROBLEMS)


def test_a_report_waits_for_the_runtime() -> None:
    """A report that comes before what the runtime hands over is joined when that has come."""
    kit = cold(Kit())
    kit.take(start("r2", 900), done("r2", 913), report("r2", 940, **WARM))
    kit.made()
    kit.handed_over.remember("r2", handed_over_spans("r2"))
    kit.take()

    (span,) = kit.made().spans
    assert "r2" == attributes(span)["faas.invocation_id"]


def test_a_report_that_nobody_claims_is_counted_and_has_no_span() -> None:
    """No trace is invented for an invocation whose place stays unknown."""
    kit = cold(Kit())
    kit.take(start("r2", 900), report("r2", 940, **WARM))
    made = kit.finish()

    assert [REQUEST_ID] == [
        attributes(one)["faas.invocation_id"]
        for one in made.spans
        if one.name == names.SPAN_PLATFORM_REPORT
    ]
    assert {("no_trace",): 1} == made.values(names.LAMBDASCOPE_TELEMETRY_PROBLEMS)
    assert {("http",): 1, (): 1} == made.values(names.FAAS_INVOCATIONS)


def test_an_invocation_without_a_report_has_its_span_at_the_end() -> None:
    """After a time-out the platform often says no more than runtimeDone."""
    kit = Kit()
    kit.handed_over.remember(REQUEST_ID, handed_over_spans())
    kit.take(*INIT, start(), done(status="timeout", metrics={"durationMs": 3000.0}, spans=[]))
    assert kit.collector.waits
    made = kit.finish()

    (span,) = [one for one in made.spans if one.name == names.SPAN_PLATFORM_REPORT]
    assert 3000.0 == attributes(span)["lambdascope.platform.duration_ms"]
    assert {("http",): 1} == made.values(names.FAAS_TIMEOUTS)
    assert {("http",): 1} == made.values(names.FAAS_COLDSTARTS)
    assert not kit.collector.waits


def test_what_may_still_come_is_known() -> None:
    """The last word is waited for from the first sign of an invocation or an init on."""
    kit = Kit()
    assert not kit.collector.waits
    kit.take(*INIT)
    assert kit.collector.waits
    kit.take(start(), report())
    assert not kit.collector.waits
    kit.handed_over.remember("r2", handed_over_spans("r2"))
    assert kit.collector.waits
    kit.take(start("r2", 900))
    assert kit.collector.waits
    kit.take(report("r2", 940, **WARM))
    assert not kit.collector.waits


def test_dropped_records_are_counted_and_said() -> None:
    """What the platform lost on the way to us is a metric and a line."""
    kit = Kit()
    kit.take(item("platform.logsDropped", reason="slow", droppedRecords=12, droppedBytes=3400))
    made = kit.finish()

    assert {(): 12} == made.values(names.LAMBDASCOPE_TELEMETRY_DROPPED_RECORDS)
    assert {(): 3400} == made.values(names.LAMBDASCOPE_TELEMETRY_DROPPED_SIZE)
    assert ["the platform dropped 12 telemetry records, 3400 bytes: slow"] == kit.lines


def test_what_is_unknown_is_counted() -> None:
    """Types and fields that the schema does not have, and bodies that are no batch, show up."""
    kit = Kit()
    kit.take(item("platform.brandNew"), start(newField=1), start(""), {"type": 5}, "text", None)
    kit.collector.take(b"{", 1.0)
    made = kit.finish()

    assert {
        ("unknown_type",): 2,
        ("unknown_field",): 1,
        ("no_request_id",): 1,
        ("not_a_batch",): 1,
    } == made.values(names.LAMBDASCOPE_TELEMETRY_PROBLEMS)
    assert 2 == made.values(names.LAMBDASCOPE_TELEMETRY_RECORDS)[("unknown",)]


def test_what_is_open_is_bounded() -> None:
    """Where reports never come, the oldest invocations are settled without, each once."""
    kit = Kit()
    kit.take(*[start(f"r{number}") for number in range(3 * MAX_OPEN)])
    kit.take(*[done(f"r{number}") for number in range(3 * MAX_OPEN)])
    made = kit.finish()

    problems = made.values(names.LAMBDASCOPE_TELEMETRY_PROBLEMS)
    assert {(): 3 * MAX_OPEN} == made.values(names.FAAS_INVOCATIONS)
    assert {("no_trace",): 3 * MAX_OPEN} == problems


def test_a_full_buffer_is_a_counted_drop() -> None:
    """What finds no room in the buffer is in the ledger as accepted and dropped."""
    kit = Kit()
    kit.buffer._max_bytes = 10  # nothing fits
    cold(kit)
    kit.collector.collect(2.0, everything=True)

    account = kit.buffer.ledger.accounts["traces"]
    assert (2, {"buffer_full": 2}, 0) == (account.accepted, account.dropped, account.held)


def test_any_mixture_is_counted_once_each() -> None:
    """Shuffled, doubled and torn over batches, each invocation is counted and has its span once."""
    for seed in range(30):
        chance = random.Random(seed)
        kit = Kit()
        items: list[Any] = [*INIT]
        wanted = [f"r{number}" for number in range(20)]
        for number, name in enumerate(wanted):
            kit.handed_over.remember(name, handed_over_spans(name))
            milliseconds = 1000 + 50 * number
            items += [
                start(name, milliseconds),
                done(name, milliseconds + 10),
                report(name, milliseconds + 20, **WARM),
            ]
        items += chance.sample(items, 20)
        chance.shuffle(items)
        while items:
            size = chance.randint(1, 9)
            kit.take(*items[:size])
            items = items[size:]
        made = kit.finish()

        found = [attributes(one).get("faas.invocation_id") for one in made.spans]
        assert sorted(wanted) == sorted(filter(None, found))
        assert 1 == len(made.spans) - 20
        assert {("http",): 20} == made.values(names.FAAS_INVOCATIONS)
        assert 20 == made.values(names.FAAS_INVOKE_DURATION)[("http",)][0]
        assert {("http",): 1} == made.values(names.FAAS_COLDSTARTS)


def reinit(offset_ms: int) -> list[dict[str, Any]]:
    """The records of another init, so much after the first."""
    times = (100, 220, 221)
    records = [one for one in INIT if one["type"].startswith("platform.init")]
    return [
        item(one["type"], offset_ms + time_ms, **one["record"])
        for one, time_ms in zip(records, times, strict=True)
    ]


@pytest.mark.parametrize("late", [[1], [2], [1, 2], [0, 2]])
@pytest.mark.parametrize("position", range(6))
def test_records_of_an_earlier_init_are_not_in_a_later_trace(
    late: list[int], position: int
) -> None:
    """What comes late of the init of processes that are gone makes no second init of a later
    invocation, whenever it comes."""
    kit = Kit()
    kit.handed_over.remember(REQUEST_ID, handed_over_spans())
    kit.handed_over.remember("r2", handed_over_spans("r2"))
    old, new = reinit(0), reinit(1000)
    items = [*new, start(milliseconds=1300), done(milliseconds=1314)]
    items[position:position] = [old[index] for index in late]
    for one in items:
        kit.take(one)
    kit.take(report(milliseconds=1340))
    kit.take(start("r2", 1400), done("r2", 1414), report("r2", 1440, **WARM))
    made = kit.finish()

    (init,) = [one for one in made.spans if one.name == names.SPAN_PLATFORM_INIT]
    assert (at_ns(1100), TRACE_ID) == (init.start_time_unix_nano, init.trace_id)
    assert {("http",): 1} == made.values(names.FAAS_COLDSTARTS)
    assert names.LAMBDASCOPE_TELEMETRY_PROBLEMS in made.metrics


def test_an_init_that_failed_is_with_the_one_after_it() -> None:
    """Who waited for an init that failed, and for the next, has both in the trace."""
    kit = Kit()
    kit.handed_over.remember(REQUEST_ID, handed_over_spans())
    failed = item("platform.initReport", 221, status="error", errorType="Runtime.ExitError")
    kit.take(INIT[0], failed, *reinit(1000), start(milliseconds=1300), report(milliseconds=1340))
    made = kit.finish()

    inits = [one for one in made.spans if one.name == names.SPAN_PLATFORM_INIT]
    assert [TRACE_ID, TRACE_ID] == [one.trace_id for one in inits]
    assert [names.STATUS_ERROR, names.STATUS_UNSET] == [one.status.code for one in inits]
