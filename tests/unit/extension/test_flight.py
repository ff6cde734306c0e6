"""The spans of invocations that had no end, from the notes of a recorder and from garbage."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from lambdascope.otlp import names
from lambdascope.wire import names as wire
from lambdascope_extension.flight import ASK, LATE_S, WORD_S
from unit.extension.flight_kit import (
    NOW,
    OTHER_ID,
    SCOPE,
    SPAN_ID,
    Environment,
    attributes,
    done,
    encoded,
    records,
    report,
    spans_of,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """One with nothing running."""
    return Environment(tmp_path)


def test_whole_story(environment: Environment) -> None:
    """The invoke span, what had ended and what was open come in their scopes, all closed."""
    recorder, times = environment.begin()
    recorder.span_started(encoded("fetch", SPAN_ID), SPAN_ID, SCOPE)
    recorder.span_ended(encoded("load", OTHER_ID, 4_000_000_000_000_000_001), OTHER_ID, SCOPE)
    recorder.stacks("Thread 1:\n  in f")

    own, theirs = environment.die()
    (invoke,) = own.scope_spans[0].spans
    assert times.trace is not None
    assert (times.trace.trace_id, times.trace.span_id) == (invoke.trace_id, invoke.span_id)
    assert ("hello", names.KIND_SERVER) == (invoke.name, invoke.kind)
    assert 5_000_000_000_000_000_000 == invoke.end_time_unix_nano
    assert names.STATUS_ERROR == invoke.status.code
    assert "Runtime.ExitError" == attributes(invoke)["error.type"]
    (event,) = invoke.events
    stack = {pair.key: pair.value.string_value for pair in event.attributes}
    assert {
        names.EXCEPTION_TYPE: "Runtime.ExitError",
        names.EXCEPTION_MESSAGE: "the runtime process ended before the invocation did",
        names.EXCEPTION_STACKTRACE: "Thread 1:\n  in f",
    } == stack
    assert stack[names.EXCEPTION_MESSAGE] == invoke.status.message
    assert names.SCOPE_RUNTIME == own.scope_spans[0].scope.name
    assert own.resource == theirs.resource
    assert "app" == theirs.scope_spans[0].scope.name
    load, fetch = theirs.scope_spans[0].spans
    assert ("load", 4_000_000_000_000_000_001, 0) == (
        load.name,
        load.end_time_unix_nano,
        load.status.code,
    )
    assert ("fetch", 5_000_000_000_000_000_000) == (fetch.name, fetch.end_time_unix_nano)
    assert {"error.type": "Runtime.ExitError"} == attributes(fetch)
    assert names.STATUS_ERROR == fetch.status.code


def test_what_the_caller_sent(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace state, flags and tenant are on the span, and what Datadog needs where it is one."""
    found = {wire.ENV_DESTINATION: "otlp,datadog"}
    monkeypatch.setattr("lambdascope_extension.fallen.environment", lambda: found)
    recorder, times = environment.begin(lambda_runtime_aws_tenant_id="blue")
    trace = times.trace
    assert trace is not None
    assert "" == trace.trace_state  # which reads the header
    trace.trace_state, trace.flags = "a=1", 0x301
    recorder.began(times, trace)

    (invoke,) = spans_of(environment.die())
    assert ("a=1", 0x301) == (invoke.trace_state, invoke.flags)
    told = attributes(invoke)
    assert "blue" == told[names.LAMBDASCOPE_TENANT_ID]
    assert ("aws.lambda", "true") == (told["operation.name"], told["cold_start"])


@pytest.mark.parametrize(
    ("reason", "word", "cause", "expected"),
    [
        ("timeout", [], "", "timeout"),
        ("TIMEOUT", [], "", "timeout"),
        ("failure", [done("timeout", "Sandbox.Timedout")], "", "timeout"),
        ("failure", [done("error", "Runtime.ExitError")], "", "Runtime.ExitError"),
        ("failure", [done("failure", "Sandbox.Failure")], "", "Sandbox.Failure"),
        ("failure", [done("error", "Runtime.OutOfMemory")], "", "Runtime.OutOfMemory"),
        ("failure", [done("error", "Runtime.ExitError"), report(128)], "", "Runtime.OutOfMemory"),
        ("failure", [done("error", "Runtime.ExitError"), report(127)], "", "Runtime.ExitError"),
        ("failure", [], "timeout", "timeout"),
        ("spindown", [], "terminated", "terminated"),
        ("ReleaseFail", [], "", "Runtime.ExitError"),
    ],
)
def test_error_type(
    environment: Environment,
    reason: str,
    word: list[tuple[str, dict[str, object]]],
    cause: str,
    expected: str,
) -> None:
    """The platform's word counts most, then its reason, then the runtime's own."""
    recorder, _ = environment.begin()
    if cause:
        recorder.cut_short(cause)
    for one in word:
        environment.flight.on_records(records(one))

    (span,) = spans_of(environment.die(reason))
    assert expected == attributes(span)["error.type"]


def test_killed_by_the_platform(environment: Environment) -> None:
    """A runtime that was still there at SHUTDOWN, and had no time to say anything, was ended."""
    environment.begin()
    environment.flight.shut_down("spindown", NOW, NOW + 2)
    assert environment.flight.waits(NOW, wall_ns=1, has_runtime=True)
    environment.flight.on_runtime_gone(5_000_000_000_000_000_000)
    assert not environment.flight.waits(NOW + WORD_S, wall_ns=1, has_runtime=False)

    (span,) = spans_of(environment.exported())
    assert "terminated" == attributes(span)["error.type"]
    assert "ended by the platform" == span.status.message


def test_urgent(environment: Environment) -> None:
    """What tells of a failure goes before all else, and an end is never before its start."""
    environment.begin()
    environment.flight.on_runtime_gone(1)
    environment.flight.shut_down("failure", NOW, NOW + 2)
    assert not environment.flight.waits(NOW + WORD_S, wall_ns=1, has_runtime=False)

    assert environment.buffer.has_urgent()
    (span,) = spans_of(environment.exported())
    assert span.start_time_unix_nano == span.end_time_unix_nano


def test_done_is_no_story(environment: Environment) -> None:
    """An invocation whose end was told has nothing more to it, however its environment ends."""
    environment.begin()
    environment.ends.on_done("r", 2, NOW)

    assert [] == environment.die()
    assert "" == environment.ledger.summary()


def test_once(environment: Environment) -> None:
    """A story is told once, however often there is an occasion."""
    environment.begin()

    assert 1 == len(environment.die())
    assert [] == environment.die()


def test_workers(environment: Environment) -> None:
    """Of several that run at a time each has its own story, and only those without an end."""
    for worker in range(4):
        environment.begin(f"r{worker}", worker)
    environment.ends.on_done("r2", 1, NOW)

    found = [attributes(span) for span in spans_of(environment.die())]
    assert ["r0", "r1", "r3"] == [one[names.FAAS_INVOCATION_ID] for one in found]


def test_handed_over_otherwise(environment: Environment) -> None:
    """A span that was handed over before is not made again."""
    recorder, _ = environment.begin()
    recorder.span_started(encoded("fetch", SPAN_ID), SPAN_ID, SCOPE)
    recorder.span_left(SPAN_ID)

    assert ["hello"] == [span.name for span in spans_of(environment.die())]


def test_replaced(environment: Environment) -> None:
    """What is noted again of a span, the invoke span too, replaces what was known."""
    recorder, times = environment.begin()
    assert times.trace is not None
    recorder.span_started(encoded("first", SPAN_ID), SPAN_ID, SCOPE)
    recorder.span_started(encoded("second", SPAN_ID), SPAN_ID, SCOPE)
    recorder.span_started(encoded("annotated", times.trace.span_id), times.trace.span_id)

    found = sorted(span.name for span in spans_of(environment.die()))
    assert ["annotated", "second"] == found


def test_waits_for_a_runtime_that_is_there(environment: Environment) -> None:
    """A runtime that is asked to end may still hand over: it is waited for, but not for long."""
    environment.begin()
    environment.flight.shut_down("timeout", NOW, NOW + 2)

    assert environment.flight.waits(NOW, wall_ns=1, has_runtime=True)
    assert NOW + LATE_S == environment.flight.wake_at(NOW, NOW + 2)
    environment.ends.on_done("r", 1, NOW)
    environment.flight.on_runtime_gone(1)
    assert not environment.flight.waits(NOW + 0.01, wall_ns=1, has_runtime=False)
    assert [] == environment.exported()


def test_waits_for_the_word(environment: Environment) -> None:
    """Where the platform speaks, its word on a failure is waited for, but not for long."""
    environment.begin()
    environment.ends.on_telemetry()
    environment.flight.on_runtime_gone(1)
    environment.flight.shut_down("failure", NOW, NOW + 2)

    assert environment.flight.waits(NOW, wall_ns=1, has_runtime=False)
    environment.flight.on_records(records(done("error", "Runtime.ExitError")))
    assert not environment.flight.waits(NOW + 0.01, wall_ns=1, has_runtime=False)
    assert 1 == len(environment.exported())


def test_asks_for_stacks(environment: Environment) -> None:
    """Near the deadline the runtime gets a signal; nobody gets one who is not running."""
    asked: list[int] = []
    before = signal.signal(ASK, lambda number, frame: asked.append(number))
    environment.file.pid = str(os.getpid())
    try:
        environment.flight.ask()
        assert [] == asked
        environment.begin()
        environment.flight.ask()
        assert [ASK] == asked
        environment.ends.on_done("r", 1, NOW)
        environment.flight.ask()
        assert [ASK] == asked
    finally:
        signal.signal(ASK, before)


def test_signal_does_nothing_where_nobody_expects_it() -> None:
    """A process that does not know the signal does not notice it."""
    assert signal.SIG_DFL == signal.getsignal(ASK)
    os.kill(os.getpid(), ASK)
