"""Records of the Telemetry API typed by hand, in the shapes of schema 2025-01-29; and a collector
whose output is read back with the official package."""

from __future__ import annotations

import json
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.otlp import names
from lambdascope.otlp.encode import TraceEncoder
from lambdascope.otlp.model import Span
from lambdascope.wire.names import ENV_FUNCTION_NAME, ENV_MEMORY_SIZE
from lambdascope_extension.buffer import Buffer
from lambdascope_extension.handed_over import HandedOver
from lambdascope_extension.hold import HoldMeter
from lambdascope_extension.ledger import Ledger
from lambdascope_extension.platform_config import PlatformConfig, read_platform_config
from lambdascope_extension.records.collector import Collector
from lambdascope_extension.records.joins import Joins

SIGNALS = ("traces", "metrics", "logs")
REQUEST_ID = "8f60e725-45d2-4901-949c-482a936d20be"
STREAM = "2026/01/01/[$LATEST]0123456789abcdef0123456789abcdef"
TRACE_ID = bytes(range(16))
SPAN_ID = bytes(range(8))
HEADER = "Root=1-0123abcd-0123456789abcdef01234567;Parent=89abcdef01234567;Sampled=1"


def at(milliseconds: int) -> str:
    """A time of the first minute of 2026, as the platform writes it."""
    return f"2026-01-01T00:00:{milliseconds // 1000:02}.{milliseconds % 1000:03}Z"


def at_ns(milliseconds: int) -> int:
    """The same time in ns since the epoch."""
    return (1_767_225_600_000 + milliseconds) * 1_000_000


def item(kind: str, milliseconds: int = 0, **record: object) -> dict[str, Any]:
    """One item of a batch."""
    return {"time": at(milliseconds), "type": kind, "record": record}


INIT = [
    item(
        "platform.initStart",
        100,
        initializationType="on-demand",
        phase="init",
        functionName="shop",
        functionVersion="$LATEST",
        instanceId=STREAM,
        instanceMaxMemory=134_217_728,
        runtimeVersion="python:3.13.v1",
        runtimeVersionArn="arn:aws:lambda:eu-west-1::runtime:00",
    ),
    item("platform.telemetrySubscription", 160, name="l", state="Subscribed", types=["platform"]),
    item(
        "platform.initRuntimeDone",
        220,
        initializationType="on-demand",
        phase="init",
        status="success",
    ),
    item("platform.extension", 220, name="l", state="Ready", events=["INVOKE", "SHUTDOWN"]),
    item(
        "platform.initReport",
        221,
        initializationType="on-demand",
        phase="init",
        status="success",
        metrics={"durationMs": 120.5},
    ),
]


def start(request_id: str = REQUEST_ID, milliseconds: int = 300, **more: object) -> dict[str, Any]:
    """platform.start."""
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:shop"
    fields = {"requestId": request_id, "version": "$LATEST", "functionArn": arn, **more}
    return item("platform.start", milliseconds, **fields)


def done(request_id: str = REQUEST_ID, milliseconds: int = 314, **more: object) -> dict[str, Any]:
    """platform.runtimeDone."""
    fields = {
        "requestId": request_id,
        "status": "success",
        "metrics": {"durationMs": 13.1, "producedBytes": 10},
        "spans": [
            {"name": "responseLatency", "start": at(300), "durationMs": 12.3},
            {"name": "responseDuration", "start": at(312), "durationMs": 0.2},
            {"name": "runtimeOverhead", "start": at(313), "durationMs": 0.3},
        ],
    }
    return item("platform.runtimeDone", milliseconds, **{**fields, **more})


def report(request_id: str = REQUEST_ID, milliseconds: int = 340, **more: object) -> dict[str, Any]:
    """platform.report."""
    fields = {
        "requestId": request_id,
        "status": "success",
        "metrics": {
            "durationMs": 39.9,
            "billedDurationMs": 161,
            "memorySizeMB": 128,
            "maxMemoryUsedMB": 41,
            "initDurationMs": 120.5,
        },
        "spans": [{"name": "extensionOverhead", "start": at(314), "durationMs": 26.1}],
    }
    return item("platform.report", milliseconds, **{**fields, **more})


def handed_over_spans(request_id: str = REQUEST_ID, **attributes: object) -> bytes:
    """What our runtime hands over for an invocation: its span, and the report span."""
    about = {"faas.trigger": "http", "faas.invocation_id": request_id, **attributes}
    encoder = TraceEncoder(resource={"service.name": "shop"}, scope_name="lambdascope.runtime")
    invoke = Span(
        name="shop",
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        kind=names.KIND_SERVER,
        attributes=about,
    )
    own = Span(
        name="report shop",
        trace_id=TRACE_ID,
        span_id=b"reportid",
        parent_span_id=SPAN_ID,
        attributes={"faas.invocation_id": request_id},
    )
    return encoder.encode([invoke, own])


class Made:
    """What a collector has put into the buffer, read with the official package."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.logs: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.resource: dict[str, Any] = {}

    def values(self, name: str) -> dict[tuple[str, ...], Any]:
        """The points of a sum, or the (count, sum) of a histogram, by their attributes' values."""
        metric = self.metrics[name]
        points = getattr(metric, metric.WhichOneof("data")).data_points
        return {
            tuple(one.value.string_value for one in point.attributes): (
                (point.count, round(point.sum, 6))
                if hasattr(point, "count")
                else getattr(point, point.WhichOneof("value"))
            )
            for point in points
        }


class Kit:
    """A collector with a buffer. `lines` is what it said."""

    def __init__(self, *, signals: tuple[str, ...] = SIGNALS, **environ: str) -> None:
        self.handed_over = HandedOver()
        self.buffer = Buffer(Ledger())
        self.lines: list[str] = []
        self.environ = {ENV_FUNCTION_NAME: "shop", ENV_MEMORY_SIZE: "128", **environ}
        self.config: PlatformConfig = read_platform_config(self.environ, signals)
        joins = Joins(self.handed_over)
        self.meter = HoldMeter(1.0)
        self.collector = Collector(
            self.buffer,
            joins,
            meter=self.meter,
            config=self.config,
            environ=self.environ,
            say=self.lines.append,
        )

    def take(self, *items: object, now: float = 1.0) -> None:
        """One batch."""
        self.collector.take(json.dumps(items).encode(), now)

    def finish(self, now: float = 2.0) -> Made:
        """Everything that the collector makes, at shutdown."""
        self.collector.collect(now, everything=True)
        return self.made()

    def made(self) -> Made:
        """What is in the buffer."""
        made = Made()
        while (batch := self.buffer.take()) is not None:
            if batch.signal == "traces":
                for resource in ExportTraceServiceRequest.FromString(batch.body).resource_spans:
                    made.spans += resource.scope_spans[0].spans
                    made.resource = attributes(resource.resource)
            elif batch.signal == "logs":
                for resource in ExportLogsServiceRequest.FromString(batch.body).resource_logs:
                    made.logs += resource.scope_logs[0].log_records
            else:
                for one in ExportMetricsServiceRequest.FromString(batch.body).resource_metrics:
                    made.metrics |= {metric.name: metric for metric in one.scope_metrics[0].metrics}
        return made


def attributes(message: Any) -> dict[str, Any]:
    """The attributes of a message as plain values."""
    return {one.key: plain(one.value) for one in message.attributes}


def plain(value: Any) -> Any:
    """An AnyValue as a plain value."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {one.key: plain(one.value) for one in value.kvlist_value.values}
    return getattr(value, kind) if kind else None


COLD = [*INIT, start(), done(), report()]
WARM = {"metrics": {"durationMs": 20.0, "billedDurationMs": 20, "maxMemoryUsedMB": 50}}


def cold(kit: Kit, **about: object) -> Kit:
    """The kit after one cold invocation that our runtime handed over."""
    kit.handed_over.remember(REQUEST_ID, handed_over_spans(**about))
    kit.take(*COLD)
    return kit
