"""From a request id to the invocation's span in what the runtime handed over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.otlp import names
from lambdascope.otlp.encode import TraceEncoder
from lambdascope.otlp.model import Event, Span
from lambdascope_extension.handed_over import MAX_ENTRIES, PREFIX_BYTES, HandedOver
from lambdascope_extension.records.joins import MAX_FOUND, Joins, find_invocation
from unit.extension.records.platform_kit import REQUEST_ID, SPAN_ID, TRACE_ID, handed_over_spans
from unit.otlp.official import patient

BODY = handed_over_spans()


def test_the_invocation_is_found() -> None:
    """Its ids, its trigger and its failure are read from the span that has the request's id."""
    body = handed_over_spans(**{"error.type": "KeyError"})

    found = find_invocation(body, len(body), REQUEST_ID)

    assert found is not None
    assert (TRACE_ID, SPAN_ID) == (found.trace_id, found.span_id)
    assert ("http", "KeyError") == (found.trigger, found.error_type)


def test_another_invocation_is_not() -> None:
    """Spans with another request id are nobody's place."""
    assert find_invocation(BODY, len(BODY), "other") is None


def test_the_parent_of_an_internal_span_will_do() -> None:
    """Where only the report span has come, its parent is the invocation's span."""
    encoder = TraceEncoder(resource={}, scope_name="s")
    own = Span(
        name="report shop",
        trace_id=TRACE_ID,
        span_id=b"12345678",
        parent_span_id=SPAN_ID,
        attributes={names.FAAS_INVOCATION_ID: REQUEST_ID},
    )
    body = encoder.encode([own])

    found = find_invocation(body, len(body), REQUEST_ID)

    assert found is not None
    assert (TRACE_ID, SPAN_ID) == (found.trace_id, found.span_id)


def test_a_long_stack_trace_does_not_hide_the_invocation() -> None:
    """The first bytes of a body are enough, for a span's attributes stand before its events."""
    events = [Event(name="exception", time_ns=1, attributes={"exception.stacktrace": "x" * 9000})]
    span = Span(
        name="shop",
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        kind=names.KIND_SERVER,
        attributes={names.FAAS_INVOCATION_ID: REQUEST_ID, names.ERROR_TYPE: "KeyError"},
        events=events,
    )
    body = TraceEncoder(resource={}, scope_name="s").encode([span])

    found = find_invocation(body[:PREFIX_BYTES], len(body), REQUEST_ID)

    assert found is not None
    assert "KeyError" == found.error_type


@patient
@given(cut=st.integers(0, len(BODY)))
def test_any_cut_is_survived(cut: int) -> None:
    """A body that was cut anywhere gives the place or none, and never a wrong one."""
    found = find_invocation(BODY[:cut], len(BODY), REQUEST_ID)

    assert found is None or (TRACE_ID, SPAN_ID) == (found.trace_id, found.span_id)


@patient
@given(body=st.binary(max_size=200))
def test_any_bytes_are_survived(body: bytes) -> None:
    """What is no request at all is nobody's place."""
    assert find_invocation(body, len(body), REQUEST_ID) is None


@pytest.mark.parametrize("first", [b"", b"garbage", handed_over_spans("other")])
def test_later_bodies_of_the_same_invocation_are_looked_at(first: bytes) -> None:
    """The span may come with a later post than the first."""
    handed_over = HandedOver()
    joins = Joins(handed_over)
    assert not joins.is_fed
    handed_over.remember(REQUEST_ID, first)
    assert joins.is_fed
    assert joins.find(REQUEST_ID) is None
    handed_over.remember(REQUEST_ID, BODY)

    found = joins.find(REQUEST_ID)

    assert found is not None
    assert found is joins.find(REQUEST_ID)


def test_what_is_kept_is_bounded() -> None:
    """Invocations that no record asks for, and those that were found, are forgotten in order."""
    handed_over = HandedOver()
    joins = Joins(handed_over)
    for number in range(3 * MAX_FOUND):
        handed_over.remember(f"r{number}", handed_over_spans(f"r{number}"))
        for _ in range(20):
            handed_over.remember(f"r{number}", b"x" * 3 * PREFIX_BYTES)
        assert joins.find(f"r{number}") is not None

    held = sum(len(body) for bodies in handed_over.bodies.values() for body, _ in bodies)
    assert MAX_ENTRIES >= len(handed_over.bodies)
    assert held <= 4 * MAX_ENTRIES * PREFIX_BYTES
    assert joins.find("r0") is None
    assert joins.find(f"r{3 * MAX_FOUND - 1}") is not None
