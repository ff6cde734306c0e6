"""What a streamed answer adds to the Runtime API: its head, and the trailers that report an error.

A streamed answer is a chunked POST on a connection of its own; a failure after the first byte is
told in trailers, because the status is long gone. Loaded only when a handler streams. Source: AWS
Lambda developer guide, "Using the Lambda runtime API for custom runtimes" and "Building a custom
runtime for AWS Lambda", part on response streaming.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64

from lambdascope.wire import names
from lambdascope.wire.http1 import encode_chunked_head, encode_last_chunk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lambdascope.wire.runtime_api import InvocationResponse

_TRAILERS = f"{names.FUNCTION_ERROR_TYPE}, {names.FUNCTION_ERROR_BODY}"
_ERROR_TYPE = names.FUNCTION_ERROR_TYPE.lower()
_ERROR_BODY = names.FUNCTION_ERROR_BODY.lower()


def encode_stream_head(answer: InvocationResponse, common: Iterable[tuple[str, str]]) -> bytes:
    """The head of the POST; the chunks of the body follow, then `encode_last_chunk` or an error.

    The body of `answer` is not looked at. Raises LocalProtocolError for a line break in a header.
    """
    headers = [
        *common,
        ("Content-Type", answer.content_type),
        (names.RESPONSE_MODE, names.RESPONSE_MODE_STREAMING),
        ("Trailer", _TRAILERS),
        ("Connection", "close"),
    ]
    if answer.invocation_id is not None:
        headers.append((names.INVOCATION_ID, answer.invocation_id))
    return encode_chunked_head(f"POST {answer.target()} HTTP/1.1", headers)


def encode_stream_error(error_type: str, body: bytes) -> bytes:
    """The end of a body that failed midway. `body` is the error JSON, sent in base64."""
    encoded = b2a_base64(body, newline=False).decode()
    return encode_last_chunk(
        ((names.FUNCTION_ERROR_TYPE, error_type), (names.FUNCTION_ERROR_BODY, encoded))
    )


def parse_stream_error(trailers: Mapping[str, str]) -> tuple[str, bytes] | None:
    """Error type and error JSON that the trailers carry; None when the stream ended well.

    A body that is not base64 is taken as it is: the caller should see what the function said.
    """
    error_type = trailers.get(_ERROR_TYPE, "")
    encoded = trailers.get(_ERROR_BODY, "")
    if not error_type and not encoded:
        return None
    try:
        # As bytes, because text that is not ASCII is refused with another exception.
        return error_type, a2b_base64(encoded.encode(), strict_mode=True)
    except Base64Error:
        return error_type, encoded.encode()
