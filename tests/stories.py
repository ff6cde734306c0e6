"""Hand-made records and spans: a cold start, a warm invocation, a timeout. Times in ms after T0."""

from __future__ import annotations

from typing import Any

from lambdascope.emulator.records import InvocationRecord, LogLine, Phase, Report
from lambdascope.otlp import names
from lambdascope.otlp.model import Link, Span

T0_NS = 1_767_261_600_000_000_000
TRACE = bytes(range(16))
REQUEST_ID = "7c1f0d3a-5b2e-4c19-9d46-0a1b2c3d4e5f"


def at(ms: float) -> int:
    """Nanoseconds since the epoch of a moment of the story."""
    return T0_NS + round(ms * 1e6)


def phase(name: str, start_ms: float, end_ms: float, **fields: str) -> Phase:
    """One phase of the story."""
    return Phase(name=name, start_ns=at(start_ms), end_ns=at(end_ms), **fields)


class SpanMaker:
    """Makes spans with ids that count up, so that golden text stays the same."""

    def __init__(self, trace_id: bytes = TRACE) -> None:
        self._trace_id = trace_id
        self._count = 0
        self.spans: list[Span] = []

    def __call__(
        self, name: str, start_ms: float, end_ms: float, parent: Span | None = None, **fields: Any
    ) -> Span:
        """One span of the story."""
        self._count += 1
        span = Span(
            name=name,
            trace_id=self._trace_id,
            span_id=self._count.to_bytes(8, "big"),
            parent_span_id=b"" if parent is None else parent.span_id,
            start_ns=at(start_ms),
            end_ns=at(end_ms),
            **fields,
        )
        self.spans.append(span)
        return span

    def imported(
        self, module: str, start_ms: float, end_ms: float, self_ms: float, parent: Span
    ) -> Span:
        """The span of an import."""
        attributes = {
            names.LAMBDASCOPE_IMPORT_MODULE: module,
            names.LAMBDASCOPE_IMPORT_SELF_MS: self_ms,
        }
        return self(f"import {module}", start_ms, end_ms, parent, attributes=attributes)


def record(**fields: Any) -> InvocationRecord:
    """A record with the fields that every story has."""
    known: dict[str, Any] = {
        "request_id": REQUEST_ID,
        "number": 1,
        "cold": False,
        "event": b'{"order":17}',
        "deadline_ms": (at(3000)) // 1_000_000,
        "trace_header": "Root=1-69567820-2f1d5e8a90b4c7d311223344",
        "invoked_function_arn": "arn:aws:lambda:us-east-1:123456789012:function:shop",
        "handed_out_ns": at(0),
        "answer": b'{"saved":17}',
    }
    return InvocationRecord(**{**known, **fields})


def warm() -> tuple[InvocationRecord, list[Span]]:
    """A warm invocation with an extension that takes its time after the answer."""
    make = SpanMaker()
    found = record(
        response_ns=at(84.2),
        phases=[
            phase("invoke", 0, 84.2),
            phase("runtime overhead", 84.2, 84.9),
            phase("extension overhead", 84.9, 95.9),
        ],
        logs=[LogLine(time_ns=at(40), source="function", text="saved order 17")],
        report=Report(
            request_id=REQUEST_ID,
            status="success",
            duration_ms=95.9,
            billed_duration_ms=96,
            memory_size_mb=128,
            max_memory_used_mb=71,
        ),
    )
    add_invocation_spans(make)
    return found, make.spans


def add_invocation_spans(make: SpanMaker) -> Span:
    """The runtime's spans of the invocation, and two of the user."""
    handler = make("shop", 0.2, 82, attributes={names.FAAS_INVOCATION_ID: REQUEST_ID})
    links = [Link(trace_id=TRACE, span_id=bytes(8)) for _ in range(3)]
    process = make("sqs process", 1, 80, handler, links=links)
    make("dynamodb.PutItem", 15, 76.5, process)
    make(
        "report shop",
        82,
        84,
        handler,
        attributes={
            names.FAAS_INVOCATION_ID: REQUEST_ID,
            names.LAMBDASCOPE_RESPONSE_MODE: names.RESPONSE_MODE_BUFFERED,
            names.LAMBDASCOPE_RESPONSE_SIZE: 212,
            names.LAMBDASCOPE_RESPONSE_STATUS_CODE: 202,
        },
    )
    return handler


def cold() -> tuple[InvocationRecord, list[Span]]:
    """A cold start of 612.4 ms before the same invocation."""
    found, _ = warm()
    assert found.report is not None
    found.cold = True
    found.report.init_duration_ms = 612.4
    found.report.billed_duration_ms = 709
    found.phases[:0] = [
        phase("init", -612.4, 0),
        phase("extension init", -612.4, -574.3, who="lambdascope"),
        phase("runtime init", -574, -1),
    ]
    make = SpanMaker()
    handler = add_invocation_spans(make)
    init = make(
        "init shop",
        -574,
        -1,
        handler,
        attributes={names.LAMBDASCOPE_INIT_TYPE: "on-demand", names.FAAS_COLDSTART: True},
    )
    make("interpreter start", -574, -562, init)
    make("load runtime", -562, -550, init)
    load = make("load handler", -550, -2, init)
    app = make.imported("app", -549, -2, 9.5, load)
    boto3 = make.imported("boto3", -548, -317, 21, app)
    session = make.imported("boto3.session", -545, -340, 5, boto3)
    make.imported("botocore.session", -540, -340, 200, session)
    make.imported("pydantic", -317, -220, 97, app)
    for index in range(6):
        make.imported(f"part{index}", -200 + 10 * index, -195 + 10 * index, 5, load)
    make("connect extension", -2, -1, init)
    return found, make.spans


def timed_out() -> tuple[InvocationRecord, list[Span]]:
    """The handler did not return; no span of the runtime arrived."""
    found = record(
        status="timeout",
        error_type="Sandbox.Timedout",
        response_ns=None,
        answer=b'{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: '
        + REQUEST_ID.encode()
        + b' Error: Task timed out after 3.00 seconds"}',
        function_error="Unhandled",
        phases=[phase("invoke", 0, 3000, status="timeout", error_type="Sandbox.Timedout")],
        report=Report(
            request_id=REQUEST_ID,
            status="timeout",
            duration_ms=3000,
            billed_duration_ms=3000,
            memory_size_mb=128,
            max_memory_used_mb=40,
        ),
    )
    return found, []
