"""The Telemetry API of the emulator, with listeners on real sockets as extensions have them."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from lambdascope.emulator import platform_events
from lambdascope.emulator.config import LOG_JSON, FunctionConfig
from lambdascope.emulator.records import InvocationRecord, Report
from lambdascope.emulator.telemetry import ALREADY_SUBSCRIBED, SUBSCRIBED, TelemetryBus
from lambdascope.emulator.telemetry_delivery import Destination
from lambdascope.emulator.telemetry_subscriber import Delivery
from lambdascope.transport.listener import Exchange, Listener
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.names import LOGS_PATH, TELEMETRY_PATH
from telemetry_shapes import SHAPES, shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Item = dict[str, Any]
EPOCH_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
QUICK = Delivery(attempts=3, backoff_s=0.01, answer_s=0.5)


class Receiver:
    """A telemetry listener that keeps what it gets.

    It answers with the numbers in `statuses` first, 0 being a dropped connection, then with 200.
    While `gate` is clear it answers nobody.
    """

    def __init__(self, *statuses: int, port: int = 0) -> None:
        self.statuses = list(statuses)
        self.gate = threading.Event()
        self.gate.set()
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self._arrived = threading.Condition()
        self.listener = Listener(self._handle, name="receiver", port=port)
        self.listener.start()

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return self.listener.port

    def uri(self, host: str = "sandbox.localdomain", path: str = "/") -> str:
        """The destination to subscribe with."""
        return f"http://{host}:{self.port}{path}"

    def _handle(self, exchange: Exchange) -> None:
        body = exchange.read_body(8_000_000)
        with self._arrived:
            self.requests.append((exchange.method, exchange.target, exchange.headers, body))
            status = self.statuses.pop(0) if self.statuses else 200
            self._arrived.notify_all()
        assert self.gate.wait(30)
        if status:
            exchange.respond(status)
        else:
            exchange.abort()

    def batches(self, count: int) -> list[list[Item]]:
        """All batches so far, once there are `count`."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, 20), self.requests
            return [json.loads(body) for *_, body in self.requests]

    def items(self, count: int) -> list[Item]:
        """All items so far, once there are `count`."""

        def arrived() -> list[Item]:
            return [item for *_, body in self.requests for item in json.loads(body)]

        with self._arrived:
            assert self._arrived.wait_for(lambda: len(arrived()) >= count, 20), arrived()
            return arrived()

    def kinds(self, count: int) -> list[str]:
        """The types of the items so far, once there are `count`."""
        return [item["type"] for item in self.items(count)]

    def close(self) -> None:
        """Stop; whoever waits for an answer gets one."""
        self.gate.set()
        self.listener.close()


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    """A receiver for the length of a block."""
    receiver = Receiver(*statuses)
    try:
        yield receiver
    finally:
        receiver.close()


@contextmanager
def telemetry(**options: Any) -> Iterator[TelemetryBus]:
    """A bus for the length of a block; `said` collects what it says of lost records."""
    said: list[str] = options.pop("said", [])
    bus = TelemetryBus(
        now_ns=lambda: EPOCH_NS, on_dropped=said.append, **{"delivery": QUICK, **options}
    )
    try:
        yield bus
    finally:
        bus.reset()


def put(
    bus: TelemetryBus,
    uri: str,
    *,
    name: str = "ext",
    types: tuple[str, ...] = ("platform", "function"),
    timeout_ms: int = 25,
    schema: str = "2025-01-29",
    items: int = 1000,
) -> tuple[int, Any]:
    """Subscribe as an extension does; status and body of the answer."""
    fields = {
        "schemaVersion": schema,
        "types": list(types),
        "buffering": {"maxItems": items, "maxBytes": 262144, "timeoutMs": timeout_ms},
        "destination": {"protocol": "HTTP", "URI": uri, "method": "POST", "encoding": "JSON"},
    }
    answer = bus.answer(TELEMETRY_PATH, {}, json.dumps(fields).encode(), name)
    return answer.status, json.loads(answer.body)


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


# --- Answers to a subscription --------------------------------------------------------------------


def test_a_subscription_is_answered_with_ok_and_said_to_the_subscriber() -> None:
    """200 with the JSON string OK; platform.telemetrySubscription names what was asked for."""
    with receiving() as receiver, telemetry() as bus:
        assert put(bus, receiver.uri()) == (200, "OK")
        assert receiver.items(1) == [
            {
                "time": "2026-01-01T00:00:00.000Z",
                "type": "platform.telemetrySubscription",
                "record": {
                    "name": "ext",
                    "state": "Subscribed",
                    "types": ["platform", "function"],
                },
            }
        ]


@pytest.mark.parametrize(
    ("change", "names_field"),
    [
        ({"schemaVersion": "2020-01-01"}, "schemaVersion"),
        ({"types": []}, "types"),
        ({"types": ["platform", "spans"]}, "types"),
        ({"buffering": {"maxItems": 999}}, "maxItems"),
        ({"buffering": {"maxBytes": 1_048_577}}, "maxBytes"),
        ({"buffering": {"timeoutMs": 24}}, "timeoutMs"),
        ({"destination": {"protocol": "TCP", "port": 9}}, "protocol"),
        ({"destination": {"protocol": "HTTP", "URI": "https://sandbox:1"}}, "URI"),
        ({"destination": {"protocol": "HTTP", "URI": "http://example.com:80/"}}, "URI"),
        ({"destination": {"protocol": "HTTP", "URI": "http://sandbox:99999/"}}, "URI"),
    ],
)
def test_a_field_that_breaks_the_rules_is_a_validation_error(
    change: Item, names_field: str
) -> None:
    """400 with errorType ValidationError and a message that names the field."""
    fields: Item = {
        "schemaVersion": "2025-01-29",
        "types": ["platform"],
        "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:1"},
    }
    with telemetry() as bus:
        answer = bus.answer(TELEMETRY_PATH, {}, json.dumps(fields | change).encode(), "ext")
    body = json.loads(answer.body)
    assert (answer.status, body["errorType"], answer.state) == (400, "ValidationError", "")
    assert names_field in body["errorMessage"]
    assert answer.to_response().startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_body_that_is_not_json_is_a_validation_error() -> None:
    """Garbage is answered, not raised."""
    with telemetry() as bus:
        answer = bus.answer(TELEMETRY_PATH, {}, b"\xff{", "ext")
    assert (answer.status, json.loads(answer.body)["errorType"]) == (400, "ValidationError")


def test_after_init_nobody_can_subscribe() -> None:
    """403 with Telemetry.SubscriptionClosed once close_subscriptions was called."""
    with telemetry() as bus:
        bus.close_subscriptions()
        assert put(bus, "http://sandbox.localdomain:1") == (
            403,
            {
                "errorMessage": "Telemetry API subscription is closed already",
                "errorType": "Telemetry.SubscriptionClosed",
            },
        )


def test_a_second_subscription_of_one_extension_changes_nothing() -> None:
    """It is answered with OK, its state says so, and the first listener stays the only one."""
    with receiving() as first, receiving() as second, telemetry() as bus:
        put(bus, first.uri())
        fields = {
            "schemaVersion": "2025-01-29",
            "types": ["platform"],
            "destination": {"protocol": "HTTP", "URI": second.uri()},
        }
        answer = bus.answer(TELEMETRY_PATH, {}, json.dumps(fields).encode(), "ext")
        assert (answer.status, answer.state) == (200, ALREADY_SUBSCRIBED)
        bus.emit("platform.start", {"requestId": "r"}, EPOCH_NS)
        assert first.kinds(2) == ["platform.telemetrySubscription", "platform.start"]
        assert second.requests == []


def test_unsupported_answers_as_awss_emulator_does() -> None:
    """202 with Telemetry.NotSupported whatever the body is; nothing is delivered."""
    with receiving() as receiver, telemetry(mode="unsupported") as bus:
        answer = bus.answer(TELEMETRY_PATH, {}, b"{}", "ext")
        bus.emit("platform.start", {}, EPOCH_NS)
        assert bus.flush(1)
        assert receiver.requests == []
    assert answer.status == 202
    assert (
        answer.body == b'{"errorMessage":"Telemetry API is not supported",'
        b'"errorType":"Telemetry.NotSupported"}\n'
    )


def test_missing_answers_as_images_without_the_api_do() -> None:
    """404 with the text of Go's server."""
    with telemetry(mode="missing") as bus:
        answer = bus.answer(TELEMETRY_PATH, {}, b"{}", "ext")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert answer.content_type == "text/plain; charset=utf-8"


def test_the_superseded_logs_api_is_not_supported() -> None:
    """202 with Logs.NotSupported, in AWS's words."""
    with telemetry() as bus:
        answer = bus.answer(LOGS_PATH, {}, b"{}", "ext")
    assert (answer.status, json.loads(answer.body)["errorType"]) == (202, "Logs.NotSupported")


# --- Where it goes --------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["sandbox.localdomain", "sandbox", "localhost", "127.0.0.1"])
def test_the_documented_names_lead_to_loopback_and_the_path_is_kept(host: str) -> None:
    """POST of application/json to the path and query of the URI."""
    with receiving() as receiver, telemetry() as bus:
        assert put(bus, receiver.uri(host, "/t/secret?x=1"))[0] == 200
        receiver.batches(1)
        method, target, headers, _ = receiver.requests[0]
        assert (method, target) == ("POST", "/t/secret?x=1")
        assert headers["content-type"] == "application/json"


def test_a_name_that_resolves_elsewhere_is_not_followed_out_of_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only loopback and link-local addresses are believed of a resolver."""
    answers = {"sandbox": "10.9.8.7", "sandbox.localdomain": "127.0.0.2"}

    def lookup(host: str, port: int, *_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert list(Destination("http://sandbox:1").addresses()) == ["127.0.0.1"]
    assert list(Destination("http://sandbox.localdomain:1").addresses()) == [
        "127.0.0.1",
        "127.0.0.2",
    ]


def test_a_destination_outside_is_refused() -> None:
    """A URI that leads out of the environment never gets as far as a socket."""
    with pytest.raises(RemoteProtocolError, match="the host must be"):
        Destination("http://169.254.1.2.example.com:80/")


# --- What is delivered ----------------------------------------------------------------------------


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


# --- The recorded shapes --------------------------------------------------------------------------


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


# --- Buffering and delivery -----------------------------------------------------------------------


def test_a_batch_goes_when_max_items_are_there() -> None:
    """The first limit that is hit sends; with 1000 items that is long before the timeout."""
    with receiving() as receiver, telemetry() as bus:
        put(bus, receiver.uri(), types=("function",), timeout_ms=30_000)
        for number in range(1000):
            bus.emit("function", str(number), EPOCH_NS)
        assert [len(batch) for batch in receiver.batches(1)] == [1000]


def test_a_batch_goes_when_max_bytes_are_there() -> None:
    """A quarter of a megabyte in a few long lines is enough."""
    with receiving() as receiver, telemetry() as bus:
        put(bus, receiver.uri(), types=("function",), timeout_ms=30_000)
        for _ in range(6):
            bus.emit("function", "x" * 50_000, EPOCH_NS)
        assert [len(batch) for batch in receiver.batches(1)] == [6]


def test_a_batch_goes_when_its_time_is_up() -> None:
    """One event alone waits timeoutMs and no longer."""
    with receiving() as receiver, telemetry() as bus:
        began = time.monotonic()
        put(bus, receiver.uri(), timeout_ms=120)
        receiver.batches(1)
        assert 0.1 < time.monotonic() - began < 5


def test_flush_does_not_wait_for_the_timeout() -> None:
    """What is buffered goes at once, and flush says that it went."""
    with receiving() as receiver, telemetry() as bus:
        put(bus, receiver.uri(), timeout_ms=30_000)
        assert bus.flush(10)
        assert len(receiver.requests) == 1


def test_flush_gives_up_in_time() -> None:
    """A listener that does not answer cannot hold flush beyond its limit."""
    with receiving() as receiver, telemetry() as bus:
        receiver.gate.clear()
        put(bus, receiver.uri())
        began = time.monotonic()
        assert not bus.flush(0.1)
        assert time.monotonic() - began < 2


def test_one_batch_is_on_its_way_and_the_newest_are_dropped_and_counted() -> None:
    """While the listener is slow, more than two further batches are lost, and it is told so."""
    said: list[str] = []
    slow = Delivery(answer_s=30)
    with receiving() as receiver, telemetry(said=said, delivery=slow) as bus:
        receiver.gate.clear()
        put(bus, receiver.uri())
        receiver.batches(1)
        for number in range(2500):
            bus.emit("function", str(number), EPOCH_NS)
        assert len(receiver.requests) == 1
        receiver.gate.set()
        receiver.items(1 + 2000)
        bus.emit("platform.start", {}, EPOCH_NS)
        items = receiver.items(1 + 2000 + 2)
    assert [f"{n}\n" for n in range(2000)] == [
        item["record"] for item in items if item["type"] == "function"
    ]
    assert [item["type"] for item in items[-2:]] == ["platform.logsDropped", "platform.start"]
    dropped = items[-2]["record"]
    assert list(dropped) == ["reason", "droppedRecords", "droppedBytes"]
    assert dropped["droppedRecords"] == 500
    assert "more slowly" in said[0]
    assert "500 records dropped" in said[-1]


def test_a_burst_is_not_lost_on_a_listener_that_keeps_up() -> None:
    """Filling two batches before the sender's thread has run drops nothing."""
    with receiving() as receiver, telemetry() as bus:
        put(bus, receiver.uri(), types=("function",))
        for number in range(2000):
            bus.emit("function", str(number), EPOCH_NS)
        assert [f"{n}\n" for n in range(2000)] == [i["record"] for i in receiver.items(2000)]


@pytest.mark.parametrize("fault", [500, 404, 0])
def test_a_failed_delivery_is_repeated_with_the_same_body(fault: int) -> None:
    """An answer that is not 2xx, or none, is tried again."""
    with receiving(fault, fault) as receiver, telemetry() as bus:
        put(bus, receiver.uri())
        receiver.batches(3)
        assert bus.flush(10)
        bodies = {body for *_, body in receiver.requests}
    assert (len(receiver.requests), len(bodies)) == (3, 1)


def test_a_listener_that_never_answers_well_costs_its_batch_only() -> None:
    """After the last attempt the batch is dropped; the next one is delivered and tells of it."""
    said: list[str] = []
    with receiving(500, 500, 500) as receiver, telemetry(said=said) as bus:
        put(bus, receiver.uri())
        receiver.batches(3)
        assert bus.flush(10)
        bus.emit("platform.start", {}, EPOCH_NS)
        items = receiver.items(3 + 2)[3:]
    assert [item["type"] for item in items] == ["platform.logsDropped", "platform.start"]
    assert items[0]["record"]["droppedRecords"] == 1
    assert "answered 500" in items[0]["record"]["reason"]
    assert "answered 500" in said[0]


def test_a_listener_that_is_not_there_is_said_once_and_counted() -> None:
    """No endless deliveries to nobody, one line at once and one with the total at the end."""
    said: list[str] = []
    with telemetry(said=said) as bus:
        put(bus, f"http://sandbox.localdomain:{free_port()}")
        assert bus.flush(10)
        bus.emit("platform.start", {}, EPOCH_NS)
        assert bus.flush(10)
    assert len(said) == 2
    assert "Connection refused" in said[0]
    # The subscription, the start and the notice that the first was lost.
    assert "3 records dropped" in said[1]


def test_a_listener_that_comes_late_gets_what_it_missed() -> None:
    """Repeating covers a listener that is not bound yet when the first batch goes."""
    port = free_port()
    patient = Delivery(attempts=8, backoff_s=0.05)
    with telemetry(delivery=patient) as bus:
        put(bus, f"http://sandbox.localdomain:{port}")
        receiver = Receiver(port=port)
        try:
            assert receiver.kinds(1) == ["platform.telemetrySubscription"]
        finally:
            receiver.close()


def test_a_connection_that_the_listener_closed_is_opened_again() -> None:
    """An idle close is not a failed attempt: with one attempt in all nothing is lost."""
    said: list[str] = []
    once = Delivery(attempts=1)
    with receiving() as receiver, telemetry(said=said, delivery=once) as bus:
        put(bus, receiver.uri())
        receiver.batches(1)
        assert bus.flush(10)
        port = receiver.port
        receiver.close()
        again = Receiver(port=port)
        try:
            bus.emit("platform.start", {}, EPOCH_NS)
            assert again.kinds(1) == ["platform.start"]
            assert bus.flush(10)
        finally:
            again.close()
    assert said == []


def test_garbage_from_the_listener_is_a_failed_attempt() -> None:
    """Bytes that are not HTTP end in a dropped batch, not in an exception."""
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            for _ in range(3):
                peer, _address = server.accept()
                peer.recv(65536)
                peer.sendall(b"\x00\x01 not http\r\n\r\n")
                peer.close()

        thread = threading.Thread(target=babble)
        thread.start()
        with telemetry(said=said) as bus:
            put(bus, f"http://sandbox.localdomain:{server.getsockname()[1]}")
            assert bus.flush(10)
        thread.join(10)
    assert "no HTTP answer" in said[0]


def test_frozen_time_is_not_held_against_the_listener() -> None:
    """A listener that is stopped longer than an answer may take has still answered in time."""
    said: list[str] = []
    with receiving() as receiver, telemetry(said=said) as bus:
        receiver.gate.clear()
        put(bus, receiver.uri())
        receiver.batches(1)
        bus.pause()
        wait_for(threading.Event().wait, QUICK.answer_s * 2)
        bus.emit("function", "written while frozen", EPOCH_NS)
        receiver.gate.set()
        assert len(receiver.requests) == 1
        bus.resume()
        assert receiver.kinds(2) == ["platform.telemetrySubscription", "function"]
        assert bus.flush(10)
    assert said == []


def test_reset_does_not_wait_for_a_listener_that_hangs() -> None:
    """The end of an environment is quick, whatever its extensions do."""
    with receiving() as receiver, telemetry(delivery=Delivery()) as bus:
        receiver.gate.clear()
        put(bus, receiver.uri())
        receiver.batches(1)
        began = time.monotonic()
        bus.reset()
        assert time.monotonic() - began < 2


def test_emitting_never_waits() -> None:
    """A listener that hangs does not slow the environment down."""
    with receiving() as receiver, telemetry(delivery=Delivery(answer_s=30)) as bus:
        receiver.gate.clear()
        put(bus, receiver.uri())
        receiver.batches(1)
        began = time.monotonic()
        for _ in range(3000):
            bus.emit("platform.start", {"requestId": "r"}, EPOCH_NS)
        assert time.monotonic() - began < 5


def test_the_state_of_an_answer_tells_the_platform_what_to_log() -> None:
    """SUBSCRIBED with the types that were asked for."""
    with receiving() as receiver, telemetry() as bus:
        fields = {
            "schemaVersion": "2025-01-29",
            "types": ["platform", "extension"],
            "destination": {"protocol": "HTTP", "URI": receiver.uri()},
        }
        answer = bus.answer(TELEMETRY_PATH, {}, json.dumps(fields).encode(), "ext")
        assert (answer.state, answer.types) == (SUBSCRIBED, ("platform", "extension"))


def wait_for(wait: Callable[[float], bool], seconds: float) -> None:
    """Let real time pass where a rule is about time."""
    assert not wait(seconds)
