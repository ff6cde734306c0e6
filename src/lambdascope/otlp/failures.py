"""Whether a request of traces tells of something that failed, without decoding it.

The extension asks for every body that it receives: what tells of a failure leaves first and is
given up last. Nearly always two bytes are not in it, and that is the whole answer. Source:
opentelemetry-proto, trace.proto.
"""

from __future__ import annotations

from lambdascope.otlp.names import STATUS_ERROR
from lambdascope.otlp.walk import MAX_FIELDS, WIRE_LENGTH, WIRE_VARINT, iter_fields

# ExportTraceServiceRequest.resource_spans, ResourceSpans.scope_spans, ScopeSpans.spans,
# Span.status.
_PATH = (1, 2, 2, 15)
_CODE = 3
_ERROR = bytes((_CODE << 3 | WIRE_VARINT, STATUS_ERROR))


def has_failed_span(body: bytes, *, max_fields: int = MAX_FIELDS) -> bool:
    """Whether a span of an ExportTraceServiceRequest has the status "error".

    Bytes that are no request, or one of more than `max_fields` fields, have none.
    """
    try:
        return _ERROR in body and _has_error(body, 0, len(body), 0, [max_fields])
    except ValueError:
        return False


def _has_error(body: bytes, start: int, end: int, depth: int, budget: list[int]) -> bool:
    for number, wire_type, first, last in iter_fields(body, start, end):
        budget[0] -= 1
        if not budget[0]:
            raise ValueError("too many fields")
        if depth == len(_PATH):
            if (number, wire_type, body[first]) == (_CODE, WIRE_VARINT, STATUS_ERROR):
                return True
        elif (number, wire_type) == (_PATH[depth], WIRE_LENGTH) and _has_error(
            body, first, last, depth + 1, budget
        ):
            return True
    return False
