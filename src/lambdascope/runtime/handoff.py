"""Passes finished telemetry to the extension on loopback, and never waits longer than its budget.

The extension publishes `host:port token pid` in a file that only its user can read. One keep-alive
connection carries plain OTLP/HTTP plus our headers; the answer to a post is read before the next
one, so that an invocation does not wait for it. What cannot be handed over is counted and said
once.
"""

from __future__ import annotations

import os

from lambdascope.transport.connection import Connection, ConnectionLost, split_address
from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.http1 import encode_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Loopback to a process that polls: an answer later than this means that it hangs.
_BUDGET_S = 0.25
_MAX_FAILURES = 3


def default_file() -> str:
    """Where the extension publishes its address unless LAMBDASCOPE_HANDOFF_FILE says otherwise."""
    return f"/tmp/.lambdascope-{os.getuid()}/handoff"  # noqa: S108 - checked for its owner below


class Handoff:
    """The runtime's end of the connection to the extension."""

    def __init__(self, path: str, say: Callable[[str], None]) -> None:
        self._path = path or default_file()
        self._say = say
        self._connection: Connection | None = None
        self._headers: tuple[tuple[str, str], ...] = ()
        self._unread = False
        self._failures = 0
        self.dropped_spans = 0

    @property
    def present(self) -> bool:
        """Whether an extension has answered and is still thought to be there."""
        return self._connection is not None

    def connect(self) -> bool:
        """Find the extension and greet it. Says one line when it is there but cannot be used."""
        try:
            found = _read_rendezvous(self._path)
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            self._say(f"handoff file {self._path}: {error}; telemetry stays in this process")
            return False
        if found is None:
            return False
        address, token = found
        host, port = split_address(address)
        connection = Connection(host, port, connect_timeout=_BUDGET_S)
        self._headers = (("Host", address), (names.HANDOFF_TOKEN, token))
        hello = encode_request("POST", names.HELLO_PATH, self._headers)
        try:
            head, _ = connection.exchange(hello, timeout=_BUDGET_S)
        except (ConnectionLost, RemoteProtocolError) as error:
            self._say(f"the extension does not answer ({error}); telemetry stays in this process")
            return False
        if head.status != names.OK:
            connection.close()
            self._say(f"the extension answered {head.status}; telemetry stays in this process")
            return False
        self._connection = connection
        return True

    def send(self, body: bytes, request_id: str, spans: int) -> None:
        """Hand over the spans of an invocation and say that it is done. Never raises."""
        connection = self._connection
        if connection is None:
            self.dropped_spans += spans
            return
        headers = (
            *self._headers,
            ("Content-Type", names.CONTENT_TYPE_PROTOBUF),
            (names.HANDOFF_REQUEST_ID, request_id),
            (names.HANDOFF_DONE, str(spans)),
        )
        try:
            self._read_answer(connection)
            connection.send(
                encode_request("POST", names.TRACES_PATH, headers, body), timeout=_BUDGET_S
            )
            self._unread = True
        except (ConnectionLost, RemoteProtocolError) as error:
            self.dropped_spans += spans
            self._failed(str(error))

    def finish(self) -> None:
        """Wait for the last answer, within the budget, and close. Never raises."""
        if self._connection is None:
            return
        try:
            self._read_answer(self._connection)
        except (ConnectionLost, RemoteProtocolError):
            pass  # the process ends; the extension counts what it has
        self._connection.close()
        self._connection = None

    def _read_answer(self, connection: Connection) -> None:
        if not self._unread:
            return
        self._unread = False
        head, body = connection.receive(timeout=_BUDGET_S)
        if head.status != names.OK:
            self._failed(f"answered {head.status}: {body[:100].decode('utf-8', 'replace')}")

    def _failed(self, reason: str) -> None:
        self._unread = False
        self._failures += 1
        if self._failures == 1:
            self._say(f"handoff to the extension failed: {reason}")
        if self._failures >= _MAX_FAILURES:
            self._connection = None
            self._say("handoff given up; the function runs on without telemetry")


def _read_rendezvous(path: str) -> tuple[str, str] | None:
    """Address and token; None when the process that wrote the file is gone. Raises OSError,
    ValueError.

    A file that another user could have written or read is not trusted.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise ValueError("not owned by this user alone (mode 0600)")
        text = os.read(fd, 4096).decode("ascii", "replace")
    finally:
        os.close(fd)
    fields = text.split()
    if len(fields) != 3 or not fields[2].isdigit():
        raise ValueError(f"not of the form 'host:port token pid': {text[:20]!r}")
    try:
        os.kill(int(fields[2]), 0)
    except ProcessLookupError:
        return None  # left over from an environment that ended without clean-up
    except PermissionError:
        pass  # alive, under another user
    split_address(fields[0])
    return fields[0], fields[1]
