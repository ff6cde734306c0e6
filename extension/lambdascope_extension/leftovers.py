"""What becomes of telemetry that could not be exported before the end, and at the next start.

The assembly calls it when the lifecycle is over. Before a reset, which /tmp outlives, it goes to
the spool; before the end of the environment, or where that fails, to standard output, from where
Lambda takes it to the function's log group and `lambdascope replay` to a collector. Both are
bounded.
"""

from __future__ import annotations

import posix
from select import POLLOUT, poll
from time import monotonic

from lambdascope.wire import names
from lambdascope_extension.batch import FORMS
from lambdascope_extension.buffer import MAX_HELD_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lambdascope_extension.batch import Batch
    from lambdascope_extension.buffer import Buffer

SPOOLED = "spooled"
STDOUT = "stdout"
DEFAULT_SPOOL_BYTES = 2 * 1024 * 1024
DEFAULT_STDOUT_BYTES = 256 * 1024
# A spool may have been written by an environment with another bound; more is never held.
_MAX_SPOOL_BYTES = MAX_HELD_BYTES
# Writes of this size to a pipe that is ready do not block.
_PIPE_BYTES = 4096
_WORTH_SPLITTING = 16_384
_RESETS = (names.SHUTDOWN_TIMEOUT, names.SHUTDOWN_FAILURE)


class Leftovers:
    """`folder` is the directory of this user alone. 0 for a bound turns that way out off.

    `destination` is the one that it is for, where there are several.
    """

    def __init__(
        self,
        buffer: Buffer,
        folder: str,
        environ: Mapping[str, str],
        say: Callable[[str], None],
        *,
        stdout: int = 1,
        destination: str = "",
    ) -> None:
        self._label = f"{names.LEFTOVER_LABEL}{destination} ".encode() if destination else b""
        self._stdout = stdout
        self._buffer = buffer
        self._folder = folder
        self._say = say
        self._spool_bytes = _bytes(environ, names.ENV_SPOOL_BYTES, DEFAULT_SPOOL_BYTES, say)
        self._stdout_bytes = _bytes(environ, names.ENV_STDOUT_BYTES, DEFAULT_STDOUT_BYTES, say)

    def restore(self) -> None:
        """Take back what the processes before a reset have left."""
        try:
            found = any(name.startswith("spool-") for name in posix.listdir(self._folder))
        except OSError:
            return
        if not found or not self._spool_bytes:
            return
        from lambdascope_extension.spool import read_spool

        batches, problems = read_spool(self._folder, _MAX_SPOOL_BYTES)
        for problem in problems:
            self._say(problem)
        for batch in batches:
            self._buffer.restore(batch)

    def keep(self, shutdown_reason: str, until: float) -> None:
        """Put what is held where it outlives this process, and be done at `until` (monotonic)."""
        if not self._buffer.held_bytes:
            return
        if shutdown_reason in _RESETS and self._spool_bytes:
            self._spool()
        if self._stdout_bytes:
            self._print(until)

    def _spool(self) -> None:
        from lambdascope_extension.spool import write_spool

        batches: list[Batch] = []
        size = 0
        for batch in self._taken():
            # Its head is a line of two numbers for each of its messages.
            size += len(batch.body) + 64 + 10 * len(batch.parts)
            if size > self._spool_bytes:
                self._buffer.put_back(batch)
                break
            batches.append(batch)
        try:
            write_spool(self._folder, batches)
        except OSError as error:
            for batch in batches:
                self._buffer.put_back(batch)
            self._say(f"cannot spool to {self._folder}: {error.strerror or error}")
            return
        for batch in batches:
            self._buffer.drop(batch, SPOOLED)

    def _print(self, until: float) -> None:
        """Write lines until the bound, the time or the data is at its end."""
        from lambdascope.otlp.lines import MAX_LINE_BYTES, Line

        left = self._stdout_bytes
        for batch in self._taken():
            if monotonic() >= until:
                self._buffer.put_back(batch)
                return
            line = (
                self._label
                + Line(
                    signal=batch.signal,
                    form=FORMS[batch.kind],
                    id=batch.id,
                    items=batch.items,
                    body=batch.body,
                ).encode()
            )
            limit = min(left, MAX_LINE_BYTES)
            if len(line) > limit >= _WORTH_SPLITTING and self._buffer.split(batch):
                continue
            if len(line) > limit or not _printed(self._stdout, line + b"\n", until):
                self._buffer.put_back(batch)
                return
            left -= len(line) + 1
            self._buffer.drop(batch, STDOUT)

    def _taken(self) -> Iterator[Batch]:
        while (batch := self._buffer.take()) is not None:
            yield batch


def _printed(fd: int, line: bytes, until: float) -> bool:
    """Write a line without ever waiting for its reader beyond `until`."""
    ready = poll()
    ready.register(fd, POLLOUT)
    try:
        while line:
            left_ms = max(0, int((until - monotonic()) * 1000))
            events = ready.poll(left_ms)
            if not events or not events[0][1] & POLLOUT:
                return False
            line = line[posix.write(fd, line[:_PIPE_BYTES]) :]
    except OSError:
        return False
    return True


def _bytes(environ: Mapping[str, str], name: str, default: int, say: Callable[[str], None]) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if text.isascii() and text.isdigit() and len(text) < 12:
        return int(text)
    say(f"{name} {text[:40]!r} is no number of bytes: using {default}")
    return default
