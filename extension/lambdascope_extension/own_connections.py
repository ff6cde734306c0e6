"""Our own connections for the exporter's thread: http and https, which another thread can cut.

Used by the sender and by the calls to AWS, to do without `requests`, which takes 90 ms of a core
and 15 MB to load. What is refused here (proxies, authorities that only `requests` knows, addresses
that it would repair) is left to that. Only `cut` is called by another thread. TLS is in `tls`,
loaded where an address begins with https.
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

from lambdascope.transport.connection import Connection, ConnectionLost, split_address
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope_extension.answers import CLOSED, NOT_HTTP, SLOW, UNKNOWN_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Trust = tuple[str | bool, str | tuple[str, str] | None]

CONNECT_S = 1.0
_MAX_BODY_BYTES = 65_536
_HTTPS = "https"
# What makes `requests` go another way, or trust others.
_PROXIES = ("all_proxy", "ALL_PROXY")
_OTHER_WAYS = {
    "http": ("http_proxy", "HTTP_PROXY", *_PROXIES),
    _HTTPS: ("https_proxy", "HTTPS_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", *_PROXIES),
}
# Of OpenSSL, by what is trusted and shown: a bundle of authorities takes 15 ms and 2 MB, and all
# threads may use one at once.
_contexts: dict[Trust, Any] = {}


def is_own_way(url: str, environ: Mapping[str, str]) -> bool:
    """Whether this address can be reached as it is, without proxies and users."""
    scheme, authority, target = split_url(url)
    others = _OTHER_WAYS.get(scheme)
    if (
        others is None
        or any(environ.get(name) for name in others)
        or any(char in authority for char in "@?\\")
        or "#" in target
        or not (url.isascii() and url.isprintable())
        or " " in url
    ):
        return False
    try:
        split_address(authority)
    except ValueError:
        return False
    if scheme == _HTTPS:
        from lambdascope_extension.tls import is_known

        return is_known()
    return True


def split_url(url: str) -> tuple[str, str, str]:
    """Scheme, what the Host header says (without the scheme's own port), and target."""
    scheme, _, rest = url.partition("://")
    authority, _, path = rest.partition("/")
    return scheme, authority.removesuffix(":443" if scheme == _HTTPS else ":80"), f"/{path}"


def why(error: BaseException) -> str:
    """What has failed, for people: none of it is a text that a peer has sent."""
    text = tls_trouble(error.__cause__ or error.__context__)
    if text:
        return text
    if isinstance(error, _Unreachable):
        return error.reason
    if isinstance(error, RemoteProtocolError):
        return NOT_HTTP
    if isinstance(error, ConnectionLost):
        text = str(error)
        return SLOW if "time is up" in text or "within" in text or "timed out" in text else CLOSED
    return text_of(error)


def tls_trouble(error: BaseException | None) -> str:
    """What OpenSSL does not like; "" where it is something else."""
    if error is None or type(error).__module__ != "ssl":
        return ""
    from lambdascope_extension.tls import trouble

    return trouble(error)


def text_of(error: BaseException) -> str:
    """An error of the system, or of OpenSSL."""
    return tls_trouble(error) or (getattr(error, "strerror", "") or str(error)).lower()


class Connections:
    """Keeps one for each address, of which one is in use at a time."""

    def __init__(self) -> None:
        self._guard = _Guard()
        self._kept: dict[object, Cuttable] = {}

    def allow(self) -> None:
        """Nothing is cut any more."""
        self._guard.is_cut = False

    def cut(self) -> None:
        """End what is under way, now, and let nothing begin."""
        self._guard.cut()

    def use(self, url: str, trust: Trust) -> Cuttable:
        """The kept one, or a new one, which is not open yet. Raises OSError for bad files."""
        scheme, authority, _ = split_url(url)
        is_tls = scheme == _HTTPS
        key = (authority, trust if is_tls else None)
        connection = self._kept.get(key)
        if connection is None:
            context = _context(trust) if is_tls else None
            connection = self._kept[key] = Cuttable(authority, self._guard, context)
        self._guard.handle = connection.handle
        return connection

    def close(self) -> None:
        """Close all; the next use opens new ones."""
        for connection in self._kept.values():
            connection.close()


def _context(trust: Trust) -> Any:
    context = _contexts.get(trust)
    if context is None:
        from lambdascope_extension.tls import make_context

        context = _contexts[trust] = make_context(*trust)
    return context


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


class Cuttable(Connection):
    """A connection to a name or an address that `guard` can cut, also while it is being made.

    With a `context` it is in TLS. Of an answer's body `max_body_bytes` are looked at.
    """

    __slots__ = ("_context", "_guard", "connect_s", "handle", "max_body_bytes")

    def __init__(self, authority: str, guard: _Guard, context: Any | None) -> None:
        super().__init__(*split_address(authority, default_port=80 if context is None else 443))
        self._guard = guard
        self._context = context
        self.connect_s = CONNECT_S
        self.max_body_bytes = _MAX_BODY_BYTES
        self.handle: socket | None = None

    def close(self) -> None:
        """Close it, and the handle; the next use opens a new socket."""
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
        raise _Unreachable(SLOW if isinstance(last, TimeoutError) else text_of(last)) from last

    def _rest(self, sock: socket, body: bytes, length: int, deadline: float | None) -> bytes:
        """The body of an answer; one that is cut off or very long does not undo its status."""
        if length <= self.max_body_bytes:
            try:
                return super()._rest(sock, body, length, deadline)
            except (ConnectionLost, OSError):
                pass  # its status says what became of the request
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
