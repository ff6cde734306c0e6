"""How a thread is interrupted from outside: the interpreter's asynchronous exception.

CPython raises such an exception in the thread where it next looks for one: when a Python function
begins, when a loop goes back, and after most calls of C functions. It does not look inside a C
function and not between two other instructions. Both facts carry `budget`, the only user of this
module. Source: CPython, C API, PyThreadState_SetAsyncExc, and the evaluation loop (ceval.c,
bytecodes.c) of 3.11 to 3.14.
"""

from __future__ import annotations

import sys
from opcode import opmap

from lambdascope.runtime.deadline import BudgetInterrupt
from lambdascope.runtime.logs import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# The argument of RESUME for "goes on after an await", where the interpreter does not look.
_AFTER_AWAIT = 3
# A frame with one of these flags can be left in the middle of a block and entered again later:
# generators, coroutines, and asynchronous generators.
_SUSPENDABLE = 0x20 | 0x80 | 0x100 | 0x200


def begins_unlooked(function: Any) -> bool:
    """Change a function so that it cannot be interrupted before its first call; whether that went.

    Without this, an interrupt that is pending when a block ends is raised in the first instruction
    of `__exit__`, before a `try` can be there. The instruction (RESUME) looks for one unless its
    argument says that it follows an await; it does nothing else with it.
    """
    code = function.__code__
    start = code.co_code[:2]
    if sys.implementation.name != "cpython" or start != bytes((opmap.get("RESUME", 0), 0)):
        return False
    changed = bytes((start[0], _AFTER_AWAIT)) + code.co_code[2:]
    function.__code__ = code.replace(co_code=changed)
    return True


class Interrupter:
    """Raises BudgetInterrupt in another thread; `able` once it can, and only where that is safe."""

    __slots__ = ("_raise_in", "able", "ready")

    def __init__(self, *, safe: bool) -> None:
        self.ready = not safe
        self.able = False
        self._raise_in: Callable[[int, type[BaseException]], int] | None = None

    def prepare(self) -> None:
        """Load ctypes, which only this needs. Without it budgets end late, which is said once."""
        self.ready = True
        try:
            from ctypes import c_int, c_ulong, py_object, pythonapi
        except ImportError as error:
            say(f"synchronous budgets end late, there is no ctypes to interrupt with ({error})")
            return
        raise_in = pythonapi.PyThreadState_SetAsyncExc
        raise_in.argtypes = (c_ulong, py_object)
        raise_in.restype = c_int
        self._raise_in = raise_in
        self.able = True

    def interrupt(self, thread: int) -> None:
        """Interrupt the thread with this identifier; one that has ended has nobody to stop."""
        if self._raise_in is not None:
            self._raise_in(thread, BudgetInterrupt)


def check_not_suspendable(frame: Any) -> None:
    """Raise RuntimeError where the block's own function can be suspended inside the block.

    Other code would run in the thread meanwhile, and the interrupt would hit that.
    """
    while frame is not None and frame.f_globals.get("__name__") == "contextlib":
        frame = frame.f_back
    if frame is None or not frame.f_code.co_flags & _SUSPENDABLE:
        return
    if frame.f_code.co_flags & 0x280:
        raise RuntimeError("use `async with` for a budget in an async function")
    raise RuntimeError(
        "a budget cannot be held by a generator, which is left at each yield: put the `with` "
        "around the code that uses the generator"
    )
