"""The one thread of the process that waits for deadlines: it rings alarms when they are due.

Budgets and callbacks set alarms. The thread waits in the C library without the interpreter's lock,
until the next alarm or, where there is none, without any timer: nothing is armed while the
environment is frozen. It starts with the first alarm, and not by `threading.Thread`: where a signal
handler raises while that starts a thread, the thread may fail, and the exception with it.

An alarm has one claim, taken once and by one side: by the thread, which then rings it, or by the
code that set it, which then is never rung. Taking it is one call into C (`dict.setdefault`), so
that there is no lock that an interrupt could leave locked.
"""

from __future__ import annotations

import sys
from _thread import allocate_lock, start_new_thread
from os import register_at_fork
from time import monotonic

from lambdascope.runtime.deadline import INFINITE
from lambdascope.runtime.logs import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable
    from threading import Event

# The two sides of a claim.
LEFT = "left"
RUNG = "rung"
_LONGEST_WAIT = 3600.0
_FORK_POLL_S = 0.05
_NAME = "lambdascope-watchdog"


class Alarm:
    """Something to be done at a moment (`at`, seconds of the monotonic clock), or not at all."""

    __slots__ = ("at", "claim", "owner")

    # Rung after the others that are due: it may take its time.
    patient = False
    # What it is, for a line on standard error.
    title = "an alarm"

    def __init__(self, at: float, owner: object) -> None:
        self.at = at
        self.owner = owner
        self.claim: dict[int, str] = {}

    def ring(self) -> None:
        """Do it, in the watchdog's thread."""
        raise NotImplementedError

    def abandon(self) -> None:
        """The process was forked while this was being rung: in the child it will not be."""


def start(run: Callable[[LockType], None]) -> LockType:
    """Start a thread that is given a lock, which it releases when it is up. Returns the lock."""
    up = allocate_lock()
    up.acquire()
    start_new_thread(run, (up,))
    return up


class Watchdog:
    """The alarms that are set, and the thread that waits for them."""

    __slots__ = ("_alarms", "_knock", "_next_at", "_parked", "_ringing", "_started")

    def __init__(self) -> None:
        self._alarms: dict[Alarm, float] = {}
        self._started: dict[int, object] = {}
        self._reset()
        register_at_fork(after_in_child=self._forked)

    def watch(self, alarm: Alarm) -> None:
        """Set the alarm."""
        if alarm.at == INFINITE:
            return
        if not self._started:
            # Before the alarm is there: it must not ring while the thread is being started.
            self._start()
        self._alarms[alarm] = alarm.at
        if alarm.at < self._next_at:
            self._wake()

    def drop(self, alarm: Alarm) -> None:
        """Take the alarm back, after its claim was taken. The thread may still wake for it."""
        self._alarms.pop(alarm, None)

    def release(self, owner: object, patience: float) -> None:
        """Take back what the owner has set, and wait until the thread waits without a timer.

        At most `patience` seconds: a callback may be running. Other owners' alarms stay, and then
        there is nothing to wait for.
        """
        parked = self._parked
        if parked is None:
            return
        for alarm in list(self._alarms):
            if alarm.owner == owner:
                alarm.claim.setdefault(0, LEFT)
                self._alarms.pop(alarm, None)
        if not self._alarms and not parked.is_set():
            self._wake()
            parked.wait(patience)

    @property
    def armed(self) -> bool:
        """Whether the thread is waiting with a timer, or at work."""
        return self._parked is not None and not self._parked.is_set()

    def _reset(self) -> None:
        self._next_at = INFINITE
        self._ringing: Alarm | None = None
        # Set while the thread waits without a timer.
        self._parked: Event | None = None
        self._knock = allocate_lock()
        self._knock.acquire()

    def _start(self) -> None:
        """Start the thread and wait for it. Wherever this is broken off, it can be done again."""
        # Here and not in the thread: it takes the one that imports it first for the main thread.
        import threading  # noqa: F401 - for its being loaded

        knock = self._knock
        up = start(self._run)
        # A signal handler may fork meanwhile: there the thread is not, and has to be started again.
        while not up.acquire(timeout=_FORK_POLL_S) and knock is self._knock:
            pass
        if knock is not self._knock:
            self._start()

    def _forked(self) -> None:
        """In a child process there is no such thread, and nobody else's alarms."""
        self._alarms.clear()
        self._started.clear()
        if self._ringing is not None:
            self._ringing.abandon()
        self._reset()

    def _wake(self) -> None:
        try:
            self._knock.release()
        except RuntimeError:
            pass  # it has been told already

    def _run(self, up: LockType) -> None:
        # It is the thread itself that says it has started. Two starts at a time: one of them ends.
        if self._started.setdefault(0, up) is not up:
            up.release()
            return
        threading = sys.modules["threading"]
        threading.current_thread().name = _NAME
        parked: Event = threading.Event()
        self._parked = parked
        up.release()
        while True:
            parked.clear()
            # Until the next moment is known, each new alarm wakes: none falls in between.
            self._next_at = INFINITE
            self._ring_due()
            at = self._earliest()
            self._next_at = at
            if at == INFINITE:
                parked.set()
                self._knock.acquire()
            else:
                self._knock.acquire(timeout=min(max(at - monotonic(), 0.0), _LONGEST_WAIT))

    def _earliest(self) -> float:
        at = INFINITE
        for alarm, alarm_at in self._alarms.copy().items():
            if alarm.claim:
                self._alarms.pop(alarm, None)
            elif alarm_at < at:
                at = alarm_at
        return at

    def _ring_due(self) -> None:
        now = monotonic()
        due = [alarm for alarm, at in self._alarms.copy().items() if at <= now]
        for patient in (False, True):
            for alarm in due:
                if alarm.patient is patient:
                    self._ring(alarm)

    def _ring(self, alarm: Alarm) -> None:
        self._ringing = alarm
        self._alarms.pop(alarm, None)
        if alarm.claim.setdefault(0, RUNG) is RUNG:
            try:
                alarm.ring()
            except BaseException as fault:  # noqa: BLE001 - a callback may raise anything
                say(f"{alarm.title} raised {type(fault).__name__}: {fault}")
        self._ringing = None


watchdog = Watchdog()
