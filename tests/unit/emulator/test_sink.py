"""The OTLP sink, fed by the official exporters and relaying to real listeners."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from lambdascope.emulator.sink import MAX_BODY_BYTES, OtlpSink
from lambdascope.transport.listener import Exchange, Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
def collecting(handle: Callable[[Exchange], None]) -> Iterator[str]:
    """A collector of one's own making for the length of a block; its URL."""
    listener = Listener(handle, name="collector")
    listener.start()
    try:
        yield f"http://{listener.address}"
    finally:
        listener.close()


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


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


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


def one_span(name: str) -> bytes:
    """A trace request in protobuf, from the official classes."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.add(name=name)
    return request.SerializeToString()


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


# --- Relay ----------------------------------------------------------------------------------------


def test_the_collector_gets_the_very_request_and_the_sender_the_very_answer() -> None:
    """Path, body and headers as they were sent, also a coding; status, type and body back."""
    seen: list[tuple[str, str, dict[str, str], bytes]] = []

    def collector(exchange: Exchange) -> None:
        body = exchange.read_body(1_000_000)
        seen.append((exchange.method, exchange.target, exchange.headers, body))
        exchange.respond(
            202, (("Content-Type", "application/json"), ("X-Other", "1")), b'{"from":"it"}'
        )

    packed = gzip.compress(one_span("x"))
    headers = {
        **PROTOBUF,
        "Content-Encoding": "gzip",
        "Api-Key": "naïve".encode(),
        "User-Agent": "sender/1",
        "Lambdascope-Token": "0" * 32,
    }
    with collecting(collector) as url, sinking(relay_to=f"{url}/base/") as sink:
        answer = requests.post(f"{sink.endpoint}/v1/traces", packed, headers=headers, timeout=10)
        assert [span["name"] for span in sink.spans()] == ["x"]
        assert [one.status for one in sink.received()] == [202]
    assert (answer.status_code, answer.content) == (202, b'{"from":"it"}')
    assert answer.headers["Content-Type"] == "application/json"
    method, target, arrived, body = seen[0]
    assert (method, target, body) == ("POST", "/base/v1/traces", packed)
    assert (arrived["user-agent"], arrived["api-key"]) == ("sender/1", "naïve")
    assert (arrived["content-encoding"], arrived["host"]) == ("gzip", url.removeprefix("http://"))
    # The token of the handoff inside the environment is nobody's business outside of it.
    assert "lambdascope-token" not in arrived


def test_two_sinks_in_a_row_both_have_what_the_official_exporter_sent() -> None:
    """The exporter is content, and the second sink has the same span."""
    with sinking() as collector, sinking(relay_to=collector.endpoint) as sink:
        with tracing(sink, compression=Compression.Gzip) as tracer:
            tracer.start_span("relayed").end()
        assert [span["name"] for span in sink.spans()] == ["relayed"]
        assert sink.spans() == collector.spans()


def test_whole_urls_for_single_signals_are_used() -> None:
    """A collector with another path for traces; a signal without a URL is told so."""
    paths: list[str] = []

    def collector(exchange: Exchange) -> None:
        exchange.read_body(1_000_000)
        paths.append(exchange.target)
        exchange.respond(200)

    with collecting(collector) as url, sinking(relay_to={"/v1/traces": f"{url}/in?x=1"}) as sink:
        traces = requests.post(f"{sink.endpoint}/v1/traces", b"", headers=PROTOBUF, timeout=10)
        logs = requests.post(f"{sink.endpoint}/v1/logs", b"", headers=PROTOBUF, timeout=10)
    assert (traces.status_code, paths) == (200, ["/in?x=1"])
    assert (logs.status_code, logs.text) == (502, "no collector is configured for /v1/logs\n")


def test_a_dead_port_is_502_with_address_and_reason() -> None:
    """The sender learns which collector could not be reached and why; credentials stay hidden."""
    port = free_port()
    with sinking(relay_to=f"http://user:secret@127.0.0.1:{port}") as sink:
        answer = requests.post(
            f"{sink.endpoint}/v1/traces", json_traces(), headers=JSON, timeout=10
        )
        said = f"cannot reach the collector at http://127.0.0.1:{port}/v1/traces: "
        assert (answer.status_code, answer.text) == (502, f"{said}Connection refused\n")
        assert sink.problems() == [answer.text.rstrip()]
        # The spans are shown all the same.
        assert [span["name"] for span in sink.spans()] == ["one"]


@pytest.mark.parametrize("url", ["notaurl", "user:secret@notaurl", "notaurl?key=secret"])
def test_an_endpoint_without_scheme_is_said_as_it_is(url: str) -> None:
    """The sender sees what was configured, without what may be secret."""
    with sinking(relay_to={"/v1/traces": url}) as sink:
        answer = requests.post(f"{sink.endpoint}/v1/traces", b"", headers=PROTOBUF, timeout=10)
    assert 502 == answer.status_code
    reason = "the address must begin with http:// or https://"
    assert f"cannot reach the collector at notaurl: {reason}\n" == answer.text


def test_a_name_that_does_not_resolve_is_502() -> None:
    """The reason is the resolver's."""
    with sinking(relay_to="http://collector.invalid:4318") as sink:
        answer = requests.post(f"{sink.endpoint}/v1/logs", b"", headers=PROTOBUF, timeout=30)
    assert answer.status_code == 502
    assert answer.text.startswith(
        "cannot reach the collector at http://collector.invalid:4318/v1/logs: "
    )
    assert "<" not in answer.text


def test_a_collector_that_hangs_is_502_in_time() -> None:
    """The sender is not held for ever."""
    release = threading.Event()

    def collector(exchange: Exchange) -> None:
        exchange.read_body(1_000_000)
        release.wait(30)
        exchange.abort()

    with collecting(collector) as url, sinking(relay_to=url, relay_timeout_s=0.2) as sink:
        answer = requests.post(f"{sink.endpoint}/v1/traces", b"", headers=PROTOBUF, timeout=10)
        release.set()
    assert (answer.status_code, answer.text.endswith(": no answer in time\n")) == (502, True)


def test_a_401_reaches_the_exporter_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    """The official exporter does not retry it and says what it was."""
    calls: list[str] = []

    def collector(exchange: Exchange) -> None:
        exchange.read_body(1_000_000)
        calls.append(exchange.headers.get("api-key", ""))
        exchange.respond(401, (("Content-Type", "text/plain"),), b"who are you?")

    with (
        caplog.at_level(logging.ERROR),
        collecting(collector) as url,
        sinking(relay_to=url) as sink,
        tracing(sink, headers={"api-key": "wrong"}) as tracer,
    ):
        tracer.start_span("refused").end()
        assert [one.status for one in sink.received()] == [401]
    assert calls == ["wrong"]
    assert "code: 401, reason: Unauthorized" in caplog.text


def test_what_the_sender_repeats_after_a_failure_is_kept_once() -> None:
    """A retry of the same body is the same telemetry; a second success is not."""
    statuses = [503, 503, 200, 200]

    def collector(exchange: Exchange) -> None:
        exchange.read_body(1_000_000)
        exchange.respond(statuses.pop(0))

    with collecting(collector) as url, sinking(relay_to=url) as sink:
        for expected in (503, 503, 200):
            answer = requests.post(
                f"{sink.endpoint}/v1/traces", json_traces(), headers=JSON, timeout=10
            )
            assert answer.status_code == expected
            assert len(sink.spans()) == 1
        requests.post(f"{sink.endpoint}/v1/traces", json_traces(), headers=JSON, timeout=10)
        assert len(sink.spans()) == 2


def test_a_collector_may_take_what_the_sink_cannot_read() -> None:
    """The sink notes the problem, the collector decides."""
    with (
        collecting(lambda exchange: exchange.respond(200)) as url,
        sinking(relay_to=url) as sink,
    ):
        answer = requests.post(
            f"{sink.endpoint}/v1/traces", b"\xff\xff", headers=PROTOBUF, timeout=10
        )
        assert (answer.status_code, sink.spans()) == (200, [])
        assert ["protobuf" in problem for problem in sink.problems()] == [True]
