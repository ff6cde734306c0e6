"""Passes finished telemetry to the extension on loopback, and never waits longer than its budget.

One keep-alive connection carries plain OTLP/HTTP plus our headers; the answer to a post is read
before the next one, so that an invocation does not wait for it. What cannot be handed over is
counted, said once when it begins, and summed up at the end.

The extension publishes `host:port token pid`. A file that another user could have written or read
is not trusted, and nothing in its place (a pipe, a link, garbage) can stop the runtime.
"""

from __future__ import annotations

import os
from time import monotonic

from lambdascope.transport.connection import Connection, ConnectionLost, split_address
from lambdascope.wire import names
from lambdascope.wire.errors import ProtocolError
from lambdascope.wire.heads import encode_request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Loopback to a process that polls: an answer later than this means that it hangs.
BUDGET_S = 0.25
# So many failures in a row, and the extension counts as gone.
# A connection that has just been used is open; after a freeze it is looked at.
_TRUST_S = 1.0
_MAX_FAILURES = 3
_MAX_FILE_BYTES = 4096
_TYPE_MASK = 0o170000
_REGULAR = 0o100000
_TOKEN = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_")


class Handoff:
    """The runtime's end of the connection to the extension. Nothing in here raises."""

    budget_s = BUDGET_S

    def __init__(self, path: str, say: Callable[[str], None]) -> None:
        self._path = path or default_file()
        self._say = say
        self._connection: Connection | None = None
        self._headers: tuple[tuple[str, str], ...] = ()
        # Made with the first invocation.
        self._encode: Callable[[str, int, bytes], bytes] | None = None
        # The spans of the post whose answer has not been read; None when all have been.
        self._unanswered: int | None = None
        self._greeting = False
        self._failures = 0
        self._said_failure = False
        self.dropped_spans = 0

    @property
    def flight_path(self) -> str:
        """Where the extension keeps the flight file."""
        return f"{self._path}{names.FLIGHT_SUFFIX}"

    @property
    def present(self) -> bool:
        """Whether an extension was found and is still thought to be there."""
        return self._connection is not None

    def connect(self) -> bool:
        """Find the extension and greet it. Says one line when it is there but cannot be used."""
        try:
            found = _read_rendezvous(self._path)
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            self._say(f"handoff file {self._path}: {reason}; telemetry stays in this process")
            return False
        if found is None:
            return False
        address, token = found
        host, port = split_address(address)
        connection = Connection(host, port, connect_timeout=BUDGET_S, trust_s=_TRUST_S)
        self._headers = (("Host", address), (names.HANDOFF_TOKEN, token))
        hello = encode_request("POST", names.HELLO_PATH, self._headers)
        try:
            connection.send(hello, timeout=BUDGET_S)
        except (ConnectionLost, ProtocolError) as error:
            self._say(f"the extension does not answer ({error}); telemetry stays in this process")
            return False
        # The answer is read with the first handoff: the extension may still be loading its modules,
        # on the same CPU, and the function's init does not wait for that.
        self._greeting = True
        self._connection = connection
        return True

    def _read_greeting(self, connection: Connection, budget_s: float) -> None:
        """Read the answer to the greeting; without a good one there is no extension."""
        self._greeting = False
        try:
            head, _ = connection.receive(timeout=budget_s)
        except (ConnectionLost, ProtocolError) as error:
            said = f"the extension does not answer ({error}); telemetry stays in this process"
        else:
            if head.status == names.OK:
                return
            said = f"the extension answered {head.status}; telemetry stays in this process"
        connection.close()
        self._connection = None
        self._say(said)

    def send(self, body: bytes, request_id: str, spans: int, *, budget_s: float = BUDGET_S) -> None:
        """Hand over the spans of an invocation and say that it is done.

        `budget_s` seconds are for all waiting together, apart from a new connection, which has
        BUDGET_S of its own.
        """
        connection = self._connection
        if connection is None:
            self.dropped_spans += spans
            return
        end = monotonic() + budget_s
        was_greeting = self._greeting
        self._read_answer(connection, budget_s)
        if self._connection is None:
            # Without an extension nothing is lost that anybody would have taken.
            self.dropped_spans += 0 if was_greeting else spans
            return
        try:
            request = (self._encode or self._encoder())(request_id, spans, body)
            connection.send(request, timeout=max(0.0, end - monotonic()))
            self._unanswered = spans
        except (ConnectionLost, ProtocolError) as error:
            self._failed(str(error), spans)

    def _encoder(self) -> Callable[[str, int, bytes], bytes]:
        from lambdascope.wire import handoff_post

        before = handoff_post.prefix(*(value for _, value in self._headers))
        self._encode = handoff_post.encoder(before)
        return self._encode

    def send_signal(self, path: str, body: bytes, budget_s: float = BUDGET_S) -> None:
        """Hand over metrics or logs, ahead of the spans with which the invocation is done."""
        connection = self._connection
        if connection is None:
            return
        end = monotonic() + budget_s
        self._read_answer(connection, budget_s)
        if self._connection is None:
            return
        headers = (*self._headers, ("Content-Type", names.CONTENT_TYPE_PROTOBUF))
        try:
            request = encode_request("POST", path, headers, body)
            connection.send(request, timeout=max(0.0, end - monotonic()))
            self._unanswered = 0
        except (ConnectionLost, ProtocolError) as error:
            self._failed(str(error), 0)

    def finish(self) -> None:
        """Wait for the last answer, within the budget, close, and say what was lost."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._read_answer(connection, BUDGET_S)
            connection.close()
        if self.dropped_spans:
            self._say(f"{self.dropped_spans} spans could not be handed to the extension")
            self.dropped_spans = 0

    def _read_answer(self, connection: Connection, budget_s: float) -> None:
        if self._greeting:
            self._read_greeting(connection, budget_s)
        spans, self._unanswered = self._unanswered, None
        if spans is None:
            return
        try:
            head, body = connection.receive(timeout=budget_s)
        except (ConnectionLost, ProtocolError) as error:
            self._failed(str(error), spans)
            return
        if head.status == names.OK:
            self._failures = 0
        else:
            shown = body[:100].decode("utf-8", "replace")
            self._failed(f"the extension answered {head.status}: {shown}", spans)

    def _failed(self, reason: str, spans: int) -> None:
        self.dropped_spans += spans
        self._failures += 1
        if not self._said_failure:
            self._said_failure = True
            self._say(f"handoff to the extension failed: {reason}")
        if self._failures >= _MAX_FAILURES and self._connection is not None:
            self._connection.close()
            self._connection = None
            self._say("handoff given up; the function runs on without telemetry")


def default_file() -> str:
    """Where the extension publishes its address unless LAMBDASCOPE_HANDOFF_FILE says otherwise."""
    return names.DEFAULT_HANDOFF_FILE.format(euid=os.geteuid())


def open_private(path: str, flags: int) -> int:
    """Open a file that this user alone can have written or read, and no link to one.

    Raises OSError or ValueError.
    """
    # Not blocking: a named pipe in that place would wait for a writer for ever.
    fd = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    status = os.fstat(fd)
    if status.st_mode & _TYPE_MASK != _REGULAR:
        os.close(fd)
        raise ValueError("not a regular file")
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        os.close(fd)
        raise ValueError("not owned by this user alone (mode 0600)")
    return fd


def _read_rendezvous(path: str) -> tuple[str, str] | None:
    """Address and token; None when the process that wrote the file is gone.

    Raises OSError (FileNotFoundError when there is no extension) or ValueError.
    """
    fd = open_private(path, os.O_RDONLY)
    try:
        text = os.read(fd, _MAX_FILE_BYTES).decode("ascii", "replace")
    finally:
        os.close(fd)
    fields = text.split()
    if len(fields) != 3 or not _TOKEN.issuperset(fields[1]) or not _is_pid(fields[2]):
        # What is shown must not be the token.
        shown = text.partition(" ")[0][:20]
        raise ValueError(f"not of the form 'host:port token pid': {shown!r}...")
    split_address(fields[0])
    return (fields[0], fields[1]) if _is_alive(int(fields[2])) else None


def _is_pid(text: str) -> bool:
    # A pid fits 32 bits; 0 would mean our own process group.
    return text.isdigit() and len(text) < 10 and int(text) > 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False  # left over from an environment that ended without clean-up
    except PermissionError:
        pass  # alive, under another user
    return True
