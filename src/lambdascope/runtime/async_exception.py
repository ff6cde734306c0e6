"""The interrupt of CPython 3.11: an exception that is raised in another thread.

The interpreter raises it in the thread where it next looks for one: when a Python function begins,
when a loop goes back, and after most calls of C functions. It does not look inside a C function,
nor between two other instructions. Both facts carry `Budget.__exit__`. Source: CPython 3.11, C API,
PyThreadState_SetAsyncExc, and the evaluation loop (ceval.c).

Kept: it is never raised outside the block, nor twice, nor in a thread that `threading` is starting.
Not kept, as the interpreter gives no way to: where a thread moves on during each of fifty looks it
is raised unseen, and lost if that is in a destructor; a thread that is being started by `_thread`
alone may be hit in place of the one that starts it. The block then ends late, by the exception.
"""

from __future__ import annotations

import sys
from time import sleep

from lambdascope.runtime.deadline import BudgetInterrupt
from lambdascope.runtime.interrupt import Interrupter, ignores_exceptions, is_spared
from lambdascope.runtime.watchdog import starting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.budget import Budget

_POLL_S = 0.0001
_POLLS = 5000
# A thread that does not run after so many turns of this one was never started: that was broken off.
_START_POLLS = 1000
# What is spared is interrupted only where it has not moved so long: it waits in C, in a place that
# is made for exceptions.
_SPARE_POLLS = 50


class AsyncException(Interrupter):
    """Raises BudgetInterrupt by PyThreadState_SetAsyncExc. Loads ctypes, which only this needs."""

    __slots__ = ("_collect", "_hold_collector", "_place", "_raise_in", "_seen", "_still", "_stuck")

    able = True
    blind = True

    def __init__(self) -> None:
        from ctypes import c_int, c_ulong, py_object, pythonapi

        self._raise_in = pythonapi.PyThreadState_SetAsyncExc
        self._raise_in.argtypes = (c_ulong, py_object)
        self._raise_in.restype = c_int
        self._hold_collector = pythonapi.PyGC_Disable
        self._collect = pythonapi.PyGC_Enable
        # How often a thread was seen that does not run yet, and those that never will.
        self._seen: dict[object, int] = {}
        self._stuck: set[object] = set()
        # Where the thread was at the last look (no frame is kept alive), and for how many looks.
        self._place = (0, -1)
        self._still = 0

    def interrupt(self, budget: Budget) -> None:
        """Raise it where it does no harm; where there is no such moment the block ends late.

        In a thread that has ended there is nobody to stop.
        """
        for poll in range(_POLLS):
            if budget.interrupted:
                return  # it is being left
            # In 3.11 a collection may start in the middle of the look, and with it a destructor,
            # which lets the thread go on while its frames are read (CPython issue 106883).
            held = self._hold_collector()
            try:
                if self._is_free(budget, poll):
                    self._raise_in(budget.thread, BudgetInterrupt)
                    return
            finally:
                if held:
                    self._collect()
            sleep(_POLL_S)

    def _is_free(self, budget: Budget, poll: int) -> bool:
        """Whether it may be raised: not where it would be lost, and rather not where it does harm.

        The thread raises where it was when it last gave way to others, which is where it is seen:
        if it has moved during the look, another one is taken.
        """
        # The interpreter gives a thread that is just starting its parent's identifier for a while,
        # and would raise it there.
        limbo = sys.modules["threading"].__dict__["_limbo"]
        newborn = limbo.keys() | starting.keys()
        self._seen = {thread: self._seen.get(thread, 0) + 1 for thread in newborn}
        self._stuck = {thread for thread, seen in self._seen.items() if seen > _START_POLLS}
        frame = sys._current_frames().get(budget.thread)
        at = -1 if frame is None else frame.f_lasti
        spared = frame is not None and is_spared(frame)
        place = (id(frame), at)
        self._still = self._still + 1 if poll and place == self._place else 0
        self._place = place
        strict = spared or poll < _SPARE_POLLS
        if frame is not None and (
            (spared and self._still < _SPARE_POLLS)
            or ignores_exceptions(frame, budget.code)
            or (strict and sys._current_frames().get(budget.thread) is not frame)
        ):
            return False
        # From here to the call that raises it there is no point where threads take turns.
        moved = strict and frame is not None and frame.f_lasti != at
        return not moved and not (limbo.keys() | starting.keys()) - self._stuck
