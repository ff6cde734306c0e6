"""Several destinations: one message in several queues, each with limits and a ledger of its own."""

from __future__ import annotations

import inspect

import pytest

from fake_collector import span_names, traces
from lambdascope.wire.names import CONTENT_TYPE_PROTOBUF, ENV_SCRUB
from lambdascope_extension.batch import Message
from lambdascope_extension.destination import Destination, ExportConfig
from lambdascope_extension.exporter import Exporter
from lambdascope_extension.flush_settings import FlushSettings
from lambdascope_extension.flusher import Flusher
from lambdascope_extension.lanes import Lane, LaneBuffer, LanesBuffer, LanesFlusher, make_lanes
from lambdascope_extension.scrubber import open_scrubber


def config(name: str, *signals: str, max_bytes: int = 0, max_items: int = 0) -> ExportConfig:
    """A destination for these signals."""
    made = ExportConfig(name)
    for signal in signals:
        one = Destination(signal=signal, url="http://c/", shown="http://c/", port=80)
        one.max_bytes, one.max_items = max_bytes, max_items
        made.destinations[signal] = one
    return made


def lanes(*configs: ExportConfig) -> list[Lane]:
    """Lanes whose exporters are never started."""

    def make(buffer: LaneBuffer, one: ExportConfig) -> Flusher:
        return Flusher(buffer, Exporter(-1), one, lambda line: None)

    return make_lanes(configs, make)


def message(signal: str = "traces", body: bytes = b"", items: int = 1) -> Message:
    """A body that has just come."""
    return Message(
        signal=signal,
        kind=CONTENT_TYPE_PROTOBUF,
        body=body or traces("a"),
        items=items,
        received=5.0,
    )


def test_a_message_is_in_all_lanes_and_once_in_memory() -> None:
    """Every lane that wants the signal sends the very same bytes, the others know nothing of it."""
    a, b, c = lanes(config("a", "traces", "logs"), config("b", "traces"), config("c", "logs"))
    sent = message()

    assert LanesBuffer([a, b, c]).put(sent)

    batches = [lane.buffer.take() for lane in (a, b)]
    assert all(batch is not None and batch.body is sent.body for batch in batches)
    assert c.buffer.take() is None
    assert [1, 1, 0] == [lane.buffer.ledger.accounts["traces"].accepted for lane in (a, b, c)]


def test_a_full_lane_loses_alone() -> None:
    """What has no room in one lane is counted as dropped there, and goes to the others."""
    a, b = lanes(config("a", "traces"), config("b", "traces"))
    buffer = LanesBuffer([a, b])
    while a.buffer.put(message(body=traces("x", padding=500_000))):
        pass
    held = a.buffer.ledger.accounts["traces"].held

    assert buffer.put(message(body=traces("x", padding=500_000)))

    assert f"to a: traces: {held + 1} spans accepted, 0 exported, 1 dropped (buffer_full 1)" in (
        buffer.ledger.summary()
    )
    assert 1 == b.buffer.ledger.accounts["traces"].held
    assert buffer.held_bytes == a.buffer.held_bytes + b.buffer.held_bytes


def test_no_room_anywhere() -> None:
    """Only what no lane has room for is refused, and then nothing is counted."""
    [a] = lanes(config("a", "traces"))
    buffer = LanesBuffer([a])
    while buffer.put(message(body=traces("x", padding=500_000))):
        pass

    assert {} == a.buffer.ledger.accounts["traces"].dropped
    buffer.drop_all("shutdown")
    assert 0 == buffer.held_bytes


@pytest.mark.parametrize(("max_bytes", "max_items"), [(400, 0), (0, 2)])
def test_limits_of_a_destination(max_bytes: int, max_items: int) -> None:
    """A body over the destination's limit leaves in pieces below it, cut between spans."""
    limited = config("a", "traces", max_bytes=max_bytes, max_items=max_items)
    [lane] = lanes(limited)
    spans = [f"s{number}" for number in range(9)]
    lane.buffer.put(message(body=traces(*spans, padding=60), items=9))

    found: list[str] = []
    while (batch := lane.buffer.take()) is not None:
        assert len(batch.body) <= (max_bytes or 10_000)
        assert batch.items <= (max_items or 9)
        found += span_names(batch.body)
        lane.buffer.exported(batch)

    assert spans == found
    assert (9, 0) == (lane.buffer.ledger.accounts["traces"].exported, lane.buffer.held_bytes)


def test_one_item_over_the_limit() -> None:
    """What cannot be cut goes out as it is: the destination says what it thinks of it."""
    [lane] = lanes(config("a", "traces", max_bytes=100))
    lane.buffer.put(message(body=traces("large", padding=1000)))

    batch = lane.buffer.take()
    assert batch is not None
    assert ["large"] == span_names(batch.body)


def test_all_that_a_flusher_does() -> None:
    """Whatever the lifecycle may call is done for all lanes: none of one lane's shows through."""
    own = {
        name
        for name, value in vars(Flusher).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    }
    fan = LanesFlusher.__mro__[2]

    assert "_Fan" == fan.__name__
    assert own <= set(vars(fan))


def test_state_of_all_lanes() -> None:
    """The policy sees what waits in all lanes, and a failure only where every one of them fails."""
    a, b = lanes(config("a", "traces"), config("b", "traces"))
    flusher = LanesFlusher([a, b], FlushSettings(hold_s=1.0))
    flusher.last_attempts = 3
    LanesBuffer([a, b]).put(message())
    b.buffer.put(message())
    state = flusher.state(10.0, 20.0, 1, [])

    assert (3 * len(traces("a")), 5.0, None, 0) == (
        state.pending_bytes,
        state.oldest,
        state.last_flush,
        state.failures,
    )
    assert [3, 3] == [lane.flusher.last_attempts for lane in (a, b)]
    assert a.flusher.meter is b.flusher.meter is flusher.meter
    assert flusher.holds_anything
    assert not flusher.is_sending


def test_every_lane_scrubs() -> None:
    """A message that two destinations want is scrubbed for each, and counted right by each."""
    every = lanes(config("a", "traces"), config("b", "traces"))
    both = LanesBuffer(every)
    both.scrubber = open_scrubber({ENV_SCRUB: "+padding"}, print)
    assert both.put(message(body=traces("x", padding=100)))
    for lane in every:
        batch = lane.buffer.take()
        assert batch is not None
        assert b"xxxx" not in batch.body
        assert ["x"] == span_names(batch.body)
        lane.buffer.exported(batch)
        assert 0 == lane.buffer.held_bytes
