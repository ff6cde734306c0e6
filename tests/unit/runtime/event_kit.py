"""What an invocation with an event says: the spans as another implementation reads them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.clock import Clock
from lambdascope.runtime.context import LambdaContext
from lambdascope.runtime.init_phase import InitPhase
from lambdascope.runtime.phases import Phases
from lambdascope.runtime.telemetry import InvokeTimes, Telemetry
from unit.runtime.kit import make_config, make_invocation, make_times

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

DATA = Path(__file__).parents[2] / "data" / "events"
SAMPLES = Path(__file__).parents[3] / "src" / "lambdascope" / "cli" / "events"

TRACE_ID = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
SPAN_ID = bytes.fromhex("b7ad6b7169203331")
TRACEPARENT = f"00-{TRACE_ID.hex()}-{SPAN_ID.hex()}-01"


def sample(name: str) -> object:
    """A documented event: one of the tests' own, or of those that the command line has."""
    own = DATA / f"{name}.json"
    if own.exists():
        return json.loads(own.read_text())["event"]
    return json.loads((SAMPLES / f"{name}.json").read_text())


class _Handoff:
    """Stands for the extension: keeps what it is given."""

    present = True
    dropped_spans = 0
    budget_s = 1.0

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    def send(self, body: bytes, *_: object, **__: object) -> None:
        """Keep the body."""
        self.bodies.append(body)


class Run:
    """One warm invocation with `event`. `headers` are those of the Runtime API."""

    def __init__(self, event: object, headers: dict[str, str] | None = None, **environ: str):
        config = make_config(**environ)
        now = time.monotonic_ns()
        init = InitPhase(function_name="hello", init_type="on-demand", entered_ns=now, cpu_ns=0)
        init.ended_ns = now
        self.phases = Phases(config, Clock(), init)
        first = make_times()
        first.returned_ns = first.reported_ns = first.received_ns
        self.phases.finished(first, None)
        self.handoff = _Handoff()
        self.lines: list[str] = []
        self.telemetry = Telemetry(config, lambda: self.phases, self.handoff, self)
        invocation = make_invocation(**(headers or {}))
        self.times = InvokeTimes(invocation, time.monotonic_ns())
        context = LambdaContext(invocation, config, deadline_ns=0, write=self.lines.append)
        self.telemetry.began(self.times)
        self.telemetry.started(self.times, event, context)
        self.times.entered_ns = time.monotonic_ns()

    def say(self, line: str) -> None:
        """Keep a line; telemetry says one about its faults."""
        self.lines.append(line)

    def spans(self, result: object = None) -> list[Span]:
        """What is handed over when the handler has returned `result`."""
        if self.times.source is not None:
            self.times.source.answered(result)
        self.times.returned_ns = self.times.reported_ns = time.monotonic_ns()
        self.telemetry.ended(self.times, None)
        assert [] == self.lines
        (body,) = self.handoff.bodies
        request = ExportTraceServiceRequest.FromString(body)
        return list(request.resource_spans[0].scope_spans[0].spans)

    def invoke(self, result: object = None) -> Span:
        """The span of the invocation."""
        return self.spans(result)[0]


def attributes_of(span: object) -> dict[str, object]:
    """The attributes of a span or a link."""
    found = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        found[each.key] = getattr(each.value, kind) if kind else None
    return found
