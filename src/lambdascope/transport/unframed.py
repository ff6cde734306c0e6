"""An answer whose length is not known beforehand: in chunks, until the end, behind interim ones.

The connection loads it for the first such answer, and gives it what it receives; the platform's own
answers have a length. Bounded in bytes and in heads. It knows no socket.
"""

from __future__ import annotations

from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.http1 import Head, Parser
from lambdascope.wire.names import MAX_ANSWER_BYTES, MAX_HEAD_BYTES

_MAX_INTERIM = 100


class UnframedAnswer:
    """What has come of it."""

    __slots__ = ("_head", "_heads", "_parser", "_pieces", "_size")

    def __init__(self) -> None:
        self._parser = Parser(request=False, max_head_bytes=MAX_HEAD_BYTES)
        self._pieces: list[bytes] = []
        self._head: Head | None = None
        self._heads = self._size = 0

    @property
    def is_idle(self) -> bool:
        """Whether no answer has begun that is not over."""
        return self._parser.idle

    @property
    def may_end(self) -> bool:
        """Whether the end of the connection is the end of the answer."""
        return self._parser.ends_with_connection

    def take(self, data: bytes) -> tuple[Head, bytes] | None:
        """The final answer once it is whole; no data means that the peer has closed.

        Raises RemoteProtocolError.
        """
        if data:
            self._parser.feed(data)
        else:
            self._parser.feed_eof()
        while (event := self._parser.next_event()) is not None:
            if self._is_final(event) and self._head is not None:
                return self._head, b"".join(self._pieces)
        return None

    def _is_final(self, event: Head | bytes | dict[str, str]) -> bool:
        """Whether this is the end of the final response."""
        if isinstance(event, Head):
            self._head = event
            self._heads += 1
            self._size = event.content_length or 0
        elif isinstance(event, bytes):
            self._pieces.append(event)
            if self._head is not None and self._head.content_length is None:
                self._size += len(event)
        elif self._head is not None and self._head.status >= 200:
            return True
        if self._size > MAX_ANSWER_BYTES or self._heads > _MAX_INTERIM:
            raise RemoteProtocolError(
                f"an answer of more than {MAX_ANSWER_BYTES} bytes or {_MAX_INTERIM} interim ones"
            )
        return False
