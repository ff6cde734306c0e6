"""Sockets that can be cut from another thread, put under `requests`.

The main thread must be able to end an export at once, because nothing may be in flight while the
environment is frozen, and `requests` has no means for that. So every connection is opened here, and
a second handle of it is kept, through which it is shut down: the first may be inside TLS or in the
middle of connecting. Loaded by the sender, long after register.
"""

from __future__ import annotations

import socket
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

_SCHEMES = {"http", "https"}


class OpenSockets:
    """The sockets of one session. `cut` is called by the main thread, all else by the sender's."""

    def __init__(self) -> None:
        self._handles: list[socket.socket] = []
        self._is_cut = False

    def allow(self) -> None:
        """Before an export: sockets may be opened again."""
        self._is_cut = False

    def cut(self) -> None:
        """End everything that is under way, and do not let anything begin."""
        self._is_cut = True
        for handle in list(self._handles):
            try:
                handle.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # not connected any more, or not yet: the flag stops that one

    def connect(self, host: str, port: int, timeout: Any) -> tuple[socket.socket, socket.socket]:
        """A connected socket and its second handle. Raises OSError."""
        last: OSError = OSError(f"no address for {host}")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, 0, socket.SOCK_STREAM
        ):
            try:
                return self._connect(socket.socket(family, kind, protocol), address, timeout)
            except OSError as error:
                last = error
        raise last

    def forget(self, handle: socket.socket) -> None:
        """The connection of `handle` is closed."""
        if handle in self._handles:
            self._handles.remove(handle)
        handle.close()

    def _connect(
        self, sock: socket.socket, address: Any, timeout: Any
    ) -> tuple[socket.socket, socket.socket]:
        handle = sock.dup()
        # The order matters: whoever cuts sets the flag and then looks at the handles.
        self._handles.append(handle)
        try:
            if self._is_cut:
                raise ConnectionAbortedError("cut")
            sock.settimeout(timeout)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect(address)
            if self._is_cut:
                raise ConnectionAbortedError("cut")
        except BaseException:
            sock.close()
            self.forget(handle)
            raise
        return sock, handle


class CuttableAdapter(HTTPAdapter):
    """An adapter of `requests` all of whose connections belong to `sockets`."""

    def __init__(self, sockets: OpenSockets) -> None:
        self._classes = _pool_classes(sockets)
        super().__init__(pool_connections=3, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As in the base class, with our pools."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._classes

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        """As in the base class, with our pools, except for SOCKS, which connects by itself."""
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._classes
        return manager


def cuttable_session(sockets: OpenSockets) -> requests.Session:
    """A session whose connections belong to `sockets`, and which adds nothing to a request."""
    session = requests.Session()
    adapter = CuttableAdapter(sockets)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    # Without this a ~/.netrc would replace the Authorization header that the user gave.
    session.auth = lambda request: request
    session.headers.clear()
    return session


def _pool_classes(sockets: OpenSockets) -> dict[str, type]:
    class Cuttable:
        """Mixed into urllib3's connections."""

        _handle: socket.socket | None = None

        def _new_conn(self: Any) -> socket.socket:
            host = getattr(self, "_dns_host", self.host)
            try:
                sock, self._handle = sockets.connect(host, self.port, self.timeout)
            except TimeoutError as error:
                raise ConnectTimeoutError(self, f"no connection to {host}") from error
            except OSError as error:
                raise NewConnectionError(self, f"no connection to {host}") from error
            return sock

        def close(self: Any) -> None:
            super().close()  # type: ignore[misc]
            handle, self._handle = self._handle, None
            if handle is not None:
                sockets.forget(handle)

    class Plain(Cuttable, HTTPConnection):
        """A connection to http://."""

    class Secure(Cuttable, HTTPSConnection):
        """A connection to https://."""

    class PlainPool(HTTPConnectionPool):
        """Opens plain connections."""

        ConnectionCls = Plain  # type: ignore[mutable-override]

    class SecurePool(HTTPSConnectionPool):
        """Opens secure connections."""

        ConnectionCls = Secure  # type: ignore[mutable-override]

    return {"http": PlainPool, "https": SecurePool}
