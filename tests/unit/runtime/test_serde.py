"""Events in and results out, with awslambdaric's own marshaller as the oracle."""

from __future__ import annotations

import collections
import decimal
import enum
import json
import math
from typing import NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from lambdascope.runtime.faults import Fault
from lambdascope.runtime.serde import Encoder, decode_event, holds_asdict
from lambdascope.wire import names

oracle = pytest.importorskip(
    "awslambdaric.lambda_runtime_marshaller", reason="awslambdaric is not installed here"
)
faults = pytest.importorskip("awslambdaric.lambda_runtime_exception")

# Property tests without limits on the clock: a busy machine is no finding.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ENCODER = Encoder(ensure_ascii=True)
JSON = names.CONTENT_TYPE_JSON


class _Point(NamedTuple):
    x: object
    y: object


class _Color(enum.IntEnum):
    RED = 1


class _Word(enum.StrEnum):
    HELLO = "hello"


class _Weight(float):
    def __repr__(self) -> str:
        return "heavy"


class _Row:
    """What database libraries return: no tuple, but with fields."""

    def __init__(self, value: object) -> None:
        self.value = value

    def _asdict(self) -> dict[str, object]:
        return {"value": self.value}


class _Rows(list):
    def _asdict(self) -> dict[str, object]:
        return {"rows": len(self)}


text = st.text(st.characters(codec=None, exclude_categories=()), max_size=20)
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.decimals(),
    st.sampled_from([_Color.RED, _Weight(1.5), decimal.Decimal("1E+400"), True, False]),
)
atoms = st.one_of(
    st.none(),
    numbers,
    text,
    st.sampled_from([_Word.HELLO]),
    st.text(max_size=5).map(str.encode),
)
keys = st.one_of(text, st.integers(), st.floats(), st.booleans(), st.none(), st.just(b"bytes"))
values = st.recursive(
    atoms,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(text, inner, max_size=4).map(collections.OrderedDict),
        st.builds(_Point, inner, inner),
        st.builds(_Row, inner),
        st.lists(inner, max_size=3).map(_Rows),
    ),
    max_leaves=20,
)


def _official(value: object) -> tuple[bytes, str]:
    body, content_type = oracle.LambdaMarshaller().marshal_response(value)
    return (body.encode() if isinstance(body, str) else body), content_type


@patient
@given(values)
@example(b"\x00raw")
@example("top")
@example(math.nan)
@example([decimal.Decimal("NaN"), decimal.Decimal("-Infinity"), decimal.Decimal("1.10")])
@example({"\x7f\u2028\ud800": [_Point(1, b"z"), (_Point(_Row(2), 3),)]})
@example([[[[_Row([_Point(1, 2)])]]]])
def test_same_bytes_as_awslambdaric(value: object) -> None:
    """A result gives the bytes and the content type that AWS's client gives."""
    assert _official(value) == ENCODER.encode(value)


@patient
@given(values)
def test_same_text_unescaped(value: object) -> None:
    """On the images of Python 3.12 and later, text is not escaped, as in AWS's client."""
    raw = Encoder(ensure_ascii=False)
    encoder = oracle.Encoder()
    encoder.ensure_ascii = False

    if isinstance(value, bytes):
        assert (value, "application/unknown") == raw.encode(value)
        return
    try:
        expected = encoder.encode(value).encode()
    except UnicodeEncodeError:  # a lone surrogate: AWS's client would die of it
        with pytest.raises(Fault, match=r"surrogates not allowed"):
            raw.encode(value)
    else:
        assert (expected, JSON) == raw.encode(value)


cycle: list[object] = []
cycle.append(cycle)
wide_cycle: list[object] = []
wide_cycle += [wide_cycle, wide_cycle]


class _Broken(dict):
    def items(self) -> object:
        raise RuntimeError("no items")


class _NoDict:
    def _asdict(self) -> list[int]:
        return [1]


deep: object = 1
for _ in range(100_000):
    deep = [deep]


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        object(),
        {"a": object()},
        {(1, 2): 3},
        {decimal.Decimal(1): 2},
        cycle,
        {"a": wide_cycle},
        [_Point(1, cycle)],
        [b"\xff"],
        {b"\xff": 1},
        10**5000,
        deep,
        [_Point(1, deep)],
        _Broken(a=1),
        _NoDict(),
        (x for x in [1]),
        bytearray(b"a"),
        _Row,
    ],
    ids=lambda value: type(value).__name__,
)
def test_refused_values(value: object) -> None:
    """What AWS's client refuses is a Runtime.MarshalError here, with its first words."""
    with pytest.raises(faults.FaultException):
        _official(value)

    with pytest.raises(Fault, match=r"^Unable to marshal response: .") as caught:
        ENCODER.encode(value)

    assert names.FAULT_MARSHAL == caught.value.error_type


def test_refusal_names_the_type_and_the_place() -> None:
    """The message of a refusal is that of AWS's client, with the way to the value after it."""
    with pytest.raises(faults.FaultException) as theirs:
        _official({"a": {1}})

    with pytest.raises(Fault) as ours:
        ENCODER.encode({"a": {1}})

    assert f"{theirs.value.msg} (at ['a'])" == str(ours.value)


def test_error_of_users_property_is_told() -> None:
    """A user's class that raises anything while it is read is a marshal error."""

    class Angry:
        @property
        def _asdict(self) -> object:
            raise ZeroDivisionError("angry")

    with pytest.raises(Fault, match="angry"):
        ENCODER.encode([Angry()])


def test_a_million_containers_with_a_namedtuple() -> None:
    """However much there is to look through, a named tuple becomes an object."""
    value = [[] for _ in range(1_000_001)]
    value[-1] = _Point(1, 2)

    body, _ = ENCODER.encode(value)

    assert body.endswith(b', [], {"x": 1, "y": 2}]')


def test_plain_containers_are_not_copied() -> None:
    """Only a container with `_asdict` needs the slow way."""
    assert not holds_asdict({"a": [1, (2, {"b": None})], "c": collections.OrderedDict(d=1)})
    assert holds_asdict({"a": [(_Point(1, 2),)]})
    assert not holds_asdict("text")


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), text),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(text, inner)),
    max_leaves=20,
)


@patient
@given(json_values, st.sampled_from(["", " ", "\n", "\t\r\n "]), st.booleans())
def test_events_round_trip(value: object, space: str, ascii_only: bool) -> None:
    """An event is decoded to the value that was encoded, whatever white space is around it."""
    try:
        body = (
            f"{space}{json.dumps(value, ensure_ascii=ascii_only, allow_nan=False)}{space}".encode()
        )
    except (UnicodeEncodeError, ValueError):  # surrogates, infinities
        return

    assert value == decode_event(body, JSON)


@patient
@given(
    st.one_of(
        st.binary(max_size=20),
        st.text(alphabet='{}[]":,0123456789.eE+-truefalsn\\u \n\x00\ufeffNaIity', max_size=12).map(
            str.encode
        ),
    )
)
@example(b"\xef\xbb\xbf{}")
@example(b"NaN")
@example(b"[Infinity]")
@example(b"1e999")
@example(b"9" * 5000)
@example(b"[" * 100_000)
@example(b'"\\ud800"')
@example(b'{"a":1,"a":2}')
@example(b"{} x")
@example(b"")
def test_events_read_as_awslambdaric_reads_them(body: bytes) -> None:
    """What AWS's client reads is read the same; what it refuses is a Runtime.UnmarshalError."""
    try:
        expected = oracle.LambdaMarshaller().unmarshal_request(body, JSON)
    except faults.FaultException:
        with pytest.raises(Fault, match=r"^Unable to unmarshal input: .") as caught:
            decode_event(body, JSON)
        assert names.FAULT_UNMARSHAL == caught.value.error_type
    else:
        assert repr(expected) == repr(decode_event(body, JSON))


@pytest.mark.parametrize("content_type", ["text/plain", "application/json; charset=utf-8", ""])
def test_other_types_are_bytes(content_type: str) -> None:
    """Only the exact type application/json is decoded."""
    assert oracle.LambdaMarshaller().unmarshal_request(b"{}", content_type) == b"{}"
    assert decode_event(b"{}", content_type) == b"{}"
