"""Finding the requests that tell of a failure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.otlp.failures import has_failed_span


@given(
    codes=st.lists(st.lists(st.integers(0, 2), max_size=4), max_size=4),
    name=st.binary(max_size=4),
)
def test_failed_spans_are_found(codes: list[list[int]], name: bytes) -> None:
    """A span with the status "error" anywhere in a request is found, and nothing else is."""
    message = ExportTraceServiceRequest()
    for spans in codes:
        scope = message.resource_spans.add().scope_spans.add()
        for code in spans:
            span = scope.spans.add(trace_id=b"\x18\x02" * 8, span_id=name, name="\x18\x02")
            span.attributes.add(key="code").value.int_value = 2
            span.status.code = code  # type: ignore[assignment]
            span.status.message = "\x18\x02"

    assert any(2 in spans for spans in codes) == has_failed_span(message.SerializeToString())


@given(body=st.binary(max_size=60))
def test_no_failed_span_in_garbage(body: bytes) -> None:
    """Whatever the bytes are, there is an answer."""
    assert has_failed_span(body + b"\x18\x02") in (True, False)


def test_search_for_failed_spans_is_bounded() -> None:
    """A request of very many fields is not searched to its end."""
    assert not has_failed_span(b"\x0a\x00" * 200_000 + b"\x18\x02")
