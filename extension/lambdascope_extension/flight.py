"""The extension's side of the flight file (wire/flight.py): who has had no end, and the last call.

The start makes the file; the lifecycle asks at the end of the environment which invocations that a
runtime announced have had no end, and lets `fallen`, which is loaded only then, make their spans.
What the platform says of failures is kept unread until that moment. Beside a running handler it
does one thing: shortly before the deadline it asks the runtime, by a signal, what it is doing.
"""

from __future__ import annotations

import posix
from _signal import SIGURG  # type: ignore[import-not-found]  # `signal` would import enum
from time import sleep

from lambdascope.wire import flight as layout
from lambdascope.wire.names import SHUTDOWN_TIMEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope_extension.buffer import Buffer
    from lambdascope_extension.end_tracker import EndTracker

# A signal that does nothing where nobody expects it.
ASK = SIGURG
MAX_TEXT_BYTES = 65_536
# How long after SHUTDOWN the platform may still say how the runtime ended.
WORD_S = 0.3
# And how long a runtime that was asked to end.
LATE_S = 0.1
_MAX_PID = 1 << 31
_LOOKS = 25
_LOOK_S = 0.002
_HEAD_BYTES = 4096
_MAX_BATCHES = 8
_NOT_SUCCESS = (b'"timeout"', b'"error"', b'"failure"')


class Flight:
    """`fd` is the file, negative when there is none. `drop_reason` is why traces go nowhere.

    What the invocations without an end become is put into `buffer`, once, after SHUTDOWN.
    """

    def __init__(
        self,
        fd: int,
        ends: EndTracker,
        buffer: Buffer,
        say: Callable[[str], None],
        drop_reason: str | None = None,
    ) -> None:
        self._fd = fd
        self._ends = ends
        self._buffer = buffer
        self._say = say
        self._drop_reason = drop_reason
        self._batches: list[bytes] = []
        self._gone_ns = 0
        # Told request id and body of what was made here, as of what a runtime hands over.
        self.on_told: Callable[[str, bytes], None] = lambda request_id, body: None
        self._reason = ""
        self._died_first = False
        self._late_until = 0.0
        self._word_until = 0.0
        self._is_told = False
        self._told: set[str] = set()

    def on_records(self, body: bytes) -> None:
        """A batch of the platform's records has come; kept when it tells of a failure."""
        if any(word in body for word in _NOT_SUCCESS):
            self._batches = [*self._batches[1 - _MAX_BATCHES :], body]

    def on_runtime_gone(self, wall_ns: int) -> None:
        """The runtime has closed its connection, at this Unix time."""
        self._gone_ns = wall_ns

    def ask(self) -> None:
        """Ask the runtime for the stacks of what is running: the deadline is near."""
        for _, texts in self._open_heads():
            pid = texts[0]
            if pid.isascii() and pid.isdigit() and 0 < int(pid[:10]) < _MAX_PID:
                try:
                    posix.kill(int(pid), ASK)
                except OSError:
                    pass  # it is another user's, or has just ended

    def tell_at_once(self, *, timed_out: bool, wall_ns: int) -> bool:
        """The runtime has gone in the middle of an invocation: tell it now, unless the platform
        will say more of it, or the process lives on without us; whether it was told.

        A platform without telemetry says no more at SHUTDOWN, and may be late with that.
        """
        if not self._gone_ns or self._ends.telemetry_is_alive:
            return False
        heads = self._open_heads()
        # Files are closed a moment before the process counts as ended.
        for _ in range(_LOOKS):
            if not heads or all(_is_dead(texts[0]) for _, texts in heads):
                break
            sleep(_LOOK_S)
        else:
            return False
        if not heads:
            return False
        self._reason = SHUTDOWN_TIMEOUT if timed_out else ""
        self._died_first = True
        self._close_open(wall_ns)
        return True

    def shut_down(self, reason: str, now: float, until: float) -> None:
        """The environment ends at `until`; times are monotonic seconds."""
        self._reason = reason
        self._died_first = self._gone_ns > 0
        self._late_until = min(until, now + LATE_S)
        self._word_until = min(until, now + WORD_S)

    def wake_at(self, now: float, until: float) -> float:
        """When `waits` may change without anything happening, after `shut_down`."""
        for moment in (self._late_until, self._word_until):
            if now < moment and not self._is_told:
                return moment
        return until

    def waits(self, now: float, *, wall_ns: int, has_runtime: bool) -> bool:
        """Whether to wait for more; once there is nothing to wait for, what was open is told.

        `has_runtime`: one is still connected.
        """
        if self._is_told:
            return False
        if now < self._late_until and has_runtime:
            return True  # it has been asked to end, and may still say how things are
        if now < self._word_until and self._reason.lower() != SHUTDOWN_TIMEOUT:
            ids = [texts[1].encode() for _, texts in self._open_heads()]
            if self._ends.telemetry_is_alive and not all(map(self._has_word, ids)):
                return True
        self._is_told = True
        self._close_open(wall_ns)
        return False

    def _has_word(self, request_id: bytes) -> bool:
        return any(request_id in body for body in self._batches)

    def _close_open(self, wall_ns: int) -> None:
        slots = [slot for slot, _ in self._open_heads()]
        if not slots:
            return
        from lambdascope_extension.fallen import Fallen, put

        fallen = Fallen(
            shutdown_reason=self._reason,
            batches=self._batches,
            text=self._read(layout.TEXT_AT, MAX_TEXT_BYTES),
            resource=self._read(layout.RESOURCE_AT, layout.SLOTS_AT - layout.RESOURCE_AT),
            gone_ns=self._gone_ns or wall_ns,
            died_first=self._died_first,
        )
        for slot in slots:
            data = self._read(layout.SLOTS_AT + slot * layout.SLOT_BYTES, layout.SLOT_BYTES)
            try:
                story = fallen.tell(data)
            except (ValueError, IndexError) as error:
                self._say(f"slot {slot} of the flight file cannot be read: {error}")
            else:
                put(self._buffer, story, self._drop_reason, self._say)
                self._told.add(story.request_id)
                self.on_told(story.request_id, story.body)

    def _open_heads(self) -> list[tuple[int, list[str]]]:
        """Slot and the head's texts of each invocation without an end."""
        taken = int.from_bytes(self._read(0, 4), "little")
        found: list[tuple[int, list[str]]] = []
        for slot in range(min(taken, layout.MAX_SLOTS)):
            data = self._read(layout.SLOTS_AT + slot * layout.SLOT_BYTES, _HEAD_BYTES)
            size = int.from_bytes(data[:4], "little")
            frames = layout.read_frames(data[: size + layout.FRAME_BYTES])
            if not frames:
                continue
            texts = layout.head_texts(frames[0][1])
            known = texts and texts[1] in self._told
            if texts and texts[1] and not known and not self._ends.is_done(texts[1]):
                found.append((slot, texts))
        return found

    def _read(self, position: int, size: int) -> bytes:
        if self._fd < 0:
            return b""
        try:
            return posix.pread(self._fd, size, position)
        except OSError:
            return b""


def _is_dead(pid: str) -> bool:
    """Whether the process has ended; one that nobody has waited for yet has."""
    if not (pid.isascii() and pid.isdigit() and 0 < int(pid[:10]) < _MAX_PID):
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except (OSError, IndexError):
        return True
