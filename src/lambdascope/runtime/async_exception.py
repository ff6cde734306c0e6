"""The interrupt of CPython 3.11: an exception that is raised in another thread.

The interpreter raises it in the thread where it next looks for one: when a Python function begins,
when a loop goes back, and after most calls of C functions. It does not look inside a C function,
nor between two other instructions. Both facts carry `Budget.__exit__`. Source: CPython 3.11, C API,
PyThreadState_SetAsyncExc, and the evaluation loop (ceval.c).
"""

from __future__ import annotations

import sys
from time import monotonic, sleep

from lambdascope.runtime.deadline import BudgetInterrupt
from lambdascope.runtime.interrupt import Interrupter, ignores_exceptions, is_spared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.budget import Budget

# A thread takes less than this to start, unless its start was broken off.
_START_S = 0.05
_POLL_S = 0.0001
_POLLS = 5000
# What is spared takes a few microseconds, or waits in C where an interrupt does no harm.
_SPARE_POLLS = 50


class AsyncException(Interrupter):
    """Raises BudgetInterrupt by PyThreadState_SetAsyncExc. Loads ctypes, which only this needs."""

    __slots__ = ("_collect", "_hold_collector", "_raise_in", "_stuck")

    able = True
    blind = True

    def __init__(self) -> None:
        from ctypes import c_int, c_ulong, py_object, pythonapi

        self._raise_in = pythonapi.PyThreadState_SetAsyncExc
        self._raise_in.argtypes = (c_ulong, py_object)
        self._raise_in.restype = c_int
        self._hold_collector = pythonapi.PyGC_Disable
        self._collect = pythonapi.PyGC_Enable
        self._stuck: set[object] = set()

    def interrupt(self, budget: Budget) -> None:
        """Raise it where it does no harm; where there is no such moment the block ends late.

        The interpreter gives a thread that is just starting its parent's identifier for a while,
        and would raise it there. In a thread that has ended there is nobody to stop.
        """
        starting = sys.modules["threading"].__dict__["_limbo"].keys()
        since: dict[object, float] = {}
        for poll in range(_POLLS):
            if budget.interrupted:
                return  # it is being left
            spared = self._is_spared(budget, poll)
            if not spared and not starting - self._stuck:
                # Between the look and this call there is no point where threads take turns.
                self._raise_in(budget.thread, BudgetInterrupt)
                return
            now = monotonic()
            for thread in list(starting):
                if since.setdefault(thread, now) < now - _START_S:
                    self._stuck.add(thread)
            sleep(_POLL_S)

    def _is_spared(self, budget: Budget, poll: int) -> bool:
        """Whether the thread is where an interrupt would be lost, or would better wait a little.

        It raises where it was when it last gave way to other threads, which is where it is seen:
        only when the threads take turns during the look is that out of date.
        """
        # In 3.11 a collection during the look may start a destructor, which lets the thread go on
        # while its frames are read, or while a lock is held that it needs (CPython issue 106883).
        held = self._hold_collector()
        try:
            frame = sys._current_frames().get(budget.thread)
            if frame is None:
                return False
            return ignores_exceptions(frame, budget.code) or (
                poll < _SPARE_POLLS and is_spared(frame)
            )
        finally:
            if held:
                self._collect()
