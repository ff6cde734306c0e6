"""Posts batches of telemetry to one listener inside the environment, over one connection.

`telemetry_subscriber` calls it from its own thread. While the environment is frozen its listener
cannot answer, so the time limit of an attempt counts only the time in which it could. Knows bytes
and status codes, nothing of events. Source of the destination's form: AWS Lambda developer guide,
"Lambda Telemetry API reference".
"""

from __future__ import annotations

import ipaddress
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.http1 import Head, Parser
from lambdascope.wire.telemetry_api import encode_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")

_SLICE_S = 0.1
_RECV_BYTES = 65_536
_LOOPBACK = "127.0.0.1"
# Where the documented names may lead. A machine whose search domain knows some host named
# "sandbox" must not be sent anybody's logs.
_OWN_NETWORKS = tuple(ipaddress.ip_network(net) for net in ("127.0.0.0/8", "169.254.0.0/16"))


class DeliveryFailed(Exception):
    """One attempt failed; the text says why."""


class Destination:
    """Where a subscriber listens. `text` is the URI as the subscriber gave it."""

    def __init__(self, uri: str) -> None:
        """Raises RemoteProtocolError when the URI leads out of the execution environment."""
        self.text = uri
        try:
            parts = urlsplit(uri)
            self.host, self.port = parts.hostname or "", parts.port or 80
        except ValueError as error:
            raise RemoteProtocolError(f"destination.URI {uri!r}: {error}") from None
        # Loopback addresses are taken beside the documented names: here it is the same machine.
        if self.host not in (*names.TELEMETRY_HOSTS, "localhost") and not _is_loopback(self.host):
            raise RemoteProtocolError(
                f"destination.URI {uri!r}: the host must be {names.TELEMETRY_HOSTS[0]}"
            )
        query = f"?{parts.query}" if parts.query else ""
        self.target = f"{parts.path or '/'}{query}"
        self._resolved: str | None = None

    def addresses(self) -> Iterator[str]:
        """The addresses to try, in this order.

        The documented names stand for loopback, and only when nothing listens there is the resolver
        asked, once: it may take seconds on a machine that is not on a network.
        """
        if self.host not in (*names.TELEMETRY_HOSTS, "localhost"):
            yield self.host
            return
        yield _LOOPBACK
        if self._resolved is None:
            self._resolved = _resolve(self.host, self.port)
        if self._resolved != _LOOPBACK:
            yield self._resolved


def _resolve(host: str, port: int) -> str:
    try:
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return _LOOPBACK
    address = str(found[0][4][0])
    is_own = any(ipaddress.ip_address(address) in network for network in _OWN_NETWORKS)
    return address if is_own else _LOOPBACK


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Channel:
    """A keep-alive connection to a destination. One thread posts; any may call `abort`.

    `is_frozen` tells whether the listener's process is stopped just now.
    """

    def __init__(
        self, destination: Destination, *, answer_s: float, is_frozen: Callable[[], bool]
    ) -> None:
        self._destination = destination
        self._answer_s = answer_s
        self._is_frozen = is_frozen
        self._socket: socket.socket | None = None
        self._aborted = False
        self._awake_s = 0.0

    def post(self, records: Sequence[bytes]) -> None:
        """One attempt to deliver JSON texts. Raises DeliveryFailed unless the answer was 2xx."""
        self._awake_s = 0.0
        destination = self._destination
        common = (("Host", f"{destination.host}:{destination.port}"),)
        request = encode_batch(destination.target, common, records)
        try:
            head = self._exchange(request)
        except OSError as error:
            self.close()
            raise DeliveryFailed(error.strerror or str(error) or type(error).__name__) from None
        except RemoteProtocolError as error:
            self.close()
            raise DeliveryFailed(f"no HTTP answer: {error}") from None
        if head is None:
            raise DeliveryFailed("connection closed without an answer")
        if not 200 <= head.status < 300:
            raise DeliveryFailed(f"answered {head.status}")

    def close(self) -> None:
        """Close the connection; the next post opens another."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def abort(self) -> None:
        """End a post that is going on in another thread, and all later ones."""
        self._aborted = True

    def _exchange(self, request: bytes) -> Head | None:
        """The answer's head; None when the connection ended before it began."""
        sock = self._reusable() or self._connect()
        view = memoryview(request)
        while view:
            view = view[self._patiently(partial(sock.send, view)) :]
        parser = Parser(request=False, max_head_bytes=names.MAX_HEAD_BYTES)
        head: Head | None = None
        while True:
            data = self._patiently(partial(sock.recv, _RECV_BYTES))
            if data:
                parser.feed(data)
            elif head is None and parser.idle:
                self.close()
                return None
            else:
                parser.feed_eof()
            while (event := parser.next_event()) is not None:
                if isinstance(event, Head):
                    head = event
                elif isinstance(event, dict) and head is not None and head.status >= 200:
                    if not head.keep_alive or not data:
                        self.close()
                    return head

    def _reusable(self) -> socket.socket | None:
        """The open connection, unless the listener has closed it meanwhile."""
        sock = self._socket
        if sock is None:
            return None
        try:
            sock.setblocking(False)
            sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            sock.settimeout(_SLICE_S)
            return sock
        except OSError:
            pass  # reset by the listener, which is as good as closed
        self.close()
        return None

    def _connect(self) -> socket.socket:
        refusal: OSError | None = None
        for address in self._destination.addresses():
            try:
                sock = socket.create_connection((address, self._destination.port), self._answer_s)
            except OSError as error:
                refusal = refusal or error
                continue
            sock.settimeout(_SLICE_S)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = sock
            return sock
        raise refusal or OSError("no address")

    def _patiently(self, step: Callable[[], T]) -> T:
        while True:
            before = time.monotonic()
            try:
                return step()
            except TimeoutError:
                if self._aborted:
                    raise ConnectionAbortedError("the environment is gone") from None
            if not self._is_frozen():
                self._awake_s += time.monotonic() - before
            if self._awake_s >= self._answer_s:
                raise TimeoutError(f"no answer within {self._answer_s:g} s")
