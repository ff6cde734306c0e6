"""From the platform's records to spans: those of reports, inits and restores, and their places."""

from __future__ import annotations

from typing import Any

import pytest

from lambdascope.otlp import names
from lambdascope.wire.names import ENV_PLATFORM
from unit.extension.records.platform_kit import (
    COLD,
    HEADER,
    INIT,
    REQUEST_ID,
    SPAN_ID,
    STREAM,
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


@pytest.mark.parametrize(
    ("chosen", "spans", "metrics"),
    [("none", 0, False), ("spans", 2, False), ("metrics", 0, True), ("", 2, True)],
)
def test_each_part_can_be_left_out(chosen: str, spans: int, *, metrics: bool) -> None:
    """LAMBDASCOPE_PLATFORM says what is made of the records."""
    made = cold(Kit(**{ENV_PLATFORM: chosen})).finish()

    assert (spans, metrics) == (len(made.spans), bool(made.metrics))
