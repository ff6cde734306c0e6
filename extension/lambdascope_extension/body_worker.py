"""Does what takes long with a foreign body beside the main thread, which the runtime waits for.

The intake gives it functions and what to do with their results. It is one thread, which lives while
there is something to do: a large body is seldom, and the interpreter lets the main thread go first
within a switch interval. `add` and `collect` are the main thread's.
"""

from __future__ import annotations

import posix
from _thread import allocate_lock, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[], object]
    Done = Callable[[object], None]


class BodyWorker:
    """`wake_fd` is written to when there is something to collect."""

    __slots__ = ("_finished", "_is_running", "_lock", "_todo", "_wake_fd")

    def __init__(self, wake_fd: int) -> None:
        self._wake_fd = wake_fd
        self._lock = allocate_lock()
        self._todo: list[tuple[Work, Done]] = []
        self._finished: list[tuple[Done, object]] = []
        self._is_running = False

    def add(self, work: Work, done: Done) -> None:
        """Call `work` in the thread and then, from `collect`, `done` with its result or error."""
        with self._lock:
            self._todo.append((work, done))
            starts, self._is_running = not self._is_running, True
        if starts:
            try:
                start_new_thread(self._run, ())
            except RuntimeError:
                self._run()  # the function has taken all threads that the environment may have

    def collect(self) -> None:
        """What has been done since."""
        with self._lock:
            finished, self._finished = self._finished, []
        for done, result in finished:
            done(result)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._todo:
                    self._is_running = False
                    return
                work, done = self._todo.pop(0)
            result: object
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - the thread's edge: the main thread raises it
                result = error
            with self._lock:
                self._finished.append((done, result))
            del work, done, result
            posix.write(self._wake_fd, b"x")
