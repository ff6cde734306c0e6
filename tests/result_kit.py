"""What the tests of results share: values of many types, and encoders."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from typing import NamedTuple

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings

from lambdascope.runtime.serde import Encoder
from lambdascope.wire import names

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ENCODER = Encoder(ensure_ascii=True)
JSON = names.CONTENT_TYPE_JSON
UTC = datetime.UTC


class Color(enum.Enum):
    """Members with plain and nested values."""

    RED = "red"
    SIZES = (1, [datetime.date(2026, 1, 2)])


class Point(NamedTuple):
    """Written as a list."""

    x: object
    y: object


class Row:
    """Only looks like a named tuple."""

    def __init__(self, value: object) -> None:
        self.value = value

    def _asdict(self) -> dict[str, object]:
        return {"value": self.value}


@dataclasses.dataclass
class Order:
    """Fields, a pseudo-field and a class attribute."""

    number: int
    parts: object = None
    kind: dataclasses.InitVar[int] = 0
    maker = "not a field"


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    """A dataclass without a dictionary."""

    inner: object


text = st.text(max_size=4)
simple = st.one_of(
    st.none(), st.integers(), st.floats(), text, st.decimals(), st.dates(), st.uuids()
)
keys = st.one_of(text, st.integers(), st.booleans(), st.none(), st.just(b"k"))
values = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.builds(Point, inner, inner),
        st.builds(Slotted, inner),
        st.builds(Row, inner),
        st.builds(Order, st.integers(), inner),
    ),
    max_leaves=12,
)
