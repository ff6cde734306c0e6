"""Counting spans in bytes that anybody may have sent."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.otlp.model import Event
from lambdascope.otlp.walk import WIRE_LENGTH, WIRE_VARINT, count_spans, iter_fields
from unit.otlp.official import make_encoder, make_span, parse, patient


def request(*shape: tuple[int, ...]) -> bytes:
    """Return a request: a resource for each tuple, in it a scope for each number of spans."""
    message = ExportTraceServiceRequest()
    for counts in shape:
        resource_spans = message.resource_spans.add(schema_url="r" * 200)
        resource_spans.resource.attributes.add(key="service.name").value.string_value = "s"
        for count in counts:
            scope_spans = resource_spans.scope_spans.add(schema_url="s")
            scope_spans.scope.name = "scope"
            for number in range(count):
                scope_spans.spans.add(name="n" * number, start_time_unix_nano=number, kind=2)
    return message.SerializeToString()


def official_count(body: bytes) -> int:
    """Return how many spans the official package finds."""
    return sum(
        len(scope_spans.spans)
        for resource_spans in parse(body).resource_spans
        for scope_spans in resource_spans.scope_spans
    )


BODIES = {
    "empty": (b"", 0),
    "no scopes": (request(()), 0),
    "no spans": (request((0,)), 0),
    "one": (request((1,)), 1),
    "many": (request((3, 0, 200), (), (1,)), 204),
    "ours": (make_encoder().encode([make_span(events=[Event(name="e", time_ns=1)])] * 5), 5),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("view", [bytes, bytearray, memoryview])
def test_spans_are_counted(name: str, view: type) -> None:
    """Spans of all resources and scopes count, in any kind of buffer."""
    body, expected = BODIES[name]

    assert expected == official_count(body)
    assert expected == count_spans(view(body))


def test_concatenated_bodies_count_together() -> None:
    """Bodies one after the other are one request."""
    body = b"".join(body for body, _ in BODIES.values())

    assert sum(count for _, count in BODIES.values()) == count_spans(body)


# Fields that no version of the protocol has yet, one of each wire type, then known numbers with
# another type, and last a tag and a length in more bytes than needed.
UNKNOWN_FIELDS = {
    "varint": bytes.fromhex("f8 07 96 01"),
    "fixed64": bytes.fromhex("f9 07 01 02 03 04 05 06 07 08"),
    "length": bytes.fromhex("fa 07 03 12 34 56"),
    "fixed32": bytes.fromhex("fd 07 01 02 03 04"),
    "known number, other type": bytes.fromhex("08 01 10 01"),
    "long tag": bytes.fromhex("9a 80 80 00 01 78"),
    "long length": bytes.fromhex("1a 81 80 00 78"),
}


@pytest.mark.parametrize("field", UNKNOWN_FIELDS)
def test_unknown_fields_are_passed_over(field: str) -> None:
    """Fields of a later protocol version, around the spans at every level, do not disturb."""
    extra = UNKNOWN_FIELDS[field]
    scope_spans = extra + b"\x12\x00" + extra + b"\x12\x02\x2a\x00" + extra
    resource_spans = extra + b"\x12" + bytes([len(scope_spans)]) + scope_spans + extra
    body = extra + b"\x0a" + bytes([len(resource_spans)]) + resource_spans + extra

    assert official_count(body) == 2
    assert count_spans(body) == 2


def test_tags_in_more_bytes_than_needed_are_known() -> None:
    """A tag that is padded to several bytes is still that tag."""
    body = bytes.fromhex("8a 00 06 92 00 03 92 00 00")

    assert official_count(body) == 1
    assert count_spans(body) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("0a", "field at byte 0: cut off"),
        ("0a 05 12", "field at byte 0: longer than"),
        ("0a 02 12 05", "field at byte 2: longer than"),
        ("0a 02 12 05 00 00 00 00 00", "field at byte 2: longer than"),
        ("0a 01 12", "field at byte 2: cut off"),
        ("0a 01 12 00", "field at byte 2: longer than"),
        ("0a 04 12 02 12 05", "field at byte 4: longer than"),
        ("80", "field at byte 0: cut off"),
        ("08", "field at byte 0: cut off"),
        ("09 00 00 00", "field at byte 0: longer than"),
        ("0d 00", "field at byte 0: longer than"),
        ("00 00", "field at byte 0: not a field number"),
        ("02 00", "field at byte 0: not a field number"),
        ("8a 80 80 80 80 01 00", "field at byte 0: not a field number"),
        ("0b 0c", "field at byte 0: wire type 3"),
        ("0c", "field at byte 0: wire type 4"),
        ("0e", "field at byte 0: wire type 6"),
        ("0f", "field at byte 0: wire type 7"),
        ("08 ff ff ff ff ff ff ff ff ff ff 01", "longer than ten bytes"),
        ("0a ff ff ff ff ff ff ff ff ff 01", "field at byte 0: longer than"),
        ("7b 22 61 22 3a 31 7d", "wire type 3"),  # JSON
        ("1f 8b 08 00", "wire type 7"),  # gzip
    ],
)
def test_malformed_bodies_are_refused(body: str, reason: str) -> None:
    """A body that is no request raises ValueError and says where."""
    with pytest.raises(ValueError, match=reason):
        count_spans(bytes.fromhex(body))


def test_a_cut_body_is_refused_unless_cut_between_requests() -> None:
    """A body cut anywhere inside raises; only its beginning and its end are borders."""
    body = BODIES["many"][0]
    borders = {0, *(end for *_, end in iter_fields(body))}

    for cut in range(len(body)):
        if cut in borders:
            assert count_spans(body[:cut]) == official_count(body[:cut])
        else:
            with pytest.raises(ValueError, match="field at byte"):
                count_spans(body[:cut])


def test_work_is_bounded() -> None:
    """A body with more fields than allowed raises, one with exactly so many is counted."""
    body = b"\x0a\x00" * 50

    assert count_spans(body, max_fields=50) == 0
    with pytest.raises(ValueError, match="more than 49 fields"):
        count_spans(body, max_fields=49)
    with pytest.raises(ValueError, match="more than 100000 fields"):
        count_spans(b"\x0a\x00" * 5_000_000)


@patient
@given(body=st.binary(max_size=300))
@example(body=b"\x0b\x0c")
def test_any_bytes_are_counted_or_refused(body: bytes) -> None:
    """Nothing but ValueError is raised, and what the official package takes gives its count."""
    check_against_official(body)


@patient
@given(data=st.data())
def test_damaged_bodies_are_counted_or_refused(data: st.DataObject) -> None:
    """The same holds for requests in which some bytes were changed."""
    body = bytearray(request((2, 1), (1,)))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    check_against_official(bytes(body))


def check_against_official(body: bytes) -> None:
    """Compare the two readings of `body`. Groups are the one thing that only the package takes."""
    try:
        expected = official_count(body)
    except DecodeError:
        expected = None
    refusal = ""
    try:
        counted = count_spans(body)
    except ValueError as error:
        refusal = str(error)
    if refusal:
        assert expected is None or "wire type 3" in refusal
    else:
        assert expected in (None, counted)


def test_iter_fields_gives_the_borders_of_each_field() -> None:
    """The borders enclose a field's payload: a length-delimited one without its length."""
    body = bytes.fromhex("08 96 01  1a 02 68 69  21 00 00 00 00 00 00 f0 3f  2d 01 00 00 00")

    fields = [
        (number, wire_type, body[start:end]) for number, wire_type, start, end in iter_fields(body)
    ]

    assert [
        (1, WIRE_VARINT, b"\x96\x01"),
        (3, WIRE_LENGTH, b"hi"),
        (4, 1, bytes.fromhex("00 00 00 00 00 00 f0 3f")),
        (5, 5, bytes.fromhex("01 00 00 00")),
    ] == fields


def test_iter_fields_reads_a_message_inside() -> None:
    """With borders it walks over the message between them, and over nothing after it."""
    body = request((2,))
    ((_, _, start, end),) = iter_fields(body)

    assert [number for number, *_ in iter_fields(body, start, end)] == [1, 2, 3]


def test_iter_fields_refuses_a_field_beyond_its_message() -> None:
    """A field may not reach beyond the given end, though the buffer goes on."""
    with pytest.raises(ValueError, match="longer than the message around it"):
        list(iter_fields(b"\x0a\x02hi", 0, 3))
