"""The runtime's end of the flight file: found, checked and shared out to the workers.

Loaded at the end of init where there is an extension. The layout is that of wire/flight.py; what
goes into a slot is the recorder's business (flight.py). Nothing in here raises but `write`.
"""

from __future__ import annotations

import os
from _signal import (  # type: ignore[import-not-found]  # `signal` needs enum
    SIG_DFL,
    SIGTERM,
    SIGURG,
    getsignal,
    signal,
)

from lambdascope.runtime.flight import FlightRecorder
from lambdascope.runtime.handoff import open_private
from lambdascope.runtime.resource import resource_facts
from lambdascope.wire import flight as layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.init_phase import InitPhase
    from lambdascope.runtime.telemetry import InvokeTimes


class FlightFile:
    """The file. `fd` is negative when there is none, or none any more. `init` is the phase that
    the first invocation is announced with; until one is over, `is_cold`."""

    __slots__ = (
        "_say",
        "_text_fd",
        "fd",
        "first_slot",
        "init",
        "is_cold",
        "pid",
        "slots",
    )

    def __init__(self, say: Callable[[str], None], init: InitPhase | None = None) -> None:
        self._say = say
        self.init = init
        self.is_cold = True
        self.fd = -1
        self._text_fd = -1
        # Whom the extension may ask for stacks: nobody, until `watch`.
        self.pid = "0"
        self.first_slot = 0
        self.slots = 0

    def attach(self, path: str, config: RuntimeConfig) -> bool:
        """Open what the extension has made, and take a slot for each of the workers."""
        workers = 1 if config.by_processes else config.max_concurrency
        try:
            self.fd = open_private(path, os.O_RDWR)
            self._take_slots(workers)
            facts = "\0".join([fact.replace("\0", "") for fact in resource_facts(config)])
            resource = layout.frame(layout.RESOURCE, facts.encode("utf-8", "replace"), b"once")
            if len(resource) > layout.SLOTS_AT - layout.RESOURCE_AT:
                raise ValueError("OTEL_RESOURCE_ATTRIBUTES are too long for it")
            self.write(resource, layout.RESOURCE_AT)
        except FileNotFoundError:
            return False  # an extension that keeps none
        except (OSError, ValueError) as error:
            self.give_up(path, error)
        if self.fd >= 0:
            os.register_at_fork(after_in_child=self._forked)
        return self.fd >= 0

    def watch(self, path: str, near_end: Callable[[FrameType | None], None]) -> None:
        """Have `near_end` called when the extension says that the deadline is near, and have
        Python itself note the stacks at a fatal signal and at SIGTERM, even inside of C code.

        Main thread only. Nothing of it costs anything before it happens.
        """
        import faulthandler

        if getsignal(SIGURG) == SIG_DFL:
            signal(SIGURG, lambda _signum, frame: near_end(frame))
            self.pid = str(os.getpid())
        if faulthandler.is_enabled():
            return  # the function, or PYTHONFAULTHANDLER, wants it elsewhere
        try:
            self._text_fd = open_private(path, os.O_WRONLY)
            os.lseek(self._text_fd, layout.TEXT_AT, os.SEEK_SET)
            faulthandler.enable(file=self._text_fd)
            faulthandler.register(SIGTERM, file=self._text_fd, chain=True)
        except (OSError, ValueError, RuntimeError) as error:
            self._say(f"flight file: no stacks of fatal signals: {error}")

    def write(self, data: bytes, position: int) -> None:
        """Write all of it. Raises OSError."""
        if os.pwrite(self.fd, data, position) != len(data):
            raise OSError("the disk is full")

    def give_up(self, what: str, error: Exception) -> None:
        """Say it once and do without."""
        reason = getattr(error, "strerror", None) or error
        self._say(f"flight file: {what}: {reason}; invocations that die will have no spans")
        self.close()

    def close(self) -> None:
        """Write nothing any more; in a forked process, for good."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _forked(self) -> None:
        self.close()
        text_fd, self._text_fd = self._text_fd, -1
        if text_fd >= 0:
            import faulthandler

            # SIGTERM is as it was: see Termination.
            faulthandler.disable()
            os.close(text_fd)

    def _take_slots(self, workers: int) -> None:
        # Several processes do so at the same time; the lock is this process's until it unlocks.
        os.lseek(self.fd, 0, os.SEEK_SET)
        os.lockf(self.fd, os.F_LOCK, 4)
        try:
            first = int.from_bytes(os.pread(self.fd, 4, 0), "little")
            taken = min(first + workers, layout.MAX_SLOTS)
            self.write(taken.to_bytes(4, "little"), 0)
        finally:
            os.lockf(self.fd, os.F_ULOCK, 4)
        self.first_slot = first
        self.slots = max(0, taken - first)

    def with_init(self, data: bytes, times: InvokeTimes, number: bytes) -> bytes:
        """The announcement of a first invocation, with the init before it."""
        if self.init is None or self.init.restore is not None:
            return data
        facts = self.init.facts(times.received_ns, times.offset_ns)
        return data[:-4] + layout.frame(layout.INIT, facts, number) + layout.END

    def recorder(self, worker: int = 0, *, erases: bool = False) -> FlightRecorder | None:
        """The recorder of one worker; None when the file has no slot for it."""
        if worker >= self.slots:
            return None
        return FlightRecorder(self, self.first_slot + worker, erases=erases)
