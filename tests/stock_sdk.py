"""A function that uses a stock OpenTelemetry SDK and knows nothing of lambdascope.

Tests copy this file into a function's folder as app.py. For the event "send" it sends one metric,
one log record and one span to what listens on LAMBDASCOPE_OTLP_PORT of localhost, and answers when
all of it was taken.
"""

from __future__ import annotations

import logging
import os


def handler(event: object, context: object) -> object:
    """Send one item of each signal, or just answer."""
    if event == "send":
        send()
    return event


def send() -> None:
    """Set the SDK up, use it once and shut it down."""
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    base = f"http://localhost:{os.environ['LAMBDASCOPE_OTLP_PORT']}/v1"
    resource = Resource.create({"service.name": "stock"})

    reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{base}/metrics"))
    meters = MeterProvider(resource=resource, metric_readers=[reader])
    meters.get_meter("shop").create_counter("orders", unit="1").add(3, {"kind": "book"})

    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(SimpleLogRecordProcessor(OTLPLogExporter(f"{base}/logs")))
    logger = logging.getLogger("shop")
    logger.addHandler(LoggingHandler(logger_provider=loggers))
    logger.warning("order %d is late", 17)

    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{base}/traces")))
    with tracers.get_tracer("shop").start_as_current_span("pack", attributes={"order": 17}):
        pass

    for provider in (meters, loggers, tracers):
        provider.shutdown()
