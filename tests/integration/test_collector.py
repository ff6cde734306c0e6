"""What our runtime and our extension send, read back from behind a real collector.

The function runs in our emulator, as real processes. The collector decodes with its own code, so
what is read here is what any backend would be given.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import stock_sdk
from free_ports import free_ports
from lambdascope import __version__
from lambdascope.otlp import names
from observed import PATIENT_MS, Tap, named, one, running, times

if TYPE_CHECKING:
    from collector import Collector
    from otlp_recorder import Item

pytestmark = pytest.mark.collector

TRACE_ID = "5759e988bd862e3fe1be46a994272793"
PARENT_ID = "53995c3f42cd8ad8"
TRACE_HEADER = f"Root=1-{TRACE_ID[:8]}-{TRACE_ID[8:]};Parent={PARENT_ID};Sampled=1"

ECHO = """
    def handler(event, context):
        return event
"""
# An import that takes more than 1 ms on any machine.
WITH_SLOW_IMPORT = """
    import slow_part

    def handler(event, context):
        return event
"""
TELLS_LOG_STREAM = """
    def handler(event, context):
        return context.log_stream_name
"""
SLOW_PART = """
from time import perf_counter
until = perf_counter() + 0.005
while perf_counter() < until:
    pass
"""
RAISES = """
    def look_up(order):
        raise KeyError(order)

    def handler(event, context):
        try:
            look_up(event["order"])
        except KeyError as error:
            raise LookupError("no order 17") from error
"""
PRINTS = """
    def handler(event, context):
        print("order 17")
"""
HANGS = """
    import signal

    def handler(event, context):
        while True:
            signal.pause()
"""


def trace(tmp_path: Path, collector: Collector, source: str, **options: str) -> list[Item]:
    """The spans of one cold invocation."""
    variables = {key: options.pop(key) for key in [*options] if key.startswith("LAMBDASCOPE_")}
    with running(
        tmp_path, source, endpoint=collector.http_endpoint, variables=variables
    ) as function:
        function.invoke(b'{"order": 17}', **options)
        function.shutdown()
    return collector.wait_for_spans(3)


def test_a_cold_start_is_one_trace(collector: Collector, tmp_path: Path) -> None:
    """Init with its parts and imports, invoke and report are one tree under the invoke span."""
    tmp_path.joinpath("slow_part.py").write_text(SLOW_PART)
    spans = trace(tmp_path, collector, WITH_SLOW_IMPORT)

    invoke = one(spans, "shop")
    parents = {span["spanId"]: span for span in spans}
    path = []
    span = one(spans, "import slow_part")
    while span is not invoke:
        path.append(span["name"])
        span = parents[span["parentSpanId"]]

    assert {invoke["traceId"]} == {span["traceId"] for span in spans}
    assert "" == invoke.get("parentSpanId", "")
    assert path == ["import slow_part", "import app", names.SPAN_LOAD_HANDLER, "init shop"]
    init_id = one(spans, "init shop")["spanId"]
    assert [
        names.SPAN_INTERPRETER_START,
        names.SPAN_LOAD_RUNTIME,
        names.SPAN_LOAD_HANDLER,
        names.SPAN_CONNECT_EXTENSION,
    ] == [span["name"] for span in spans if init_id == span.get("parentSpanId")]
    assert invoke["spanId"] == one(spans, "report shop")["parentSpanId"]


@pytest.mark.parametrize("source", [WITH_SLOW_IMPORT, RAISES, "import slow_part, no_such_part"])
def test_times_of_a_cold_start_fit_into_each_other(
    collector: Collector, tmp_path: Path, source: str
) -> None:
    """Init, invoke and report follow each other; parts and imports lie within their parents."""
    tmp_path.joinpath("slow_part.py").write_text(SLOW_PART)
    # The platform's times come in whole milliseconds.
    spans = trace(tmp_path, collector, source, LAMBDASCOPE_PLATFORM="none")

    phases = ("init shop", "shop", "report shop")
    parents = {span["spanId"]: span for span in spans}
    for span in spans:
        start, end = times(span)
        assert start <= end, span
        if span["name"] not in phases:
            outer = times(parents[span["parentSpanId"]])
            assert outer[0] <= start, (span, outer)
            assert end <= outer[1], (span, outer)
    if named(spans, "shop"):
        init, invoke, report = (times(one(spans, name)) for name in phases)
        assert init[1] <= invoke[0]
        assert invoke[1] == report[0]
    for span in named(spans, "import slow_part"):
        start, end = times(span)
        assert end - start >= 5_000_000


def test_resource(collector: Collector, tmp_path: Path) -> None:
    """The resource says which function, where and by what, in the conventions' names."""
    variables = {
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,team=a%2Cb",
        "OTEL_SERVICE_NAME": "orders",
    }
    with running(
        tmp_path, TELLS_LOG_STREAM, endpoint=collector.http_endpoint, variables=variables
    ) as function:
        log_stream = json.loads(function.invoke().answer)
        function.shutdown()
    span = collector.wait_for_spans(3)[0]

    resource = span["resource_attributes"]
    version = sys.version_info
    assert resource == {
        "cloud.provider": "aws",
        "cloud.platform": "aws_lambda",
        "cloud.region": "us-east-1",
        "faas.name": "shop",
        "faas.version": "$LATEST",
        "faas.instance": log_stream,
        "faas.max_memory": 512 * 1024 * 1024,
        "service.name": "orders",
        "service.instance.id": log_stream,
        "process.runtime.name": "cpython",
        "process.runtime.version": f"{version.major}.{version.minor}.{version.micro}",
        "telemetry.distro.name": "lambdascope",
        "telemetry.distro.version": __version__,
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "lambdascope",
        "telemetry.sdk.version": __version__,
        "aws.log.group.names": ["/aws/lambda/shop"],
        "aws.log.stream.names": [log_stream],
        "deployment.environment.name": "test",
        "team": "a,b",
    }
    assert {"name": "lambdascope.runtime", "version": __version__} == span["scope"]


def test_cold_then_warm(collector: Collector, tmp_path: Path) -> None:
    """The first invocation is a cold start with init; the second is not, and is its own trace."""
    variables = {"LAMBDASCOPE_PLATFORM": "none"}
    with running(tmp_path, ECHO, endpoint=collector.http_endpoint, variables=variables) as function:
        cold, warm = function.invoke(), function.invoke(qualifier="live")
        function.shutdown()
    spans = collector.wait_for_spans(5)

    first, second = named(spans, "shop")
    assert (True, False) == (
        first["attributes"]["faas.coldstart"],
        second["attributes"]["faas.coldstart"],
    )
    init = one(spans, "init shop")
    assert {"faas.coldstart": True, "lambdascope.init.type": "on-demand"} == init["attributes"]
    warm_names = [span["name"] for span in spans if span["traceId"] == second["traceId"]]
    assert ["report shop", "shop"] == sorted(warm_names)
    arn = "arn:aws:lambda:us-east-1:123456789012:function:shop"
    attributes = dict(second["attributes"])
    start_ms, end_ms = (
        attributes.pop(f"lambdascope.remaining_{end}_ms") for end in ("start", "end")
    )
    assert 0 < end_ms <= start_ms <= 20_000
    assert {
        "faas.invocation_id": warm.request_id,
        "faas.trigger": "other",
        "faas.coldstart": False,
        "cloud.account.id": "123456789012",
        "cloud.resource_id": f"{arn}:$LATEST",
        "aws.lambda.invoked_arn": f"{arn}:live",
        "aws.xray.trace_id": warm.trace_header.split(";")[0].removeprefix("Root="),
        "lambdascope.deadline_ms": warm.deadline_ms,
        "lambdascope.parent.source": "none",
        "lambdascope.parent.reason": "xray: linked, not sampled",
    } == attributes
    assert names.KIND_SERVER == second["kind"]
    assert cold.request_id == first["attributes"]["faas.invocation_id"]
    report = named(spans, "report shop")[1]
    assert {
        "faas.invocation_id": warm.request_id,
        "lambdascope.response.size": 2,
        "lambdascope.response.mode": "buffered",
        "lambdascope.response.status_code": 202,
    } == report["attributes"]
    assert names.KIND_INTERNAL == report["kind"]


def test_handler_error(collector: Collector, tmp_path: Path) -> None:
    """An exception of the handler is the span's status, its error.type and an exception event."""
    spans = trace(tmp_path, collector, RAISES)

    invoke = one(spans, "shop")
    assert {"code": names.STATUS_ERROR, "message": "no order 17"} == invoke["status"]
    assert "LookupError" == invoke["attributes"]["error.type"]
    (event,) = invoke["events"]
    stack = event["attributes"].pop("exception.stacktrace")
    assert "exception" == event["name"]
    assert {"exception.type": "LookupError", "exception.message": "no order 17"} == event[
        "attributes"
    ]
    own, cause = stack.split("Caused by ")
    assert f'File "{tmp_path}/app.py", line 9, in handler' in own
    assert cause.startswith("KeyError: 17\n")
    assert f'File "{tmp_path}/app.py", line 3, in look_up' in cause
    assert "lambdascope/runtime" not in stack
    assert "error" == one(spans, "report shop")["attributes"]["lambdascope.response.mode"]
    assert {} == {key: 1 for key, value in one(spans, "init shop")["status"].items() if value}


def test_timeout(collector: Collector, tmp_path: Path) -> None:
    """The span of an invocation that was cut off arrives, with the reason, and init with it."""
    with running(tmp_path, HANGS, endpoint=collector.http_endpoint, timeout_ms=1000) as function:
        record = function.invoke()
        function.shutdown()
    spans = collector.wait_for_spans(2)

    assert "timeout" == record.status
    invoke = one(spans, "shop")
    assert record.request_id == invoke["attributes"]["faas.invocation_id"]
    assert "timeout" == invoke["attributes"]["error.type"]
    assert names.STATUS_ERROR == invoke["status"]["code"]
    start, end = times(invoke)
    assert 900_000_000 < end - start < 2_000_000_000
    assert invoke["spanId"] == one(spans, "init shop")["parentSpanId"]
    assert [] == named(spans, "report shop")


def test_xray_header_is_a_link(collector: Collector, tmp_path: Path) -> None:
    """Elsewhere than in X-Ray its parent would be missing, so the trace has a root of its own."""
    spans = trace(tmp_path, collector, ECHO, trace_header=TRACE_HEADER)

    invoke = one(spans, "shop")
    assert "" == invoke.get("parentSpanId", "")
    assert TRACE_ID != invoke["traceId"]
    (link,) = invoke["links"]
    assert (TRACE_ID, PARENT_ID) == (link["traceId"], link["spanId"])
    assert f"1-{TRACE_ID[:8]}-{TRACE_ID[8:]}" == invoke["attributes"]["aws.xray.trace_id"]


def test_xray_header_is_the_parent_on_request(collector: Collector, tmp_path: Path) -> None:
    """With LAMBDASCOPE_XRAY=parent the whole trace, init too, is in the X-Ray trace."""
    spans = trace(tmp_path, collector, ECHO, LAMBDASCOPE_XRAY="parent", trace_header=TRACE_HEADER)

    invoke = one(spans, "shop")
    assert PARENT_ID == invoke["parentSpanId"]
    assert {TRACE_ID} == {span["traceId"] for span in spans}
    assert [] == invoke.get("links", [])
    assert invoke["spanId"] == one(spans, "init shop")["parentSpanId"]


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_every_span_arrives_exactly_once(
    collector: Collector, tmp_path: Path, compression: str
) -> None:
    """Of 20 invocations in a row no span is missing after shutdown and none is there twice."""
    variables = {
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
        "LAMBDASCOPE_HOLD_BUDGET_MS": PATIENT_MS,
    }
    with (
        Tap(collector.http_endpoint) as tap,
        running(tmp_path, ECHO, endpoint=tap.endpoint, variables=variables) as function,
    ):
        records = [function.invoke() for _ in range(20)]
        function.shutdown()
    # 20 times invoke and report, init and its four parts; perhaps imports.
    spans = collector.wait_for_spans(45)

    request_ids = {record.request_id: 1 for record in records}
    for name in ("shop", "report shop"):
        arrived = Counter(span["attributes"]["faas.invocation_id"] for span in named(spans, name))
        assert request_ids == arrived
    one(spans, "init shop")
    assert [] == [key for key, n in Counter(span["spanId"] for span in spans).items() if n > 1]
    assert not [line for line in function.lines.texts("extension") if "lambdascope:" in line]
    # The first leaves at its end, the rest is too close together for that.
    assert 2 <= len(tap.requests) < 10
    encodings = {request.get("content-encoding", "none") for request in tap.requests}
    assert {compression} == encodings


def test_a_stock_sdk_is_forwarded(collector: Collector, tmp_path: Path) -> None:
    """Metrics, log records and spans that an SDK posts to the extension reach the collector."""
    (port,) = free_ports(1)
    with running(
        tmp_path,
        Path(stock_sdk.__file__).read_text(),
        endpoint=collector.http_endpoint,
        variables={"LAMBDASCOPE_OTLP_PORT": str(port), "LAMBDASCOPE_PLATFORM": "none"},
    ) as function:
        assert b'"send"' == function.invoke(b'"send"').answer
        function.shutdown()

    (metric,) = collector.wait_for_metrics(1)
    (point,) = metric["sum"]["dataPoints"]
    assert "orders" == metric["name"]
    assert ("3", {"kind": "book"}) == (str(point["asInt"]), point["attributes"])
    (record,) = collector.wait_for_log_records(1)
    assert ("order 17 is late", "WARN") == (record["body"], record["severityText"])
    pack = one(collector.wait_for_spans(4), "pack")
    assert {"order": 17} == pack["attributes"]
    for item in (metric, record, pack):
        assert "stock" == item["resource_attributes"]["service.name"]


def test_the_platforms_records_arrive(collector: Collector, tmp_path: Path) -> None:
    """Metrics, lines and spans that the extension makes of the platform's records are decoded by
    the collector as what they are."""
    with running(
        tmp_path,
        PRINTS,
        endpoint=collector.http_endpoint,
        variables={"LAMBDASCOPE_LOGS": "otlp", "LAMBDASCOPE_HOLD_BUDGET_MS": PATIENT_MS},
    ) as function:
        record = function.invoke()
        function.shutdown()

    spans = collector.wait_for_spans(5)
    invoke, report = one(spans, "shop"), one(spans, names.SPAN_PLATFORM_REPORT)
    assert (invoke["traceId"], invoke["spanId"]) == (report["traceId"], report["parentSpanId"])
    assert record.request_id == report["attributes"]["faas.invocation_id"]
    metrics = {metric["name"]: metric for metric in collector.wait_for_metrics(8)}
    (invocations,) = metrics[names.FAAS_INVOCATIONS]["sum"]["dataPoints"]
    assert ("1", {"faas.trigger": "other"}) == (
        str(invocations["asInt"]),
        invocations["attributes"],
    )
    assert (
        names.TEMPORALITY_DELTA == metrics[names.FAAS_INVOCATIONS]["sum"]["aggregationTemporality"]
    )
    histogram = metrics[names.FAAS_INVOKE_DURATION]
    assert "s" == histogram["unit"]
    (durations,) = histogram["histogram"]["dataPoints"]
    assert list(names.LONG_DURATION_BOUNDS) == durations["explicitBounds"]
    assert "1" == str(durations["count"])
    (line,) = collector.wait_for_log_records(1)
    assert ("order 17", invoke["traceId"], invoke["spanId"]) == (
        line["body"],
        line["traceId"],
        line["spanId"],
    )
    assert (
        invoke["resource_attributes"]["faas.instance"]
        == line["resource_attributes"]["faas.instance"]
    )
