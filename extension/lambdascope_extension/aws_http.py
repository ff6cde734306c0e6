"""One request to AWS at a time: over a connection of our own, else with `requests`.

Loaded in the exporter's thread by `aws_calls`. A connection is closed after its answer: calls are
rare, and none is open while the environment is frozen. Only `cut` is called by another thread. It
knows nothing of credentials and of what an answer means.
"""

from __future__ import annotations

from lambdascope import __version__
from lambdascope.transport.connection import ConnectionLost
from lambdascope.wire import names
from lambdascope.wire.errors import ProtocolError
from lambdascope.wire.heads import encode_request
from lambdascope_extension.own_connections import (
    CONNECT_S,
    Connections,
    is_own_way,
    split_url,
    why,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdascope_extension.requests_calls import RequestsCalls

# A secret has up to 64 KiB, and JSON makes more of them.
_MAX_ANSWER_BYTES = 524_288


class NoAnswer(Exception):
    """The text says why, for people."""


class Call:
    """A request. `direct` is one that goes past all proxies."""

    __slots__ = ("body", "direct", "headers", "method", "timeout_s", "url")

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        timeout_s: float,
        direct: bool = False,
    ) -> None:
        self.method = "POST" if body else "GET"
        self.url = url
        self.headers = {**headers, "user-agent": f"lambdascope/{__version__}"}
        self.body = body
        self.timeout_s = timeout_s
        self.direct = direct


class AwsHttp:
    """`environ` names proxies, and the authorities that the user trusts."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        # They may be those of a proxy that looks into TLS.
        self._verify = environ.get(names.ENV_SSL_CERT_FILE) or True
        self._connections = Connections()
        self._others: RequestsCalls | None = None
        self._is_cut = False

    def allow(self) -> None:
        """Calls may be made again."""
        self._is_cut = False
        self._connections.allow()
        if self._others is not None:
            self._others.allow()

    def cut(self) -> None:
        """End the call that is under way, and let none begin; from another thread."""
        self._is_cut = True
        self._connections.cut()
        if self._others is not None:
            self._others.cut()

    def answer(self, call: Call) -> tuple[int, bytes]:
        """The status and the body, or its beginning. Redirects are not followed. NoAnswer."""
        if not is_own_way(call.url, {} if call.direct else self._environ):
            return self._through_requests(call)
        _, authority, target = split_url(call.url)
        # Whatever is compressed nobody here can read.
        headers = {"host": authority, "accept-encoding": "identity", **call.headers}
        try:
            request = encode_request(call.method, target, headers.items(), call.body)
            connection = self._connections.use(call.url, (self._verify, None))
            connection.connect_s = min(CONNECT_S, call.timeout_s)
            connection.max_body_bytes = _MAX_ANSWER_BYTES
            head, answer = connection.exchange(request, timeout=call.timeout_s)
        except (ConnectionLost, ProtocolError, OSError) as error:
            raise NoAnswer(why(error)) from None
        finally:
            self._connections.close()
        return head.status, answer

    def _through_requests(self, call: Call) -> tuple[int, bytes]:
        if self._others is None:
            try:
                from lambdascope_extension.requests_calls import RequestsCalls
            except ImportError as error:
                raise NoAnswer(f"`requests` is needed, for a proxy or the like: {error}") from None

            self._others = RequestsCalls(self._verify)
            if self._is_cut:  # looked at after it can be seen by whoever cuts
                self._others.cut()
        try:
            return self._others.answer(call, _MAX_ANSWER_BYTES)
        except OSError as error:  # RequestException is one
            raise NoAnswer(type(error).__name__) from None
