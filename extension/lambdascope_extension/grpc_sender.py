"""Sends batches over gRPC with the package `grpcio`: raw bytes, without the protobuf library.

It lives in the exporter's thread and is loaded there, only where a destination asks for gRPC; the
package comes with opentelemetry-exporter-otlp. What a status means is decided here, what becomes of
the batch is not. Source: OTLP specification 1.11, "OTLP/gRPC".
"""

from __future__ import annotations

from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]

from lambdascope import __version__
from lambdascope.otlp.walk import WIRE_LENGTH, WIRE_VARINT, iter_fields
from lambdascope.wire import names
from lambdascope_extension.answers import (
    CUT,
    EXPORTED,
    REFUSED,
    RETRY,
    SLOW,
    Result,
    partial_success,
)

if TYPE_CHECKING:
    from lambdascope_extension.destination import Destination
    from lambdascope_extension.exporter import Job, SendsBatches

_SERVICES = {"traces": "trace.v1.Trace", "metrics": "metrics.v1.Metrics", "logs": "logs.v1.Logs"}
_RETRYABLE = {
    "CANCELLED",
    "DEADLINE_EXCEEDED",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNAVAILABLE",
    "DATA_LOSS",
}
# The HTTP codes by which the rest of the extension knows the same things.
_STATUSES = {"INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403}
_TOO_LARGE = "larger than max"
_RETRY_INFO = b"google.rpc.RetryInfo"
_DETAILS = "grpc-status-details-bin"
_OPTIONS = (
    # The library's own attempts would go on across a freeze and outlive a cut.
    ("grpc.enable_retries", 0),
    # A channel that is closed takes its connection and its waiting for the next attempt with it.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", f"lambdascope/{__version__}"),
    ("grpc.max_receive_message_length", 1_048_576),
)
_MAX_REASON_CHARS = 200


class GrpcSender:
    """Keeps one channel for each address between the calls of `send`.

    `by_http` sends what is for destinations that do not speak gRPC.
    """

    def __init__(self, by_http: SendsBatches | None = None) -> None:
        self._by_http = by_http
        self._channels: dict[tuple[str, str], Any] = {}
        self._lock = Lock()
        self._call: Any = None

    def cut(self) -> None:
        """End the `send` that is under way, now; it returns a Result all the same."""
        if self._by_http is not None:
            self._by_http.cut()
        with self._lock:
            if self._call is not None:
                self._call.cancel()

    def send(self, job: Job) -> Result:
        """Export a batch. Raises nothing but what is a fault of ours."""
        if self._by_http is not None and not job.destination.is_grpc:
            return self._by_http.send(job)
        started = monotonic()
        if job.wants_new_connection:
            self.close()
        if job.batch.kind != names.CONTENT_TYPE_PROTOBUF:
            return Result(
                REFUSED,
                reason="JSON cannot be sent over gRPC",
                hint="let what sends to the extension use http/protobuf",
            )
        try:
            result = self._try(job, started)
        except grpc.RpcError as error:
            result = _failure(job, error)
        except OSError as error:  # a certificate file that cannot be loaded
            reason = str(error.strerror or error).lower()
            result = Result(REFUSED, reason=reason, hint=f"check {names.ENV_OTLP_CERTIFICATE}")
        result.elapsed = monotonic() - started
        return result

    def close(self) -> None:
        """Close all channels; the next `send` opens new ones."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        if self._by_http is not None:
            self._by_http.close()

    def _try(self, job: Job, started: float) -> Result:
        reused = bool(self._channels)
        try:
            return self._call_with(job, job.timeout_s)
        except grpc.RpcError as error:
            if error.code().name != "UNAVAILABLE":
                raise
            self.close()
            left = job.timeout_s - (monotonic() - started)
            # A kept connection may have died while all was frozen; a new one tells the truth.
            if not reused or job.is_cut or left <= 0:
                raise
            return self._call_with(job, left)

    def _call_with(self, job: Job, timeout_s: float) -> Result:
        destination, batch = job.destination, job.batch
        service = _SERVICES[batch.signal]
        method = f"/opentelemetry.proto.collector.{service}Service/Export"
        metadata = [
            (name, value if name.endswith("-bin") else value.decode("latin-1"))
            for name, value in destination.headers.items()
        ]
        metadata.append((names.BATCH_ID.lower(), batch.id))
        stub = self._channel(destination).unary_unary(method)
        with self._lock:
            # Whoever cuts sets the flag and then takes the lock.
            if job.is_cut:
                return Result(CUT)
            self._call = stub.future(
                batch.body,
                timeout=timeout_s,
                metadata=metadata,
                compression=grpc.Compression.Gzip if destination.gzip else None,
            )
        try:
            answer = self._call.result()
        except grpc.FutureCancelledError:
            return Result(CUT)
        finally:
            with self._lock:
                self._call = None
        result = Result(EXPORTED, status=names.OK)
        result.rejected, result.message = partial_success(answer, is_json=False)
        return result

    def _channel(self, destination: Destination) -> Any:
        scheme, _, authority = destination.url.partition("://")
        key = (scheme, f"{authority} {destination.verify} {destination.cert}")
        channel = self._channels.get(key)
        if channel is None:
            if scheme == "http":
                channel = grpc.insecure_channel(authority, options=_OPTIONS)
            else:
                credentials = _credentials(destination)
                channel = grpc.secure_channel(authority, credentials, options=_OPTIONS)
            self._channels[key] = channel
        return channel


def _credentials(destination: Destination) -> Any:
    """TLS by the destination's files. Raises OSError."""
    root = _read(destination.verify) if isinstance(destination.verify, str) else None
    chain = key = None
    if destination.cert is not None:
        both = destination.cert if isinstance(destination.cert, tuple) else (destination.cert,) * 2
        chain, key = (_read(path) for path in both)
    return grpc.ssl_channel_credentials(root, key, chain)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _failure(job: Job, error: Any) -> Result:
    """What a status other than OK means, without any header's value that the receiver repeats."""
    code = error.code().name
    if job.is_cut and code == "CANCELLED":
        return Result(CUT)
    text = " ".join(str(error.details() or "").split())
    text = job.destination.masked(text)[:_MAX_REASON_CHARS]
    after = _retry_delay(error)
    is_full = code == "RESOURCE_EXHAUSTED"
    if is_full and _TOO_LARGE in text:
        hint = "the collector's limit on messages is too small"
        return Result(REFUSED, reason=text, hint=hint, status=names.PAYLOAD_TOO_LARGE)
    if code in _RETRYABLE or (is_full and after is not None):
        reason = SLOW if code == "DEADLINE_EXCEEDED" else f"{code}: {text}"
        result = Result(RETRY, reason=reason, hint=_hint(code))
        result.retry_after = after or 0.0
        return result
    return Result(
        REFUSED, reason=f"{code}: {text}", hint=_hint(code), status=_STATUSES.get(code, 0)
    )


def _hint(code: str) -> str:
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return f"check {names.ENV_OTLP_HEADERS}"
    if code == "UNIMPLEMENTED":
        return f"check that {names.ENV_OTLP_ENDPOINT} names an OTLP/gRPC receiver of this signal"
    if code == "UNAVAILABLE":
        return (
            f"check {names.ENV_OTLP_ENDPOINT}, that a gRPC receiver listens there, usually at 4317,"
            " and that http:// or https:// fits it"
        )
    return "look at the collector"


def _retry_delay(error: Any) -> float | None:
    """Seconds from a RetryInfo in the status's details; None without one.

    The details are a google.rpc.Status, of which field 3 holds messages of any type: their type's
    URL in field 1 and their bytes in field 2. Field 1 of RetryInfo is a Duration.
    """
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            try:
                for detail in _messages(value, 3):
                    if any(url.endswith(_RETRY_INFO) for url in _messages(detail, 1)):
                        return _seconds(detail)
            except ValueError:
                return None
    return None


def _seconds(detail: bytes) -> float:
    total = 0.0
    for info in _messages(detail, 2):
        for duration in _messages(info, 1):
            for number, kind, start, end in iter_fields(duration):
                if kind == WIRE_VARINT:
                    value = sum(
                        (byte & 0x7F) << 7 * place for place, byte in enumerate(duration[start:end])
                    )
                    total += value if number == 1 else value / 1e9
    return total


def _messages(data: bytes, wanted: int) -> list[bytes]:
    """The fields of this number that have a length."""
    return [
        data[start:end]
        for number, kind, start, end in iter_fields(data)
        if (number, kind) == (wanted, WIRE_LENGTH)
    ]
