"""The override point for JSON: the user's marshaller, AWS's, orjson."""

from __future__ import annotations

import datetime
import decimal
import json
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from lambdascope.runtime import serde
from lambdascope.runtime.faults import Fault
from lambdascope.runtime.marshalling import JsonMarshaller, choose
from lambdascope.runtime.serde import decode_event
from lambdascope.wire import names
from result_kit import ENCODER, JSON, UTC, Color, Order, Point, patient, values

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        ({"p": Point(1, b"x")}, b'{"p":{"x":1,"y":"x"}}'),
        ([Order(1)], b'[{"number":1,"parts":null}]'),
        ([datetime.datetime(2026, 1, 2, tzinfo=UTC)], b'["2026-01-02T00:00:00+00:00"]'),
        ([pathlib.PurePosixPath("/a"), Color.RED], b'["/a","red"]'),
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
