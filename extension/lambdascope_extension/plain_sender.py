"""Sends batches over our own connections, without loading `requests`: http, https, no proxies.

It does what `sender` does, in the exporter's thread too: keep-alive, one retry over a new
connection, an end at once when the main thread says `cut`. Only that is called by another thread.
"""

from __future__ import annotations

from time import monotonic

from lambdascope import __version__
from lambdascope.transport.connection import ConnectionLost
from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.heads import REASONS, encode_request
from lambdascope_extension.answers import (
    CUT,
    EXPORTED,
    REFUSED,
    RETRY,
    Result,
    from_response,
    hint_for,
    is_about_key,
    retry_after,
)
from lambdascope_extension.destination import header_text
from lambdascope_extension.own_connections import (
    CONNECT_S,
    Connections,
    is_own_way,
    split_url,
    text_of,
    tls_trouble,
    why,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lambdascope_extension.destination import Destination
    from lambdascope_extension.exporter import Job
    from lambdascope_extension.own_connections import Cuttable


def is_plain(destinations: Iterable[Destination], environ: Mapping[str, str]) -> bool:
    """Whether all of these can be reached without proxies, and have headers of text."""
    return all(
        is_own_way(one.url, environ)
        and all(value == header_text(value).encode() for value in one.headers.values())
        for one in destinations
    )


class PlainSender:
    """Keeps one connection for each address between the calls of `send`."""

    def __init__(self) -> None:
        self._connections = Connections()

    def cut(self) -> None:
        """End the `send` that is under way, now; it returns a Result all the same."""
        self._connections.cut()

    def send(self, job: Job) -> Result:
        """Export a batch. Raises nothing but what is a fault of ours."""
        started = monotonic()
        self._connections.allow()
        if job.is_cut:
            return Result(CUT)
        if job.wants_new_connection:
            self.close()
        try:
            result = self._try(job, _request(job), started + job.timeout_s)
        except (ConnectionLost, RemoteProtocolError) as error:
            self.close()
            result = Result(CUT) if job.is_cut else _failure(error, job.destination.port)
        except OSError as error:  # a certificate file that cannot be loaded
            hint = f"check {names.ENV_OTLP_CERTIFICATE}"
            result = Result(REFUSED, reason=text_of(error), hint=hint)
        result.elapsed = monotonic() - started
        return result

    def _try(self, job: Job, request: bytes, deadline: float) -> Result:
        destination = job.destination
        connection = self._connections.use(destination.url, (destination.verify, destination.cert))
        was_open = connection.is_open
        try:
            return _exchange(connection, job, request, deadline)
        except ConnectionLost:
            # A kept connection may have died while all was frozen; a new one tells the truth.
            if not was_open or job.is_cut or monotonic() >= deadline:
                raise
            connection.close()
            return _exchange(connection, job, request, deadline)

    def close(self) -> None:
        """Close all connections; the next `send` opens new ones."""
        self._connections.close()


def _request(job: Job) -> bytes:
    destination, batch = job.destination, job.batch
    _, authority, target = split_url(destination.url)
    headers = {
        "host": authority,
        **{name: header_text(value) for name, value in destination.headers.items()},
        "content-type": batch.kind,
        "user-agent": f"lambdascope/{__version__}",
        names.BATCH_ID: batch.id,
    }
    body = batch.body
    if destination.gzip:
        from zlib import compressobj

        deflater = compressobj(1, wbits=16 + 15)
        body = deflater.compress(body) + deflater.flush()
        headers["content-encoding"] = "gzip"
    if destination.sign is not None:
        headers |= destination.sign({"content-type": batch.kind}, body)
    return encode_request("POST", target, headers.items(), body)


def _exchange(connection: Cuttable, job: Job, request: bytes, deadline: float) -> Result:
    if job.is_cut:
        raise ConnectionLost("cut", sent=False)
    left = max(0.001, deadline - monotonic())
    connection.connect_s = min(CONNECT_S, left)
    connection.send(request, timeout=left)
    head, answer = connection.receive(timeout=max(0.001, deadline - monotonic()))
    result = from_response(
        head.status,
        REASONS.get(head.status, ""),
        answer,
        is_json=names.CONTENT_TYPE_JSON in head.headers.get("content-type", job.batch.kind),
    )
    if result.outcome != EXPORTED:
        result.hint = (job.destination.hint if is_about_key(result) else "") or result.hint
        result.retry_after = retry_after(head.headers.get("retry-after", ""))
    return result


def _failure(error: ConnectionLost | RemoteProtocolError, port: int) -> Result:
    reason = why(error)
    if tls_trouble(error.__cause__ or error.__context__):
        hint = f"check {names.ENV_OTLP_CERTIFICATE} and the https:// address"
        return Result(RETRY, reason=reason, hint=hint)
    return Result(RETRY, reason=reason, hint=hint_for(reason, port))
