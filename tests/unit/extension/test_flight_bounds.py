"""Stories of the dead where there is no room, no destination or no file, and of damaged notes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.otlp.walk import count_spans
from lambdascope.wire import flight as layout
from lambdascope_extension.buffer import Buffer
from lambdascope_extension.end_tracker import EndTracker
from lambdascope_extension.fallen import Fallen
from lambdascope_extension.flight import WORD_S, Flight
from lambdascope_extension.ledger import Ledger
from unit.extension.flight_kit import NOW, SCOPE, SPAN_ID, Environment, encoded, spans_of
from unit.otlp.official import patient
from unit.runtime.kit import Lines

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """One with nothing running."""
    return Environment(tmp_path)


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
