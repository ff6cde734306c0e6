"""Limits of OTEL_* on what the runtime itself records."""

from __future__ import annotations

import pytest

from lambdascope.otlp import names
from lambdascope.otlp.log_model import LogRecord
from lambdascope.otlp.model import Event, Link, Span
from lambdascope.runtime.otel.limits import LimitedEncoder, LogLimits, limited

protobuf = pytest.importorskip(
    "opentelemetry.proto.trace.v1.trace_pb2",
    reason="the OpenTelemetry packages are not installed here",
)
VARIABLES = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)


def make_span() -> Span:
    """A span of the invocation with more than one of everything."""
    ids = {"trace_id": b"t" * 16, "span_id": b"s" * 8}
    return Span(
        name="hello",
        **ids,
        attributes={
            names.LAMBDASCOPE_DEADLINE_MS: 17,
            names.FAAS_TRIGGER: "other",
            names.FAAS_INVOCATION_ID: "an-id-that-is-long",
            "order": "x" * 20,
            "names": ["y" * 20, 3],
        },
        events=[Event(name=f"e{n}", time_ns=n, attributes={"a": "z" * 20, "b": 2}) for n in (1, 2)],
        links=[Link(**ids, attributes={"c": "v" * 20, "d": 2}) for _ in range(2)],
    )


def read(monkeypatch: pytest.MonkeyPatch, span: Span, **limits: str) -> object:
    """The span as the official package reads it, encoded with these limits."""
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in limits.items():
        monkeypatch.setenv(f"OTEL_{variable}_LIMIT", value)
    encoder = LimitedEncoder(resource={}, scope_name="test")
    span.encoded = encoder.attributes({names.FAAS_COLDSTART: True, names.CLOUD_ACCOUNT_ID: "1"})
    return protobuf.Span.FromString(encoder.span(span))


def keys(message: object) -> list[str]:
    """The names of the attributes."""
    return [pair.key for pair in message.attributes]


def test_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many attributes ours go first, and what is left out is counted."""
    span = read(monkeypatch, make_span(), SPAN_ATTRIBUTE_COUNT="5", SPAN_EVENT_COUNT="1")

    kept = [names.FAAS_COLDSTART, names.CLOUD_ACCOUNT_ID, names.FAAS_INVOCATION_ID]
    assert [*kept, "order", "names"] == keys(span)
    assert 2 == span.dropped_attributes_count
    assert (["e2"], 1) == ([event.name for event in span.events], span.dropped_events_count)
    assert (2, 0) == (len(span.links), span.dropped_links_count)


def test_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """With limits of 0 nothing is left but what the extension decides by."""
    zero = dict.fromkeys(("ATTRIBUTE_COUNT", "SPAN_EVENT_COUNT", "SPAN_LINK_COUNT"), "0")
    span = read(monkeypatch, make_span(), **zero)

    assert [names.FAAS_COLDSTART, names.FAAS_INVOCATION_ID] == keys(span)
    assert (5, 2, 2) == (
        span.dropped_attributes_count,
        span.dropped_events_count,
        span.dropped_links_count,
    )


def test_attributes_of_events_and_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have limits of their own, which count for their number, and the general length."""
    span = read(
        monkeypatch,
        make_span(),
        EVENT_ATTRIBUTE_COUNT="1",
        LINK_ATTRIBUTE_COUNT="0",
        ATTRIBUTE_VALUE_LENGTH="4",
    )

    assert [(["a"], 1)] * 2 == [(keys(each), each.dropped_attributes_count) for each in span.events]
    assert [([], 2)] * 2 == [(keys(each), each.dropped_attributes_count) for each in span.links]
    assert {"zzzz"} == {event.attributes[0].value.string_value for event in span.events}


def test_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are cut, also in lists; ids are not."""
    span = read(monkeypatch, make_span(), SPAN_ATTRIBUTE_VALUE_LENGTH="4")
    values = {pair.key: pair.value for pair in span.attributes}

    assert "xxxx" == values["order"].string_value
    assert "yyyy" == values["names"].array_value.values[0].string_value
    assert "an-id-that-is-long" == values[names.FAAS_INVOCATION_ID].string_value
    assert "z" * 20 == span.events[0].attributes[0].value.string_value
    assert 0 == span.dropped_attributes_count


def test_log_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log records have their own limits, or the general ones."""
    monkeypatch.setenv("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "1")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
    record = LogRecord(time_ns=1, attributes={"a": "long one", "b": 2}, dropped_attributes=1)
    LogLimits().apply(record)

    assert ({"a": "lon"}, 2) == (record.attributes, record.dropped_attributes)


def test_no_limit() -> None:
    """What has no limit stays as it is."""
    attributes: dict[str, object] = {"a": "x", "b": 2}

    assert (attributes, 0) == limited(attributes, -1, -1)
