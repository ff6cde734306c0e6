"""The collector helper, proved with OpenTelemetry's own SDK and exporters as senders."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import requests
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
    OTLPSpanExporter as HttpExporter,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind

from collector import Collector, CollectorError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.collector


def send_two_spans(exporter: SpanExporter) -> tuple[str, str]:
    """Sends `outer` and its child `inner` with the SDK; answers trace id and outer's span id."""
    provider = TracerProvider(resource=Resource({"service.name": "two-spans", "replicas": 3}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("proof", "1.5")
    with tracer.start_as_current_span("outer", kind=SpanKind.SERVER) as outer:
        outer.add_event("halfway", {"left.ms": 12})
        with tracer.start_as_current_span("inner") as inner:
            inner.set_attributes({"text": "ü", "count": 2**60, "share": 0.5, "on": True})
            inner.set_attribute("list", ["a", "b"])
    assert provider.force_flush(10_000)
    provider.shutdown()
    context = outer.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def exporter(how: str, collector: Collector) -> SpanExporter:
    """OpenTelemetry's own exporter of that kind, set up for this collector."""
    if how == "grpc":
        return GrpcExporter(endpoint=collector.grpc_endpoint)
    compression = Compression.Gzip if how == "http gzip" else Compression.NoCompression
    return HttpExporter(f"{collector.http_endpoint}/v1/traces", compression=compression)


@pytest.mark.parametrize("how", ["http", "http gzip", "grpc"])
def test_two_spans_of_the_official_exporter_come_out_whole(collector: Collector, how: str) -> None:
    """What an SDK sends is read back with its resource, scope, ids and typed attributes."""
    trace_id, outer_id = send_two_spans(exporter(how, collector))

    spans = {span["name"]: span for span in collector.wait_for_spans(2)}

    assert {"outer", "inner"} == set(spans)
    outer, inner = spans["outer"], spans["inner"]
    assert outer["resource_attributes"] == {"service.name": "two-spans", "replicas": 3}
    assert (outer["scope"]["name"], outer["scope"]["version"]) == ("proof", "1.5")
    assert (trace_id, outer_id, SpanKind.SERVER.value + 1) == (
        outer["traceId"],
        outer["spanId"],
        outer["kind"],
    )
    assert (trace_id, outer_id) == (inner["traceId"], inner["parentSpanId"])
    assert [(event["name"], event["attributes"]) for event in outer["events"]] == [
        ("halfway", {"left.ms": 12})
    ]
    expected = {"text": "ü", "count": 2**60, "share": 0.5, "on": True, "list": ["a", "b"]}
    assert expected == inner["attributes"]
    assert outer["attributes"] == {}


def test_metrics_and_logs_pass_too(collector: Collector) -> None:
    """All three signals have a pipeline, and a log's body comes out as its plain value."""
    metric = {"name": "n", "sum": {"dataPoints": [{"asInt": "4"}], "aggregationTemporality": 1}}
    record = {"timeUnixNano": "1", "body": {"stringValue": "hello"}}
    for path, resources, scopes, items in (
        ("/v1/metrics", "resourceMetrics", "scopeMetrics", {"metrics": [metric]}),
        ("/v1/logs", "resourceLogs", "scopeLogs", {"logRecords": [record]}),
    ):
        answer = requests.post(
            collector.http_endpoint + path, json={resources: [{scopes: [items]}]}, timeout=10
        )
        assert answer.status_code == 200, answer.text

    assert [one["name"] for one in collector.wait_for_metrics(1)] == ["n"]
    assert [one["body"] for one in collector.wait_for_log_records(1)] == ["hello"]


def test_the_sender_gets_the_collectors_own_refusal(collector: Collector) -> None:
    """Bytes that are not OTLP are refused with 400 by the collector, and nothing is recorded."""
    answer = requests.post(
        collector.http_endpoint + "/v1/traces",
        data=b"\xff\xff not protobuf",
        headers={"Content-Type": "application/x-protobuf"},
        timeout=10,
    )
    assert answer.status_code == 400
    assert collector.recorder.bodies == []


def test_waiting_in_vain_says_what_arrived(collector: Collector) -> None:
    """A time-out names the spans that did arrive and shows the collector's log."""
    send_two_spans(exporter("http", collector))
    collector.wait_for_spans(2)
    with pytest.raises(AssertionError, match=r"2 of 3 spans arrived(?s:.*)printed:\n.*\w"):
        collector.wait_for_spans(3, timeout_s=0.1)


def test_two_collectors_run_side_by_side_and_are_gone_afterwards(
    collector: Collector, collector_binary: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each collector has ports of its own, and leaving the block ends its process."""
    with Collector(collector_binary, tmp_path_factory.mktemp("second")) as second:
        ports = {collector.http_port, collector.grpc_port, second.http_port, second.grpc_port}
        assert len(ports) == 4
        pid = second.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_collector_that_ends_at_once_is_reported_with_its_words(tmp_path: Path) -> None:
    """A binary that refuses its command line fails the start at once, with what it printed."""
    broken = tmp_path / "otelcol"
    broken.write_text("#!/bin/sh\necho no such flag >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(CollectorError, match="no such flag"), Collector(broken, tmp_path):
        pass
