"""Measures the memory of all processes of an environment together, and enforces the limit.

A thread looks every 10 ms while the environment is awake; between two looks the kernel's own high
water mark of a process keeps short peaks. Pages mapped from files count once for each program,
pages that a forked process shares with its parent count once. On Lambda the figure never goes down
within one execution environment; here neither.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

from lambdascope.emulator import proc
from lambdascope.emulator.processes import send

if TYPE_CHECKING:
    from collections.abc import Callable

_INTERVAL_S = 0.01
_MEGABYTE = 1024 * 1024


class MemoryMeter:
    """Watches one generation. `pids` names its living processes, the started ones first.

    With a limit, the largest process is killed when the sum is over it, as the kernel of an
    execution environment does; `exceeded` then says so.
    """

    def __init__(
        self, pids: Callable[[], tuple[list[int], list[int]]], *, limit_bytes: int | None
    ) -> None:
        self.peak_bytes = 0
        self.exceeded = False
        self._pids = pids
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._forked_before: set[int] = set()
        self._awake = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._awake.set()
        self._thread.start()

    @property
    def peak_mb(self) -> int:
        """The peak in MB, rounded up as in the REPORT line; 0 where there is no /proc."""
        return -(-self.peak_bytes // _MEGABYTE)

    def sample(self) -> None:
        """Look once now."""
        with self._lock:
            found = self._look()
            if not found:
                return
            total = proc.total_bytes(found)
            self.peak_bytes = max(self.peak_bytes, total + max(m.below_peak_bytes for m in found))
            if self._limit is not None and total > self._limit:
                self.exceeded = True
                largest = max(found, key=lambda memory: memory.anonymous_bytes)
                send(largest.pid, signal.SIGKILL, group=False)

    def _look(self) -> list[proc.Memory]:
        leaders, forked = self._pids()
        # Until it calls exec, a new process may have the very memory of its parent (vfork), and
        # would count it twice: what is in its first 10 ms is left out.
        counted = [pid for pid in forked if pid in self._forked_before]
        self._forked_before = set(forked)
        looks = (proc.memory_of(pid, forked=bool(counted)) for pid in (*leaders, *counted))
        return [memory for memory in looks if memory is not None]

    def pause(self) -> None:
        """The environment is frozen: nothing can grow."""
        self._awake.clear()

    def resume(self) -> None:
        """The environment runs again."""
        self._awake.set()

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._closed.set()
        self._awake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.wait(_INTERVAL_S):
            self._awake.wait()
            self.sample()
