"""Our encoder against the official one, message by message and byte by byte."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.otlp import names
from lambdascope.otlp.encode import TraceEncoder
from lambdascope.otlp.model import Event, Link, Span
from unit.otlp.official import (
    PARENT_SPAN_ID,
    SPAN_ID,
    START_NS,
    TRACE_ID,
    make_encoder,
    make_span,
    official_request,
    parse,
    parse_span,
    patient,
)

REMOTE_PARENT = names.FLAG_HAS_IS_REMOTE | names.FLAG_IS_REMOTE

# One span for each field of the protocol, then everything at once.
CASES = {
    "bare": make_span(),
    "root without times": make_span(start_ns=0, end_ns=0),
    "empty name": make_span(name=""),
    "unicode name": make_span(name="größe 漢字 😀"),
    "long name": make_span(name="n" * 20_000),
    "local parent": make_span(parent_span_id=PARENT_SPAN_ID),
    "remote parent": make_span(parent_span_id=PARENT_SPAN_ID, flags=REMOTE_PARENT),
    "trace state": make_span(trace_state="vendor=1,other=2"),
    "server": make_span(kind=names.KIND_SERVER),
    "client": make_span(kind=names.KIND_CLIENT),
    "producer": make_span(kind=names.KIND_PRODUCER),
    "consumer": make_span(kind=names.KIND_CONSUMER),
    "ok": make_span(status_code=names.STATUS_OK),
    "error": make_span(status_code=names.STATUS_ERROR),
    "error with text": make_span(status_code=names.STATUS_ERROR, status_message="no such table"),
    "attributes": make_span(attributes={"faas.coldstart": True, "faas.trigger": "other", "n": -1}),
    "dropped attributes": make_span(attributes={"a": 1}, dropped_attributes=300),
    "event": make_span(events=[Event(name="exception", time_ns=START_NS + 5)]),
    "event without anything": make_span(events=[Event(name="", time_ns=0)]),
    "events": make_span(
        events=[
            Event(name="exception", time_ns=START_NS + 5, attributes={"exception.type": "E"}),
            Event(name="more", time_ns=1, attributes={"k": "v" * 300}, dropped_attributes=7),
        ],
        dropped_events=2,
    ),
    "link": make_span(
        links=[Link(trace_id=TRACE_ID, span_id=SPAN_ID, flags=names.FLAG_HAS_IS_REMOTE)]
    ),
    "links": make_span(
        links=[
            Link(trace_id=TRACE_ID, span_id=SPAN_ID, attributes={"k": 1}, flags=REMOTE_PARENT),
            Link(
                trace_id=TRACE_ID[::-1],
                span_id=PARENT_SPAN_ID,
                attributes={"k": "v"},
                dropped_attributes=130,
                flags=REMOTE_PARENT,
            ),
        ],
        dropped_links=1,
    ),
    "everything": make_span(
        parent_span_id=PARENT_SPAN_ID,
        trace_state="a=b",
        kind=names.KIND_SERVER,
        attributes={"a": [1, "x", None], "b": {"c": b"\x00\xff"}, "d": 0.25},
        events=[Event(name="e", time_ns=START_NS, attributes={"a": False})],
        links=[Link(trace_id=TRACE_ID, span_id=SPAN_ID, flags=names.FLAG_HAS_IS_REMOTE)],
        status_code=names.STATUS_ERROR,
        status_message="größer",
        dropped_attributes=1,
        dropped_events=2,
        dropped_links=3,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_message_is_the_official_one(case: str) -> None:
    """The official package reads from our bytes the message that the official encoder makes."""
    span = CASES[case]

    assert official_request([span]) == parse(make_encoder().encode([span]))


@pytest.mark.parametrize("case", CASES)
def test_bytes_are_the_official_ones(case: str) -> None:
    """Our bytes are those of the official package, which also writes fields by their numbers."""
    span = CASES[case]

    assert official_request([span]).SerializeToString() == make_encoder().encode([span])


def test_many_spans_share_one_resource_and_scope() -> None:
    """All spans of a call are in one ResourceSpans and one ScopeSpans, in the given order."""
    spans = list(CASES.values())

    body = make_encoder().encode(spans)

    assert official_request(spans).SerializeToString() == body
    assert [span.name for span in spans] == [
        span.name for span in parse(body).resource_spans[0].scope_spans[0].spans
    ]


def test_encoder_gives_the_same_bytes_each_time() -> None:
    """What an encoder keeps between calls does not change what it writes."""
    encoder = make_encoder()
    spans = list(CASES.values())

    assert encoder.encode(spans) == encoder.encode(spans)


def test_spans_may_come_from_a_generator() -> None:
    """The spans are read once, in order."""
    assert make_encoder().encode([CASES["bare"]]) == make_encoder().encode(
        span for span in [CASES["bare"]]
    )


def test_no_spans_give_an_empty_request() -> None:
    """Without spans there is nothing to say about the resource either."""
    assert official_request([]).SerializeToString() == make_encoder().encode([])


def test_empty_resource_and_scope_are_present() -> None:
    """The resource and the scope are written also when they hold nothing."""
    body = TraceEncoder(resource={}, scope_name="").encode([make_span()])

    message = parse(body).resource_spans[0]
    assert message.HasField("resource")
    assert message.scope_spans[0].HasField("scope")
    assert (message.schema_url, message.scope_spans[0].schema_url) == ("", "")


def test_span_flags_are_written_as_given() -> None:
    """The W3C flags and the parent's two bits reach the receiver."""
    span = parse_span(make_encoder().encode([make_span(flags=names.FLAGS_REMOTE)]))

    assert span.flags == names.FLAG_SAMPLED | REMOTE_PARENT


def test_zero_flags_are_left_out() -> None:
    """Flags of 0 mean that nothing is known, which is the field's default."""
    assert parse_span(make_encoder().encode([make_span(flags=0)])).flags == 0


def test_unspecified_kind_and_flags_are_left_out() -> None:
    """A kind of 0 and a link's flags of 0 are the defaults of their fields."""
    link = Link(trace_id=TRACE_ID, span_id=SPAN_ID, flags=0)
    span = make_span(kind=names.KIND_UNSPECIFIED, links=[link])

    message = parse_span(make_encoder().encode([span]))

    assert (message.kind, message.links[0].flags) == (0, 0)


def test_link_keeps_its_trace_state() -> None:
    """A link's trace state is written, which the official encoder forgets (1.45)."""
    link = Link(trace_id=TRACE_ID, span_id=SPAN_ID, trace_state="a=b")

    (message,) = parse_span(make_encoder().encode([make_span(links=[link])])).links

    assert (message.trace_state, message.flags) == ("a=b", names.FLAGS_LOCAL)


def test_ids_of_a_wrong_length_are_written_as_they_are() -> None:
    """An id that is too short or missing makes no broken message; the receiver judges it."""
    span = Span(name="x", trace_id=b"abc", span_id=b"")

    message = parse_span(make_encoder().encode([span]))

    assert (message.trace_id, message.span_id, message.name) == (b"abc", b"", "x")


@pytest.mark.parametrize(("given_ns", "written_ns"), [(-5, 0), (1 << 70, (1 << 64) - 1)])
def test_times_out_of_range_become_the_nearest(given_ns: int, written_ns: int) -> None:
    """A time before the epoch or beyond 64 bits does not lose the span."""
    assert (
        written_ns
        == parse_span(make_encoder().encode([make_span(start_ns=given_ns)])).start_time_unix_nano
    )


def test_text_with_surrogates_is_written() -> None:
    """An unpaired surrogate anywhere becomes a question mark, for it has no UTF-8 form."""
    span = make_span(
        name="a\udc80b",
        trace_state="\ud800",
        status_message="\ud800",
        events=[Event(name="\udfff", time_ns=1)],
        attributes={"k\ud800": "v\udfff", "list": ["\ud800"], "dict": {"\ud800": 1}},
    )

    message = parse_span(make_encoder().encode([span]))

    assert (message.name, message.trace_state, message.status.message) == ("a?b", "?", "?")
    assert message.events[0].name == "?"
    assert [attribute.key for attribute in message.attributes] == ["k?", "list", "dict"]
    assert message.attributes[0].value.string_value == "v?"


ATTRIBUTE_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats()
    | st.text()
    | st.binary(),
    lambda values: (
        st.lists(values, max_size=5)
        | st.lists(values, max_size=5).map(tuple)
        | st.dictionaries(st.text(), values, max_size=5)
    ),
    max_leaves=20,
)
ATTRIBUTES = st.dictionaries(st.text(), ATTRIBUTE_VALUES, max_size=6)
TIMES = st.integers(0, (1 << 64) - 1)
COUNTS = st.integers(0, (1 << 32) - 1)
EVENTS = st.builds(
    lambda **fields: Event(**fields), name=st.text(), time_ns=TIMES, attributes=ATTRIBUTES
)
LINKS = st.builds(
    lambda **fields: Link(**fields),
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    attributes=ATTRIBUTES,
    flags=st.sampled_from([names.FLAG_HAS_IS_REMOTE, REMOTE_PARENT]),
)
SPANS = st.builds(
    lambda **fields: make_span(**fields),
    name=st.text(),
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    parent_span_id=st.binary(min_size=8, max_size=8) | st.just(b""),
    kind=st.integers(names.KIND_INTERNAL, names.KIND_CONSUMER),
    start_ns=TIMES,
    end_ns=TIMES,
    attributes=ATTRIBUTES,
    events=st.lists(EVENTS, max_size=3),
    links=st.lists(LINKS, max_size=3),
    status_code=st.integers(names.STATUS_UNSET, names.STATUS_ERROR),
)


@patient
@given(spans=st.lists(SPANS, max_size=4))
def test_any_spans_are_written_as_officially(spans: list[Span]) -> None:
    """For any spans that the official encoder takes, our bytes are the same as its bytes."""
    assert official_request(spans).SerializeToString() == make_encoder().encode(spans)


@patient
@given(dropped=COUNTS)
def test_dropped_counts_reach_the_receiver(dropped: int) -> None:
    """The three counts of what a span had to leave out are unsigned 32-bit numbers."""
    span = make_span(dropped_attributes=dropped, dropped_events=dropped, dropped_links=dropped)

    message = parse_span(make_encoder().encode([span]))

    assert (dropped, dropped, dropped) == (
        message.dropped_attributes_count,
        message.dropped_events_count,
        message.dropped_links_count,
    )


@patient
@given(number=st.floats(allow_nan=True, allow_infinity=True))
def test_floats_keep_their_value(number: float) -> None:
    """A float is written with all its bits, infinities and NaN too."""
    message = parse_span(make_encoder().encode([make_span(attributes={"f": number})]))

    written = message.attributes[0].value.double_value
    assert number == written or (math.isnan(number) and math.isnan(written))
    assert math.copysign(1, number) == math.copysign(1, written)


def test_encoded_attributes_are_those_that_were_given() -> None:
    """Attributes that were encoded once read back like attributes that were given each time."""
    encoder = TraceEncoder(resource={}, scope_name="s")
    shared: dict[str, object] = {"a": "text", "b": 7, "c": True, "d": ["x", 1.5]}
    ids = {"trace_id": b"t" * 16, "span_id": b"s" * 8}
    given = Span(name="n", attributes={**shared, "own": 1}, **ids)  # type: ignore[arg-type]
    encoded = Span(
        name="n",
        attributes={"own": 1},
        encoded=encoder.attributes(shared),
        **ids,  # type: ignore[arg-type]
    )

    assert encoder.encode([given]) == encoder.encode([encoded])
