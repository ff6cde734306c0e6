"""The OTLP sink, fed by the official exporters and relaying to real listeners."""

from __future__ import annotations

import gzip
import threading

import pytest
import requests
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from lambdascope.emulator.sink import MAX_BODY_BYTES, OtlpSink
from sink_kit import JSON, PROTOBUF, SPAN_ID, TRACE_ID, json_traces, one_span, sinking, tracing


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_a_span_of_the_official_exporter_is_read_field_by_field(compression: Compression) -> None:
    """Ids are hex, times whole nanoseconds, attributes Python values."""
    other = SpanContext(int(TRACE_ID, 16), int(SPAN_ID, 16), True, TraceFlags(1))
    attributes = {"s": "text", "i": -7, "f": 1.5, "b": True, "l": ("x", "y")}
    with sinking() as sink, tracing(sink, compression=compression) as tracer:
        span = tracer.start_span(
            "GET /", kind=SpanKind.SERVER, attributes=attributes, links=[Link(other, {"n": 1})]
        )
        span.add_event("retry", {"count": 2}, timestamp=1_700_000_000_000_000_003)
        span.set_status(Status(StatusCode.ERROR, "broken"))
        span.end()
        found = sink.spans()
        context = span.get_span_context()
    assert found == [
        {
            "trace_id": f"{context.trace_id:032x}",
            "span_id": f"{context.span_id:016x}",
            "parent_span_id": "",
            "trace_state": "",
            "flags": found[0]["flags"],
            "name": "GET /",
            "kind": 2,
            "start_ns": span.start_time,
            "end_ns": span.end_time,
            "attributes": {**attributes, "l": ["x", "y"]},
            "events": [
                {
                    "name": "retry",
                    "time_ns": 1_700_000_000_000_000_003,
                    "attributes": {"count": 2},
                }
            ],
            "links": [
                {
                    "trace_id": TRACE_ID,
                    "span_id": SPAN_ID,
                    "trace_state": "",
                    "flags": found[0]["links"][0]["flags"],
                    "attributes": {"n": 1},
                }
            ],
            "status_code": 2,
            "status_message": "broken",
            "dropped_attributes": 0,
            "dropped_events": 0,
            "dropped_links": 0,
            "resource": {"service.name": "shop"},
            "scope": {"name": "lib", "version": "1.2", "attributes": {}},
        }
    ]
    # What the SDK says of a parent: known not to be remote, and known to be.
    assert (found[0]["flags"] & 0x300, found[0]["links"][0]["flags"] & 0x300) == (0x100, 0x300)


def test_metrics_of_the_official_exporter_are_read() -> None:
    """A counter with its value, a histogram with its buckets, a gauge."""
    with sinking() as sink:
        exporter = OTLPMetricExporter(endpoint=f"{sink.endpoint}/v1/metrics")
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
        provider = MeterProvider([reader], shutdown_on_exit=False)
        meter = provider.get_meter("lib")
        meter.create_counter("calls", unit="1", description="how often").add(3, {"a": "b"})
        meter.create_histogram("took", explicit_bucket_boundaries_advisory=[1.0, 5.0]).record(2.5)
        meter.create_gauge("free").set(1.25)
        provider.force_flush()
        provider.shutdown()
        by_name = {metric["name"]: metric for metric in sink.metrics()}
    calls = by_name["calls"]
    assert ("sum", "1", "how often", True, 2) == tuple(
        calls[key] for key in ("type", "unit", "description", "is_monotonic", "temporality")
    )
    assert [(p["value"], p["attributes"]) for p in calls["points"]] == [(3, {"a": "b"})]
    (point,) = by_name["took"]["points"]
    assert (point["count"], point["sum"], point["min"], point["max"]) == (1, 2.5, 2.5, 2.5)
    assert (point["bucket_counts"], point["explicit_bounds"]) == ([0, 1, 0], [1.0, 5.0])
    assert [p["value"] for p in by_name["free"]["points"]] == [1.25]


def test_every_kind_of_metric_point_is_read() -> None:
    """Exponential histograms and summaries, which the SDK makes only on request, in OTLP/JSON."""
    exponential = {
        "count": "3",
        "sum": 6.5,
        "scale": 2,
        "zeroCount": "1",
        "positive": {"offset": -1, "bucketCounts": ["1", "1"]},
    }
    summary = {"count": "2", "sum": 3.0, "quantileValues": [{"quantile": 0.5, "value": 1.5}]}
    metrics = [
        {"name": "e", "exponentialHistogram": {"dataPoints": [exponential]}},
        {"name": "s", "summary": {"dataPoints": [summary]}},
        {"name": "none"},
    ]
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}
    with sinking() as sink:
        url = f"{sink.endpoint}/v1/metrics"
        requests.post(url, json=body, timeout=10).raise_for_status()
        found = {metric["name"]: metric for metric in sink.metrics()}
    (point,) = found["e"]["points"]
    assert (point["count"], point["scale"], point["zero_count"]) == (3, 2, 1)
    assert point["positive"] == {"offset": -1, "bucket_counts": [1, 1]}
    assert found["s"]["points"][0]["quantiles"] == {0.5: 1.5}
    assert (found["none"]["type"], found["none"]["points"]) == ("", [])


def test_log_records_of_the_official_exporter_are_read() -> None:
    """Severity, body, attributes and the span it belongs to."""
    with sinking() as sink:
        provider = LoggerProvider(shutdown_on_exit=False)
        exporter = OTLPLogExporter(endpoint=f"{sink.endpoint}/v1/logs")
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        provider.get_logger("lib").emit(
            LogRecord(
                timestamp=1_700_000_000_000_000_005,
                severity_number=SeverityNumber.WARN,
                severity_text="WARN",
                body={"order": 17},
                attributes={"a": 1},
            )
        )
        provider.shutdown()
        (record,) = sink.log_records()
    assert (record["time_ns"], record["severity_number"]) == (1_700_000_000_000_000_005, 13)
    assert (record["severity_text"], record["body"]) == ("WARN", {"order": 17})
    assert record["attributes"] == {"a": 1}


def test_otlp_json_has_hex_ids_and_numbers_as_text() -> None:
    """Ids are not base64, 64-bit numbers come as strings or numbers, unknown fields are ignored."""
    with sinking() as sink:
        answer = requests.post(
            f"{sink.endpoint}/v1/traces", json_traces(), headers=JSON, timeout=10
        )
        (span,) = sink.spans()
    assert (answer.status_code, answer.content) == (200, b"{}")
    assert answer.headers["Content-Type"] == "application/json"
    assert (span["trace_id"], span["span_id"], span["kind"]) == (TRACE_ID, SPAN_ID, 2)
    assert (span["start_ns"], span["end_ns"]) == (1700000000000000001, 1700000000000000002)


def test_an_empty_request_is_a_success() -> None:
    """Protobuf answers protobuf: an empty message is no bytes."""
    with sinking() as sink:
        answer = requests.post(f"{sink.endpoint}/v1/traces", b"", headers=PROTOBUF, timeout=10)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Type"] == "application/x-protobuf"


def test_gzip_members_in_a_row_are_one_body() -> None:
    """Batches are merged by concatenation, packed or not."""
    with sinking() as sink:
        body = gzip.compress(one_span("a") + one_span("b")) + gzip.compress(one_span("c"))
        headers = {**PROTOBUF, "Content-Encoding": "gzip"}
        requests.post(f"{sink.endpoint}/v1/traces", body, headers=headers, timeout=10)
        assert [span["name"] for span in sink.spans()] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "reason"),
    [
        ("/v1/traces", PROTOBUF, b"\xff\xff\xff", 400, "protobuf"),
        ("/v1/traces", JSON, b"[]", 400, "JSON"),
        ("/v1/traces", JSON, b'{"resourceSpans": 5}', 400, "JSON"),
        (
            "/v1/logs",
            JSON,
            b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"zz"}]}]}]}',
            400,
            "JSON",
        ),
        ("/v1/traces", JSON, b'{"resourceSpans":[{"schemaUrl":"\\ud800"}]}', 400, "JSON"),
        ("/v1/traces", JSON, b'{"a":' * 100_000, 400, "JSON"),
        ("/v1/traces", {"Content-Type": "text/plain"}, b"x", 415, "Content-Type"),
        ("/v1/traces", {**PROTOBUF, "Content-Encoding": "br"}, b"x", 415, "Content-Encoding"),
        ("/v1/traces", {**PROTOBUF, "Content-Encoding": "gzip"}, b"not gzip", 400, "gzip"),
        (
            "/v1/traces",
            {**PROTOBUF, "Content-Encoding": "gzip"},
            gzip.compress(b"a")[:-9],
            400,
            "cut off",
        ),
        ("/v1/profiles", PROTOBUF, b"", 404, "/v1/profiles"),
    ],
)
def test_what_is_no_otlp_is_refused_with_its_reason(
    path: str, headers: dict[str, str], body: bytes, status: int, reason: str
) -> None:
    """The sender is told, and so is whoever reads `problems`."""
    with sinking() as sink:
        answer = requests.post(f"{sink.endpoint}{path}", body, headers=headers, timeout=10)
        assert (answer.status_code, len(answer.text.splitlines())) == (status, 1)
        assert reason in answer.text
        assert [reason in problem for problem in sink.problems()] == [True]
        assert sink.received() == []


def test_only_post_is_allowed() -> None:
    """A browser that looks at a signal's path is told so."""
    with sinking() as sink:
        assert requests.get(f"{sink.endpoint}/v1/traces", timeout=10).status_code == 405


def test_a_body_that_unpacks_to_more_than_the_limit_is_refused() -> None:
    """413, without unpacking all of it."""
    bomb = gzip.compress(bytes(MAX_BODY_BYTES + 1), compresslevel=1)
    headers = {**PROTOBUF, "Content-Encoding": "gzip"}
    with sinking() as sink:
        answer = requests.post(f"{sink.endpoint}/v1/traces", bomb, headers=headers, timeout=30)
    assert answer.status_code == 413


def test_wait_for_returns_when_the_predicate_holds() -> None:
    """It is asked again for every request, and gives up in time."""
    with sinking() as sink:
        assert not sink.wait_for(lambda one: bool(one.spans()), 0.01)
        sender = threading.Thread(
            target=requests.post,
            args=(f"{sink.endpoint}/v1/traces", json_traces()),
            kwargs={"headers": JSON, "timeout": 10},
        )
        sender.start()
        assert sink.wait_for(lambda one: len(one.spans()) == 1, 20)
        sender.join(10)


def test_what_is_kept_is_bounded_and_what_is_not_is_counted() -> None:
    """The newest requests stay."""
    with sinking(kept_requests=2) as sink:
        for name in ("a", "b", "c"):
            url = f"{sink.endpoint}/v1/traces"
            requests.post(url, json_traces(name), headers=JSON, timeout=10)
        assert ([span["name"] for span in sink.spans()], sink.dropped) == (["b", "c"], 1)


def test_a_port_in_use_is_an_os_error() -> None:
    """Whoever starts the sink can say which port it was."""
    with sinking() as sink, pytest.raises(OSError, match="in use"):
        OtlpSink(port=int(sink.endpoint.rpartition(":")[2]))
