"""The X-Ray trace header of an invocation: always complete, whatever the caller sent."""

from __future__ import annotations

import secrets

from lambdascope.wire.trace_header import format_trace_header, parse_trace_header


def complete_trace_header(raw: str | None, now_s: float) -> str:
    """The caller's header with the parts that it lacks, or a new one.

    A new trace is not sampled, which is what Lambda sends when tracing is not active. Parts that we
    do not know, such as Lineage, stay.
    """
    header = parse_trace_header(raw or "")
    parent_id = header.parent_id or secrets.token_hex(8)
    if raw is None or not header.trace_id:
        trace_id = f"{int(now_s) & 0xFFFFFFFF:08x}{secrets.token_hex(12)}"
        return format_trace_header(trace_id, parent_id, sampled=bool(header.sampled))
    if not header.parent_id:
        raw = f"{raw};Parent={parent_id}"
    return raw if header.sampled is not None else f"{raw};Sampled=0"
