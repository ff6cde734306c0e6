"""The spans of invocations that had no end, from the notes of a recorder and from garbage."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.otlp import names
from lambdascope.otlp.encode import TraceEncoder
from lambdascope.otlp.model import Span
from lambdascope.otlp.walk import count_spans
from lambdascope.runtime.flight_file import FlightFile
from lambdascope.runtime.trace_parent import TraceParent
from lambdascope.wire import flight as layout
from lambdascope.wire import names as wire
from lambdascope_extension.buffer import Buffer
from lambdascope_extension.end_tracker import EndTracker
from lambdascope_extension.fallen import Fallen
from lambdascope_extension.flight import ASK, LATE_S, WORD_S, Flight
from lambdascope_extension.ledger import Ledger
from unit.otlp.official import patient
from unit.runtime.kit import TRACE, Lines, make_config, make_invocation, make_times

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

    from lambdascope.runtime.flight import FlightRecorder
    from lambdascope.runtime.telemetry import InvokeTimes

SPAN_ID = b"spanspan"
OTHER_ID = b"otherone"
SCOPE = b"\x0a\x05\x0a\x03app"
NOW = 100.0


class Environment:
    """An extension's side and a runtime's side of one file."""

    def __init__(self, folder: Path, *, max_bytes: int = 1 << 20, drop: str | None = None) -> None:
        path = folder / "handoff.flight"
        self.fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        self.lines = Lines()
        self.ledger = Ledger()
        self.buffer = Buffer(self.ledger, max_bytes=max_bytes)
        self.ends = EndTracker(subscribed=True)
        self.flight = Flight(self.fd, self.ends, self.buffer, self.lines, drop)
        self.file = FlightFile(self.lines)
        assert self.file.attach(str(path), make_config(AWS_LAMBDA_MAX_CONCURRENCY="4"))
        self.ends.on_hello()

    def begin(
        self, request_id: str = "r", worker: int = 0, **headers: str
    ) -> tuple[FlightRecorder, InvokeTimes]:
        """Announce an invocation."""
        recorder = self.file.recorder(worker)
        assert recorder is not None
        invocation = make_invocation(
            lambda_runtime_trace_id=TRACE, lambda_runtime_aws_request_id=request_id, **headers
        )
        times = make_times(invocation)
        times.trace = TraceParent(TRACE, "link")
        recorder.began(times, times.trace)
        return recorder, times

    def die(self, reason: str = "failure", *, word: bool = False) -> list[ResourceSpans]:
        """The runtime is gone, then SHUTDOWN comes; what the buffer has then."""
        self.flight.on_runtime_gone(5_000_000_000_000_000_000)
        self.flight.shut_down(reason, NOW, NOW + 2)
        assert not self.flight.waits(NOW + (0 if word else WORD_S), wall_ns=1, has_runtime=False)
        return self.exported()

    def exported(self) -> list[ResourceSpans]:
        """What is taken from the buffer, decoded."""
        found: list[ResourceSpans] = []
        while (batch := self.buffer.take()) is not None:
            request = ExportTraceServiceRequest.FromString(batch.body)
            spans = [s for r in request.resource_spans for p in r.scope_spans for s in p.spans]
            assert batch.items == len(spans)
            found += request.resource_spans
            self.buffer.exported(batch)
        return found


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """One with nothing running."""
    return Environment(tmp_path)


def spans_of(found: list[ResourceSpans]) -> list[SpanMessage]:
    """All spans, in their order."""
    return [span for one in found for scope in one.scope_spans for span in scope.spans]


def attributes(span: SpanMessage) -> dict[str, object]:
    """Attributes of text and number."""
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes
    }


def encoded(name: str, span_id: bytes, end_ns: int = 0) -> bytes:
    """A child span as a span processor has it."""
    encoder = TraceEncoder(resource={}, scope_name="")
    start_ns = 4_000_000_000_000_000_000
    return encoder.span(
        Span(name=name, trace_id=b"t" * 16, span_id=span_id, start_ns=start_ns, end_ns=end_ns)
    )


def records(*found: tuple[str, dict[str, object]]) -> bytes:
    """A batch of the platform's."""
    return json.dumps(
        [{"time": "", "type": kind, "record": record} for kind, record in found]
    ).encode()


def done(status: str, error_type: str = "") -> tuple[str, dict[str, object]]:
    """A runtimeDone record of the invocation "r"."""
    return "platform.runtimeDone", {"requestId": "r", "status": status, "errorType": error_type}


def report(used_mb: int) -> tuple[str, dict[str, object]]:
    """A report of the invocation "r"."""
    metrics = {"memorySizeMB": 128, "maxMemoryUsedMB": used_mb}
    return "platform.report", {"requestId": "r", "status": "error", "metrics": metrics}


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


def test_no_room_in_the_notes(environment: Environment) -> None:
    """Spans that had no room are in the ledger, with the reason."""
    recorder, _ = environment.begin()
    for number in range(200):
        span_id = number.to_bytes(8, "big")
        recorder.span_started(encoded("x" * 900, span_id), span_id, SCOPE)
        recorder.span_ended(encoded("x" * 900, span_id, 1), span_id, SCOPE)

    found = len(spans_of(environment.die()))
    lost = 201 - found
    assert f"201 spans accepted, {found} exported, {lost} dropped (flight_full {lost})" in (
        environment.ledger.summary()
    )


def test_no_room_in_the_buffer(tmp_path: Path) -> None:
    """A story that the buffer cannot take is said and counted."""
    environment = Environment(tmp_path, max_bytes=10)
    environment.begin()

    assert [] == environment.die()
    assert "1 spans accepted, 0 exported, 1 dropped (buffer_full 1)" in environment.ledger.summary()
    assert "no room for the 1 spans of r, which had no end" in environment.lines[-1]


def test_no_destination(tmp_path: Path) -> None:
    """Where traces go nowhere, a story is counted as what it is."""
    environment = Environment(tmp_path, drop="no_endpoint")
    environment.begin()

    assert [] == environment.die()
    assert "1 dropped (no_endpoint 1)" in environment.ledger.summary()


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


@patient
@given(st.binary(max_size=200), st.integers(0, 600), st.binary(max_size=100))
def test_damage(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int, text: bytes
) -> None:
    """Whatever stands in the file, nothing raises, and what is sent is as many spans as it says.

    Text inside of a span that is no UTF-8 is left for the collector to refuse.
    """
    environment = Environment(tmp_path_factory.mktemp("flight"))
    recorder, _ = environment.begin()
    recorder.span_started(encoded("fetch", SPAN_ID), SPAN_ID, SCOPE)
    recorder.stacks("stacks")
    os.pwrite(environment.fd, data, layout.SLOTS_AT + at)
    os.pwrite(environment.fd, text, layout.TEXT_AT)
    environment.flight.on_records(text + b'"error"')
    environment.flight.on_runtime_gone(5_000_000_000_000_000_000)
    environment.flight.shut_down("failure", NOW, NOW + 2)

    assert not environment.flight.waits(NOW + WORD_S, wall_ns=1, has_runtime=False)
    batch = environment.buffer.take()
    assert batch is None or batch.items == count_spans(batch.body)
    os.close(environment.file.fd)
    environment.file.fd = -1
    os.close(environment.fd)


@patient
@given(st.lists(st.binary(min_size=1, max_size=80), max_size=5), st.binary(max_size=80))
def test_strange_notes(payloads: list[bytes], resource: bytes) -> None:
    """Frames that are whole and hold nonsense give a story or a ValueError, nothing else."""
    texts = ["1", "r", *[""] * (len(layout.HEAD_TEXTS) - 2)]
    head = layout.frame(layout.HEAD, bytes(54) + "\0".join(texts).encode(), b"1234")
    kinds = (layout.OPEN, layout.CLOSED, layout.STACKS, layout.LEFT, layout.CAUSE)
    frames = [layout.frame(*pair, b"1234") for pair in zip(kinds, payloads, strict=False)]
    fallen = Fallen(
        shutdown_reason="failure",
        batches=[],
        text=b"",
        resource=layout.frame(layout.RESOURCE, resource or b"x", b"once"),
        gone_ns=7,
        died_first=True,
    )

    story = fallen.tell(head + b"".join(frames) + layout.END)
    request = ExportTraceServiceRequest.FromString(story.body)
    found = [s for r in request.resource_spans for p in r.scope_spans for s in p.spans]
    assert story.spans == len(found)


def test_no_file(tmp_path: Path) -> None:
    """Without a file there is nothing to tell, and nothing breaks."""
    ends = EndTracker(subscribed=False)
    flight = Flight(-1, ends, Buffer(Ledger()), Lines())
    flight.ask()
    flight.shut_down("failure", NOW, NOW + 2)

    assert not flight.waits(NOW, wall_ns=1, has_runtime=False)
