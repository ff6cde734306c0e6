"""OTLP bodies to plain dicts: one dict for each span, metric and log record.

`sink` uses it. Protobuf and JSON become the official messages first (package
`opentelemetry-proto`, imported inside the functions because it is large), so there is one reading
of both. Ids are hex, times whole Unix nanoseconds, attributes Python values. Source: OpenTelemetry
Protocol Specification 1.x, "OTLP/HTTP" and "JSON Protobuf Encoding".
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, TypeAlias

from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item: TypeAlias = dict[str, Any]

SIGNAL_PATHS = (names.TRACES_PATH, names.METRICS_PATH, names.LOGS_SIGNAL_PATH)
_ID_KEYS = frozenset(("traceId", "spanId", "parentSpanId"))
_METRIC_KINDS = ("gauge", "sum", "histogram", "exponential_histogram", "summary")


def decode(path: str, body: bytes, *, is_json: bool) -> list[Item]:
    """The spans, metrics or log records of an export request posted to one of SIGNAL_PATHS.

    Every item has `resource` (attributes) and `scope` (name, version, attributes). Raises
    ValueError when the body is not such a request.
    """
    message = _message(path)
    if is_json:
        _merge_json(message, body)
    else:
        _merge_protobuf(message, body)
    if path == names.TRACES_PATH:
        return list(_spans(message))
    return list(_metrics(message) if path == names.METRICS_PATH else _log_records(message))


def _message(path: str) -> Any:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
        ExportMetricsServiceRequest,
    )
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return {
        names.TRACES_PATH: ExportTraceServiceRequest,
        names.METRICS_PATH: ExportMetricsServiceRequest,
        names.LOGS_SIGNAL_PATH: ExportLogsServiceRequest,
    }[path]()


def _merge_protobuf(message: Any, body: bytes) -> None:
    from google.protobuf.message import DecodeError

    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise ValueError(f"not a protobuf {type(message).__name__}: {error}") from None


def _merge_json(message: Any, body: bytes) -> None:
    from google.protobuf.json_format import ParseDict, ParseError

    try:
        fields = json.loads(body)
        if not isinstance(fields, dict):
            raise ValueError("not an object")
        ParseDict(_with_protobuf_ids(fields), message, ignore_unknown_fields=True)
    except (ValueError, ParseError, RecursionError) as error:
        text = " ".join(str(error).split()) or "nested too deeply"
        raise ValueError(f"not a JSON {type(message).__name__}: {text}") from None


def _with_protobuf_ids(node: Any, key: str = "") -> Any:
    """A copy in which ids are in base64 as all bytes in protobuf's own JSON; OTLP's has hex."""
    if isinstance(node, dict):
        return {_text(name): _with_protobuf_ids(value, name) for name, value in node.items()}
    if isinstance(node, list):
        return [_with_protobuf_ids(one) for one in node]
    if isinstance(node, str):
        return base64.b64encode(bytes.fromhex(node)).decode() if key in _ID_KEYS else _text(node)
    return node


def _text(text: str) -> str:
    # Half a surrogate pair is no text, and protobuf does not survive it.
    text.encode()
    return text


def _spans(request: Any) -> Iterator[Item]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {
                    "trace_id": span.trace_id.hex(),
                    "span_id": span.span_id.hex(),
                    "parent_span_id": span.parent_span_id.hex(),
                    "trace_state": span.trace_state,
                    "flags": span.flags,
                    "name": span.name,
                    "kind": int(span.kind),
                    "start_ns": span.start_time_unix_nano,
                    "end_ns": span.end_time_unix_nano,
                    "attributes": attributes_of(span.attributes),
                    "events": [_event(event) for event in span.events],
                    "links": [_link(link) for link in span.links],
                    "status_code": int(span.status.code),
                    "status_message": span.status.message,
                    "dropped_attributes": span.dropped_attributes_count,
                    "dropped_events": span.dropped_events_count,
                    "dropped_links": span.dropped_links_count,
                    **_origin(resource, scope),
                }


def _event(event: Any) -> Item:
    return {
        "name": event.name,
        "time_ns": event.time_unix_nano,
        "attributes": attributes_of(event.attributes),
    }


def _link(link: Any) -> Item:
    return {
        "trace_id": link.trace_id.hex(),
        "span_id": link.span_id.hex(),
        "trace_state": link.trace_state,
        "flags": link.flags,
        "attributes": attributes_of(link.attributes),
    }


def _metrics(request: Any) -> Iterator[Item]:
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                kind = next((name for name in _METRIC_KINDS if metric.HasField(name)), "")
                data = getattr(metric, kind) if kind else None
                yield {
                    "name": metric.name,
                    "description": metric.description,
                    "unit": metric.unit,
                    "type": kind,
                    "temporality": int(getattr(data, "aggregation_temporality", 0)),
                    "is_monotonic": bool(getattr(data, "is_monotonic", False)),
                    "points": [_point(point) for point in data.data_points] if data else [],
                    **_origin(resource, scope),
                }


def _point(point: Any) -> Item:
    item = {
        "attributes": attributes_of(point.attributes),
        "start_ns": point.start_time_unix_nano,
        "time_ns": point.time_unix_nano,
    }
    fields = point.DESCRIPTOR.fields_by_name
    if "as_int" in fields:
        return item | {"value": point.as_int if point.HasField("as_int") else point.as_double}
    item |= {"count": point.count, "sum": point.sum}
    for bound in ("min", "max"):
        if bound in fields and point.HasField(bound):
            item[bound] = getattr(point, bound)
    if "explicit_bounds" in fields:
        item["bucket_counts"] = list(point.bucket_counts)
        item["explicit_bounds"] = list(point.explicit_bounds)
    if "scale" in fields:
        item |= {"scale": point.scale, "zero_count": point.zero_count}
        item["positive"] = _buckets(point.positive)
        item["negative"] = _buckets(point.negative)
    if "quantile_values" in fields:
        item["quantiles"] = {q.quantile: q.value for q in point.quantile_values}
    return item


def _buckets(buckets: Any) -> Item:
    return {"offset": buckets.offset, "bucket_counts": list(buckets.bucket_counts)}


def _log_records(request: Any) -> Iterator[Item]:
    for resource in request.resource_logs:
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield {
                    "time_ns": record.time_unix_nano,
                    "observed_ns": record.observed_time_unix_nano,
                    "severity_number": int(record.severity_number),
                    "severity_text": record.severity_text,
                    "body": value_of(record.body),
                    "event_name": record.event_name,
                    "attributes": attributes_of(record.attributes),
                    "trace_id": record.trace_id.hex(),
                    "span_id": record.span_id.hex(),
                    "flags": record.flags,
                    **_origin(resource, scope),
                }


def _origin(resource: Any, scope: Any) -> Item:
    return {
        "resource": attributes_of(resource.resource.attributes),
        "scope": {
            "name": scope.scope.name,
            "version": scope.scope.version,
            "attributes": attributes_of(scope.scope.attributes),
        },
    }


def attributes_of(pairs: Iterable[Any]) -> Item:
    """KeyValue messages as a dict; the last one of a repeated key stays."""
    return {pair.key: value_of(pair.value) for pair in pairs}


def value_of(value: Any) -> object:
    """The Python value of an AnyValue message; None for an empty one."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    content = getattr(value, kind)
    if kind == "array_value":
        return [value_of(one) for one in content.values]
    if kind == "kvlist_value":
        return attributes_of(content.values)
    result: object = content
    return result
