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
from lambdascope.runtime.interrupt import Interrupter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.budget import Budget

# A thread takes less than this to start, unless its start was broken off.
_START_S = 0.05
_START_POLL_S = 0.0001
_START_POLLS = 5000


class AsyncException(Interrupter):
    """Raises BudgetInterrupt by PyThreadState_SetAsyncExc. Loads ctypes, which only this needs."""

    __slots__ = ("_raise_in", "_stuck")

    able = True
    blind = True

    def __init__(self) -> None:
        from ctypes import c_int, c_ulong, py_object, pythonapi

        self._raise_in = pythonapi.PyThreadState_SetAsyncExc
        self._raise_in.argtypes = (c_ulong, py_object)
        self._raise_in.restype = c_int
        self._stuck: set[object] = set()

    def interrupt(self, budget: Budget) -> None:
        """Raise it, unless threads are being started all the time: then the block ends late.

        The interpreter gives a thread that is just starting its parent's identifier for a while,
        and would raise it there. In a thread that has ended there is nobody to stop.
        """
        starting = sys.modules["threading"].__dict__["_limbo"].keys()
        since: dict[object, float] = {}
        for _ in range(_START_POLLS):
            if not starting - self._stuck:
                # Between the look and this call there is no point where threads take turns.
                self._raise_in(budget.thread, BudgetInterrupt)
                return
            now = monotonic()
            for thread in list(starting):
                if since.setdefault(thread, now) < now - _START_S:
                    self._stuck.add(thread)
            if budget.interrupted:
                return  # it is being left
            sleep(_START_POLL_S)
