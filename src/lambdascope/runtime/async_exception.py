"""The interrupt of CPython 3.11: an exception that is raised in another thread.

The interpreter raises it in the thread where it next looks for one: when a Python function begins,
when a loop goes back, and after most calls of C functions. It does not look inside a C function,
nor between two other instructions. Both facts carry `Budget.__exit__`. Source: CPython 3.11, C API,
PyThreadState_SetAsyncExc, and the evaluation loop (ceval.c).

Kept: it is never raised outside the block, nor twice, nor in a thread that is being started.
Not kept, as the interpreter gives no way to: where a thread moves on during each of fifty looks it
is raised unseen, and lost if that is in a destructor; and a thread that once failed to start
another one ("can't start new thread") is not interrupted any more. The block then ends late, by
the exception.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from time import sleep

from lambdascope.runtime.deadline import BudgetInterrupt
from lambdascope.runtime.interrupt import Interrupter, ignores_exceptions, is_spared

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Any

    from lambdascope.runtime.budget import Budget

_POLL_S = 0.0001
_POLLS = 5000
# What is spared is interrupted only where it has not moved so long: it waits in C, in a place that
# is made for exceptions.
_SPARE_POLLS = 50
# How much of a thread's state is searched for its identifier, in words: less than there is.
_SEARCHED_WORDS = 32


class AsyncException(Interrupter):
    """Raises BudgetInterrupt by PyThreadState_SetAsyncExc. Loads ctypes, which only this needs."""

    __slots__ = ("_collect", "_hold_collector", "_identifiers", "_place", "_raise_in", "_still")

    able = True
    blind = True

    def __init__(self) -> None:
        from ctypes import c_int, c_ulong, py_object, pythonapi

        # By index: so they are ours alone, and nobody else changes their types.
        self._raise_in = pythonapi["PyThreadState_SetAsyncExc"]
        self._raise_in.argtypes = (c_ulong, py_object)
        self._raise_in.restype = c_int
        self._hold_collector = pythonapi["PyGC_Disable"]
        self._collect = pythonapi["PyGC_Enable"]
        self._identifiers = _find_identifiers()
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
                frame = sys._current_frames().get(budget.thread)
                if frame is None:
                    return
                if self._is_free(budget, frame, poll):
                    self._raise_in(budget.thread, BudgetInterrupt)
                    return
            finally:
                frame = None
                if held:
                    self._collect()
            sleep(_POLL_S)

    def _is_free(self, budget: Budget, frame: FrameType, poll: int) -> bool:
        """Whether it may be raised: not where it would be lost, and rather not where it does harm.

        The thread raises where it was when it last gave way to others, which is where it is seen:
        if it has moved during the look, another one is taken.
        """
        at = frame.f_lasti
        spared = is_spared(frame)
        place = (id(frame), at)
        self._still = self._still + 1 if poll and place == self._place else 0
        self._place = place
        strict = spared or poll < _SPARE_POLLS
        alike = filter(budget.thread.__eq__, self._identifiers())
        if (
            (spared and self._still < _SPARE_POLLS)
            or ignores_exceptions(frame, budget.code)
            or (strict and sys._current_frames().get(budget.thread) is not frame)
        ):
            return False
        # From here to the call that raises it there is no point where threads take turns: that is
        # only after calls from Python code, and `alike` is made by C code alone.
        if strict and frame.f_lasti != at:
            return False
        # A thread that is just starting has its parent's identifier for a while. The interpreter
        # would take that one, as the newest, however long it has to wait for a processor.
        return [*alike] == [budget.thread]


def _find_identifiers() -> Callable[[], Iterator[int]]:
    """What gives the identifiers of all threads' states, as PyThreadState_SetAsyncExc sees them.

    The iterator looks when it is iterated, and runs no Python code. There is no call for the
    identifier in a state (`thread_id`); its place is where this thread's own has this thread's.
    Raises RuntimeError where it is not found. Source: CPython 3.11, Include/cpython/pystate.h.
    """
    from ctypes import POINTER, Structure, c_int, c_ulong, c_void_p, pythonapi
    from itertools import accumulate, chain, repeat, takewhile
    from operator import attrgetter

    own = pythonapi["PyThreadState_Get"]
    own.restype = c_void_p
    words = [*(c_ulong * _SEARCHED_WORDS).from_address(own())]
    if words.count(get_ident()) != 1:
        raise RuntimeError("a thread's state does not have its identifier")

    fields = [("before", c_ulong * words.index(get_ident())), ("thread_id", c_ulong)]
    state: Any = POINTER(type("State", (Structure,), {"_fields_": fields}))
    interpreter = pythonapi["PyInterpreterState_Get"]
    interpreter.restype = c_void_p
    newest = pythonapi["PyInterpreterState_ThreadHead"]
    newest.argtypes = (c_void_p,)
    newest.restype = state
    # The second argument is none of the function's: `accumulate` gives one, C does not mind.
    older = pythonapi["PyThreadState_Next"]
    older.argtypes = (state, c_int)
    older.restype = state
    interpreters = (interpreter(),)
    identifier = attrgetter("contents.thread_id")

    def identifiers() -> Iterator[int]:
        states = accumulate(chain(map(newest, interpreters), repeat(0)), older)
        return map(identifier, takewhile(bool, states))

    return identifiers
