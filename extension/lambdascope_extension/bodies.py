"""What may stand in the body of an OTLP/HTTP request: decompressed, checked, counted.

The intake calls it for every request. Bodies stay bytes: protobuf is only walked at its borders, so
that bodies that are appended to each other later are one well-formed message, and JSON is not
parsed at all, because a body of some MB would become ten times that. Source: OTLP specification
1.11.
"""

from __future__ import annotations

from lambdascope.otlp.failures import has_failed_span
from lambdascope.otlp.walk import MAX_FIELDS, count_spans
from lambdascope.wire.names import CONTENT_TYPE_JSON, CONTENT_TYPE_PROTOBUF
from lambdascope_extension.server import MAX_BODY_BYTES

TRACES = "traces"
# A request of 6 MB may hold twice the spans of one of 4 MB, for which the walk's limit is made. An
# item takes at least some bytes: many fields in few bytes would only keep us from the runtime.
_MAX_ITEM_FIELDS = 2 * MAX_FIELDS
_LEAST_FIELDS = 1000
_FIELD_BYTES = 8
_START_TIME = b'"startTimeUnixNano"'
_INFLATE_STEP_BYTES = 65_536
# Accept gzip and zlib frames, whichever it is; both are called by their content codings' names.
_ANY_FRAME = 32 + 15


class BadBody(Exception):
    """The body cannot be taken. `status` is the answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def content_kind(content_type: str) -> str:
    """The media type without parameters. Raises BadBody (415) unless it is one of OTLP's."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (CONTENT_TYPE_PROTOBUF, CONTENT_TYPE_JSON):
        raise BadBody(
            415,
            f"content type {kind[:60]!r}: send {CONTENT_TYPE_PROTOBUF} or {CONTENT_TYPE_JSON}",
        )
    return kind


def decoded(encoding: str, body: bytes) -> bytes:
    """The body without its content coding. Raises BadBody: 415, 413 for a bomb, 400 for garbage."""
    coding = encoding.strip().lower()
    if coding in ("", "identity") or not body:
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise BadBody(415, f"content encoding {coding[:60]!r}: send gzip or none")
    return _inflated(body)


def _inflated(body: bytes) -> bytes:
    import zlib  # the first compressed body pays for it, the start does not

    pieces: list[bytes] = []
    size = 0
    try:
        while body:  # several gzip members behind each other are one body
            member = zlib.decompressobj(_ANY_FRAME)
            while not member.eof:
                piece = member.decompress(body, _INFLATE_STEP_BYTES)
                body = member.unconsumed_tail
                if not piece and not body and not member.eof:
                    raise BadBody(400, "the compressed body is cut off")
                pieces.append(piece)
                size += len(piece)
                if size > MAX_BODY_BYTES:
                    raise BadBody(413, f"body inflates to more than {MAX_BODY_BYTES} bytes")
            body = member.unused_data
    except zlib.error as error:
        raise BadBody(400, f"the compressed body is damaged: {error}") from None
    return b"".join(pieces)


def count_items(signal: str, kind: str, body: bytes) -> int:
    """How much the ledger counts for a body: its spans, metrics or log records.

    Of JSON only spans can be counted without parsing it; the other signals are 1 for a body.

    Raises BadBody (400) when the body cannot be what its content type says.
    """
    if kind == CONTENT_TYPE_JSON:
        if body[:1] not in b"{ \t\r\n" or not body.rstrip().endswith(b"}"):
            raise BadBody(400, "the body is not a JSON object")
        return _count_json_spans(body) if signal == TRACES else 1
    try:
        # Metrics and log records lie as deep as spans do, under the same field numbers.
        return count_spans(
            body, max_fields=min(_MAX_ITEM_FIELDS, _LEAST_FIELDS + len(body) // _FIELD_BYTES)
        )
    except ValueError as error:
        raise BadBody(400, f"the body is not an OTLP request: {error}") from None


def _count_json_spans(body: bytes) -> int:
    """Every span has one start time and nothing else has; in text the quotes are escaped."""
    spans = body.count(_START_TIME + b":")
    if spans != body.count(_START_TIME):  # written with blanks
        spans = body.translate(None, b" \t\r\n").count(_START_TIME + b":")
    return spans


def tells_of_failure(signal: str, kind: str, body: bytes) -> bool:
    """Whether a body has a span with the status "error"; guessed where it is JSON."""
    if signal != TRACES:
        return False
    if kind != CONTENT_TYPE_JSON:
        return has_failed_span(body)
    return b'"code":2' in body or b'"code": 2' in body


def status_body(kind: str, text: str) -> bytes:
    """A google.rpc.Status with a message, which OTLP wants as the body of a refusal."""
    if kind == CONTENT_TYPE_JSON:
        plain = text.encode("ascii", "replace").replace(b"\\", b"/").replace(b'"', b"'")
        return b'{"message":"%b"}' % plain
    message = text.encode("utf-8", "replace")[:127]  # so that its length is one byte
    return b"\x12%c%b" % (len(message), message)
