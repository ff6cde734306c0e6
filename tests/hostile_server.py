"""The hostile Runtime API on a loopback socket, for real processes; it knows what it has seen.

Each connection has a thread. A piece is a send of its own; after an answer the connection stays, is
closed or is reset. When the events are used up the next one is not answered, and `idle` is set as
soon as there is an outcome for all that came whole.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from typing import TYPE_CHECKING, Self

from hostile_answers import CLOSE, MAYBE, OPEN, RESET, SURE, Answer, next_answer, post_answer
from lambdascope.wire.http1 import Head, Parser

if TYPE_CHECKING:
    import random

_PATIENCE_S = 20.0


class HostileServer:
    """A context manager. `handed`, `posts` (by request id) and `init_errors` are what went by."""

    def __init__(self, rng: random.Random, *, events: int, share: float, workers: int = 1) -> None:
        self.rng = rng
        self.share = share
        self.left = [f"r-{number}" for number in range(events)]
        self.handed: dict[str, Answer] = {}
        self.posts: Counter[str] = Counter()
        self.init_errors = 0
        self.log: list[tuple[str, Answer | None]] = []
        self.idle = threading.Event()
        self._asked_in_vain = False
        # How many workers do not wait for an answer that never begins.
        self._alive = workers
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._open: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(_PATIENCE_S)
        self._server.close()
        with self._lock:
            for sock in self._open:
                sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        parser = Parser(request=True, max_head_bytes=2_000_000)
        head: Head | None = None
        try:
            while data := sock.recv(65_536):
                parser.feed(data)
                while (event := parser.next_event()) is not None:
                    if isinstance(event, Head):
                        head = event
                    elif isinstance(event, dict) and head is not None:
                        goes_on = self._play(sock, self._answer(head))
                        if not goes_on:
                            return
        except OSError:
            pass  # the runtime has closed it, or we have

    def _play(self, sock: socket.socket, answer: Answer | None) -> bool:
        """Whether the connection goes on."""
        if answer is None:
            return True
        for piece in answer.sent_pieces():
            sock.sendall(piece)
        if answer.ending == CLOSE:
            # Closed for good, it would be reset where the next request has been sent already.
            sock.shutdown(socket.SHUT_WR)
        elif answer.ending == RESET:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        return answer.ending == OPEN

    def _answer(self, head: Head) -> Answer | None:
        with self._lock:
            given = self._next() if head.method == "GET" else self._post(head.target)
            if given is not None and head.method == "GET" and not given.pieces:
                self._alive -= given.ending == OPEN
            if (self._asked_in_vain or self._alive < 1) and self.unanswered() == set():
                self.idle.set()
            self.log.append((f"{head.method} {head.target}", given))
            return given

    def unanswered(self) -> set[str]:
        """The events that came whole, and for which nothing was posted."""
        sure = {name for name, given in self.handed.items() if given.event == SURE}
        return sure - set(self.posts)

    def _next(self) -> Answer | None:
        if not self.left:
            self._asked_in_vain = True
            return None
        given = next_answer(self.rng, self.left.pop(0), share=self.share)
        if given.ending == RESET and given.event == SURE:
            given.event = MAYBE  # a reset throws away what has not been read
        self.handed[given.request_id] = given
        return given

    def _post(self, target: str) -> Answer:
        parts = target.split("/")
        if parts[3] == "init":
            self.init_errors += 1
        else:
            self.posts[parts[4]] += 1
        return post_answer(self.rng, share=self.share)
