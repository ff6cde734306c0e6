"""What becomes of the platform's records: spans in the invocation's trace, metrics, logs."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from lambdascope.otlp import names
from lambdascope.wire.names import ENV_LOGS, ENV_METRIC_INTERVAL, ENV_OTLP_TEMPORALITY, ENV_PLATFORM
from lambdascope_extension.hold import BOUNDS_S
from lambdascope_extension.records.invocations import MAX_OPEN
from unit.extension.records.platform_kit import (
    HEADER,
    INIT,
    REQUEST_ID,
    SPAN_ID,
    STREAM,
    TRACE_ID,
    Kit,
    at,
    at_ns,
    attributes,
    done,
    handed_over_spans,
    item,
    report,
    start,
)

COLD = [*INIT, start(), done(), report()]
WARM = {"metrics": {"durationMs": 20.0, "billedDurationMs": 20, "maxMemoryUsedMB": 50}}


def cold(kit: Kit, **about: object) -> Kit:
    """The kit after one cold invocation that our runtime handed over."""
    kit.handed_over.remember(REQUEST_ID, handed_over_spans(**about))
    kit.take(*COLD)
    return kit


def test_a_report_is_a_span_in_the_trace_of_its_invocation() -> None:
    """It is a child of the invocation's span, with all that the platform said, from its start for
    its duration."""
    made = cold(Kit()).finish()

    (span,) = [one for one in made.spans if one.name == names.SPAN_PLATFORM_REPORT]
    assert (TRACE_ID, SPAN_ID) == (span.trace_id, span.parent_span_id)
    assert (at_ns(300), at_ns(300) + 39_900_000) == (
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )
    assert attributes(span) == {
        "faas.invocation_id": REQUEST_ID,
        "faas.max_memory": 128 * 1024 * 1024,
        "lambdascope.platform.status": "success",
        "lambdascope.platform.duration_ms": 39.9,
        "lambdascope.platform.runtime_duration_ms": 13.1,
        "lambdascope.platform.billed_duration_ms": 161,
        "lambdascope.platform.init_duration_ms": 120.5,
        "lambdascope.platform.max_memory_used": 41 * 1024 * 1024,
        "lambdascope.platform.produced_bytes": 10,
        "lambdascope.platform.response_latency_ms": 12.3,
        "lambdascope.platform.response_duration_ms": 0.2,
        "lambdascope.platform.runtime_overhead_ms": 0.3,
        "lambdascope.platform.extension_overhead_ms": 26.1,
    }
    assert [(one.name, one.time_unix_nano) for one in span.events] == [
        ("responseLatency", at_ns(300)),
        ("responseDuration", at_ns(312)),
        ("runtimeOverhead", at_ns(313)),
        ("extensionOverhead", at_ns(314)),
    ]
    assert names.STATUS_UNSET == span.status.code


def test_what_the_runtime_left_out_has_no_spans() -> None:
    """An invocation that was not sampled has neither a report nor an init; those after it do."""
    kit = Kit()
    kit.handed_over.leave_out(REQUEST_ID)
    kit.handed_over.remember("later", handed_over_spans("later"))
    kit.take(*COLD)
    kit.take(start("later", 400), done("later", 414), report("later", 440))
    made = kit.finish()

    assert ["later"] == [attributes(span)["faas.invocation_id"] for span in made.spans]
    assert 1 == made.values(names.FAAS_INVOCATIONS)[()]
    assert names.LAMBDASCOPE_TELEMETRY_PROBLEMS not in made.metrics


def test_an_init_is_a_span_of_the_invocation_that_waited_for_it() -> None:
    """The platform's init on demand is a child of the first invocation's span."""
    made = cold(Kit()).finish()

    (span,) = [one for one in made.spans if one.name == names.SPAN_PLATFORM_INIT]
    assert (TRACE_ID, SPAN_ID) == (span.trace_id, span.parent_span_id)
    assert (at_ns(100), at_ns(100) + 120_500_000) == (
        span.start_time_unix_nano,
        span.end_time_unix_nano,
    )
    assert attributes(span) == {
        "lambdascope.init.type": "on-demand",
        "lambdascope.platform.phase": "init",
        "lambdascope.platform.runtime_version": "python:3.13.v1",
        "lambdascope.platform.runtime_version_arn": "arn:aws:lambda:eu-west-1::runtime:00",
        "lambdascope.platform.status": "success",
        "lambdascope.platform.duration_ms": 120.5,
        "faas.max_memory": 134_217_728,
    }


@pytest.mark.parametrize(
    ("init_type", "called_ms"), [("provisioned-concurrency", 300), ("on-demand", 59_000)]
)
def test_an_init_ahead_of_time_is_a_trace_of_its_own(init_type: str, called_ms: int) -> None:
    """What ran before anybody called is not in the caller's trace; a link leads there."""
    kit = Kit()
    kit.handed_over.remember(REQUEST_ID, handed_over_spans())
    for one in INIT:
        record = one["record"]
        kit.take({**one, "record": record | {"initializationType": init_type}})
    kit.take(start(milliseconds=called_ms), report(milliseconds=called_ms + 40, **WARM))
    made = kit.finish()

    (span,) = [one for one in made.spans if one.name == names.SPAN_PLATFORM_INIT]
    assert TRACE_ID != span.trace_id
    assert b"" == span.parent_span_id
    assert [(TRACE_ID, SPAN_ID)] == [(one.trace_id, one.span_id) for one in span.links]
    assert names.FAAS_COLDSTARTS not in made.metrics


def test_a_restore_is_a_span_and_a_cold_start() -> None:
    """SnapStart's restore is linked to the invocation after it and counts as its cold start."""
    kit = Kit()
    kit.handed_over.remember(REQUEST_ID, handed_over_spans())
    kit.take(
        item("platform.restoreStart", 100, functionName="shop", instanceId=STREAM),
        item("platform.restoreRuntimeDone", 200, status="success"),
        item("platform.restoreReport", 201, status="success", metrics={"durationMs": 101.0}),
        start(),
        done(),
        report(metrics={"durationMs": 20.0, "restoreDurationMs": 101.0}),
    )
    made = kit.finish()

    invocation, restore = made.spans
    assert names.SPAN_PLATFORM_RESTORE == restore.name
    assert SPAN_ID == restore.links[0].span_id
    assert 101.0 == attributes(invocation)["lambdascope.platform.restore_duration_ms"]
    assert {("http",): 1} == made.values(names.FAAS_COLDSTARTS)
    assert {(): (1, 0.101)} == made.values(names.FAAS_INIT_DURATION)


def test_a_failed_init_without_an_invocation_is_told() -> None:
    """At the end there is a span for an init that nobody's invocation followed."""
    kit = Kit()
    kit.take(INIT[0], item("platform.initReport", 150, status="error", errorType="Runtime.Bad"))
    (span,) = kit.finish().spans

    assert (names.SPAN_PLATFORM_INIT, names.STATUS_ERROR) == (span.name, span.status.code)
    assert "Runtime.Bad" == attributes(span)["error.type"]


def test_the_resource_is_that_of_the_environment() -> None:
    """The log stream comes from the platform, the rest from the variables."""
    kit = cold(Kit(OTEL_RESOURCE_ATTRIBUTES="team=a%20b,broken", OTEL_SERVICE_NAME="web"))
    resource = kit.finish().resource

    assert (STREAM, STREAM) == (resource["faas.instance"], resource["service.instance.id"])
    assert ("shop", "web", "a b") == (
        resource["faas.name"],
        resource["service.name"],
        resource["team"],
    )
    assert 128 * 1024 * 1024 == resource["faas.max_memory"]


def test_metrics_of_a_cold_and_a_warm_invocation() -> None:
    """Everything that the conventions name and the platform knows is counted once each."""
    kit = cold(Kit())
    kit.handed_over.remember("r2", handed_over_spans("r2", **{"faas.trigger": "timer"}))
    kit.take(start("r2", 900), done("r2", 913), report("r2", 940, **WARM))
    made = kit.finish()

    assert {("http",): (1, 0.0131), ("timer",): (1, 0.0131)} == made.values(
        names.FAAS_INVOKE_DURATION
    )
    assert {("http",): 1, ("timer",): 1} == made.values(names.FAAS_INVOCATIONS)
    assert {("http",): 1} == made.values(names.FAAS_COLDSTARTS)
    assert {(): (1, 0.1205)} == made.values(names.FAAS_INIT_DURATION)
    assert {("http",): (1, 41.0 * (1 << 20)), ("timer",): (1, 50.0 * (1 << 20))} == made.values(
        names.FAAS_MEM_USAGE
    )
    assert {(): (2, 0.0522)} == made.values(names.LAMBDASCOPE_EXTENSION_OVERHEAD)
    assert names.FAAS_ERRORS not in made.metrics
    (point,) = made.metrics[names.FAAS_INIT_DURATION].histogram.data_points
    assert list(names.LONG_DURATION_BOUNDS) == list(point.explicit_bounds)
    exemplar = made.metrics[names.FAAS_INVOKE_DURATION].histogram.data_points[0].exemplars[0]
    assert (TRACE_ID, SPAN_ID) == (exemplar.trace_id, exemplar.span_id)


def test_an_error_of_the_handler_is_an_error() -> None:
    """The platform calls it a success; the span that the runtime handed over knows better."""
    made = cold(Kit(), **{"error.type": "KeyError"}).finish()

    assert {("http", "KeyError"): 1} == made.values(names.FAAS_ERRORS)
    assert names.FAAS_INVOCATIONS not in made.metrics


@pytest.mark.parametrize(
    ("status", "error_type", "metric", "keys"),
    [
        ("timeout", "", names.FAAS_TIMEOUTS, ("http",)),
        ("error", "Runtime.ExitError", names.FAAS_ERRORS, ("http", "Runtime.ExitError")),
        ("failure", "", names.FAAS_ERRORS, ("http", "failure")),
    ],
)
def test_failures(status: str, error_type: str, metric: str, keys: tuple[str, ...]) -> None:
    """Time-outs and crashes are counted apart, and make the span an error."""
    kit = Kit()
    kit.handed_over.remember(REQUEST_ID, handed_over_spans())
    more: dict[str, Any] = {"status": status} | ({"errorType": error_type} if error_type else {})
    kit.take(start(), done(**more), report(**more))
    made = kit.finish()

    assert {keys: 1} == made.values(metric)
    assert names.FAAS_INVOCATIONS not in made.metrics
    (span,) = made.spans
    assert names.STATUS_ERROR == span.status.code
    assert (error_type or status) == attributes(span)["error.type"]


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


def test_foreign_runtimes_are_joined_by_the_trace_header() -> None:
    """Where nothing is handed over, the record's own trace header says where it belongs."""
    kit = Kit()
    tracing = {"type": "X-Amzn-Trace-Id", "value": HEADER}
    kit.take(start(tracing=tracing), done(tracing=tracing), report(tracing=tracing))
    (span,) = kit.finish().spans

    assert "0123abcd0123456789abcdef01234567" == span.trace_id.hex()
    assert "89abcdef01234567" == span.parent_span_id.hex()


def test_managed_instances() -> None:
    """Without runtimeDone, and side by side, the report's duration counts."""
    kit = Kit()
    for name in ("a", "b"):
        kit.handed_over.remember(name, handed_over_spans(name))
    init = [
        {**one, "record": {**one["record"], "initializationType": "lambda-managed-instances"}}
        for one in INIT
    ]
    kit.take(*init, start("a", 300), start("b", 301))
    bare = {"metrics": {"durationMs": 2.0}}
    kit.take(report("b", 303, **bare), report("a", 302, **bare))
    made = kit.finish()

    assert {("http",): (2, 0.004)} == made.values(names.FAAS_INVOKE_DURATION)
    assert names.FAAS_COLDSTARTS not in made.metrics
    assert names.FAAS_MEM_USAGE not in made.metrics


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


def test_metrics_wait_for_their_interval() -> None:
    """After the first ones there is one export of metrics an interval, and not one a call."""
    kit = Kit(**{ENV_METRIC_INTERVAL: "5000"})
    kit.collector.collect(1.0)
    assert {} == kit.made().metrics
    cold(kit)
    kit.collector.collect(2.0)
    assert {("http",): 1} == kit.made().values(names.FAAS_INVOCATIONS)
    for number in range(20):
        kit.handed_over.remember(f"r{number}", handed_over_spans(f"r{number}"))
        kit.take(start(f"r{number}"), done(f"r{number}"), report(f"r{number}", **WARM), now=3.0)
        kit.collector.collect(3.0 + number / 10)
    assert {} == kit.made().metrics
    kit.collector.collect(7.0)
    assert {("http",): 20} == kit.made().values(names.FAAS_INVOCATIONS)
    assert names.FAAS_INVOCATIONS not in kit.finish().metrics


def test_cumulative_metrics_when_asked() -> None:
    """The standard's preference keeps the counts from one export to the next."""
    kit = Kit(**{ENV_OTLP_TEMPORALITY: "CUMULATIVE", ENV_METRIC_INTERVAL: "0"})
    cold(kit)
    kit.collector.collect(2.0)
    kit.made()
    made = kit.finish(3.0)

    assert {("http",): 1} == made.values(names.FAAS_INVOCATIONS)
    assert (
        names.TEMPORALITY_CUMULATIVE
        == made.metrics[names.FAAS_INVOCATIONS].sum.aggregation_temporality
    )


@pytest.mark.parametrize(
    ("chosen", "spans", "metrics"),
    [("none", 0, False), ("spans", 2, False), ("metrics", 0, True), ("", 2, True)],
)
def test_each_part_can_be_left_out(chosen: str, spans: int, *, metrics: bool) -> None:
    """LAMBDASCOPE_PLATFORM says what is made of the records."""
    made = cold(Kit(**{ENV_PLATFORM: chosen})).finish()

    assert (spans, metrics) == (len(made.spans), bool(made.metrics))


def test_own_figures_are_metrics() -> None:
    """What was accepted, exported, dropped by reason, held and refused, and the own cost."""
    kit = cold(Kit())
    ledger = kit.buffer.ledger
    ledger.accept("traces", 10)
    ledger.export("traces", 6)
    ledger.drop("traces", 3, "status_400")
    ledger.refuse("wrong_token")
    kit.collector.collect(2.0)
    first = kit.made()
    ledger.export("traces", 1)
    second = kit.finish(3.0)

    assert 12 == first.values(names.LAMBDASCOPE_EXTENSION_ACCEPTED)[("traces",)]
    assert 6 == first.values(names.LAMBDASCOPE_EXTENSION_EXPORTED)[("traces",)]
    assert {("traces", "status_400"): 3} == first.values(names.LAMBDASCOPE_EXTENSION_DROPPED)
    assert 3 == first.values(names.LAMBDASCOPE_EXTENSION_HELD)[("traces",)]
    assert {("wrong_token",): 1} == first.values(names.LAMBDASCOPE_EXTENSION_REFUSED)
    assert first.values(names.LAMBDASCOPE_EXTENSION_CPU_TIME)[()] > 0
    assert first.values(names.LAMBDASCOPE_EXTENSION_MEMORY_USAGE)[()] > 1_000_000
    assert 1 == second.values(names.LAMBDASCOPE_EXTENSION_EXPORTED)[("traces",)]
    assert names.LAMBDASCOPE_EXTENSION_REFUSED not in second.metrics


def test_own_holds_are_a_histogram() -> None:
    """How long the extension kept environments is exported as it was measured, in its buckets."""
    kit = cold(Kit(**{ENV_METRIC_INTERVAL: "0"}))
    hold(kit, 0.0015)
    hold(kit, 0.3)
    kit.collector.collect(2.0)
    first = kit.made()
    hold(kit, 5.0)
    second = kit.finish(3.0)

    assert {(): (2, 0.3015)} == first.values(names.LAMBDASCOPE_EXTENSION_HOLD)
    (point,) = second.metrics[names.LAMBDASCOPE_EXTENSION_HOLD].histogram.data_points
    assert list(BOUNDS_S) == list(point.explicit_bounds)
    assert [*[0] * len(BOUNDS_S), 1] == list(point.bucket_counts)
    assert 5.0 == pytest.approx(point.sum)
    assert not point.HasField("max")


def hold(kit: Kit, seconds: float) -> None:
    """An invocation after which next was asked for so much later."""
    kit.meter.on_begin(1.0)
    kit.meter.on_end(2.0)
    kit.meter.on_next(2.0 + seconds, is_busy=False)


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
