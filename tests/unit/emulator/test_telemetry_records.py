"""The records of the Telemetry API: which are delivered to whom, in which order and shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lambdascope.emulator import platform_events
from lambdascope.emulator.config import LOG_JSON, FunctionConfig
from lambdascope.emulator.records import InvocationRecord, Report
from telemetry_kit import EPOCH_NS, put, receiving, telemetry
from telemetry_shapes import SHAPES, shape

if TYPE_CHECKING:
    from lambdascope.emulator.telemetry import TelemetryBus


def test_only_the_types_that_were_asked_for_are_delivered() -> None:
    """Each subscriber gets its own selection."""
    with receiving() as one, receiving() as two, telemetry() as bus:
        put(bus, one.uri(), name="one", types=("extension",))
        put(bus, two.uri(), name="two", types=("function",))
        bus.emit("platform.start", {"requestId": "r"}, EPOCH_NS)
        bus.emit("function", "from the function", EPOCH_NS)
        bus.emit("extension", "from an extension", EPOCH_NS)
        assert bus.flush(10)
        assert [item["record"] for item in one.items(1)] == ["from an extension\n"]
        assert [item["record"] for item in two.items(1)] == ["from the function\n"]


def test_what_came_before_the_subscription_is_delivered_first() -> None:
    """initStart and early lines are replayed in order, ahead of the subscription itself."""
    with receiving() as receiver, telemetry() as bus:
        bus.emit("platform.initStart", {"phase": "init"}, EPOCH_NS - 64_000_000)
        bus.emit("function", "loading", EPOCH_NS - 1_000_000)
        put(bus, receiver.uri())
        assert (receiver.kinds(3)) == [
            "platform.initStart",
            "function",
            "platform.telemetrySubscription",
        ]
        assert receiver.items(3)[0]["time"] == "2025-12-31T23:59:59.936Z"


def test_too_much_before_the_subscription_is_said_to_be_lost() -> None:
    """What is kept for later subscribers is bounded, and what was not is counted."""
    with receiving() as receiver, telemetry() as bus:
        for _ in range(50):
            bus.emit("function", "x" * 100_000, EPOCH_NS)
        put(bus, receiver.uri())
        # 41 of 100 kB fit into 4 MiB.
        items = receiver.items(41 + 2)
    kinds = ["function"] * 41 + ["platform.logsDropped", "platform.telemetrySubscription"]
    assert [item["type"] for item in items] == kinds
    dropped = items[-2]["record"]
    assert dropped["droppedRecords"] == 9
    assert 900_000 < dropped["droppedBytes"] < 901_000


def test_subscriptions_end_with_the_environment() -> None:
    """After a reset nothing is delivered, old events are forgotten, and one can subscribe anew."""
    with receiving() as receiver, telemetry() as bus:
        bus.emit("platform.initStart", {"phase": "init"}, EPOCH_NS)
        put(bus, receiver.uri())
        bus.close_subscriptions()
        receiver.items(2)
        bus.reset()
        bus.emit("platform.initStart", {"phase": "invoke"}, EPOCH_NS)
        assert put(bus, receiver.uri()) == (200, "OK")
        phases = [i["record"].get("phase") for i in receiver.items(4)]
        assert phases == ["init", None, "invoke", None]


def test_a_held_report_comes_with_the_next_invocation() -> None:
    """`hold` keeps an event until platform.start, which it precedes."""
    with receiving() as receiver, telemetry() as bus:
        put(bus, receiver.uri())
        bus.close_subscriptions()
        bus.emit("platform.report", {"requestId": "one"}, EPOCH_NS, hold=True)
        bus.emit("platform.runtimeDone", {"requestId": "one"}, EPOCH_NS)
        assert "platform.report" not in receiver.kinds(2)
        bus.emit("platform.start", {"requestId": "two"}, EPOCH_NS)
        assert receiver.kinds(4)[2:] == ["platform.report", "platform.start"]


def test_a_held_report_comes_at_shutdown() -> None:
    """`release_held` lets it go without another invocation."""
    with receiving() as receiver, telemetry() as bus:
        put(bus, receiver.uri())
        bus.emit("platform.report", {"requestId": "one"}, EPOCH_NS, hold=True)
        bus.release_held()
        assert receiver.kinds(2)[1] == "platform.report"


def test_text_lines_arrive_with_their_line_end_also_when_they_are_json() -> None:
    """In a function with text log format every record is a string with a trailing newline."""
    lines = ['{"a": 1}', "plain\n", "two\nlines", ""]
    with receiving() as receiver, telemetry() as bus:
        put(bus, receiver.uri(), types=("function",))
        for line in lines:
            bus.emit("function", line, EPOCH_NS)
        assert [item["record"] for item in receiver.items(4)] == [
            '{"a": 1}\n',
            "plain\n",
            "two\nlines\n",
            "\n",
        ]


def test_json_lines_arrive_as_they_are_in_a_function_with_json_logs() -> None:
    """An object arrives digit for digit as that object; anything else stays a string."""
    lines = ['{"big": 12345678901234567890, "one": 1.0}', "plain", "[1]", '{"n": NaN}', '{"cut']
    with receiving() as receiver, telemetry(log_format=LOG_JSON) as bus:
        put(bus, receiver.uri(), types=("function",))
        for line in lines:
            bus.emit("function", line, EPOCH_NS)
        received = [item["record"] for item in receiver.items(5)]
        assert [{"big": 12345678901234567890, "one": 1.0}, *(f"{e}\n" for e in lines[1:])] == (
            received
        )
        raw = b"".join(body for *_, body in receiver.requests)
        assert b'"record":{"big": 12345678901234567890, "one": 1.0}}' in raw


def test_the_first_schema_has_no_objects() -> None:
    """Log lines as objects came with schema 2022-12-13."""
    with receiving() as receiver, telemetry(log_format=LOG_JSON) as bus:
        put(bus, receiver.uri(), types=("function",), schema="2022-07-01")
        bus.emit("function", '{"a":1}', EPOCH_NS)
        assert receiver.items(1)[0]["record"] == '{"a":1}\n'


def emit_an_invocation(bus: TelemetryBus) -> None:
    """The platform events of a cold invocation, made by the functions that the core uses."""
    config = FunctionConfig(handler="app.handler", task_root="/x")
    record = InvocationRecord(
        request_id="5a1f0f5e-0000-4000-8000-000000000001",
        number=1,
        cold=True,
        event=b"{}",
        deadline_ms=0,
        trace_header="Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
        invoked_function_arn=config.function_arn,
        handed_out_ns=EPOCH_NS,
    )
    figures = Report(
        request_id=record.request_id,
        status="success",
        duration_ms=21.0625,
        billed_duration_ms=143,
        memory_size_mb=128,
        max_memory_used_mb=41,
        init_duration_ms=121.5,
    )
    events = platform_events
    bus.emit(
        events.INIT_RUNTIME_DONE, events.init_runtime_done("on-demand", "init", None), EPOCH_NS
    )
    ready = events.extension("ext", "Ready", ["SHUTDOWN", "INVOKE"])
    bus.emit(events.EXTENSION, ready, EPOCH_NS)
    init_end = EPOCH_NS + 121_500_000
    report = events.init_report("on-demand", "init", None, start_ns=EPOCH_NS, end_ns=init_end)
    bus.emit(events.INIT_REPORT, report, init_end)
    bus.emit(events.START, events.start(record, config, None), init_end)
    response = (init_end + 1_000_000, init_end + 1_200_000)
    done = events.runtime_done(
        record, None, end_ns=init_end + 1_300_000, response=response, produced_bytes=10
    )
    bus.emit(events.RUNTIME_DONE, done, init_end + 1_300_000)
    overhead = (init_end + 1_300_000, init_end + 21_000_000)
    billed = events.report(record, figures, extension_overhead=overhead)
    bus.emit(events.REPORT, billed, init_end + 21_000_000, hold=True)


def test_every_event_of_an_invocation_has_the_recorded_shape() -> None:
    """Field by field: the keys, the nesting and the kind of every number of a real function."""
    config = FunctionConfig(handler="app.handler", task_root="/x")
    start = platform_events.init_start(
        config, phase="init", log_stream="2026/01/01/[$LATEST]0", runtime_version=("v", "arn")
    )
    with receiving() as receiver, telemetry() as bus:
        bus.emit(platform_events.INIT_START, start, EPOCH_NS)
        put(bus, receiver.uri())
        emit_an_invocation(bus)
        assert bus.flush(10)
        items = receiver.items(8)
    assert [*SHAPES] == [item["type"] for item in items]
    for item in items:
        assert list(item) == ["time", "type", "record"]
        assert shape(item["time"]) == "time"
        assert shape(SHAPES[item["type"]]) == shape(item["record"]), item["type"]


def test_the_values_of_the_spans_add_up() -> None:
    """Latency, duration and overhead follow one another and together make the duration."""
    with receiving() as receiver, telemetry() as bus:
        put(bus, receiver.uri())
        emit_an_invocation(bus)
        items = receiver.items(6)
    done = next(i["record"] for i in items if i["type"] == "platform.runtimeDone")
    assert [span["name"] for span in done["spans"]] == [
        "responseLatency",
        "responseDuration",
        "runtimeOverhead",
    ]
    total = sum(span["durationMs"] for span in done["spans"])
    assert total == pytest.approx(done["metrics"]["durationMs"])
