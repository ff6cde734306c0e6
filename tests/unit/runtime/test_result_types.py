"""Results with what AWS's client refuses, the place of what is refused, and other marshallers."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from lambdascope.runtime import serde
from lambdascope.runtime.faults import Fault
from lambdascope.runtime.marshalling import JsonMarshaller, choose
from lambdascope.runtime.serde import Encoder, decode_event
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Iterator

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
ENCODER = Encoder(ensure_ascii=True)
RAW = Encoder(ensure_ascii=False)
JSON = names.CONTENT_TYPE_JSON
UTC = datetime.UTC
SECRET_SET = {"a set is refused"}


class _Color(enum.Enum):
    RED = "red"
    SIZES = (1, [datetime.date(2026, 1, 2)])


class _Point(NamedTuple):
    x: object
    y: object


class _Row:
    def __init__(self, value: object) -> None:
        self.value = value

    def _asdict(self) -> dict[str, object]:
        return {"value": self.value}


@dataclasses.dataclass
class _Order:
    number: int
    parts: object = None
    kind: dataclasses.InitVar[int] = 0
    maker = "not a field"


@dataclasses.dataclass(frozen=True, slots=True)
class _Slotted:
    inner: object


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
        (_Color.RED, "red"),
        (_Color.SIZES, [1, ["2026-01-02"]]),
        (_Order(1, [_Order(2)]), {"number": 1, "parts": [{"number": 2, "parts": None}]}),
        (_Slotted(_Point(1, b"x")), {"inner": {"x": 1, "y": "x"}}),
        (_Slotted({b"k": _Row(_Color.RED)}), {"inner": {"k": {"value": "red"}}}),
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
    value = _Order(1, [decimal.Decimal("1.10")])

    assert b'{"number": 1, "parts": [1.10]}' == ENCODER.encode(value)[0]


@pytest.mark.parametrize(
    "value",
    [_Order, _Color, datetime.timedelta(1), {1}, frozenset(), bytearray(b"a"), object(), range(3)],
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
    first, second = _Order(1), _Order(2)
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
        ({"items": [_Point(1, {1})]}, "['items'][0].y"),
        ([_Row([{1}])], "[0].value[0]"),
        ([1, b"\xff"], "[1]"),
        ({"a": {(1, 2): 3}}, "['a']"),
        ({2: {1.5: {None: {True: {b"k": {1}}}}}}, "[2][1.5][None][True][b'k']"),
        ({"a": [10**5000]}, "['a'][0]"),
        (loop, "[1]['a']"),
        ({"it's": {1}}, '["it\'s"]'),
        ({"\ud800": {1}}, "['\\ud800']"),
        ([_Color.SIZES, _Slotted({1})], "[1].inner"),
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
    assert "['a'][0].x" == _place({"a": [_Point("\ud800", 1)]}, RAW)


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
        st.builds(_Point, inner, inner),
        st.builds(_Slotted, inner),
        st.builds(_Row, inner),
        st.builds(_Order, st.integers(), inner),
    ),
    max_leaves=12,
)


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
                "point": lambda v: _Point(1, v),
                "slotted": _Slotted,
                "row": _Row,
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


@pytest.fixture
def no_marshaller(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The override point is what it was afterwards."""
    monkeypatch.setattr(serde, "marshaller", None)
    return


class _Reversed(JsonMarshaller):
    def unmarshal_request(self, request: bytes, content_type: str = JSON) -> object:
        return ["event", super().unmarshal_request(request, content_type)]

    def marshal_response(self, response: object) -> tuple[bytes, str]:
        return str(super().marshal_response({"r": response})[0], "utf-8"), "text/x"  # type: ignore[return-value]  # AWS's may be text


@pytest.mark.usefixtures("no_marshaller")
def test_marshaller_of_the_users() -> None:
    """What is put into the override point reads events and writes results from then on."""
    serde.marshaller = _Reversed()

    assert ["event", {"a": 1}] == decode_event(b'{"a": 1}', JSON)
    assert (b'{"r": 1}', "text/x") == ENCODER.encode(1)


@pytest.mark.usefixtures("no_marshaller")
def test_marshaller_of_awslambdaric() -> None:
    """AWS's own marshaller fits, and its refusals keep their type and text."""
    theirs = pytest.importorskip(
        "awslambdaric.lambda_runtime_marshaller", reason="awslambdaric is not installed here"
    )
    serde.marshaller = theirs.LambdaMarshaller()

    assert (b"[1.10]", JSON) == ENCODER.encode([decimal.Decimal("1.10")])
    with pytest.raises(Fault, match="Object of type date is not") as caught:
        ENCODER.encode(datetime.date(2026, 1, 1))
    assert names.FAULT_MARSHAL == caught.value.error_type
    with pytest.raises(Fault) as caught:
        decode_event(b"{", JSON)
    assert names.FAULT_UNMARSHAL == caught.value.error_type


@pytest.mark.usefixtures("no_marshaller")
def test_errors_of_a_marshaller_pass() -> None:
    """A marshaller's own exceptions are told as they are, like those of a handler."""

    class _Angry:
        def unmarshal_request(self, request: bytes, content_type: str) -> object:
            raise LookupError("angry")

        marshal_response = unmarshal_request

    serde.marshaller = _Angry()  # type: ignore[assignment]  # it is never satisfied

    with pytest.raises(LookupError):
        decode_event(b"1", JSON)
    with pytest.raises(TypeError):
        ENCODER.encode(1)


def test_library_that_is_not_known() -> None:
    """An unknown value is said in one line, and the default stays."""
    said: list[str] = []

    assert choose("ujson", ENCODER, said.append) is None
    assert ["LAMBDASCOPE_JSON='ujson' is not known: use orjson, or leave it out"] == said


def test_orjson_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without orjson the standard library is used, which is said in one line."""
    monkeypatch.setitem(sys.modules, "orjson", None)
    said: list[str] = []

    assert choose("orjson", ENCODER, said.append) is None
    assert 1 == len(said)
    assert said[0].startswith("LAMBDASCOPE_JSON=orjson: it cannot be imported (")


@pytest.fixture
def orjson() -> Any:
    """orjson in the override point."""
    module = pytest.importorskip("orjson", reason="orjson is not installed here")
    serde.marshaller = choose("orjson", ENCODER, print)
    yield module
    serde.marshaller = None


@pytest.mark.parametrize(
    ("value", "body"),
    [
        ({"ok": True}, b'{"ok":true}'),
        ("grüße", '"grüße"'.encode()),
        ([decimal.Decimal("1.10"), decimal.Decimal("NaN")], b"[1.10,null]"),
        ([float("nan")], b"[null]"),
        ({"p": _Point(1, b"x")}, b'{"p":{"x":1,"y":"x"}}'),
        ([_Order(1)], b'[{"number":1,"parts":null}]'),
        ([datetime.datetime(2026, 1, 2, tzinfo=UTC)], b'["2026-01-02T00:00:00+00:00"]'),
        ([pathlib.PurePosixPath("/a"), _Color.RED], b'["/a","red"]'),
        ({2: 2**80}, b'{"2": 1208925819614629174706176}'),
    ],
)
def test_orjson_writes(value: object, body: bytes, orjson: Any) -> None:
    """orjson writes by its own rules; what it refuses is written by the default ones."""
    assert (body, JSON) == ENCODER.encode(value)


@pytest.mark.usefixtures("orjson")
def test_orjson_refusals_and_bytes() -> None:
    """Bytes pass as they are, and a refusal has AWS's words and the place."""
    assert (b"raw", "application/unknown") == ENCODER.encode(b"raw")
    with pytest.raises(Fault) as caught:
        ENCODER.encode({"a": {1}})
    assert str(caught.value).endswith("Object of type set is not JSON serializable (at ['a'])")


@pytest.mark.usefixtures("orjson")
def test_orjson_reads() -> None:
    """Events are read; what orjson refuses is read, or refused, by the default rules."""
    assert {"a": [1, 2.5, None]} == decode_event(b'{"a": [1, 2.5, null]}', JSON)
    assert "\ud800" == decode_event(b'"\\ud800"', JSON)
    assert b"{}" == decode_event(b"{}", "text/plain")
    with pytest.raises(Fault, match="Unable to unmarshal input"):
        decode_event(b"{", JSON)


@patient
@given(values)
def test_orjson_never_refuses_what_the_default_takes(value: object) -> None:
    """Asking for orjson costs no result."""
    module = pytest.importorskip("orjson", reason="orjson is not installed here")
    assert module is not None
    marshaller = choose("orjson", ENCODER, print)
    assert marshaller is not None
    try:
        ENCODER.encode_json(value)
    except Fault:
        return

    assert json.loads(marshaller.marshal_response(value)[0]) is not NotImplemented


@pytest.mark.parametrize(("library", "loaded"), [("", "False"), ("orjson", "True")])
def test_orjson_is_asked_for_by_variable(library: str, loaded: str) -> None:
    """LAMBDASCOPE_JSON=orjson puts it to use in init; without that, nothing is loaded."""
    pytest.importorskip("orjson", reason="orjson is not installed here")
    code = (
        "import sys\nfrom lambdascope.runtime.serde import Encoder\n"
        "print('lambdascope.runtime.marshalling' in sys.modules)\n"
        "Encoder(ensure_ascii=True)\nprint('orjson' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=30,
        env={"LAMBDASCOPE_JSON": library},
    )

    assert ("False\n" + loaded + "\n", "") == (done.stdout, done.stderr)
