"""A sampling gate in front of a buffer, and spans whose trace ids a ratio of 0.5 keeps or not."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.otlp import names as otel
from lambdascope.otlp.encode import TraceEncoder
from lambdascope.otlp.model import Span
from lambdascope.wire import names
from lambdascope_extension.batch import Message
from lambdascope_extension.buffer import Buffer
from lambdascope_extension.gate import open_sampler
from lambdascope_extension.ledger import Ledger
from unit.extension.records.platform_kit import attributes

ENCODER = TraceEncoder(resource={"service.name": "shop"}, scope_name="test")
# The ratio of 0.5 keeps trace ids whose lowest 56 bits are in the upper half.
KEPT = bytes(9) + b"\xff" * 7
DROPPED = b"\xff" * 9 + bytes(7)


def spans(trace_id: bytes = DROPPED, **fields: Any) -> bytes:
    """A body with an invocation's span, and a child of it."""
    root: dict[str, Any] = {"name": "root", "kind": otel.KIND_SERVER, "end_ns": 5_000_000}
    child = Span(name="child", trace_id=trace_id, span_id=b"childid1", parent_span_id=b"rootrid1")
    one = Span(trace_id=trace_id, span_id=b"rootrid1", **{**root, **fields})
    return ENCODER.encode([one, child])


class Kit:
    """A gate that samples, in front of a buffer."""

    def __init__(self, ratio: str = "0.5", slow: str = "", max_bytes: int = 10_000_000) -> None:
        self.lines: list[str] = []
        self.buffer = Buffer(Ledger(), max_bytes=max_bytes)
        environ = {names.ENV_SAMPLE: ratio, names.ENV_SAMPLE_SLOW: slow}
        gate = open_sampler(self.buffer, environ, self.lines.append)
        assert gate is not None
        self.gate = gate

    def put(self, body: bytes, request_id: str = "", now: float = 1.0, **fields: Any) -> bool:
        """A body comes, as the intake hands it on."""
        message = Message(
            signal=fields.get("signal", "traces"),
            kind=fields.get("kind", names.CONTENT_TYPE_PROTOBUF),
            body=body,
            items=fields.get("items", 2),
            received=now,
            urgent=fields.get("urgent", False),
        )
        message.request_id = request_id
        return self.gate.put(message)

    def left(self) -> list[Any]:
        """The spans that have passed, taken out."""
        found = []
        while (batch := self.buffer.take()) is not None:
            for resource in ExportTraceServiceRequest.FromString(batch.body).resource_spans:
                found += [span for scope in resource.scope_spans for span in scope.spans]
            self.buffer.exported(batch)
        return found

    def reasons(self) -> dict[str, tuple[str, float]]:
        """The marks of the spans that have passed, by their names."""
        return {
            span.name: (
                about[otel.LAMBDASCOPE_SAMPLING_REASON],
                about["lambdascope.sampling.ratio"],
            )
            for span in self.left()
            if otel.LAMBDASCOPE_SAMPLING_REASON in (about := attributes(span))
        }

    @property
    def account(self) -> Any:
        """The ledger's account of spans."""
        return self.buffer.ledger.accounts["traces"]
