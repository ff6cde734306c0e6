"""The Telemetry API's batches on their way: limits, slow and failing listeners, what is lost."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from free_ports import free_port
from lambdascope.emulator.telemetry_subscriber import Delivery
from telemetry_kit import EPOCH_NS, QUICK, Receiver, put, receiving, telemetry

if TYPE_CHECKING:
    from collections.abc import Callable


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


def wait_for(wait: Callable[[float], bool], seconds: float) -> None:
    """Let real time pass where a rule is about time."""
    assert not wait(seconds)
