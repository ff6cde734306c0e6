"""A span that has just begun, in few bytes: the same as by the general way, without its end."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider

from lambdascope.otlp.encode import TraceEncoder
from lambdascope.runtime.otel.convert import opened, span_of


@pytest.mark.parametrize("kind", list(trace.SpanKind))
@pytest.mark.parametrize("with_parent", [False, True])
def test_same_as_by_the_general_way(kind: trace.SpanKind, with_parent: bool) -> None:
    """Ids, parent, name, kind, start, attributes and flags are those of the whole span."""
    tracer = TracerProvider().get_tracer("app")
    context = trace.set_span_in_context(tracer.start_span("parent")) if with_parent else None
    attributes = {"url.path": "/ä", "count": 3, "list": ["a", "b"]}
    span = tracer.start_span("GET /", context=context, kind=kind, attributes=attributes)

    whole = Span.FromString(TraceEncoder(resource={}, scope_name="").span(span_of(span)))
    short = Span.FromString(opened(span, span.get_span_context(), 0))
    # The general way writes an empty status too.
    whole.ClearField("status")
    assert whole == short
