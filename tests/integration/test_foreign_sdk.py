"""Functions with AWS's own runtime clients and stock OpenTelemetry SDKs beside our extension.

It forwards what they send, and finds by itself where the platform's report of each invocation
belongs: nothing of ours is in the function.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import stock_function
from free_ports import free_ports
from observed import PATIENT_MS, named, one, running

if TYPE_CHECKING:
    from collector import Collector
    from otlp_recorder import Item

pytestmark = pytest.mark.foreign

SERVER = 2
PYTHON = ["proto", "proto+gzip", "json", "json+gzip"]
NODE = ["proto", "proto+gzip", "http", "http+gzip"]


def settings(runtime: tuple[str, ...], exporter: str, **variables: str) -> dict[str, Any]:
    """Of a function that has nothing of ours but the extension."""
    (port,) = free_ports(1)
    known = {
        "LAMBDASCOPE_OTLP_PORT": str(port),
        "LAMBDASCOPE_HOLD_BUDGET_MS": PATIENT_MS,
        "STOCK_EXPORTER": exporter,
        **variables,
    }
    return {"runtime": runtime, "variables": known}


@pytest.mark.parametrize("exporter", PYTHON)
def test_python(foreign_python: Path, collector: Collector, tmp_path: Path, exporter: str) -> None:
    """Each invocation is one trace: the stock spans, and the platform's report under them."""
    (tmp_path / "layer.py").write_text(stock_function.LAYER)
    function_settings = settings(
        (str(foreign_python), "-m", "awslambdaric", "layer.handler"),
        exporter,
        ORIG_HANDLER="app.handler",
    )
    source = Path(stock_function.__file__).read_text()
    with running(
        tmp_path, source, endpoint=collector.http_endpoint, **function_settings
    ) as function:
        records = [function.invoke(json.dumps(event).encode()) for event in (1, "raise", 2)]
        function.shutdown()
        spans = collector.wait_for_spans(3 * 3 + 1)
        check_no_complaints(function.lines.texts())

    assert ["1", "2"] == [records[0].answer.decode(), records[2].answer.decode()]
    assert "ValueError" == json.loads(records[1].answer)["errorType"]
    check_traces(spans, [record.request_id for record in records])
    assert [2] == [span["status"]["code"] for span in named(spans, "pack") if span["status"]]


def test_python_that_runs_out_of_time(
    foreign_python: Path, collector: Collector, tmp_path: Path
) -> None:
    """What the SDK had not sent is lost with its process; that there was a timeout is told."""
    (tmp_path / "layer.py").write_text(stock_function.LAYER)
    function_settings = settings(
        (str(foreign_python), "-m", "awslambdaric", "layer.handler"),
        "proto",
        ORIG_HANDLER="app.handler",
    )
    source = Path(stock_function.__file__).read_text()
    with running(
        tmp_path,
        source,
        endpoint=collector.http_endpoint,
        timeout_ms=2000,
        **function_settings,
    ) as function:
        first, second = function.invoke(b'"sleep"'), function.invoke(b"1")
        function.shutdown()
        spans = collector.wait_for_spans(3 + 3)
        metrics = collector.wait_for_metrics(1)

    assert ("timeout", b"1") == (first.status, second.answer)
    reports = {
        span["attributes"]["faas.invocation_id"]: span for span in named(spans, "platform report")
    }
    assert {first.request_id, second.request_id} == set(reports)
    timeout = reports[first.request_id]
    assert not timeout.get("parentSpanId")
    assert 2 == timeout["status"]["code"]
    assert "timeout" == timeout["attributes"]["lambdascope.platform.status"]
    assert reports[second.request_id]["parentSpanId"]
    assert "faas.timeouts" in {metric["name"] for metric in metrics}


NODE_APP = """
const { trace, SpanKind } = require("@opentelemetry/api");
const { NodeTracerProvider, BatchSpanProcessor } = require("@opentelemetry/sdk-trace-node");
const { resourceFromAttributes } = require("@opentelemetry/resources");

const [kind, compression] = process.env.STOCK_EXPORTER.split("+");
const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${kind}`);
const port = process.env.LAMBDASCOPE_OTLP_PORT;
const url = process.env.STOCK_BY_VARIABLES ? undefined : `http://localhost:${port}/v1/traces`;
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes({ "service.name": "stock" }),
  spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url, compression }))],
});
provider.register();
const tracer = trace.getTracer("shop");

exports.handler = async (event, context) => {
  const attributes = { "faas.invocation_id": context.awsRequestId };
  try {
    return await tracer.startActiveSpan("app.handler", { kind: SpanKind.SERVER, attributes },
      async (span) => {
        try {
          return tracer.startActiveSpan("pack", (inner) => { inner.end(); return work(event); });
        } finally {
          span.end();
        }
      });
  } finally {
    await provider.forceFlush();
  }
};

function work(event) {
  if (event === "raise") throw new RangeError("no such order");
  return event;
}
"""


@pytest.mark.parametrize("exporter", NODE)
def test_node(node_modules: Path, collector: Collector, tmp_path: Path, exporter: str) -> None:
    """The same with AWS's client for Node and OpenTelemetry's JavaScript SDK."""
    (tmp_path / "index.js").write_text(NODE_APP)
    client = node_modules / "aws-lambda-ric" / "bin" / "index.mjs"
    function_settings = settings(
        ("node", str(client), "index.handler"), exporter, NODE_PATH=str(node_modules)
    )
    with running(tmp_path, "", endpoint=collector.http_endpoint, **function_settings) as function:
        records = [function.invoke(json.dumps(event).encode()) for event in (1, "raise", 2)]
        function.shutdown()
        spans = collector.wait_for_spans(3 * 3 + 1)
        check_no_complaints(function.lines.texts())

    assert ["1", "2"] == [records[0].answer.decode(), records[2].answer.decode()]
    assert "RangeError" == json.loads(records[1].answer)["errorType"]
    check_traces(spans, [record.request_id for record in records])


@pytest.mark.parametrize("exporter", ["proto", "http"])
def test_node_that_knows_only_the_standard_variables(
    node_modules: Path, collector: Collector, tmp_path: Path, exporter: str
) -> None:
    """OTEL_EXPORTER_OTLP_ENDPOINT leads the SDK to the extension, which has its own for beyond."""
    (tmp_path / "index.js").write_text(NODE_APP)
    client = node_modules / "aws-lambda-ric" / "bin" / "index.mjs"
    (port,) = free_ports(1)
    variables = {
        "NODE_PATH": str(node_modules),
        "STOCK_BY_VARIABLES": "1",
        "LAMBDASCOPE_OTLP_PORT": str(port),
        "LAMBDASCOPE_OTLP_ENDPOINT": collector.http_endpoint,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://localhost:{port}",
    }
    function_settings = settings(("node", str(client), "index.handler"), exporter, **variables)
    with running(tmp_path, "", endpoint=None, **function_settings) as function:
        record = function.invoke(b"1")
        function.shutdown()
        spans = collector.wait_for_spans(3 + 1)
        check_no_complaints(function.lines.texts())
    check_traces(spans, [record.request_id])


def check_traces(spans: list[Item], request_ids: list[str]) -> None:
    """For each invocation the stock spans with the platform's report, and one init for all."""
    assert len(request_ids) * 3 + 1 == len(spans)
    invokes = {
        span["attributes"]["faas.invocation_id"]: span for span in spans if span["kind"] == SERVER
    }
    reports = {
        span["attributes"]["faas.invocation_id"]: span for span in named(spans, "platform report")
    }
    assert set(request_ids) == set(invokes) == set(reports)
    for request_id, invoke in invokes.items():
        report = reports[request_id]
        assert (invoke["traceId"], invoke["spanId"]) == (report["traceId"], report["parentSpanId"])
        assert report["attributes"]["lambdascope.platform.billed_duration_ms"] > 0
        (inner,) = [span for span in named(spans, "pack") if span["traceId"] == invoke["traceId"]]
        assert invoke["spanId"] == inner["parentSpanId"]
    init, first = one(spans, "platform init"), invokes[request_ids[0]]
    assert (first["traceId"], first["spanId"]) == (init["traceId"], init["parentSpanId"])


def check_no_complaints(lines: list[str]) -> None:
    """Neither the extension nor a stock exporter has had to say anything."""
    words = ("lambdascope: ", "export", "Exception while")
    assert [] == [line for line in lines if any(word in line for word in words)]
