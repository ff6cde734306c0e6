"""A small OTLP/HTTP backend on loopback that keeps what it is sent, for tests to read.

`collector.py` puts it behind a real collector. It takes OTLP as JSON or as protobuf, plain
or gzipped, and hands everything out in one form: the items of a signal (spans, metrics, log
records) as OTLP/JSON dicts in which attributes are plain Python values and which carry their
resource's attributes and their scope. What it cannot read it answers with 400 and remembers,
so that a test which waits in vain is told.
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from served import Served

Item = dict[str, Any]

_FORM = {
    # path: signal, and the keys under which its resources, scopes and items stand
    "/v1/traces": ("spans", "resourceSpans", "scopeSpans", "spans"),
    "/v1/metrics": ("metrics", "resourceMetrics", "scopeMetrics", "metrics"),
    "/v1/logs": ("log records", "resourceLogs", "scopeLogs", "logRecords"),
}
_IDS = ("traceId", "spanId", "parentSpanId")


class OtlpRecorder(Served):
    """Listens on a free loopback port from `__enter__` to `__exit__`."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, Item]] = []
        """Every body in the order of arrival, as (path, OTLP/JSON document), untouched."""
        self.problems: list[str] = []
        self._items: dict[str, list[Item]] = {form[0]: [] for form in _FORM.values()}
        self._arrived = threading.Condition()
        super().__init__(_Server(self))

    @property
    def endpoint(self) -> str:
        """The base URL, without a path, as `OTEL_EXPORTER_OTLP_ENDPOINT` wants it."""
        return f"http://127.0.0.1:{self.port}"

    def wait_for_spans(self, count: int, timeout_s: float = 10) -> list[Item]:
        """All spans so far, as soon as there are `count`; AssertionError after `timeout_s`."""
        return self._wait_for("spans", count, timeout_s)

    def wait_for_metrics(self, count: int, timeout_s: float = 10) -> list[Item]:
        """All metrics so far, as soon as there are `count`; AssertionError after `timeout_s`."""
        return self._wait_for("metrics", count, timeout_s)

    def wait_for_log_records(self, count: int, timeout_s: float = 10) -> list[Item]:
        """All log records so far, once there are `count`; AssertionError after `timeout_s`."""
        return self._wait_for("log records", count, timeout_s)

    def take(self, path: str, content_type: str, body: bytes) -> None:
        """Keeps one request's body; ValueError if it is not an OTLP document for `path`."""
        if path not in _FORM:
            raise ValueError(f"no signal is sent to {path}")
        signal = _FORM[path][0]
        document = _document(path, content_type, body)
        items = _flat(path, document)
        with self._arrived:
            self.bodies.append((path, document))
            self._items[signal] += items
            self._arrived.notify_all()

    def _wait_for(self, signal: str, count: int, timeout_s: float) -> list[Item]:
        with self._arrived:
            kept = self._items[signal]
            if not self._arrived.wait_for(lambda: len(kept) >= count, timeout_s):
                names = [item.get("name") for item in kept]
                raise AssertionError(
                    f"{len(kept)} of {count} {signal} arrived within {timeout_s} s: {names};"
                    f" refused: {self.problems or 'nothing'}"
                )
            return list(kept)


def plain(value: Item) -> Any:
    """The Python value of an OTLP/JSON AnyValue; None for an empty one."""
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "doubleValue":
            return float(content)
        if kind == "bytesValue":
            return base64.b64decode(content)
        if kind == "arrayValue":
            return [plain(one) for one in content.get("values", [])]
        if kind == "kvlistValue":
            return plain_attributes(content.get("values", []))
        return content
    return None


def plain_attributes(pairs: list[Item]) -> Item:
    """A dict of OTLP/JSON attributes; AssertionError if a key stands there twice."""
    attributes = {pair["key"]: plain(pair.get("value", {})) for pair in pairs}
    assert len(pairs) == len(attributes), f"an attribute key is there twice: {pairs}"
    return attributes


def _flat(path: str, document: Item) -> list[Item]:
    _, resources, scopes, items = _FORM[path]
    flat: list[Item] = []
    for of_resource in document.get(resources, []):
        resource = _readable(of_resource.get("resource", {})).get("attributes", {})
        for of_scope in of_resource.get(scopes, []):
            scope = _readable(of_scope.get("scope", {}))
            for item in of_scope.get(items, []):
                # Absent and empty are the same on the wire; tests may index without asking.
                whole = {"attributes": {}, **_readable(item)}
                flat.append({**whole, "resource_attributes": resource, "scope": scope})
    return flat


def _readable(node: Any) -> Any:
    """A copy in which every list of attributes, at any depth, is a dict, and a body is plain."""
    if isinstance(node, list):
        return [_readable(one) for one in node]
    if not isinstance(node, dict):
        return node
    readable: Item = {}
    for key, value in node.items():
        if key == "attributes":
            readable[key] = plain_attributes(value)
        elif key == "body":
            readable[key] = plain(value)
        else:
            readable[key] = _readable(value)
    return readable


def _document(path: str, content_type: str, body: bytes) -> Item:
    if content_type == "application/json":
        document = json.loads(body)
        if not isinstance(document, dict):
            raise ValueError("the body is not a JSON object")
        return document
    if content_type == "application/x-protobuf":
        return _from_protobuf(path, body)
    raise ValueError(f"content type {content_type!r} is not one of OTLP")


def _from_protobuf(path: str, body: bytes) -> Item:
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
    from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    message = {
        "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
        "/v1/metrics": metrics_service_pb2.ExportMetricsServiceRequest,
        "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
    }[path]()
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    document: Item = MessageToDict(message, use_integers_for_enums=True)
    _ids_to_hex(document)
    return document


def _ids_to_hex(node: Any) -> None:
    # Protobuf's own JSON has ids in base64 like any bytes; OTLP/JSON has them in hex.
    if isinstance(node, list):
        for one in node:
            _ids_to_hex(one)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in _IDS:
                node[key] = base64.b64decode(value).hex()
            else:
                _ids_to_hex(value)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() then waits for them, and nothing stays open

    def __init__(self, recorder: OtlpRecorder) -> None:
        self.recorder = recorder
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    """One request per connection (HTTP/1.0), so that no idle connection holds up the end."""

    timeout: ClassVar[float | None] = 10

    def do_POST(self) -> None:
        """Keeps the body, or answers 400 and remembers why."""
        assert isinstance(self.server, _Server)
        recorder = self.server.recorder
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        content_type = self.headers.get_content_type()
        try:
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            recorder.take(self.path, content_type, body)
        except (ValueError, KeyError, AssertionError, OSError, EOFError) as error:
            recorder.problems.append(f"POST {self.path}: {error}")
            self._answer(400, "text/plain", str(error).encode())
        else:
            answer = b"{}" if content_type == "application/json" else b""
            self._answer(200, content_type, answer)

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stays quiet: `problems` says what there is to say."""
