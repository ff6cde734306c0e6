"""The binary framing in which AWS's services answer with a stream, for InvokeWithResponseStream.

A message is: its length and that of its headers, a checksum of these two, headers, payload, and a
checksum of it all; numbers are big-endian, checksums are CRC-32. Pure functions; the invoke
endpoint sends what they give. Source: AWS SDK documentation, "Amazon event stream encoding", and
AWS Lambda API reference, "InvokeWithResponseStream".
"""

from __future__ import annotations

import base64
import json
import struct
from binascii import crc32
from typing import TYPE_CHECKING

from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Mapping

EVENT_STREAM_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7


def encode_message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message. All headers are strings."""
    head = b"".join(
        struct.pack(f">B{len(name)}sBH", len(name), name.encode(), _STRING, len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack(">I", crc32(prelude)) + head + payload
    return message + struct.pack(">I", crc32(message))


def payload_chunk(payload: bytes) -> bytes:
    """A part of the response."""
    return encode_message(_event("PayloadChunk", names.CONTENT_TYPE_BINARY), payload)


def invoke_complete(error_code: str, error: bytes, log: bytes | None) -> bytes:
    """The end of the invocation; `error_code` is "" when it went well.

    `error` is the error's JSON, `log` the tail of the log if wanted.
    """
    fields = {}
    if error_code:
        fields["ErrorCode"] = error_code
        fields["ErrorDetails"] = error.decode("utf-8", "replace")
    if log is not None:
        fields["LogResult"] = base64.b64encode(log).decode()
    payload = json.dumps(fields).encode()
    return encode_message(_event("InvokeComplete", names.CONTENT_TYPE_JSON), payload)


def _event(kind: str, content_type: str) -> dict[str, str]:
    return {":message-type": "event", ":event-type": kind, ":content-type": content_type}
