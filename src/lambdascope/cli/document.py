"""The one JSON document that `lambdascope invoke --json` prints.

Its shape is described in the README; `DOCUMENT_VERSION` changes when a field changes its meaning or
goes away. Times that end in `_unix_ns` are nanoseconds since the epoch, `start_ms` is relative to
the beginning of the invocation, its init included.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from lambdascope import __version__
from lambdascope.cli.cost import cost_of
from lambdascope.cli.span_tree import began_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdascope.cli.function import Function
    from lambdascope.emulator.records import InvocationRecord
    from lambdascope.otlp.model import Span

DOCUMENT_VERSION = 1
Json = dict[str, object]


def document(
    function: Function,
    found: Sequence[InvocationRecord],
    spans: Sequence[Sequence[Span]],
    *,
    exit_code: int,
    hints: Sequence[str],
) -> Json:
    """Everything that is known, ready for json.dumps."""
    return {
        "version": DOCUMENT_VERSION,
        "lambdascope": __version__,
        "function": _function(function),
        "exit_code": exit_code,
        "hints": list(hints),
        "invocations": [_invocation(record, own) for record, own in zip(found, spans, strict=True)],
    }


def _function(function: Function) -> Json:
    config = function.config
    return {
        "name": config.function_name,
        "handler": config.handler,
        "guessed": function.guessed,
        "task_root": config.task_root,
        "runtime": list(config.runtime_argv) if config.runtime else "lambdascope",
        "python": config.python,
        "python_version": function.interpreter.version_text,
        "memory_mb": config.memory_mb,
        "timeout_ms": config.timeout_ms,
        "region": config.region,
        "extensions": (["lambdascope"] if config.own_extension else []) + list(config.extensions),
        "defaults": list(function.defaults),
    }


def _invocation(record: InvocationRecord, spans: Sequence[Span]) -> Json:
    zero_ns = began_ns(record)
    report = record.report
    return {
        "request_id": record.request_id,
        "number": record.number,
        "cold": record.cold,
        "status": record.status,
        "error_type": record.error_type or None,
        "function_error": record.function_error,
        "trace_header": record.trace_header,
        "deadline_ms": record.deadline_ms,
        "began_unix_ns": zero_ns,
        "event": _payload(record.event),
        "answer": _payload(record.answer),
        "content_type": record.content_type,
        "phases": [
            {
                "name": phase.name,
                "who": phase.who or None,
                "start_ms": _ms(phase.start_ns - zero_ns),
                "duration_ms": _ms(phase.end_ns - phase.start_ns),
                "status": phase.status,
                "error_type": phase.error_type or None,
            }
            for phase in record.phases
        ],
        "spans": [_span(span, zero_ns) for span in spans],
        "logs": [
            {
                "time_unix_ns": line.time_ns,
                "source": line.source,
                "who": line.who or None,
                "text": line.text,
            }
            for line in record.logs
        ],
        "report": None if report is None else asdict(report),
        "usd_per_million": None if report is None else round(cost_of(report).usd_per_million, 4),
    }


def _span(span: Span, zero_ns: int) -> Json:
    return {
        "name": span.name,
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex() or None,
        "kind": span.kind,
        "start_ms": _ms(span.start_ns - zero_ns),
        "duration_ms": _ms(span.end_ns - span.start_ns),
        "start_unix_ns": span.start_ns,
        "end_unix_ns": span.end_ns,
        "status": {"code": span.status_code, "message": span.status_message},
        "attributes": _plain(span.attributes),
        "events": [
            {
                "name": event.name,
                "time_unix_ns": event.time_ns,
                "attributes": _plain(event.attributes),
            }
            for event in span.events
        ],
        "links": [
            {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex()} for link in span.links
        ],
    }


def _payload(body: bytes) -> object:
    """The value where the bytes are JSON, else the text."""
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text, parse_constant=str)  # NaN becomes "NaN": the document is JSON
    except (ValueError, RecursionError):
        return text


def _plain(value: object) -> object:
    """An attribute's value in JSON's types."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _ms(duration_ns: int) -> float:
    return round(duration_ns / 1e6, 3)
