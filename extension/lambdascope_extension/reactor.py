"""The one place where the extension waits: poll over file descriptors with a callback each.

One thread, the main one, registers and runs it. It knows nothing of HTTP or Lambda. No timer lives
in it: whoever needs one passes the time-out of the next wait, so nothing fires after a freeze. Some
descriptors go first: however many others are ready, these wait for a few callbacks at most.
"""

from __future__ import annotations

from select import POLLIN, poll
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# poll takes a C int; whoever waits for longer asks again.
_LONGEST_MS = 60_000
# After so much time it is looked again whether one that goes first is ready.
_TURN_S = 0.002


class Reactor:
    """File descriptors and what to call when one is ready. The callback gets poll's event mask.

    `first` are those that go first.
    """

    __slots__ = ("_callbacks", "_last", "_poll", "first")

    def __init__(self) -> None:
        self._poll = poll()
        self._last = -1
        self.first: set[int] = set()
        self._callbacks: dict[int, Callable[[int], None]] = {}

    def watch(self, fd: int, callback: Callable[[int], None], events: int = POLLIN) -> None:
        """Call `callback` whenever `fd` is ready for `events`; replaces an earlier watch."""
        self._poll.register(fd, events)
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """Stop watching; to be called before `fd` is closed."""
        if self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)
            self.first.discard(fd)

    def run_once(self, timeout_s: float | None) -> None:
        """Wait for at most `timeout_s` seconds (None: for ever) and make the calls that are due."""
        wait_ms: int | None = None
        if timeout_s is not None:
            # Rounded up: waking a fraction of a ms too early would only mean waiting again.
            wait_ms = min(int(timeout_s * 1000) + 1, _LONGEST_MS) if timeout_s > 0 else 0
        ready = self._poll.poll(wait_ms)
        if len(ready) > 1:
            self._call_in_order(ready)
        elif ready:
            self._call(*ready[0])

    def _call_in_order(self, ready: list[tuple[int, int]]) -> None:
        """Those that go first, and then the others from where the last turn has ended."""
        ready.sort(key=lambda one: (one[0] not in self.first, one[0] <= self._last, one[0]))
        until = monotonic() + _TURN_S
        for fd, mask in ready:
            self._call(fd, mask)
            if fd not in self.first:
                self._last = fd
                if monotonic() >= until:
                    return

    def _call(self, fd: int, mask: int) -> None:
        callback = self._callbacks.get(fd)
        if callback is not None:
            callback(mask)
