"""What the tests of the sink share: the sink, the official exporter, requests to send."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from lambdascope.emulator.sink import OtlpSink

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOBUF = {"Content-Type": "application/x-protobuf"}
JSON = {"Content-Type": "application/json"}
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"


@contextmanager
def sinking(**options: Any) -> Iterator[OtlpSink]:
    """A sink for the length of a block."""
    sink = OtlpSink(**options)
    sink.start()
    try:
        yield sink
    finally:
        sink.close()


@contextmanager
def tracing(sink: OtlpSink, **options: Any) -> Iterator[Any]:
    """A tracer of the official SDK that exports each span when it ends."""
    exporter = OTLPSpanExporter(endpoint=f"{sink.endpoint}/v1/traces", **options)
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    try:
        yield provider.get_tracer("lib", "1.2")
    finally:
        provider.shutdown()


def json_traces(name: str = "one") -> bytes:
    """A trace request in OTLP/JSON with one span."""
    span = {
        "traceId": TRACE_ID,
        "spanId": SPAN_ID,
        "name": name,
        "kind": 2,
        "startTimeUnixNano": "1700000000000000001",
        "endTimeUnixNano": 1700000000000000002,
        "unknownField": {"a": 1},
    }
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


def one_span(name: str) -> bytes:
    """A trace request in protobuf, from the official classes."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name=name)
    return request.SerializeToString()
