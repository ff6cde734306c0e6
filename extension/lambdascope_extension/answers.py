"""What became of an export, from the collector's answer: taken, to be tried again, or refused.

The sender makes a Result from every response or failure, the flusher acts on it. Pure. Source:
OTLP specification 1.11, "OTLP/HTTP Response": only 429, 502, 503 and 504 may be tried again.
"""

from __future__ import annotations

from lambdascope.otlp.walk import WIRE_LENGTH, WIRE_VARINT, iter_fields
from lambdascope.wire import names

EXPORTED = "exported"
RETRY = "retry"  # not taken, may be later
REFUSED = "refused"  # not taken, and never will be
CUT = "cut"  # we stopped it
_RETRYABLE = (429, 502, 503, 504)
_MAX_MESSAGE_CHARS = 200
# Why there was no answer, in words for people.
CLOSED = "closed without an answer"
NOT_HTTP = "the answer is not HTTP"
SLOW = "no answer in time"
UNKNOWN_NAME = "the name cannot be resolved"
_GRPC_PORT = 4317


class Result:
    """`reason` is a short text for people, `hint` what they can do. `rejected` counts items of a
    partial success, whose text is `message`. `retry_after` and `elapsed` are seconds."""

    __slots__ = (
        "elapsed",
        "hint",
        "message",
        "outcome",
        "reason",
        "rejected",
        "retry_after",
        "status",
    )

    def __init__(self, outcome: str, *, reason: str = "", hint: str = "", status: int = 0) -> None:
        self.outcome = outcome
        self.reason = reason
        self.hint = hint
        self.status = status
        self.retry_after = 0.0
        self.rejected = 0
        self.message = ""
        self.elapsed = 0.0


def from_response(status: int, phrase: str, body: bytes, *, is_json: bool) -> Result:
    """A Result for a status code and the body of the answer."""
    if 200 <= status < 300:
        result = Result(EXPORTED, status=status)
        result.rejected, result.message = partial_success(body, is_json=is_json)
        return result
    outcome = RETRY if status in _RETRYABLE else REFUSED
    reason = f"{status} {phrase}".strip()
    return Result(outcome, reason=reason, hint=_hint(status), status=status)


def is_about_key(result: Result) -> bool:
    """Whether the destination does not take the key."""
    return result.status in (401, 403)


def _hint(status: int) -> str:
    if status in (401, 403):
        return f"check {names.ENV_OTLP_HEADERS}"
    if status in (404, 405) or 300 <= status < 400:
        return f"check the path of {names.ENV_OTLP_ENDPOINT}"
    if status == 413:
        return "the collector's limit on request bodies is too small"
    if status in (400, 415):
        return "the collector does not understand OTLP over HTTP with protobuf"
    return "look at the collector"


def partial_success(body: bytes, *, is_json: bool) -> tuple[int, str]:
    """How many items the collector rejected, and its message; (0, "") for a full success.

    Field 1 of the response is `partial_success`, of which field 1 counts the rejected spans, data
    points or log records, and field 2 is a message. What cannot be read counts as a success.
    """
    try:
        return _from_json(body) if is_json else _from_protobuf(body)
    except (ValueError, TypeError):
        return 0, ""


def _from_protobuf(body: bytes) -> tuple[int, str]:
    rejected, message = 0, ""
    for number, wire_type, start, end in iter_fields(body):
        if (number, wire_type) != (1, WIRE_LENGTH):
            continue
        for inner, inner_type, first, last in iter_fields(body, start, end):
            if (inner, inner_type) == (1, WIRE_VARINT):
                rejected = _varint(body[first:last])
            elif (inner, inner_type) == (2, WIRE_LENGTH):
                message = body[first:last].decode("utf-8", "replace")[:_MAX_MESSAGE_CHARS]
    return rejected, message


def _varint(data: bytes) -> int:
    number = 0
    for byte in reversed(data):
        number = number << 7 | byte & 0x7F
    return number


def _from_json(body: bytes) -> tuple[int, str]:
    import json

    fields = json.loads(body or b"{}")
    partial = fields.get("partialSuccess") if isinstance(fields, dict) else None
    if not isinstance(partial, dict):
        return 0, ""
    counts = [int(value) for key, value in partial.items() if key.startswith("rejected")]
    return sum(counts), str(partial.get("errorMessage", ""))[:_MAX_MESSAGE_CHARS]


def retry_after(text: str) -> float:
    """Seconds from a Retry-After header, which holds seconds or a date; 0 when it holds neither."""
    from email.utils import parsedate_to_datetime
    from time import time

    try:
        if text[:1].isdigit():
            seconds = float(text)
        else:
            seconds = parsedate_to_datetime(text).timestamp() - time()
    except (ValueError, TypeError):
        return 0.0
    return max(0.0, seconds) if seconds < float("inf") else 0.0


def hint_for(reason: str, port: int) -> str:
    """What to do when there was no answer from a collector at `port`."""
    if reason in (CLOSED, NOT_HTTP):
        if port == _GRPC_PORT:
            return f"{_GRPC_PORT} is the gRPC port: use the HTTP port, 4318"
        return f"check that {names.ENV_OTLP_ENDPOINT} names an OTLP/HTTP receiver"
    if reason == SLOW:
        return "look at the collector and the way to it"
    if reason == UNKNOWN_NAME:
        return f"check {names.ENV_OTLP_ENDPOINT}"
    return f"check {names.ENV_OTLP_ENDPOINT} and that a collector listens there"
