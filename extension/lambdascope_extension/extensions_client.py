"""The extension's side of the Extensions API and of the Telemetry API's subscription.

One keep-alive connection whose only slow answer, to `event/next`, is waited for with poll: that is
why this class has a `fileno`. The start uses it to register, the lifecycle for everything else. It
knows nothing of OTLP. Source: AWS Lambda developer guide, "Using the Lambda Extensions API".
"""

from __future__ import annotations

from time import sleep

from lambdascope.transport.connection import Connection, ConnectionLost, split_address
from lambdascope.wire import names
from lambdascope.wire.errors import ProtocolError, RemoteProtocolError
from lambdascope.wire.extensions_api import (
    ExtensionNext,
    Invoke,
    Register,
    glance_at_invoke,
    parse_event,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.wire.extensions_api import Shutdown

# The platform answers everything but next at once; the limit is that of the init phase.
_REGISTER_S = names.INIT_TIMEOUT_MS / 1000
_SUBSCRIBE_S = 2.0
_VALIDATION_ERROR = 400
# The event is announced by poll, so all of it is there or comes at once.
_EVENT_S = 2.0
_IDLE_FAILURES = 5
_FOR_EVER = float("inf")
# maxItems, maxBytes, timeoutMs: the smallest that the platform takes, for early records.
_BUFFERING = (
    names.TELEMETRY_MAX_ITEMS[0],
    names.TELEMETRY_MAX_BYTES[0],
    names.TELEMETRY_TIMEOUT_MS[0],
)


class Refused(Exception):
    """The platform answered with another status than 200. `status` is that status."""

    def __init__(self, what: str, status: int, body: bytes) -> None:
        super().__init__(
            f"{what} was answered with {status}: {body[:200].decode('utf-8', 'replace')}"
        )
        self.status = status


class ExtensionsClient(Connection):
    """A connection to `address` (host:port) that knows the identifier it was given at register.

    `host` is the address without the port. `waiting` tells whether an `event/next` is under way.
    """

    __slots__ = ("_common", "_next", "host", "identifier", "waiting")

    def __init__(self, address: str) -> None:
        host, port = split_address(address)
        # The reactor watches the connection and sees when the peer closes it.
        super().__init__(host, port, io_timeout=_EVENT_S, trust_s=_FOR_EVER)
        self._common = (("Host", address),)
        self._next = b""
        self.host = host
        self.identifier = ""
        self.waiting = False

    def fileno(self) -> int:
        """The file descriptor to poll, or -1 when the connection is closed."""
        return -1 if self._socket is None else self._socket.fileno()

    def register(self, name: str, events: tuple[str, ...]) -> tuple[str, ...]:
        """Register, and return the events that were granted.

        Where INVOKE is not allowed (Lambda Managed Instances), registers for SHUTDOWN alone. Raises
        Refused, ConnectionLost or RemoteProtocolError.
        """
        request = Register(name=name, events=events).to_request(self._common)
        head, body = self.exchange(request, timeout=_REGISTER_S)
        if head.status == names.OK:
            self.identifier = head.headers.get(names.EXTENSION_IDENTIFIER.lower(), "")
            if not self.identifier:
                raise RemoteProtocolError(f"answered without {names.EXTENSION_IDENTIFIER}")
            self._next = ExtensionNext(identifier=self.identifier).to_request(self._common)
            # From here on bodies are all that is read.
            self._skips_headers = True
            return events
        if names.INVALID_EXTENSION_EVENT.encode() in body and names.EVENT_INVOKE in events:
            return self.register(name, (names.EVENT_SHUTDOWN,))
        raise Refused("register", head.status, body)

    def subscribe(self, uri: str, types: tuple[str, ...]) -> bool:
        """Ask for telemetry of these types, with the newest schema that the platform has.

        Whether there will be any: AWS's emulators answer 202 and old images 404, which mean none.
        Only a 400, for a request that is not liked, is worth another try. Never raises.
        """
        from lambdascope.wire.telemetry_api import Subscribe

        for version in reversed(names.TELEMETRY_SCHEMA_VERSIONS):
            request = Subscribe(
                identifier=self.identifier,
                types=types,
                uri=uri,
                buffering=_BUFFERING,
                schema_version=version,
            ).to_request(self._common)
            try:
                head, _ = self.exchange(request, timeout=_SUBSCRIBE_S)
            except (ConnectionLost, ProtocolError):
                return False
            if head.status != _VALIDATION_ERROR:
                return head.status == names.OK
        return False

    def ask_next(self) -> None:
        """Send `event/next`; the answer is read with `read_event`. Raises ConnectionLost."""
        self.send(self._next)
        self.waiting = True

    def read_event(self) -> Invoke | Shutdown:
        """The event that poll announced; of INVOKE, its id and deadline at least.

        Raises Refused, ConnectionLost, RemoteProtocolError.
        """
        body = self._read_next()
        usual = glance_at_invoke(body)
        if usual is None:
            return parse_event(body)
        request_id, deadline_ms = usual
        return Invoke(request_id=request_id, deadline_ms=deadline_ms, invoked_function_arn="")

    def _read_next(self) -> bytes:
        self.waiting = False
        head, body = self.receive()
        if head.status != names.OK:
            raise Refused("event/next", head.status, body)
        return body

    def idle(self) -> None:
        """Ask for events and do nothing with them until SHUTDOWN, or until the platform is gone.

        The last resort after a fault of ours: it needs nothing that is not loaded already.
        """
        self._io_timeout = None
        failures = 0
        while failures < _IDLE_FAILURES:
            try:
                if not self.waiting:
                    self.ask_next()
                if b'"SHUTDOWN"' in self._read_next():
                    return
                failures = 0
            except (ConnectionLost, ProtocolError, Refused):
                self.close()
                self.waiting = False
                failures += 1
                sleep(0.05 * failures)
