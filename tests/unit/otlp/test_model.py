"""The records that the runtime fills and the encoder reads."""

from __future__ import annotations

import pytest

from lambdascope.otlp import names
from lambdascope.otlp.model import Event, Link, Span


def make_records() -> list[object]:
    """Return one record of each kind, new each time."""
    return [
        Span(name="n", trace_id=b"t" * 16, span_id=b"s" * 8),
        Event(name="n", time_ns=1),
        Link(trace_id=b"t" * 16, span_id=b"s" * 8),
    ]


def test_span_starts_as_a_sampled_root_inside_one_process() -> None:
    """A span that says nothing more is an INTERNAL one without a parent, status or content."""
    span = Span(name="n", trace_id=b"t" * 16, span_id=b"s" * 8)

    assert span.parent_span_id == b""
    assert span.kind == names.KIND_INTERNAL
    assert span.status_code == names.STATUS_UNSET
    assert span.flags == names.FLAG_SAMPLED | names.FLAG_HAS_IS_REMOTE
    assert (span.attributes, span.events, span.links) == ({}, [], [])


def test_records_do_not_share_their_contents() -> None:
    """Each record has a dict and lists of its own."""
    first, second = make_records()[0], make_records()[0]
    first.attributes["a"] = 1
    first.events.append(Event(name="e", time_ns=1))
    first.links.append(Link(trace_id=b"t" * 16, span_id=b"s" * 8))

    assert (second.attributes, second.events, second.links) == ({}, [], [])


def test_given_contents_are_kept_and_not_copied() -> None:
    """A dict that is given, also an empty one, is the record's own from then on."""
    attributes: dict[str, object] = {}
    span = Span(name="n", trace_id=b"t" * 16, span_id=b"s" * 8, attributes=attributes)
    attributes["a"] = 1

    assert span.attributes == {"a": 1}


@pytest.mark.parametrize("index", range(3))
def test_records_are_equal_by_their_fields(index: int) -> None:
    """Two records of one kind with equal fields are equal; one differing field ends that."""
    record, same, other = (make_records()[index] for _ in range(3))
    other.attributes["a"] = 1

    assert record == same
    assert record != other
    assert record != make_records()[index - 1]
    assert record != "n"


@pytest.mark.parametrize("record", make_records())
def test_records_show_their_fields(record: object) -> None:
    """The text of a record names its kind and every field."""
    assert repr(record).startswith(f"{type(record).__name__}(attributes={{}}, dropped_attributes=0")
    assert all(f"{name}=" in repr(record) for name in record.__slots__)


@pytest.mark.parametrize("record", make_records())
def test_records_take_no_other_fields(record: object) -> None:
    """A misspelt field is an error where it is set, and records are never dict keys."""
    with pytest.raises(AttributeError):
        record.nmae = "x"
    with pytest.raises(TypeError):
        hash(record)


def test_records_are_made_by_keyword_only() -> None:
    """Fields are named where a record is made."""
    with pytest.raises(TypeError):
        Event("n", 1)
