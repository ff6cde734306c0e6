"""A function as OpenTelemetry's own layer for Lambda wraps it: AWS's client, stock SDK, stock
instrumentation of the handler; nothing of lambdascope.

Tests copy this file into a function's folder as app.py. `layer.handler` is the configured handler;
the exporter, by STOCK_EXPORTER, sends to what listens on LAMBDASCOPE_OTLP_PORT of localhost.
"""

from __future__ import annotations

import time
from typing import Any

from opentelemetry import trace


def handler(event: Any, context: object) -> Any:
    """One span of its own; or an exception, or no end."""
    with trace.get_tracer("shop").start_as_current_span("pack", attributes={"order": 17}):
        if event == "raise":
            raise ValueError("no such order")
        if event == "sleep":
            time.sleep(60)
    return event


LAYER = """
import importlib
import os

from opentelemetry import trace
from opentelemetry.instrumentation.aws_lambda import AwsLambdaInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

kind, _, compression = os.environ["STOCK_EXPORTER"].partition("+")
os.environ["OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"] = compression or "none"
exporters = importlib.import_module(f"opentelemetry.exporter.otlp.{kind}.http.trace_exporter")
port = os.environ["LAMBDASCOPE_OTLP_PORT"]
exporter = exporters.OTLPSpanExporter(f"http://localhost:{port}/v1/traces")
provider = TracerProvider(resource=Resource.create({"service.name": "stock"}))
provider.add_span_processor(BatchSpanProcessor(exporter))
trace.set_tracer_provider(provider)
AwsLambdaInstrumentor().instrument()
handler = importlib.import_module("app").handler
"""
