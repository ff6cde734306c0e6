"""A network without sockets for the runtime's connections, with a hostile peer and its own clock.

`HostileNetwork` takes the place of `_socket.socket` and of `monotonic` in `transport`: time passes
only where a call waits, so that every time-out is reached at once. A call that would wait for ever
raises `Hung`, which says whether the peer had begun to answer.
"""

from __future__ import annotations

from _socket import MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL
from typing import TYPE_CHECKING

from hostile_answers import CLOSE, OPEN, RESET, Answer
from lambdascope.transport import connection, upload
from lambdascope.wire.http1 import Head, Parser

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    import pytest


class Hung(BaseException):
    """The runtime would wait for ever. `begun`: the answer had begun, or a post was sent."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__(f"begun={begun}")
        self.begun = begun


class HostileNetwork:
    """`answer(method, target, body)` gives what the peer says, or None: the next one hangs."""

    def __init__(
        self, rng: random.Random, answer: Callable[[str, str, bytes], Answer | None]
    ) -> None:
        self.rng = rng
        self.now = 1000.0
        self.answer = answer
        self.refuse = 0.0
        self.opened = 0

    def put_in_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have `transport` use it until the test is over."""
        monkeypatch.setattr(connection, "socket", self.socket)
        monkeypatch.setattr(connection, "monotonic", lambda: self.now)
        monkeypatch.setattr(upload, "new_socket", self.socket)
        monkeypatch.setattr(upload, "monotonic_ns", lambda: int(self.now * 1e9))
        if hasattr(upload, "monotonic"):
            monkeypatch.setattr(upload, "monotonic", lambda: self.now)

    def socket(self, *_: object) -> HostileSocket:
        """A new one, not connected."""
        return HostileSocket(self)


class HostileSocket:
    """As much of a socket as `transport` uses."""

    def __init__(self, network: HostileNetwork) -> None:
        self._network = network
        self._timeout: float | None = None
        self._parser = Parser(request=True, max_head_bytes=2_000_000)
        self._head: Head | None = None
        self._body = b""
        # What is there to be read, and what comes later.
        self._here = b""
        self._later: list[bytes] = []
        self._ending = OPEN
        self._gap_s = 0.0
        self._begun = False
        self._closed = False

    def connect(self, _address: object) -> None:
        """Refused now and then, where the network says so."""
        self._network.opened += 1
        if self._network.rng.random() < self._network.refuse:
            raise self._network.rng.choice((ConnectionRefusedError(111, "Connection refused"),
                                            TimeoutError("timed out")))  # fmt: skip

    def setsockopt(self, *_: object) -> None:
        """Nothing to set."""

    def settimeout(self, seconds: float | None) -> None:
        """None waits for ever."""
        assert not self._closed
        assert seconds is None or 0 <= seconds < 1e9, seconds
        self._timeout = seconds

    def gettimeout(self) -> float | None:
        """What was set."""
        return self._timeout

    def close(self) -> None:
        """Nothing may be done with it afterwards."""
        self._closed = True

    def sendall(self, data: bytes) -> None:
        """All of it."""
        self.send(data)

    def send(self, data: bytes, flags: int = 0) -> int:
        """As much as the kernel takes; the peer answers once it has a whole request."""
        assert not self._closed
        if not self._later and not self._here and self._ending != OPEN:
            # The first send after the peer has closed goes through, the next one does not.
            self._ending = RESET if self._ending == CLOSE else "broken"
            if self._ending == "broken":
                raise BrokenPipeError(32, "Broken pipe")
            return len(data)
        taken = len(data)
        if flags & MSG_DONTWAIT and len(data) > 1 and self._network.rng.random() < 0.1:
            taken = self._network.rng.randrange(1, len(data))
        self._parser.feed(bytes(data[:taken]))
        while (event := self._parser.next_event()) is not None:
            if isinstance(event, Head):
                self._head, self._body = event, b""
                if event.chunked and self._network.rng.random() < 0.1:
                    self._asked(event)  # answered before the end of the body
                    self._head = None
            elif isinstance(event, bytes):
                self._body += event
            elif self._head is not None:
                self._asked(self._head)
        return taken

    def _asked(self, head: Head) -> None:
        answer = self._network.answer(head.method, head.target, self._body)
        self._begun = head.method == "POST"
        if answer is not None:
            self._later += answer.pieces
            self._ending = answer.ending
            self._gap_s = answer.gap_s

    def recv(self, size: int, flags: int = 0) -> bytes:
        """What is there, or, with time passing, what comes."""
        assert not self._closed
        # What follows an answer has come by the time of the next request: later it could not be
        # told from the answer to that.
        if (
            not self._here
            and self._later
            and (flags & MSG_PEEK or self._network.rng.random() < 0.5)
        ):
            self._here = self._later.pop(0)
        if not self._here:
            if flags & MSG_DONTWAIT:
                if self._later or self._ending == OPEN:
                    raise BlockingIOError(11, "Resource temporarily unavailable")
            else:
                self._wait()
        while flags & MSG_WAITALL and self._timeout is None and len(self._here) < size:
            if not self._later:
                break
            self._here += self._later.pop(0)
        if not self._here:
            if self._ending == CLOSE:
                return b""
            raise ConnectionResetError(104, "Connection reset by peer")
        data = self._here[:size]
        if not flags & MSG_PEEK:
            self._here = self._here[size:]
            self._begun = True
        return data

    def _wait(self) -> None:
        """Time passes until something comes, or the peer closes."""
        if self._later:
            wait_s = self._network.rng.choice((0.0, self._gap_s))
            if self._timeout is not None and wait_s > self._timeout:
                self._network.now += self._timeout
                raise TimeoutError("timed out")
            self._network.now += wait_s
            self._here = self._later.pop(0)
        elif self._ending == OPEN:
            if self._timeout is None:
                raise Hung(begun=self._begun)
            self._network.now += self._timeout
            raise TimeoutError("timed out")
