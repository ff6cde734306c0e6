"""A streamed response between the two threads that carry it: the runtime's and the caller's.

The server of the Runtime API writes what arrives, the caller's endpoint reads it. Little is held in
between: a runtime that is faster than the caller waits, as it would for a socket. A caller that
leaves holds nobody: what is written after that is dropped, since on Lambda neither stops a function
nor its bill. Knows no HTTP and no invocation.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Iterator

_HELD_BYTES = 1024 * 1024
_NS_PER_S = 1_000_000_000


class ResponseStream:
    """One streamed response. `error_type` and `error` (JSON) say how it ended, "" when well."""

    def __init__(self, content_type: str, *, held_bytes: int = _HELD_BYTES) -> None:
        self.content_type = content_type
        self.error_type = ""
        self.error = b""
        self._held_bytes = held_bytes
        self._change = threading.Condition()
        self._held = bytearray()
        self._ended = False
        self._left = False

    def write(self, piece: bytes) -> None:
        """Add bytes; waits while the caller is behind. Without effect when nobody reads."""
        with self._change:
            while self._held and len(self._held) + len(piece) > self._held_bytes and self._open:
                self._change.wait()
            if self._open:
                self._held += piece
                self._change.notify_all()

    def pause(self, duration_ns: int) -> None:
        """Wait so long, or until nobody reads."""
        with self._change:
            self._change.wait_for(lambda: not self._open, duration_ns / _NS_PER_S)

    def end(self, error_type: str = "", error: bytes = b"") -> None:
        """Nothing more will come. What was written before is still read; the first end counts."""
        with self._change:
            if not self._ended:
                self._ended = True
                self.error_type, self.error = error_type, error
                self._change.notify_all()

    def leave(self) -> None:
        """The caller is gone, or has read enough."""
        with self._change:
            self._left = True
            self._held.clear()
            self._change.notify_all()

    def pieces(self) -> Iterator[bytes]:
        """Bytes as they come, never empty, until the end. For one reader."""
        while True:
            with self._change:
                self._change.wait_for(lambda: self._held or not self._open)
                if not self._held:
                    return
                piece = bytes(self._held)
                self._held.clear()
                self._change.notify_all()
            yield piece

    @property
    def _open(self) -> bool:
        return not self._ended and not self._left


class Bandwidth:
    """How fast bytes may go: `burst_bytes` at once, then `bytes_per_s` (a token bucket).

    Lambda fills its bucket every 125 ms; this one fills all the time, so pieces come more evenly.
    """

    def __init__(
        self, bytes_per_s: int, now_ns: int, *, burst_bytes: int = names.STREAM_BURST_BYTES
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._burst_bytes = burst_bytes
        self._tokens = float(burst_bytes)
        self._at_ns = now_ns

    def delay_ns(self, size_bytes: int, now_ns: int) -> int:
        """Take so much now; how long to wait before more may be taken."""
        gained = (now_ns - self._at_ns) * self._bytes_per_s / _NS_PER_S
        self._at_ns = now_ns
        self._tokens = min(self._burst_bytes, self._tokens + gained) - size_bytes
        return max(0, int(-self._tokens * _NS_PER_S / self._bytes_per_s))
