"""Log records as the bytes of an ``ExportLogsServiceRequest``, ready for ``/v1/logs``.

Fields are written in the order of their numbers and defaults are left out, as the official encoder
does; the tests hold the two equal. Must not know where lines come from or where the bytes go.
Source: opentelemetry-proto 1.11, logs.proto.
"""

from __future__ import annotations

from lambdascope.otlp.attributes import any_value
from lambdascope.otlp.encode import RequestEncoder
from lambdascope.otlp.protobuf import (
    bytes_field,
    fixed32,
    fixed64,
    length_field,
    text_field,
    varint,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from lambdascope.otlp.log_model import LogRecord


class LogEncoder(RequestEncoder):
    """Encodes log records of one resource and one instrumentation scope. Threads may share it."""

    __slots__ = ()

    def encode(self, records: Iterable[LogRecord]) -> bytes:
        """Return the request's body for `records`; none give the empty body, a valid request.

        Never raises on bodies, on the values of attributes or on text that UTF-8 cannot hold. A
        time out of range becomes the nearest in range.
        """
        return self.wrap([self.record(record) for record in records])

    def record(self, record: LogRecord) -> bytes:
        """Return one record encoded, for `wrap`; who collects many need not keep the objects."""
        chunks: list[bytes] = []
        if record.time_ns:
            chunks += b"\x09", fixed64(record.time_ns)
        if record.severity_number:
            chunks += b"\x10", varint(record.severity_number)
        chunks.append(text_field(b"\x1a", record.severity_text))
        if record.body is not None:
            chunks.append(length_field(b"\x2a", any_value(record.body)))
        self._attributes.write(b"\x32", record.attributes, chunks)
        if record.dropped_attributes:
            chunks += b"\x38", varint(record.dropped_attributes)
        if record.flags:
            chunks += b"\x45", fixed32(record.flags)
        chunks += bytes_field(b"\x4a", record.trace_id), bytes_field(b"\x52", record.span_id)
        if record.observed_ns:
            chunks += b"\x59", fixed64(record.observed_ns)
        chunks.append(text_field(b"\x62", record.event_name))
        return b"".join(chunks)
