"""Spans that have no events and no links, in few steps: the same bytes as by the general way."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import Link, SpanContext, TraceFlags, TraceState

from lambdascope.otlp.encode import TraceEncoder
from lambdascope.runtime.otel.convert import closed, head_of, is_simple, opened, shifted, span_of

ENCODER = TraceEncoder(resource={}, scope_name="")
REMOTE = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))
ATTRIBUTES = {"url.path": "/ä", "count": 3, "list": ["a", "b"]}
TRACER = TracerProvider(span_limits=SpanLimits(max_span_attributes=3)).get_tracer("app")


def started(kind: trace.SpanKind, parent: str) -> trace.Span:
    """A span of the SDK that is open."""
    context = None
    if parent == "local":
        context = trace.set_span_in_context(TRACER.start_span("parent"))
    elif parent == "remote":
        context = trace.set_span_in_context(trace.NonRecordingSpan(REMOTE))
    return TRACER.start_span("GET /", context=context, kind=kind, attributes=ATTRIBUTES)


@pytest.mark.parametrize("kind", list(trace.SpanKind))
@pytest.mark.parametrize("parent", ["", "local", "remote"])
def test_a_span_that_has_begun(kind: trace.SpanKind, parent: str) -> None:
    """Ids, parent, name, kind, start, attributes and flags are those of the whole span."""
    span = started(kind, parent)
    context = span.get_span_context()

    assert is_simple(span, context)
    whole = Span.FromString(ENCODER.span(span_of(span)))
    short = Span.FromString(opened(span, context, head_of(span, context, 0)))
    # The general way writes an empty status too.
    whole.ClearField("status")
    assert whole == short


@pytest.mark.parametrize("kind", list(trace.SpanKind))
@pytest.mark.parametrize("parent", ["", "local", "remote"])
@pytest.mark.parametrize("status", [None, trace.StatusCode.OK, trace.StatusCode.ERROR])
@pytest.mark.parametrize("late", [0, 1, 4])
def test_a_span_that_has_ended(
    kind: trace.SpanKind, parent: str, status: trace.StatusCode | None, late: int
) -> None:
    """Byte for byte, also with a status, more attributes than the limit, and moved times."""
    span = started(kind, parent)
    context = span.get_span_context()
    head = head_of(span, context, 7)
    span.set_attributes({f"late.{number}": "x" * 200 for number in range(late)})
    if status is not None:
        span.set_status(trace.Status(status, "why" if status is trace.StatusCode.ERROR else None))
    span.end()
    readable = span._readable_span()

    assert is_simple(readable, context)
    general = ENCODER.span(shifted(span_of(readable), 7, 9))
    assert general == closed(readable, context, head, 9)


def test_what_goes_the_general_way() -> None:
    """Events, links, a trace state, and what limits have dropped of them."""
    none = TracerProvider(span_limits=SpanLimits(max_events=0, max_links=0)).get_tracer("app")
    event, dropped = TRACER.start_span("a"), none.start_span("a")
    for span in (event, dropped):
        span.add_event("e")
    link = TRACER.start_span("a", links=[Link(REMOTE)])
    no_link = none.start_span("a", links=[Link(REMOTE)])
    state = SpanContext(1, 2, is_remote=True, trace_state=TraceState([("a", "b")]))
    for span in (event, dropped, link, no_link):
        assert not is_simple(span, span.get_span_context())
    assert is_simple(TRACER.start_span("a"), REMOTE)
    assert not is_simple(TRACER.start_span("a"), state)


def test_an_sdk_of_another_make() -> None:
    """What cannot be looked at without copies is read by what the SDK offers publicly."""

    class Other:
        """As much as the general way needs."""

        dropped_events = dropped_links = 0

    assert not is_simple(Other(), REMOTE)
