"""Results with what AWS's client refuses, the place of what is refused, and other marshallers."""

from __future__ import annotations

import collections
import datetime
import decimal
import json
import pathlib
import uuid
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lambdascope.runtime.faults import Fault
from lambdascope.runtime.serde import Encoder
from result_kit import (
    ENCODER,
    JSON,
    UTC,
    Color,
    Order,
    Point,
    Row,
    Slotted,
    patient,
    text,
    values,
)

RAW = Encoder(ensure_ascii=False)
SECRET_SET = {"a set is refused"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            datetime.datetime.fromisoformat("2026-01-02T03:04:05.000006"),
            "2026-01-02T03:04:05.000006",
        ),
        (datetime.datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (uuid.UUID(int=17), "00000000-0000-0000-0000-000000000011"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (pathlib.Path("a"), "a"),
        (Color.RED, "red"),
        (Color.SIZES, [1, ["2026-01-02"]]),
        (Order(1, [Order(2)]), {"number": 1, "parts": [{"number": 2, "parts": None}]}),
        (Slotted(Point(1, b"x")), {"inner": {"x": 1, "y": "x"}}),
        (Slotted({b"k": Row(Color.RED)}), {"inner": {"k": {"value": "red"}}}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_types_that_aws_refuses(value: object, expected: object) -> None:
    """Times, ids, paths, enums and dataclasses are written by the documented rule, at any depth."""
    for result, shape in ((value, expected), ({"a": [value]}, {"a": [expected]})):
        body, content_type = ENCODER.encode(result)
        assert (shape, JSON) == (json.loads(body), content_type)


def test_decimals_in_dataclasses() -> None:
    """The exact number of a Decimal is kept in there, too."""
    value = Order(1, [decimal.Decimal("1.10")])

    assert b'{"number": 1, "parts": [1.10]}' == ENCODER.encode(value)[0]


@pytest.mark.parametrize(
    "value",
    [Order, Color, datetime.timedelta(1), {1}, frozenset(), bytearray(b"a"), object(), range(3)],
    ids=lambda value: type(value).__name__,
)
def test_types_that_stay_refused(value: object) -> None:
    """Classes, durations, sets and other objects are refused in AWS's words."""
    with pytest.raises(Fault) as caught:
        ENCODER.encode([value])

    name = type(value).__name__
    assert (
        f"Unable to marshal response: Object of type {name} is not JSON serializable (at [0])"
        == (str(caught.value))
    )


def test_a_cycle_of_dataclasses() -> None:
    """Objects that hold each other end as a cycle of lists ends."""
    first, second = Order(1), Order(2)
    first.parts, second.parts = [second], first

    with pytest.raises(Fault, match=r"Circular reference detected \(at \.parts\[0\]\.parts\)"):
        ENCODER.encode(first)


def _place(value: object, encoder: Encoder = ENCODER) -> str:
    with pytest.raises(Fault) as caught:
        encoder.encode(value)
    return str(caught.value).rpartition(" (at ")[2].removesuffix(")")


loop: list[object] = [1]
loop.append({"a": loop})
deep: object = SECRET_SET
for _ in range(150):
    deep = {"key": deep}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"items": [{"tags": {1}}]}, "['items'][0]['tags']"),
        ({"items": [Point(1, {1})]}, "['items'][0].y"),
        ([Row([{1}])], "[0].value[0]"),
        ([1, b"\xff"], "[1]"),
        ({"a": {(1, 2): 3}}, "['a']"),
        ({2: {1.5: {None: {True: {b"k": {1}}}}}}, "[2][1.5][None][True][b'k']"),
        ({"a": [10**5000]}, "['a'][0]"),
        (loop, "[1]['a']"),
        ({"it's": {1}}, '["it\'s"]'),
        ({"\ud800": {1}}, "['\\ud800']"),
        ([Color.SIZES, Slotted({1})], "[1].inner"),
        ({"k" * 500: {1}}, f"['{'k' * 79}...]"),
        ([[1], {"a": 1}, (2, {1})], "[2][1]"),
    ],
)
def test_place_of_the_refused_value(value: object, path: str) -> None:
    """The error names the way to the value, as Python writes it."""
    assert path == _place(value)


def test_place_of_a_lone_surrogate() -> None:
    """Text that UTF-8 does not have is found, where text is not escaped."""
    assert "['a'][1]" == _place({"a": ["x", "\ud800"]}, RAW)
    assert "['a'][0].x" == _place({"a": [Point("\ud800", 1)]}, RAW)


def test_long_way() -> None:
    """A long way is told by its begin and its end."""
    path = _place(deep)

    assert path.startswith("['key']['key']")
    assert "..." in path
    assert len(path) < 320


@pytest.mark.parametrize("value", [{1}, {(1, 2): 3}, object()])
def test_the_result_itself(value: object) -> None:
    """Where the result itself is refused, there is no way to tell, and the text is AWS's alone."""
    with pytest.raises(Fault) as caught:
        ENCODER.encode(value)

    assert "(at" not in str(caught.value)


def test_endless_result() -> None:
    """A result too deep for the encoder is refused at once, without a place."""
    value: object = 1
    for _ in range(100_000):
        value = [value]

    with pytest.raises(Fault, match=r"^Unable to marshal response: maximum recursion"):
        ENCODER.encode(value)


class _Twice:
    """Fails differently each time that it is read."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def _asdict(self) -> object:
        self.count += 1
        raise RuntimeError(f"number {self.count}")


def test_place_is_left_out_where_it_is_not_certain() -> None:
    """A value that fails in other words the second time is not taken for the culprit."""
    with pytest.raises(Fault) as caught:
        ENCODER.encode({"a": [_Twice()]})

    assert "Unable to marshal response: number 1" == str(caught.value)


@st.composite
def _spoilt(draw: st.DrawFn) -> tuple[object, object]:
    """A result, and the one value in it that is refused."""
    bad = draw(st.sampled_from([SECRET_SET, object(), bytearray(b"x"), 10**5000, b"\xff\xfe"]))
    value: Any = bad
    for _ in range(draw(st.integers(1, 6))):
        before, after = draw(st.lists(values, max_size=2)), draw(st.lists(values, max_size=2))
        wrap = draw(
            st.sampled_from(["list", "tuple", "dict", "point", "slotted", "row", "ordered"])
        )
        if wrap in ("list", "tuple"):
            value = [*before, value, *after]
            value = tuple(value) if wrap == "tuple" else value
        elif wrap in ("dict", "ordered"):
            value = {**dict(enumerate(before)), draw(text): value}
            value = collections.OrderedDict(value) if wrap == "ordered" else value
        else:
            value = {
                "point": lambda v: Point(1, v),
                "slotted": Slotted,
                "row": Row,
            }[wrap](value)
    return value, bad


@patient
@given(_spoilt())
def test_the_way_leads_to_the_value(spoilt: tuple[object, object]) -> None:
    """Whatever is around it, following the way in Python gives the value that was refused."""
    value, bad = spoilt

    path = _place(value)

    if "..." not in path:
        assert bad is eval("value" + path, {"value": value})


@patient
@given(st.one_of(values, st.lists(st.one_of(values, st.just(SECRET_SET), st.just(b"\xff")))))
def test_a_result_is_written_or_refused(value: object) -> None:
    """Nothing but a Fault comes out of the encoder, and what is written is JSON."""
    for encoder in (ENCODER, RAW):
        try:
            body, content_type = encoder.encode(value)
        except Fault:
            continue
        assert content_type == JSON
        json.loads(body)
