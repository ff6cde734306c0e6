"""Spans are found, marked and taken apart without decoding, held against the official package."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from lambdascope.otlp.attributes import AttributeWriter
from lambdascope.otlp.span_walk import (
    COLD_START,
    ERROR,
    EXPLICIT,
    TIMEOUT,
    iter_spans,
    parted,
    reason_to_keep,
    with_fields,
)
from unit.otlp.official import patient

TRACES = [bytes([number]) * 16 for number in range(3)]


@st.composite
def requests(draw: Any) -> ExportTraceServiceRequest:
    """A request of a few traces in some resources and scopes."""
    request = ExportTraceServiceRequest()
    for number in range(draw(st.integers(0, 3))):
        resource = request.resource_spans.add(schema_url="r" * number)
        resource.resource.dropped_attributes_count = number
        for _ in range(draw(st.integers(0, 2))):
            scope = resource.scope_spans.add(schema_url=draw(st.text(max_size=200)))
            for _ in range(draw(st.integers(0, 3))):
                span = scope.spans.add(
                    trace_id=draw(st.sampled_from(TRACES)),
                    name=draw(st.text(max_size=100)),
                    parent_span_id=draw(st.sampled_from([b"", b"parentid"])),
                    kind=draw(st.integers(0, 5)),
                    start_time_unix_nano=draw(st.integers(0, 2**63)),
                    end_time_unix_nano=draw(st.integers(0, 2**63)),
                )
                span.status.code = draw(st.integers(0, 2))
    return request


def every(request: ExportTraceServiceRequest) -> list[Any]:
    """Its spans."""
    return [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


@patient
@given(requests())
def test_what_is_read_of_spans(request: ExportTraceServiceRequest) -> None:
    """All of them in order, with the fields that the official package reads."""
    body = request.SerializeToString()
    failed = any(span.status.code == 2 for span in every(request))
    assert [
        (
            span.trace_id,
            bool(span.parent_span_id),
            span.kind,
            max(0, span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000,
            ERROR if span.status.code == 2 else "",
        )
        for span in every(request)
    ] == [
        (
            found.trace_id,
            found.has_parent,
            found.kind,
            found.duration_ms,
            found.reason(body, failed=failed),
        )
        for found in iter_spans(body)
    ]


@patient
@given(requests(), st.data())
def test_a_span_that_is_marked(request: ExportTraceServiceRequest, data: Any) -> None:
    """It has the attribute, and nothing else in the request has changed."""
    body = request.SerializeToString()
    found = list(iter_spans(body))
    if not found:
        return
    number = data.draw(st.integers(0, len(found) - 1))
    text = data.draw(st.sampled_from(["x", "y" * 200]))
    chunks: list[bytes] = []
    AttributeWriter().write(b"\x4a", {"why": text}, chunks)
    marked = ExportTraceServiceRequest.FromString(
        with_fields(body, found[number], b"".join(chunks))
    )
    every(request)[number].attributes.append(KeyValue(key="why", value={"string_value": text}))
    assert request == marked


@patient
@given(requests())
def test_parts_are_the_request_without_the_other_traces(
    request: ExportTraceServiceRequest,
) -> None:
    """Each part has its traces' spans with what is around them, and all parts have all spans."""

    def part_of(trace_id: bytes) -> str:
        return "odd" if trace_id[0] % 2 else "even"

    parts = parted(request.SerializeToString(), part_of)
    for part, (body, count) in parts.items():
        expected = ExportTraceServiceRequest()
        for resource in request.resource_spans:
            kept = expected.resource_spans.add()
            kept.CopyFrom(resource)
            del kept.scope_spans[:]
            for scope in resource.scope_spans:
                spans = [one for one in scope.spans if part_of(one.trace_id) == part]
                if spans:
                    kept.scope_spans.add().CopyFrom(scope)
                    del kept.scope_spans[-1].spans[:]
                    kept.scope_spans[-1].spans.extend(spans)
            if not kept.scope_spans:
                del expected.resource_spans[-1]
        assert expected == ExportTraceServiceRequest.FromString(body)
        assert count == len(every(expected))
    assert len(every(request)) == sum(count for _, count in parts.values())


@patient
@given(requests(), st.data())
def test_damaged_requests(request: ExportTraceServiceRequest, data: Any) -> None:
    """Whatever the bytes are, there are spans or a ValueError."""
    body = bytearray(request.SerializeToString() + b"\x0a\x02\x12\x00")
    for _ in range(3):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(body)
    try:
        for found in iter_spans(damaged):
            assert found.duration_ms >= 0
            assert isinstance(found.reason(damaged, failed=True), str)
        parted(damaged, bytes.hex)
    except ValueError:
        return


@pytest.mark.parametrize(
    ("attributes", "failed", "reason"),
    [
        ({"faas.coldstart": True}, False, COLD_START),
        ({"faas.coldstart": False}, False, ""),
        ({"sampling.keep": True}, False, EXPLICIT),
        ({"sampling.keep": 1}, False, EXPLICIT),
        ({"lambdascope.keep": "true"}, False, EXPLICIT),
        ({"lambdascope.keep": "false", "sampling.keep": 0}, False, ""),
        ({"my.sampling.keep": True}, False, ""),
        ({"sampling.keep": True, "faas.coldstart": True}, True, ERROR),
        ({"error.type": "timeout"}, True, TIMEOUT),
        ({"error.type": "timeouts"}, True, ERROR),
    ],
)
def test_reasons(attributes: dict[str, object], failed: bool, reason: str) -> None:
    """By the bytes of attributes, wherever they are."""
    chunks: list[bytes] = []
    AttributeWriter().write(b"\x4a", attributes, chunks)
    assert reason == reason_to_keep(b"".join(chunks), failed=failed)
