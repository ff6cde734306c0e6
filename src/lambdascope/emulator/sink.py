"""An OTLP/HTTP receiver that keeps what it gets, and lets the user's collector have it too.

The emulator's environment exports to it, so that the command line can show the spans of a function
whose own collector still gets every request and decides what the sender is answered. The tests use
it as a collector. Source: OpenTelemetry Protocol Specification 1.x, "OTLP/HTTP".
"""

from __future__ import annotations

import hashlib
import threading
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lambdascope.emulator.otlp_decode import SIGNAL_PATHS, Item, decode
from lambdascope.emulator.relay import Relay, RelayAnswer
from lambdascope.transport.listener import Listener
from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope.transport.listener import Exchange

# The specification's limit on a request before compression.
MAX_BODY_BYTES = 64 * 1024 * 1024
_RELAY_TIMEOUT_S = 10.0
_KEPT_REQUESTS = 10_000
_TEXT = ("Content-Type", "text/plain; charset=utf-8")
_SUCCESS = range(200, 300)
# gzip and zlib, told apart by their first bytes.
_ANY_WINDOW = zlib.MAX_WBITS | 32


@dataclass(slots=True, kw_only=True)
class Received:
    """One request: its path, its headers (lower case) and its items.

    `status` is what it was answered with, 0 while the collector has not answered.
    """

    path: str
    # Not in its text: the sender's key for the collector is among them.
    headers: Mapping[str, str] = field(repr=False)
    items: list[Item]
    status: int = 0


class SinkRefused(Exception):
    """A request that is no OTLP; the text says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class OtlpSink:
    """Listens on loopback from `start` to `close`. All methods may be called from any thread.

    `relay_to` is the base URL of the user's collector, as in OTEL_EXPORTER_OTLP_ENDPOINT, or a
    mapping of signal paths to whole URLs. A request of which the sender was told that it failed,
    and which comes again with the same body, is kept once. The newest requests are kept; `dropped`
    counts the older ones.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        relay_to: str | Mapping[str, str] | None = None,
        relay_timeout_s: float = _RELAY_TIMEOUT_S,
        kept_requests: int = _KEPT_REQUESTS,
    ) -> None:
        """Binds; raises OSError when the port is taken."""
        self._listener = Listener(self._handle, host=host, port=port, name="otlp-sink")
        urls = signal_urls(relay_to) if isinstance(relay_to, str) else relay_to
        self._relay = Relay(urls, timeout_s=relay_timeout_s) if urls else None
        # Reentrant, because predicates of wait_for call the methods below.
        self._changed = threading.Condition(threading.RLock())
        self._received: deque[Received] = deque(maxlen=kept_requests)
        self._failed: dict[bytes, None] = {}
        self._problems: deque[str] = deque(maxlen=kept_requests)
        self.dropped = 0

    @property
    def endpoint(self) -> str:
        """What OTEL_EXPORTER_OTLP_ENDPOINT takes."""
        return f"http://{self._listener.address}"

    def start(self) -> None:
        """Begin to answer; until then senders wait."""
        # Now, so that the first sender does not wait for the imports and look slow.
        for path in SIGNAL_PATHS:
            decode(path, b"", is_json=False)
        self._listener.start()

    def close(self) -> None:
        """Stop; what was received stays readable."""
        self._listener.close()
        if self._relay is not None:
            self._relay.close()

    def received(self) -> list[Received]:
        """The requests so far, in the order in which they came."""
        with self._changed:
            return list(self._received)

    def spans(self) -> list[Item]:
        """All spans so far; the fields are those of `otlp_decode`."""
        return self._items(names.TRACES_PATH)

    def metrics(self) -> list[Item]:
        """All metrics so far, each with its points."""
        return self._items(names.METRICS_PATH)

    def log_records(self) -> list[Item]:
        """All log records so far."""
        return self._items(names.LOGS_SIGNAL_PATH)

    def problems(self) -> list[str]:
        """What was refused, and which collector could not be reached, one line each."""
        with self._changed:
            return list(self._problems)

    def wait_for(self, predicate: Callable[[OtlpSink], bool], timeout_s: float) -> bool:
        """Wait until `predicate` of this sink is true; whether it was within `timeout_s` seconds.

        It is asked again after every request, with nothing else going on meanwhile.
        """
        with self._changed:
            return self._changed.wait_for(lambda: predicate(self), timeout_s)

    def _items(self, path: str) -> list[Item]:
        with self._changed:
            return [item for one in self._received if one.path == path for item in one.items]

    def _handle(self, exchange: Exchange) -> None:
        path = exchange.target.partition("?")[0]
        try:
            _check_target(exchange.method, path)
            answer = self._take(path, exchange.headers, _read_body(exchange))
        except SinkRefused as refusal:
            self._note(f"{exchange.method} {path}: {refusal}")
            exchange.respond(refusal.status, (_TEXT,), f"{refusal}\n".encode())
            return
        exchange.respond(answer.status, answer.headers, answer.body)

    def _take(self, path: str, headers: Mapping[str, str], body: bytes) -> RelayAnswer:
        items: list[Item] = []
        try:
            items = _decode(path, headers, body)
        except SinkRefused as refusal:
            if self._relay is None:
                raise
            # The collector decides about it, not we.
            self._note(f"POST {path}: {refusal}")
        received = Received(path=path, headers=headers, items=items)
        digest = hashlib.sha256(path.encode() + b"\n" + body).digest()
        self._keep(received, digest)
        answer = self._answer(received, body)
        with self._changed:
            received.status = answer.status
            if answer.status not in _SUCCESS:
                self._failed[digest] = None
            self._changed.notify_all()
        return answer

    def _answer(self, received: Received, body: bytes) -> RelayAnswer:
        if self._relay is not None:
            answer = self._relay.post(received.path, received.headers, body)
            if not answer.reached:
                self._note(answer.body.decode().rstrip())
            return answer
        kind = received.headers.get("content-type", "")
        success = b"{}" if _is_json(kind) else b""
        return RelayAnswer(status=names.OK, headers=(("Content-Type", kind),), body=success)

    def _keep(self, received: Received, digest: bytes) -> None:
        with self._changed:
            if digest in self._failed:
                # The sender tries again; should it fail again, it is noted again.
                del self._failed[digest]
                return
            if len(self._received) == self._received.maxlen:
                self.dropped += 1
            self._received.append(received)
            while len(self._failed) > len(self._received):
                del self._failed[next(iter(self._failed))]
            self._changed.notify_all()

    def _note(self, problem: str) -> None:
        with self._changed:
            self._problems.append(problem)
            self._changed.notify_all()


def signal_urls(endpoint: str) -> dict[str, str]:
    """The URL of each signal under a base endpoint, as exporters build them."""
    return {path: endpoint.rstrip("/") + path for path in SIGNAL_PATHS}


def _check_target(method: str, path: str) -> None:
    if path not in SIGNAL_PATHS:
        raise SinkRefused(404, f"no signal is sent to {path}")
    if method != "POST":
        raise SinkRefused(405, f"{method} is not allowed: POST")


def _read_body(exchange: Exchange) -> bytes:
    try:
        return exchange.read_body(MAX_BODY_BYTES)
    except RemoteProtocolError as error:
        raise SinkRefused(error.status, str(error)) from None


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == names.CONTENT_TYPE_JSON


def _decode(path: str, headers: Mapping[str, str], body: bytes) -> list[Item]:
    kind = headers.get("content-type", "")
    is_json = _is_json(kind)
    if not is_json and kind.partition(";")[0].strip().lower() != names.CONTENT_TYPE_PROTOBUF:
        raise SinkRefused(415, f"Content-Type {kind[:80]!r} is not one of OTLP")
    try:
        plain = _unpacked(headers.get("content-encoding", ""), body)
        return decode(path, plain, is_json=is_json)
    except ValueError as error:
        raise SinkRefused(names.BAD_REQUEST, str(error)) from None


def _unpacked(encoding: str, body: bytes) -> bytes:
    """The body without its content coding. Raises ValueError or SinkRefused."""
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "deflate"):
        raise SinkRefused(415, f"Content-Encoding {encoding[:80]!r} is neither gzip nor deflate")
    pieces: list[bytes] = []
    size = 0
    try:
        # Several gzip members in a row are one body.
        while body:
            packed = zlib.decompressobj(_ANY_WINDOW)
            pieces.append(packed.decompress(body, MAX_BODY_BYTES + 1 - size))
            size += len(pieces[-1])
            if size > MAX_BODY_BYTES:
                raise SinkRefused(413, f"over {MAX_BODY_BYTES} bytes when unpacked")
            if not packed.eof:
                raise ValueError(f"the {coding} body is cut off")
            body = packed.unused_data
    except zlib.error as error:
        raise ValueError(f"not {coding}: {error}") from None
    return b"".join(pieces)
