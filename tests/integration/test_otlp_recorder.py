"""The recorder behind the collector, taken by itself, with OpenTelemetry's exporter as sender."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from otlp_recorder import OtlpRecorder, plain

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def recorder() -> Iterator[OtlpRecorder]:
    """A listening recorder of the test's own."""
    with OtlpRecorder() as listening:
        yield listening


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_protobuf_comes_out_as_otlp_json(recorder: OtlpRecorder, compression: Compression) -> None:
    """Ids of a protobuf body read as hex and its attributes as plain values, as from JSON."""
    provider = TracerProvider()
    exporter = OTLPSpanExporter(f"{recorder.endpoint}/v1/traces", compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with provider.get_tracer("direct").start_as_current_span("one") as sent:
        sent.set_attribute("count", 2**60)
    provider.shutdown()

    (span,) = recorder.wait_for_spans(1)
    context = sent.get_span_context()
    assert f"{context.trace_id:032x}" == span["traceId"]
    assert f"{context.span_id:016x}" == span["spanId"]
    assert span["attributes"] == {"count": 2**60}
    assert span["resource_attributes"]["telemetry.sdk.language"] == "python"
    assert span["scope"]["name"] == "direct"


@pytest.mark.parametrize(
    ("path", "content_type", "body", "why"),
    [
        ("/v1/traces", "application/json", b"{", "Expecting property name"),
        ("/v1/traces", "application/json", b"[]", "not a JSON object"),
        ("/v1/traces", "application/x-protobuf", b"\xff", "protobuf|parsing|Truncated"),
        ("/v1/traces", "text/html", b"", "not one of OTLP"),
        ("/v1/nothing", "application/json", b"{}", "no signal"),
    ],
)
def test_what_it_cannot_read_is_refused_and_told(
    recorder: OtlpRecorder, path: str, content_type: str, body: bytes, why: str
) -> None:
    """An unreadable body gets 400, and whoever waits in vain is told of it."""
    headers = {"Content-Type": content_type}
    answer = requests.post(recorder.endpoint + path, data=body, headers=headers, timeout=10)

    assert answer.status_code == 400
    with pytest.raises(AssertionError, match=f"refused: .*{path}.*({why})"):
        recorder.wait_for_spans(1, timeout_s=0)


def test_each_kind_of_value_has_its_python_form() -> None:
    """AnyValues become str, bool, int, float, bytes, list and dict; an empty one is None."""
    pairs = [{"key": "k", "value": {"arrayValue": {"values": [{"boolValue": True}, {}]}}}]
    values = {
        "stringValue": ("a", "a"),
        "intValue": ("-5", -5),
        "doubleValue": ("Infinity", float("inf")),
        "bytesValue": ("AAE=", b"\0\1"),
        "kvlistValue": ({"values": pairs}, {"k": [True, None]}),
    }
    assert {kind: plain({kind: sent}) for kind, (sent, _) in values.items()} == {
        kind: expected for kind, (_, expected) in values.items()
    }
