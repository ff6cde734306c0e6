"""The receiver of the Telemetry API: takes the platform's records, which say when
an invocation is over.

Opened between register and the first next. Every batch is answered with 200 before anything else,
because the platform repeats what is not, and sends nothing new meanwhile. Source: AWS Lambda
developer guide, "Accessing real-time telemetry data for extensions using the Telemetry API".
"""

from __future__ import annotations

import posix
from _thread import allocate_lock, start_new_thread

from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.http1 import encode_response
from lambdascope.wire.telemetry_api import parse_batch
from lambdascope_extension.rendezvous import LOOPBACK, listen
from lambdascope_extension.server import HttpServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.wire.http1 import Head
    from lambdascope_extension.connections import ClientConnection
    from lambdascope_extension.end_tracker import EndTracker
    from lambdascope_extension.extensions_client import ExtensionsClient
    from lambdascope_extension.reactor import Reactor

_HOST = names.TELEMETRY_HOSTS[0]
_PLATFORM = names.TELEMETRY_TYPES[:1]
_RUNTIME_DONE = "platform.runtimeDone"
_TAKEN = encode_response(names.OK, ())
_UNKNOWN = encode_response(404, ())
_PATH_BYTES = 16
# A name server that does not answer would hold up the init.
_RESOLVE_S = 0.2


class TelemetryReceiver:
    """Serves one path, which only the platform has been told, on the address `host`."""

    def __init__(self, reactor: Reactor, host: str) -> None:
        listener = listen(host, 0)
        self._path = f"/{posix.urandom(_PATH_BYTES).hex()}"
        self.uri = f"http://{_HOST}:{listener.getsockname()[1]}{self._path}"
        self.server = HttpServer(reactor, listener, self._handle)
        self._ends: EndTracker | None = None
        self._take: Callable[[bytes], None] | None = None

    def feed(self, ends: EndTracker, take: Callable[[bytes], None] | None = None) -> None:
        """Tell `ends` what the records say, and give `take` each batch, from now on.

        The platform's answer waits for `take`, so that it should only note the batch.
        """
        self._ends = ends
        self._take = take

    def _handle(self, head: Head, body: bytes, connection: ClientConnection) -> bytes:
        # The emulator of managed instances leaves the path out; invocations have no end there.
        if head.target != self._path:
            return _UNKNOWN if head.target != "/" else _TAKEN
        ends = self._ends
        if ends is not None:
            ends.on_telemetry()
            if ends.is_current(body) and _RUNTIME_DONE.encode() in body:
                for request_id in finished_invocations(body):
                    ends.on_runtime_done(request_id)
        if self._take is not None:
            self._take(body)
        return _TAKEN


def open_telemetry(
    reactor: Reactor, client: ExtensionsClient, types: tuple[str, ...] = _PLATFORM
) -> TelemetryReceiver | None:
    """Listen and subscribe to `types`; None where the platform offers no telemetry.

    Never raises OSError.
    """
    try:
        receiver = TelemetryReceiver(reactor, sandbox_address(client.host))
    except OSError:
        return None
    if client.subscribe(receiver.uri, types):
        return receiver
    receiver.server.stop()
    return None


def finished_invocations(body: bytes) -> list[str]:
    """The request ids of the runtimeDone records in a batch; none when it is no batch."""
    try:
        items = parse_batch(body)
    except RemoteProtocolError:
        return []
    records = [one.get("record") for one in items if one.get("type") == _RUNTIME_DONE]
    return [str(record.get("requestId", "")) for record in records if isinstance(record, dict)]


def sandbox_address(api_host: str, hosts_file: str = "/etc/hosts") -> str:
    """The address behind the name that the platform will send to; loopback when there is none.

    A platform whose API is on loopback is an emulator: name servers know nothing of it, and asking
    them costs more than all else here.
    """
    found = _from_hosts(hosts_file)
    if not found and not api_host.startswith("127.") and api_host != "localhost":
        found = _resolved()
    return found or LOOPBACK


def _from_hosts(path: str) -> str:
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            text = posix.read(fd, 65_536).decode("utf-8", "replace")
        finally:
            posix.close(fd)
    except OSError:
        return ""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if _HOST in words[1:] and ":" not in words[0]:
            return words[0]
    return ""


def _resolved() -> str:
    from _socket import AF_INET, SOCK_STREAM, getaddrinfo

    found: list[str] = []
    answered = allocate_lock()
    answered.acquire()

    def resolve() -> None:
        try:
            found.append(str(getaddrinfo(_HOST, 0, AF_INET, SOCK_STREAM)[0][4][0]))
        except OSError:
            pass  # there is no such name, which is usual outside Lambda
        answered.release()

    start_new_thread(resolve, ())
    answered.acquire(timeout=_RESOLVE_S)
    return found[0] if found else ""
