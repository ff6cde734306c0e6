"""Our runtime where others take its spans: an OpenTelemetry Collector, Rotel, Datadog's test agent.

There is no extension of ours. What the runtime has to tell has to be whole and well-formed in
programs that we have not written, over both protocols, and from behind a frozen environment.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest

from collector import Collector
from datadog_agent import DatadogAgent
from free_ports import free_ports
from lambdascope.otlp import names as otel
from observed import named, one, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otlp_recorder import Item

pytestmark = pytest.mark.foreign

APP = """
    import decimal
    from opentelemetry import trace

    tracer = trace.get_tracer("shop")

    def handler(event, context):
        with tracer.start_as_current_span("pack", attributes={"order": [1, 2]}) as span:
            span.add_event("looked")
        if event == "raise":
            raise LookupError("no order 17")
        return event
"""
RECEIVERS = ["otelcol", "rotel", "datadog"]


@contextlib.contextmanager
def receiver(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    """A running receiver of that kind, with two endpoints."""
    if kind == "datadog":
        with DatadogAgent(request.getfixturevalue("datadog_agent"), folder / "agent.log") as agent:
            yield agent
    else:
        with Collector(binary(kind, request), folder) as collector:
            yield collector


def binary(kind: str, request: pytest.FixtureRequest) -> Path:
    """The program of a collector, which has to be the one that is asked for."""
    path: Path = request.getfixturevalue("rotel" if kind == "rotel" else "collector_binary")
    if kind == "otelcol" and path.name != "otelcol":
        pytest.skip("the OpenTelemetry Collector could not be built on this machine")
    return path


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("kind", RECEIVERS)
def test_a_cold_start_and_a_failure(
    kind: str, protocol: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The first invocation's trace has all phases from the interpreter's start on, and the second's
    its exception."""
    with receiver(kind, request, tmp_path) as there:
        endpoint = there.grpc_endpoint if protocol == "grpc" else there.http_endpoint
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        }
        with running(
            tmp_path, APP, endpoint=None, own_extension=False, variables=variables
        ) as function:
            first, second = function.invoke(b"1"), function.invoke(b'"raise"')
            function.shutdown()
        ids = [first.request_id, second.request_id]
        spans = there.spans() if kind == "datadog" else arrived(there, ids)

    assert b"1" == first.answer
    assert "LookupError" == json.loads(second.answer)["errorType"]
    cold, warm = (trace_of(spans, request_id) for request_id in ids)
    check_cold_start(cold)
    check_whole(warm)
    assert len(spans) == len(cold) + len(warm)
    failed = one(warm, "shop")
    assert {"code": 2, "message": "no order 17"} == failed["status"]
    assert ["exception"] == [event["name"] for event in failed["events"]]
    assert [1, 2] == one(cold, "pack")["attributes"]["order"]


SIGNALS = """
    import logging
    from opentelemetry import metrics

    taken = metrics.get_meter("orders").create_counter("orders.taken")

    def handler(event, context):
        logging.getLogger("orders").warning("one more")
        taken.add(2)
        return event
"""


@pytest.mark.parametrize("kind", ["rotel", "datadog"])
def test_metrics_and_logs(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The other two signals are taken as well."""
    with receiver(kind, request, tmp_path) as there:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": there.http_endpoint,
            "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED": "true",
        }
        with running(
            tmp_path, SIGNALS, endpoint=None, own_extension=False, variables=variables
        ) as function:
            assert b"1" == function.invoke(b"1").answer
            function.shutdown()
        if kind == "datadog":
            found = json.dumps(there.taken("metrics")), json.dumps(there.taken("logs"))
        else:
            found = str(there.wait_for_metrics(1)), str(there.wait_for_log_records(1))

    assert "orders.taken" in found[0]
    assert "one more" in found[1]


# An external extension that has a collector as its child, as the collectors' own layers do it.
LAYER = """\
#!{python} -IS
import json, os, signal, socket, subprocess, time, urllib.request

base = f"http://{{os.environ['AWS_LAMBDA_RUNTIME_API']}}/2020-01-01/extension"

def call(path, body=None, **headers):
    headers = {{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(f"{{base}}/{{path}}", body, headers)
    with urllib.request.urlopen(request) as answer:
        return answer.headers, json.load(answer)

child = subprocess.Popen({command!r})
while True:
    try:
        socket.create_connection(("127.0.0.1", {port})).close()
        break
    except ConnectionRefusedError:
        assert child.poll() is None
        time.sleep(0.01)
events = json.dumps({{"events": ["INVOKE", "SHUTDOWN"]}}).encode()
headers, _ = call("register", events, Lambda_Extension_Name=os.path.basename(__file__))
me = headers["Lambda-Extension-Identifier"]
while call("event/next", Lambda_Extension_Identifier=me)[1]["eventType"] != "SHUTDOWN":
    pass
child.send_signal(signal.SIGTERM)
child.wait()
"""


@pytest.mark.parametrize("kind", ["otelcol", "rotel"])
def test_a_collector_as_a_layer(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """In the place of our extension: it is frozen with the function, and has every span in the
    end."""
    collector = Collector(binary(kind, request), tmp_path)
    with collector.recorder:
        collector.http_port, collector.grpc_port = free_ports(2)
        command, _ = collector.command()
        layer = tmp_path / "collector-layer"
        layer.write_text(
            LAYER.format(python=sys.executable, command=command, port=collector.http_port)
        )
        layer.chmod(0o755)
        with running(
            tmp_path,
            APP,
            endpoint=None,
            own_extension=False,
            extensions=(str(layer),),
            variables={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://localhost:{collector.http_port}"},
        ) as function:
            records = [function.invoke(str(number).encode()) for number in range(4)]
            function.shutdown()
            spans = arrived(collector, [record.request_id for record in records])

    assert [b"0", b"1", b"2", b"3"] == [record.answer for record in records], shlex.join(command)
    traces = [trace_of(spans, record.request_id) for record in records]
    check_cold_start(traces[0])
    for trace in traces[1:]:
        check_whole(trace)
    assert len(spans) == sum(len(trace) for trace in traces)
    assert [] == [text for text in function.lines.texts() if text.startswith("lambdascope: ")]


def arrived(collector: Collector, request_ids: list[str]) -> list[Item]:
    """All spans, once each invocation's have come, which they do together; Rotel answers before it
    sends on, and how many imports are worth a span differs."""
    spans = collector.wait_for_spans(3 * len(request_ids))
    while {span["attributes"][otel.FAAS_INVOCATION_ID] for span in named(spans, "shop")} != set(
        request_ids
    ):
        spans = collector.wait_for_spans(len(spans) + 1)
    return spans


def trace_of(spans: list[Item], request_id: str) -> list[Item]:
    """The spans of the trace that the invocation is in."""
    (invoke,) = [
        span
        for span in named(spans, "shop")
        if span["attributes"][otel.FAAS_INVOCATION_ID] == request_id
    ]
    return [span for span in spans if span["traceId"] == invoke["traceId"]]


def check_whole(trace: list[Item]) -> None:
    """The invocation is the root, its phases and the function's span are under it, once each."""
    invoke = one(trace, "shop")
    assert not invoke.get("parentSpanId")
    ids = {span["spanId"] for span in trace}
    assert len(trace) == len(ids)
    assert [] == [s["name"] for s in trace if s is not invoke and s["parentSpanId"] not in ids]
    assert {invoke["spanId"]} == {
        one(trace, name)["parentSpanId"]
        for name in ("pack", f"{otel.SPAN_REPORT_FUNCTION_PREFIX}shop")
    }


def check_cold_start(trace: list[Item]) -> None:
    """The same, with init and its parts."""
    check_whole(trace)
    assert one(trace, "shop")["attributes"][otel.FAAS_COLDSTART] is True
    init = one(trace, f"{otel.SPAN_INIT_FUNCTION_PREFIX}shop")
    assert one(trace, "shop")["spanId"] == init["parentSpanId"]
    parts = {span["name"] for span in trace if span.get("parentSpanId") == init["spanId"]}
    wanted = {otel.SPAN_INTERPRETER_START, otel.SPAN_LOAD_RUNTIME, otel.SPAN_LOAD_HANDLER}
    assert wanted <= parts
