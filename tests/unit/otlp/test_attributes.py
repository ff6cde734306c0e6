"""Attribute values of every kind, also those for which the protocol has no form."""

from __future__ import annotations

import enum
import sys
from collections import OrderedDict, namedtuple
from decimal import Decimal
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from lambdascope.otlp.attributes import (
    MAX_CACHED_KEY_LENGTH,
    MAX_CACHED_KEYS,
    MAX_DEPTH,
    MAX_VALUES,
    AttributeWriter,
    any_value,
)
from lambdascope.otlp.model import Event
from unit.otlp.official import make_encoder, make_span, parse_span, patient


class Colour(enum.StrEnum):
    """A str whose repr differs from its content."""

    RED = "red"


class Size(enum.IntEnum):
    """An int whose repr differs from its content."""

    BIG = 1 << 40


class Angry:
    """An object without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no")


class AngryDict(dict):
    """A dict that cannot be read."""

    def items(self) -> None:
        """Fail where a dict would be read."""
        raise RuntimeError("no")


class Yes:
    """An ordinary object of a user."""

    def __str__(self) -> str:
        return "yes"


Point = namedtuple("Point", "x y")


def decoded(value: object) -> object:
    """Return what the official package reads back, as Python values; None for an empty AnyValue."""
    return plain(AnyValue.FromString(any_value(value)))


def plain(message: AnyValue) -> object:
    """Return the Python value of an AnyValue."""
    kind = message.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(value) for value in message.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in message.kvlist_value.values}
    return getattr(message, kind)


def written_attributes(attributes: dict[str, object]) -> list[KeyValue]:
    """Return the attributes that arrive at the receiver."""
    return list(parse_span(make_encoder().encode([make_span(attributes=attributes)])).attributes)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (False, False),
        (0, 0),
        (127, 127),
        (128, 128),
        (16_383, 16_383),
        (16_384, 16_384),
        (-1, -1),
        ((1 << 63) - 1, (1 << 63) - 1),
        (-(1 << 63), -(1 << 63)),
        (1 << 63, "9223372036854775808"),
        (-(1 << 63) - 1, "-9223372036854775809"),
        (1.5, 1.5),
        ("", ""),
        ("x" * 200_000, "x" * 200_000),
        (b"", b""),
        (b"\x00\xff", b"\x00\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"abcd")[::2], b"ac"),
        ([], []),
        ((), []),
        ({}, {}),
        ([1, "a", None, [True]], [1, "a", None, [True]]),
        ({"a": {"b": [0.5]}, "": 0}, {"a": {"b": [0.5]}, "": 0}),
        ({1: "one", None: "none"}, {"1": "one", "None": "none"}),
        (OrderedDict(a=1), {"a": 1}),
        (Point(1, 2), [1, 2]),
        (Colour.RED, "red"),
        ([Colour.RED], ["red"]),
        (Size.BIG, 1 << 40),
        (Decimal("1.10"), "1.10"),
        (MappingProxyType({"a": 1}), "{'a': 1}"),
        (Yes(), "yes"),
        (range(3), "range(0, 3)"),
        (int, "<class 'int'>"),
        (Angry(), "<Angry: cannot be written>"),
        (AngryDict(), "<AngryDict: cannot be written>"),
        ([1, Angry(), 2], [1, "<Angry: cannot be written>", 2]),
        ({Angry(): 1}, {"<Angry: cannot be written>": 1}),
    ],
)
def test_value_is_written_in_its_own_form_or_as_text(value: object, expected: object) -> None:
    """Each type of the protocol keeps its form; everything else becomes its text."""
    written = decoded(value)

    assert expected == written
    assert type(expected) is type(written)


@pytest.mark.parametrize("key", [Colour.RED, 1, True, None, Angry()])
def test_keys_that_are_no_plain_strings_are_written_as_text(key: object) -> None:
    """A key of another type does not lose the attribute; what is kept for "1" is not its text."""
    expected = "<Angry: cannot be written>" if isinstance(key, Angry) else str(key)
    encoder = make_encoder()
    spans = [make_span(attributes={key: "v"}) for key in ("1", 1, True, key)]

    bodies = [encoder.encode([span]) for span in spans]

    assert ["1", "1", "True", expected] == [parse_span(body).attributes[0].key for body in bodies]


def test_released_memoryview_is_no_fault() -> None:
    """A value that cannot be read any more is named by its type."""
    view = memoryview(b"x")
    view.release()

    assert decoded(view) == "<memoryview: cannot be written>"


def test_integer_beyond_the_digit_limit_is_written_in_hexadecimal() -> None:
    """Python refuses decimal text for very large ints; hexadecimal text has no such limit."""
    number = 1 << (sys.get_int_max_str_digits() * 4)

    assert hex(number) == decoded(number)


def nested_list(depth: int) -> object:
    """Return a string inside `depth` lists."""
    value: object = "x"
    for _ in range(depth):
        value = [value]
    return value


def nested_dict(depth: int) -> object:
    """Return a string inside `depth` dicts."""
    value: object = "x"
    for _ in range(depth):
        value = {"k": value}
    return value


@pytest.mark.parametrize("nested", [nested_list, nested_dict])
def test_deepest_value_is_still_readable(nested: object) -> None:
    """A value of the greatest depth, in an event, is within the official parser's own limit."""
    value = nested(MAX_DEPTH)
    span = make_span(events=[Event(name="e", time_ns=1, attributes={"k": value})])

    message = parse_span(make_encoder().encode([span]))

    assert value == plain(message.events[0].attributes[0].value)


@pytest.mark.parametrize(("nested", "kind"), [(nested_list, "list"), (nested_dict, "dict")])
def test_deeper_values_become_text(nested: object, kind: str) -> None:
    """One level more is replaced by a text that says why."""
    text = str(decoded(nested(MAX_DEPTH + 1)))

    assert f"<{kind}: nested more than {MAX_DEPTH} deep>" in text
    assert f"<{kind}: nested more than {MAX_DEPTH} deep>" in str(decoded(nested(5000)))


def test_value_that_contains_itself_ends() -> None:
    """A cycle ends at the depth limit, also one that would double at each level."""
    loop: list[object] = []
    loop += [loop]
    double: list[object] = []
    double += [double, double]

    assert "nested more than" in str(decoded(loop))
    assert f"over {MAX_VALUES} values" in str(decoded(double))


def test_too_many_values_become_text() -> None:
    """A list at the limit is written whole, one beyond it as a text with its length."""
    assert len(decoded([0] * MAX_VALUES)) == MAX_VALUES
    assert f"<list of {MAX_VALUES + 1}: over {MAX_VALUES} values in an attribute>" == decoded(
        [0] * (MAX_VALUES + 1)
    )


def test_attribute_limits_are_counted_for_each_attribute() -> None:
    """One attribute's size takes nothing from the next one."""
    full = [0] * MAX_VALUES

    attributes = written_attributes({"a": full, "b": full})

    assert [len(attribute.value.array_value.values) for attribute in attributes] == [
        MAX_VALUES,
        MAX_VALUES,
    ]


@pytest.mark.parametrize("key_length", [1, 50, 100, 120, 126, 127, 128, 129, 16_380, 16_390])
def test_every_length_of_key_and_value_is_framed_right(key_length: int) -> None:
    """Lengths of one, two and three bytes are written where each is due."""
    key = "k" * key_length
    for value_length in (*range(132), 16_370, 16_380, 16_381, 16_384, 16_390):
        text = "v" * value_length
        for value in (text, [text]):
            (attribute,) = written_attributes({key: value})
            assert (key, value) == (attribute.key, plain(attribute.value))


def test_kept_keys_are_bounded() -> None:
    """Generated keys do not fill the memory, and they are still written right."""
    writer = AttributeWriter()
    for number in range(3 * MAX_CACHED_KEYS):
        chunks: list[bytes] = []
        writer.write(b"\x4a", {f"key-{number}": number, "k" * (number + 1): 0}, chunks)
        assert f"key-{number}" == KeyValue.FromString(b"".join(chunks[2:5])).key
        assert len(writer._keys) <= MAX_CACHED_KEYS
    assert all(len(key) <= MAX_CACHED_KEY_LENGTH for key in writer._keys)


def test_attributes_may_grow_while_they_are_written() -> None:
    """An open span's attributes may be added to by other code while it is encoded."""
    attributes: dict[object, object] = {}

    class Adds:
        def __str__(self) -> str:
            attributes[len(attributes)] = "more"
            return "text"

    attributes["first"] = Adds()
    attributes["second"] = [Adds()]

    assert [each.key for each in written_attributes(attributes)] == ["first", "second"]
    assert len(attributes) == 4


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs"]))
    | st.binary()
    | st.builds(bytearray, st.binary())
    | st.complex_numbers()
    | st.decimals()
    | st.datetimes()
    | st.sampled_from([Angry(), Yes(), Colour.RED, Size.BIG, object, ...])
    | st.frozensets(st.integers()),
    lambda values: (
        st.lists(values)
        | st.dictionaries(st.text(st.characters()) | st.integers() | st.none(), values)
    ),
    max_leaves=30,
)


@patient
@given(attributes=st.dictionaries(st.text(st.characters()), ANYTHING))
def test_whatever_the_values_every_attribute_arrives(attributes: dict[str, object]) -> None:
    """No value raises, and the official package reads as many attributes as there were."""
    assert len(attributes) == len(written_attributes(attributes))
