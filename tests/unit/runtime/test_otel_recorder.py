"""Spans from their start to their end in the recorder, as they are noted and as they are kept."""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider

from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.otel import recorder as module
from lambdascope.runtime.otel.recorder import SpanRecorder
from lambdascope.runtime.telemetry import InvokeTimes
from lambdascope.wire.runtime_api import Invocation

if TYPE_CHECKING:
    from collections.abc import Iterator


class Notes:
    """In the place of the flight file."""

    def __init__(self) -> None:
        self.started: list[Span] = []
        self.ended: list[Span] = []

    def span_started(self, encoded: bytes, span_id: bytes, scope: bytes) -> None:
        """A span began."""
        self.started.append(Span.FromString(encoded))
        assert span_id == self.started[-1].span_id

    def span_ended(self, encoded: bytes, span_id: bytes, scope: bytes) -> None:
        """A span ended."""
        self.ended.append(Span.FromString(encoded))
        assert span_id == self.ended[-1].span_id


@pytest.fixture
def notes() -> Iterator[Notes]:
    """Those of an invocation that runs."""
    invocation = Invocation(headers={"lambda-runtime-aws-request-id": "r"}, body=b"{}")
    times = InvokeTimes(invocation, monotonic_ns())
    times.flight = made = Notes()  # type: ignore[assignment]  # what the recorder calls of it
    token = current_invocation.set(times)
    yield made
    current_invocation.reset(token)
    current_invocation._latest = None


def taken(recorder: SpanRecorder) -> list[Span]:
    """The spans that are handed over."""
    body, count = recorder.take()
    request = ExportTraceServiceRequest.FromString(body)
    spans = [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert count == len(spans)
    return spans


@pytest.mark.parametrize("room", [10_000, 1])
def test_what_begins_and_ends(notes: Notes, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names as they are at the end, also an empty one, whether or not the start is remembered."""
    recorder = SpanRecorder({})
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(recorder)  # type: ignore[arg-type]  # its shape
    tracers = [provider.get_tracer("a"), provider.get_tracer("b", "1")]
    monkeypatch.setattr(module, "MAX_HELD", room)
    spans = [tracers[number % 2].start_span(name) for number, name in enumerate(("x", "", "y"))]
    monkeypatch.setattr(module, "MAX_HELD", 10_000)
    spans[0].update_name("renamed")
    spans[2].add_event("e")
    for span in spans:
        span.end()

    assert ["x", "", "y"] == [one.name for one in notes.started]
    assert ["renamed", "", "y"] == [one.name for one in notes.ended]
    kept = {one.span_id: one for one in taken(recorder)}
    for began, over in zip(notes.started, notes.ended, strict=True):
        assert kept[began.span_id] == over
        assert began.start_time_unix_nano == over.start_time_unix_nano
        assert began.start_time_unix_nano <= over.end_time_unix_nano
    assert [] == taken(recorder)
