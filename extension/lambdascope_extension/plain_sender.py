"""Sends batches over our own connection, without loading `requests`: http, https, no proxies.

Loading that takes 90 ms of a core and 15 MB. It does what `sender` does, in the exporter's thread
too: keep-alive, one retry over a new connection, an end at once when the main thread says `cut`.
Only that is called by another thread. TLS is in `tls`, loaded where an address begins with https.
"""

from __future__ import annotations

import posix
from _socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    SHUT_RDWR,
    SOCK_STREAM,
    TCP_NODELAY,
    getaddrinfo,
    socket,
)
from time import monotonic

from lambdascope import __version__
from lambdascope.transport.connection import Connection, ConnectionLost, split_address
from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.heads import REASONS, encode_request
from lambdascope_extension.answers import (
    CLOSED,
    CUT,
    EXPORTED,
    NOT_HTTP,
    REFUSED,
    RETRY,
    SLOW,
    UNKNOWN_NAME,
    Result,
    from_response,
    hint_for,
    is_about_key,
    retry_after,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from lambdascope_extension.destination import Destination
    from lambdascope_extension.exporter import Job

_CONNECT_S = 1.0
_MAX_BODY_BYTES = 65_536
_HTTPS = "https"
# What makes `requests` go another way, or trust others.
_PROXIES = ("all_proxy", "ALL_PROXY")
_OTHER_WAYS = {
    "http": ("http_proxy", "HTTP_PROXY", *_PROXIES),
    _HTTPS: ("https_proxy", "HTTPS_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", *_PROXIES),
}


def is_plain(destinations: Iterable[Destination], environ: Mapping[str, str]) -> bool:
    """Whether all of these can be reached without proxies, signatures and secrets' stores."""
    for one in destinations:
        scheme = one.url.partition("://")[0]
        if (
            one.needs_aws
            or not one.url.isascii()
            or not one.url.isprintable()
            or " " in one.url
            or any(environ.get(name) for name in _OTHER_WAYS[scheme])
        ):
            return False
        if scheme == _HTTPS:
            from lambdascope_extension.tls import is_known

            if not is_known():
                return False
    return True


class PlainSender:
    """Keeps one connection for each address between the calls of `send`."""

    def __init__(self) -> None:
        self._guard = _Guard()
        self._connections: dict[object, _Cuttable] = {}
        self._contexts: dict[object, Any] = {}

    def cut(self) -> None:
        """End the `send` that is under way, now; it returns a Result all the same."""
        self._guard.cut()

    def send(self, job: Job) -> Result:
        """Export a batch. Raises nothing but what is a fault of ours."""
        started = monotonic()
        self._guard.is_cut = False
        if job.is_cut:
            return Result(CUT)
        if job.wants_new_connection:
            self.close()
        authority, _, path = job.destination.url.partition("://")[2].partition("/")
        request = _request(job, authority, f"/{path}")
        try:
            result = self._try(job, authority, request, started + job.timeout_s)
        except (ConnectionLost, RemoteProtocolError) as error:
            self.close()
            result = Result(CUT) if job.is_cut else _failure(error, job.destination.port)
        except OSError as error:  # a certificate file that cannot be loaded
            hint = f"check {names.ENV_OTLP_CERTIFICATE}"
            result = Result(REFUSED, reason=_text(error), hint=hint)
        result.elapsed = monotonic() - started
        return result

    def _try(self, job: Job, authority: str, request: bytes, deadline: float) -> Result:
        connection = self._connection(job.destination, authority)
        was_open = connection.is_open
        self._guard.handle = connection.handle
        try:
            return _exchange(connection, job, request, deadline)
        except ConnectionLost:
            # A kept connection may have died while all was frozen; a new one tells the truth.
            if not was_open or job.is_cut or monotonic() >= deadline:
                raise
            connection.close()
            return _exchange(connection, job, request, deadline)

    def _connection(self, destination: Destination, authority: str) -> _Cuttable:
        """The kept one, or a new one, which is not open yet. Raises OSError for bad files."""
        trust = (destination.verify, destination.cert)
        is_tls = destination.url.startswith(_HTTPS)
        key = (authority, trust if is_tls else None)
        connection = self._connections.get(key)
        if connection is None:
            context = None
            if is_tls:
                from lambdascope_extension.tls import make_context

                context = self._contexts.get(trust)
                if context is None:
                    context = self._contexts[trust] = make_context(destination)
            connection = self._connections[key] = _Cuttable(authority, self._guard, context)
        return connection

    def close(self) -> None:
        """Close all connections; the next `send` opens new ones."""
        for connection in self._connections.values():
            connection.close()


class _Guard:
    """What lets another thread end an exchange: a second handle of the socket in use."""

    __slots__ = ("handle", "is_cut")

    def __init__(self) -> None:
        self.handle: socket | None = None
        self.is_cut = False

    def cut(self) -> None:
        # The order matters: the sender's thread sets the handle and then looks at the flag.
        self.is_cut = True
        handle = self.handle
        if handle is not None:
            try:
                handle.shutdown(SHUT_RDWR)
            except OSError:
                pass  # not connected any more, or not yet: the flag stops that one

    def check(self) -> None:
        """Raises OSError when all is cut already."""
        if self.is_cut:
            raise OSError("cut")


class _Socket(socket):
    """TLS wants weak references to its sockets."""

    __slots__ = ("__weakref__",)


class _Unreachable(ConnectionLost):
    """There is no connection; `reason` says why, for TLS in OpenSSL's words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, sent=False)
        self.reason = reason


class _Cuttable(Connection):
    """A connection to a name or an address that `guard` can cut, also while it is being made.

    With a `context` it is in TLS.
    """

    __slots__ = ("_context", "_guard", "connect_s", "handle")

    def __init__(self, authority: str, guard: _Guard, context: Any | None) -> None:
        super().__init__(*split_address(authority, default_port=80 if context is None else 443))
        self._guard = guard
        self._context = context
        self.connect_s = _CONNECT_S
        self.handle: socket | None = None

    def close(self) -> None:
        super().close()
        handle, self.handle = self.handle, None
        if handle is not None:
            handle.close()

    def _open(self) -> socket:
        self.close()
        try:
            # As bytes: a text would load the codec for international names.
            found = getaddrinfo(self._host.encode(), self._port, 0, SOCK_STREAM)
        except OSError:
            raise _Unreachable(UNKNOWN_NAME) from None
        last = OSError("no address")
        for family, _, _, _, address in found:
            if family in (AF_INET, AF_INET6):
                try:
                    self._socket = self._connected(family, address)
                except OSError as error:
                    last = error
                    continue
                return self._socket
        raise _Unreachable(SLOW if isinstance(last, TimeoutError) else _text(last)) from last

    def _rest(self, sock: socket, body: bytes, length: int, deadline: float | None) -> bytes:
        """The body of an answer; one that is cut off or very long does not undo its status."""
        if length <= _MAX_BODY_BYTES:
            try:
                return super()._rest(sock, body, length, deadline)
            except (ConnectionLost, OSError):
                pass  # the collector has said what became of the batch
        self.close()
        return body

    def _connected(self, family: int, address: object) -> socket:
        sock = _Socket(family, SOCK_STREAM)
        try:
            # A second handle: the first may be in the middle of connecting.
            self._guard.handle = self.handle = socket(fileno=posix.dup(sock.fileno()))
            self._guard.check()
            sock.settimeout(self.connect_s)
            sock.connect(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
            sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
            self._guard.check()
            secure: socket = sock if self._context is None else self._secured(sock, self._context)
            self._guard.check()
            sock.settimeout(None)
        except BaseException:
            sock.close()
            self.close()
            raise
        return secure

    def _secured(self, sock: socket, context: Any) -> Any:
        from lambdascope_extension.tls import secured

        return secured(sock, self._host, context)


def _request(job: Job, authority: str, target: str) -> bytes:
    destination, batch = job.destination, job.batch
    headers = {
        "host": authority,
        **{name: value.decode("latin-1") for name, value in destination.headers.items()},
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
    return encode_request("POST", target, headers.items(), body)


def _exchange(connection: _Cuttable, job: Job, request: bytes, deadline: float) -> Result:
    if job.is_cut:
        raise ConnectionLost("cut", sent=False)
    left = max(0.001, deadline - monotonic())
    connection.connect_s = min(_CONNECT_S, left)
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
    text = _tls_trouble(error.__cause__ or error.__context__)
    if text:
        hint = f"check {names.ENV_OTLP_CERTIFICATE} and the https:// address"
        return Result(RETRY, reason=text, hint=hint)
    if isinstance(error, _Unreachable):
        reason = error.reason
    elif isinstance(error, RemoteProtocolError):
        reason = NOT_HTTP
    else:
        text = str(error)
        reason = SLOW if "time is up" in text or "within" in text or "timed out" in text else CLOSED
    return Result(RETRY, reason=reason, hint=hint_for(reason, port))


def _tls_trouble(error: BaseException | None) -> str:
    if error is None or type(error).__module__ != "ssl":
        return ""
    from lambdascope_extension.tls import trouble

    return trouble(error)


def _text(error: OSError) -> str:
    return _tls_trouble(error) or (error.strerror or str(error)).lower()
