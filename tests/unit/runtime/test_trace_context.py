"""Contexts of others: which texts are one, and which propagators read which."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given
from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from lambdascope.otlp.names import FLAGS_REMOTE
from lambdascope.runtime.trace_context import baggage, extract, fields_of, traceparent, xray

T = "0af7651916cd43dd8448eb211c80319c"
S = "b7ad6b7169203331"
XRAY = f"Root=1-{T[:8]}-{T[8:]};Parent={S};Sampled=0"

GOOD = {
    f"00-{T}-{S}-01": True,
    f"00-{T}-{S}-00": False,
    f"00-{T}-{S}-ff": True,
    f"cc-{T}-{S}-01": True,
    f"cc-{T}-{S}-01-what-the-future-will-be-like": True,
    f" 00-{T}-{S}-01\t": True,
}
BAD = [
    "",
    "00",
    f"ff-{T}-{S}-01",
    f"00-{T}-{S}-01-more",
    f"00-{T}-{S}",
    f"00-{T}-{S}-1",
    f"00-{T}-{S}-0g",
    f"cc-{T}-{S}-01.more",
    f"0x-{T}-{S}-01",
    f"00-{'0' * 32}-{S}-01",
    f"00-{T}-{'0' * 16}-01",
    f"00-{T[:-1]}-{S}-01",
    f"00-{T.upper()}-{S}-01",
    f"00-{T}-{S}-01,00-{T}-{S}-01",
    "\x00" * 55,
    "x" * 100_000,
]


@pytest.mark.parametrize(("text", "sampled"), GOOD.items())
def test_traceparent(text: str, sampled: bool) -> None:
    """Every version but ff is read, as far as it is known."""
    remote = traceparent(text)

    assert remote is not None
    assert (T, S, sampled) == (remote.trace_id.hex(), remote.span_id.hex(), remote.sampled)


@pytest.mark.parametrize("text", BAD)
def test_malformed_traceparent(text: str) -> None:
    """What is malformed is no context."""
    assert traceparent(text) is None


shaped = st.builds(
    "{}-{}-{}-{}{}".format,
    st.sampled_from(["00", "01", "ff", "0", "AA"]),
    st.sampled_from([T, "0" * 32, T[1:], T.upper()]),
    st.sampled_from([S, "0" * 16, S[1:]]),
    st.sampled_from(["00", "01", "0f", "x1", "1"]),
    st.sampled_from(["", "-", "-x", "."]),
)


@given(shaped.filter(lambda text: not text.endswith("-")) | st.text())
def test_as_opentelemetry_does(text: str) -> None:
    """Nothing raises, and what is taken is what OpenTelemetry's own propagator takes."""
    context = TraceContextTextMapPropagator().extract({"traceparent": text})
    theirs = trace.get_current_span(context).get_span_context()

    ours = traceparent(text)

    assert theirs.is_valid == (ours is not None)
    if ours is not None:
        assert (theirs.trace_id, theirs.span_id, theirs.trace_flags.sampled) == (
            int.from_bytes(ours.trace_id, "big"),
            int.from_bytes(ours.span_id, "big"),
            ours.sampled,
        )


B3 = [
    ({"b3": f"{T}-{S}-1"}, True),
    ({"b3": f"{T}-{S}-d-{S}"}, True),
    ({"b3": f"{T}-{S}"}, None),
    ({"b3": f"{T[16:]}-{S}-0"}, False),
    ({"x-b3-traceid": T.upper(), "x-b3-spanid": S, "x-b3-sampled": "1"}, True),
    ({"x-b3-traceid": T, "x-b3-spanid": S, "x-b3-flags": "1", "x-b3-sampled": "0"}, True),
]


@pytest.mark.parametrize(("carrier", "sampled"), B3)
@pytest.mark.parametrize("propagator", ["b3", "b3multi"])
def test_b3(carrier: dict[str, str], sampled: bool | None, propagator: str) -> None:
    """Both forms are read; a short trace id is filled up; the decision may be left open."""
    remote = extract(carrier, (propagator,))

    assert remote is not None
    assert (S, sampled) == (remote.span_id.hex(), remote.sampled)
    assert remote.trace_id.hex().endswith(T[16:])


@pytest.mark.parametrize("text", ["0", "1", f"{T}", f"{T}-{'0' * 16}-1", f"{'0' * 32}-{S}-1", "é"])
def test_b3_without_a_context(text: str) -> None:
    """A decision alone, or what is malformed, is no context."""
    assert extract({"b3": text}, ("b3",)) is None


ALL = {"traceparent": f"00-{T}-{S}-01", "b3": f"{T}-{'1' * 16}-1", "x-amzn-trace-id": XRAY}


@pytest.mark.parametrize(
    ("propagators", "span_id"),
    [
        (("tracecontext", "baggage"), S),
        (("tracecontext", "b3"), "1" * 16),
        (("b3", "tracecontext"), S),
        (("xray",), S),
        (("xray-lambda",), ""),
        (("baggage",), ""),
        ((), ""),
    ],
)
def test_propagators_choose(propagators: tuple[str, ...], span_id: str) -> None:
    """Only the formats that are chosen are read, and the last that finds something wins."""
    remote = extract(ALL, propagators)

    assert span_id == ("" if remote is None else remote.span_id.hex())


def test_last_propagator_that_finds_nothing_takes_nothing_away() -> None:
    """A malformed header of one format leaves the other's."""
    remote = extract(ALL | {"b3": "broken"}, ("tracecontext", "b3"))

    assert remote is not None
    assert S == remote.span_id.hex()


def test_fields() -> None:
    """What is looked at is what the chosen ones read."""
    assert fields_of(("tracecontext",)) == {"traceparent", "tracestate"}
    assert fields_of(("tracecontext", "baggage")) == {"traceparent", "tracestate", "baggage"}
    assert fields_of(()) == frozenset()


def test_trace_state_and_baggage_have_bounds() -> None:
    """A trace state loses its last members, and baggage that is too long is not passed on."""
    members = ",".join(f"k{number}={'v' * 40}" for number in range(20))
    remote = traceparent(f"00-{T}-{S}-01", members)

    assert remote is not None
    assert len(remote.trace_state) <= 512
    assert members.startswith(remote.trace_state)
    assert members[len(remote.trace_state)] == ","
    assert baggage({"baggage": "a=" + "b" * 8191}) == ""
    assert baggage({"baggage": "a=b"}) == "a=b"


@pytest.mark.parametrize("text", ["a=1\r\nb=2", "é=1", "\x00"])
def test_trace_state_that_is_no_header(text: str) -> None:
    """Text that no header can hold is not passed on."""
    remote = traceparent(f"00-{T}-{S}-01", text)

    assert remote is not None
    assert remote.trace_state == ""


def test_xray_header_without_parent() -> None:
    """Without a Parent there is no span to link to."""
    assert xray(XRAY.replace("Parent", "Other")) is None
    remote = xray(XRAY)

    assert remote is not None
    assert FLAGS_REMOTE - 1 == remote.link().flags
