"""Reads the output of all processes of an environment and makes lines of it.

One thread waits for all pipes. `drain` reads what is there right now, so that the environment can
say "everything that was written before this moment belongs to this invocation". Knows bytes and
lines, nothing of invocations.
"""

from __future__ import annotations

import os
import selectors
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# The size of one event in CloudWatch Logs; longer lines are cut into several.
MAX_LINE_BYTES = 256 * 1024
_READ_BYTES = 65_536
# A process that writes without end must not keep `drain` for ever: 4 MiB, 64 pipes full.
_DRAIN_READS = 64


class LineSplitter:
    """Bytes to lines of text. Invalid UTF-8 becomes replacement characters.

    A carriage return inside a line becomes a line feed: AWS's Python client writes it where one log
    event has several lines.
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max = max_line_bytes
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that `data` completes."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [piece for line in whole for piece in self._pieces(line)]
        while len(self._rest) >= self._max:
            lines.append(_text(self._rest[: self._max]))
            self._rest = self._rest[self._max :]
        return lines

    def end(self) -> list[str]:
        """The last line, when it was not ended."""
        rest, self._rest = self._rest, b""
        return [_text(rest)] if rest else []

    def _pieces(self, line: bytes) -> list[str]:
        if len(line) <= self._max:
            return [_text(line)]
        return [_text(line[i : i + self._max]) for i in range(0, len(line), self._max)]


class _Pipe:
    def __init__(self, fd: int, emit: Callable[[str], None]) -> None:
        self.fd = fd
        self.emit = emit
        self.splitter = LineSplitter()


class OutputReader:
    """Calls a function for every line of every watched pipe, from one thread at a time.

    That function must not call back into this object.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._pipes: dict[int, _Pipe] = {}
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def watch(self, fd: int, emit: Callable[[str], None]) -> None:
        """Read `fd` from now on; it stays the caller's to close, after `forget`."""
        os.set_blocking(fd, False)
        with self._lock:
            self._pipes[fd] = _Pipe(fd, emit)
            self._selector.register(fd, selectors.EVENT_READ)
        self._wake()

    def drain(self) -> None:
        """Read what has been written so far."""
        with self._lock:
            for pipe in list(self._pipes.values()):
                self._read(pipe, _DRAIN_READS)

    def forget(self) -> None:
        """Read what is left in all pipes, then leave them alone."""
        with self._lock:
            for pipe in list(self._pipes.values()):
                if self._read(pipe, _DRAIN_READS):
                    self._drop(pipe)

    def close(self) -> None:
        """Forget everything and end the thread. Idempotent."""
        if self._closed:
            return
        self.forget()
        self._closed = True
        self._wake()
        self._thread.join()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        while not self._closed:
            ready = [key.fd for key, _ in self._selector.select()]
            with self._lock:
                for fd in ready:
                    if fd == self._wake_read:
                        os.read(fd, 64)
                    elif (pipe := self._pipes.get(fd)) is not None:
                        self._read(pipe, 1)

    def _read(self, pipe: _Pipe, times: int) -> bool:
        """Read up to `times` times; False when the pipe has ended and was dropped."""
        for _ in range(times):
            try:
                data = os.read(pipe.fd, _READ_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                data = b""
            if not data:
                self._drop(pipe)
                return False
            for line in pipe.splitter.feed(data):
                pipe.emit(line)
        return True

    def _drop(self, pipe: _Pipe) -> None:
        del self._pipes[pipe.fd]
        self._selector.unregister(pipe.fd)
        for line in pipe.splitter.end():
            pipe.emit(line)

    def _wake(self) -> None:
        os.write(self._wake_write, b"w")


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r").replace("\r", "\n")
