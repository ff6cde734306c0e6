"""Both ends of a flight file in one process, and what is read back of its stories."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.otlp.encode import TraceEncoder
from lambdascope.otlp.model import Span
from lambdascope.runtime.flight_file import FlightFile
from lambdascope.runtime.trace_parent import TraceParent
from lambdascope_extension.buffer import Buffer
from lambdascope_extension.end_tracker import EndTracker
from lambdascope_extension.flight import WORD_S, Flight
from lambdascope_extension.ledger import Ledger
from unit.runtime.kit import TRACE, Lines, make_config, make_invocation, make_times

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

    from lambdascope.runtime.flight import FlightRecorder
    from lambdascope.runtime.telemetry import InvokeTimes

SPAN_ID = b"spanspan"
OTHER_ID = b"otherone"
SCOPE = b"\x0a\x05\x0a\x03app"
NOW = 100.0


class Environment:
    """An extension's side and a runtime's side of one file."""

    def __init__(self, folder: Path, *, max_bytes: int = 1 << 20, drop: str | None = None) -> None:
        path = folder / "handoff.flight"
        self.fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        self.lines = Lines()
        self.ledger = Ledger()
        self.buffer = Buffer(self.ledger, max_bytes=max_bytes)
        self.ends = EndTracker(subscribed=True)
        self.flight = Flight(self.fd, self.ends, self.buffer, self.lines, drop)
        self.file = FlightFile(self.lines)
        assert self.file.attach(str(path), make_config(AWS_LAMBDA_MAX_CONCURRENCY="4"))
        self.ends.on_hello()

    def begin(
        self, request_id: str = "r", worker: int = 0, **headers: str
    ) -> tuple[FlightRecorder, InvokeTimes]:
        """Announce an invocation."""
        recorder = self.file.recorder(worker)
        assert recorder is not None
        invocation = make_invocation(
            lambda_runtime_trace_id=TRACE, lambda_runtime_aws_request_id=request_id, **headers
        )
        times = make_times(invocation)
        times.trace = TraceParent(TRACE, "link")
        recorder.began(times, times.trace)
        return recorder, times

    def die(self, reason: str = "failure", *, word: bool = False) -> list[ResourceSpans]:
        """The runtime is gone, then SHUTDOWN comes; what the buffer has then."""
        self.flight.on_runtime_gone(5_000_000_000_000_000_000)
        self.flight.shut_down(reason, NOW, NOW + 2)
        assert not self.flight.waits(NOW + (0 if word else WORD_S), wall_ns=1, has_runtime=False)
        return self.exported()

    def exported(self) -> list[ResourceSpans]:
        """What is taken from the buffer, decoded."""
        found: list[ResourceSpans] = []
        while (batch := self.buffer.take()) is not None:
            request = ExportTraceServiceRequest.FromString(batch.body)
            spans = [s for r in request.resource_spans for p in r.scope_spans for s in p.spans]
            assert batch.items == len(spans)
            found += request.resource_spans
            self.buffer.exported(batch)
        return found


def spans_of(found: list[ResourceSpans]) -> list[SpanMessage]:
    """All spans, in their order."""
    return [span for one in found for scope in one.scope_spans for span in scope.spans]


def attributes(span: SpanMessage) -> dict[str, object]:
    """Attributes of text and number."""
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes
    }


def encoded(name: str, span_id: bytes, end_ns: int = 0) -> bytes:
    """A child span as a span processor has it."""
    encoder = TraceEncoder(resource={}, scope_name="")
    start_ns = 4_000_000_000_000_000_000
    return encoder.span(
        Span(name=name, trace_id=b"t" * 16, span_id=span_id, start_ns=start_ns, end_ns=end_ns)
    )


def records(*found: tuple[str, dict[str, object]]) -> bytes:
    """A batch of the platform's."""
    return json.dumps(
        [{"time": "", "type": kind, "record": record} for kind, record in found]
    ).encode()


def done(status: str, error_type: str = "") -> tuple[str, dict[str, object]]:
    """A runtimeDone record of the invocation "r"."""
    return "platform.runtimeDone", {"requestId": "r", "status": status, "errorType": error_type}


def report(used_mb: int) -> tuple[str, dict[str, object]]:
    """A report of the invocation "r"."""
    metrics = {"memorySizeMB": 128, "maxMemoryUsedMB": used_mb}
    return "platform.report", {"requestId": "r", "status": "error", "metrics": metrics}
