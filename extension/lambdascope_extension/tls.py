"""TLS for our own connections: OpenSSL by the C module that is under Python's `ssl`.

`ssl` itself, and `requests` and urllib3 around it, cost 90 ms of CPU and 10 MB more, before the
first byte of the first export. All checks are OpenSSL's: the chain, the host name, the dates; the
settings are those that urllib3 makes. Used by the exporter's thread, only on the versions of Python
that it has been tried with.
"""

from __future__ import annotations

import posix
import sys
from _socket import MSG_DONTWAIT, MSG_PEEK, socket
from _ssl import (
    HOSTFLAG_NEVER_CHECK_SUBJECT,
    PROTOCOL_TLS_CLIENT,
    VERIFY_X509_PARTIAL_CHAIN,
    VERIFY_X509_STRICT,
    PROTO_TLSv1_2,
    SSLError,
    _SSLContext,
)
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HTTP_1_1 = b"\x08http/1.1"
_TYPE_MASK = 0o170000
_DIRECTORY = 0o040000


class TlsSocket:
    """A connected socket in TLS, with what a Connection needs of a socket.

    Raises what that one does: BlockingIOError where a caller does not want to wait, OSError (of
    which SSLError is one) for the rest.
    """

    __slots__ = ("_sock", "_tls")

    def __init__(self, sock: socket, tls: Any) -> None:
        self._sock = sock
        self._tls = tls

    def send(self, data: bytes, flags: int = 0) -> int:
        """Send; not at all where the caller does not want to wait."""
        if flags & MSG_DONTWAIT:
            raise BlockingIOError
        self.sendall(memoryview(data))
        return len(data)

    def sendall(self, data: memoryview) -> None:
        """Send everything within the time-out, which OpenSSL would give to each record of it."""
        timeout = self.gettimeout()
        until = None if timeout is None else monotonic() + timeout
        while data := data[self._tls.write(data) :]:
            if until is not None:
                left = until - monotonic()
                if left <= 0:
                    raise TimeoutError("timed out")
                self.settimeout(left)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive up to `size` bytes. To peek is to ask whether anything has come, even an end."""
        if flags & MSG_PEEK:
            return self._sock.recv(size, flags)
        if flags & MSG_DONTWAIT and not self._tls.pending():
            raise BlockingIOError
        received: bytes = self._tls.read(size)
        return received

    def settimeout(self, timeout: float | None) -> None:
        """For each call that follows."""
        self._sock.settimeout(timeout)

    def gettimeout(self) -> float | None:
        """What was set."""
        return self._sock.gettimeout()

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


def is_known() -> bool:
    """Whether this Python's module is one that this file was tried with."""
    return sys.version_info < (3, 15)


def make_context(verify: str | bool, cert: str | tuple[str, str] | None) -> Any:
    """What is trusted and shown by a destination's files. Raises OSError, also for their text."""
    context: Any = _SSLContext(PROTOCOL_TLS_CLIENT)  # verifies the chain and the name
    context.minimum_version = PROTO_TLSv1_2
    context._host_flags |= HOSTFLAG_NEVER_CHECK_SUBJECT
    context._set_alpn_protocols(_HTTP_1_1)
    context.post_handshake_auth = True
    if sys.version_info >= (3, 13):
        context.verify_flags |= VERIFY_X509_PARTIAL_CHAIN | VERIFY_X509_STRICT
    path = _authorities() if verify is True else str(verify)
    if not path:
        context.set_default_verify_paths()
    elif posix.stat(path).st_mode & _TYPE_MASK == _DIRECTORY:
        context.load_verify_locations(None, path)
    else:
        context.load_verify_locations(path)
    if cert is not None:
        both = cert if isinstance(cert, tuple) else (cert,)
        # With a password, which is not right, nobody is asked for one at a terminal.
        context.load_cert_chain(both[0], both[-1], "")
    return context


def secured(sock: socket, host: str, context: Any) -> TlsSocket:
    """Shake hands within the time-out of `sock`, of a class with weak references. OSError."""
    tls = context._wrap_socket(sock, False, host.rstrip("."))
    tls.do_handshake()
    return TlsSocket(sock, tls)


def trouble(error: BaseException | None) -> str:
    """What OpenSSL does not like, in its words; "" where it is something else."""
    if not isinstance(error, SSLError):
        return ""
    text = getattr(error, "verify_message", "") or error.strerror or type(error).__name__
    return str(text)[:200].lower()


def _authorities() -> str:
    """The file of the package `certifi`, which `requests` takes; "" where it is not there."""
    for folder in sys.path:
        path = f"{folder}/certifi/cacert.pem"
        if posix.access(path, posix.R_OK):
            return path
    return ""
