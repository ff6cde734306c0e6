"""Metrics as the bytes of an ``ExportMetricsServiceRequest``, ready for ``/v1/metrics``.

Fields are written in the order of their numbers and defaults are left out, as the official package
does; the tests hold the two equal. Must not know what is measured or where the bytes go. Source:
opentelemetry-proto 1.11, metrics.proto.
"""

from __future__ import annotations

from lambdascope.otlp.encode import RequestEncoder
from lambdascope.otlp.metric_model import (
    EXPONENTIAL_HISTOGRAM,
    GAUGE,
    HISTOGRAM,
    SUM,
    ExponentialPoint,
    HistogramPoint,
)
from lambdascope.otlp.protobuf import (
    MASK_64,
    bytes_field,
    double,
    fixed64,
    length_field,
    text_field,
    varint,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambdascope.otlp.metric_model import Buckets, Exemplar, Metric, NumberPoint

_TAGS = {kind: bytes((kind << 3 | 2,)) for kind in (GAUGE, SUM, HISTOGRAM, EXPONENTIAL_HISTOGRAM)}


class MetricEncoder(RequestEncoder):
    """Encodes metrics of one resource and one instrumentation scope. Threads may share it."""

    __slots__ = ()

    def encode(self, metrics: Iterable[Metric]) -> bytes:
        """Return the request's body for `metrics`; none give the empty body, a valid request.

        Never raises on the values of attributes or on text that UTF-8 cannot hold. An int out of 64
        bits is written as a float, a time out of range becomes the nearest in range. Raises
        KeyError for a kind that does not exist.
        """
        return self.wrap([self._metric(metric) for metric in metrics])

    def _metric(self, metric: Metric) -> bytes:
        chunks = [length_field(b"\x0a", self._point(point)) for point in metric.points]
        if metric.kind != GAUGE and metric.temporality:
            chunks += b"\x10", varint(metric.temporality)
        if metric.kind == SUM and metric.is_monotonic:
            chunks.append(b"\x18\x01")
        return b"".join(
            (
                text_field(b"\x0a", metric.name),
                text_field(b"\x12", metric.description),
                text_field(b"\x1a", metric.unit),
                length_field(_TAGS[metric.kind], b"".join(chunks)),
            )
        )

    def _point(self, point: NumberPoint | HistogramPoint | ExponentialPoint) -> bytes:
        chunks: list[bytes] = []
        if isinstance(point, HistogramPoint):
            self._histogram(point, chunks)
        elif isinstance(point, ExponentialPoint):
            self._exponential(point, chunks)
        else:
            self._number(point, chunks)
        return b"".join(chunks)

    def _number(self, point: NumberPoint, chunks: list[bytes]) -> None:
        chunks += _time(b"\x11", point.start_ns), _time(b"\x19", point.time_ns)
        value = point.value
        if _is_int(value):
            self._exemplars(b"\x2a", point.exemplars, chunks)
            chunks += b"\x31", _sfixed64(value)
        else:
            chunks += b"\x21", double(value)
            self._exemplars(b"\x2a", point.exemplars, chunks)
        self._attributes.write(b"\x3a", point.attributes, chunks)
        if point.flags:
            chunks += b"\x40", varint(point.flags)

    def _histogram(self, point: HistogramPoint, chunks: list[bytes]) -> None:
        chunks += _time(b"\x11", point.start_ns), _time(b"\x19", point.time_ns)
        chunks += _time(b"\x21", point.count), _optional(b"\x29", point.total)
        chunks.append(bytes_field(b"\x32", b"".join([fixed64(n) for n in point.bucket_counts])))
        chunks.append(bytes_field(b"\x3a", b"".join([double(bound) for bound in point.bounds])))
        self._exemplars(b"\x42", point.exemplars, chunks)
        self._attributes.write(b"\x4a", point.attributes, chunks)
        if point.flags:
            chunks += b"\x50", varint(point.flags)
        chunks += _optional(b"\x59", point.minimum), _optional(b"\x61", point.maximum)

    def _exponential(self, point: ExponentialPoint, chunks: list[bytes]) -> None:
        self._attributes.write(b"\x0a", point.attributes, chunks)
        chunks += _time(b"\x11", point.start_ns), _time(b"\x19", point.time_ns)
        chunks += _time(b"\x21", point.count), _optional(b"\x29", point.total)
        if point.scale:
            chunks += b"\x30", _zigzag(point.scale)
        chunks.append(_time(b"\x39", point.zero_count))
        chunks += _buckets(b"\x42", point.positive), _buckets(b"\x4a", point.negative)
        if point.flags:
            chunks += b"\x50", varint(point.flags)
        self._exemplars(b"\x5a", point.exemplars, chunks)
        chunks += _optional(b"\x61", point.minimum), _optional(b"\x69", point.maximum)
        if point.zero_threshold:
            chunks += b"\x71", double(point.zero_threshold)

    def _exemplars(self, tag: bytes, exemplars: Sequence[Exemplar], chunks: list[bytes]) -> None:
        for exemplar in exemplars:
            body = [_time(b"\x11", exemplar.time_ns)]
            value = exemplar.value
            is_int = _is_int(value)
            if not is_int:
                body += b"\x19", double(value)
            body += bytes_field(b"\x22", exemplar.span_id), bytes_field(b"\x2a", exemplar.trace_id)
            if is_int:
                body += b"\x31", _sfixed64(value)
            self._attributes.write(b"\x3a", exemplar.attributes, body)
            chunks.append(length_field(tag, b"".join(body)))


def _is_int(value: float) -> bool:
    return isinstance(value, int) and -(1 << 63) <= value < 1 << 63


def _sfixed64(value: float) -> bytes:
    return fixed64(int(value) & MASK_64)


def _zigzag(number: int) -> bytes:
    return varint(2 * number if number >= 0 else -2 * number - 1)


def _time(tag: bytes, number: int) -> bytes:
    """Return a fixed64 field, which times and counts are; nothing for 0, its default."""
    return tag + fixed64(number) if number else b""


def _optional(tag: bytes, value: float | None) -> bytes:
    """Return a double field that also says when it is 0; nothing for None."""
    return b"" if value is None else tag + double(value)


def _buckets(tag: bytes, buckets: Buckets | None) -> bytes:
    if buckets is None or not buckets.counts:
        return b""
    offset = b"\x08" + _zigzag(buckets.offset) if buckets.offset else b""
    counts = b"".join([varint(count) for count in buckets.counts])
    return length_field(tag, offset + length_field(b"\x12", counts))
