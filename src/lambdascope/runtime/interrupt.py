"""Where a thread may be interrupted, and which way this interpreter has for it.

`budget` is the only user. There are two ways, each with its own file: CPython 3.11 has the
asynchronous exception (`async_exception`), later ones have monitoring (`monitoring`). They were
not left with the first one because their compilers put the jump at the end of many loops outside
the handlers of the code around it: an asynchronous exception that is raised there skips every
`except`, `finally` and `with` of the function (CPython issues 108214 and 139622).
"""

from __future__ import annotations

import sys
from opcode import opmap

from lambdascope.runtime.logs import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType, TracebackType
    from typing import Any, Protocol

    from lambdascope.runtime.budget import Budget

    class Due(Protocol):
        """Which blocks of the calling thread are to be interrupted."""

        def is_due(self) -> bool:
            """Whether there is one."""

        def take_due(self) -> None:
            """It is interrupted now: say so only once."""


# Modules that the interpreter calls in the middle of anything.
_CALLED_BACK = frozenset(("_weakrefset", "weakref"))
# Modules that hold locks of everybody, or whose work is half done between two instructions.
_SPARED = _CALLED_BACK | {
    "_frozen_importlib",
    "_frozen_importlib_external",
    "contextlib",
    "importlib",
    "logging",
    "threading",
}
# The argument of RESUME for "goes on after an await", where the interpreter does not look.
_AFTER_AWAIT = 3
# Frames with these flags can be left in the middle of a block and entered again later.
_GENERATOR = 0x20
_COROUTINE = 0x80 | 0x100
_ASYNC_GENERATOR = 0x200
_NO_GENERATORS = (
    "a budget cannot be held by a generator, which is left at each yield: put it around the code "
    "that uses the generator, or around what the generator does between two yields"
)


class Interrupter:
    """Interrupts the thread of a budget. This one does not: then a block ends late."""

    __slots__ = ()

    # Whether it does anything.
    able = False
    # Whether an interrupt, once asked for, comes whatever the thread is doing by then.
    blind = False

    def interrupt(self, budget: Budget) -> None:
        """Ask for BudgetInterrupt inside the block. Called by the watchdog, once for a budget."""

    def finish(self, budget: Budget) -> None:
        """The block was left. Called by its thread, only after `interrupt` has returned."""


def make_interrupter(due: Due, guarded: tuple[Callable[..., object], ...]) -> Interrupter:
    """The way of this interpreter; why there is none is said.

    `guarded` are the functions of ours that must not be interrupted before their first call.
    """
    try:
        if sys.implementation.name != "cpython":
            raise RuntimeError(f"{sys.implementation.name} has no way")
        for function in guarded:
            begin_unlooked(function)
        if sys.version_info >= (3, 12):
            from lambdascope.runtime.monitoring import Monitoring

            return Monitoring(due)
        from lambdascope.runtime.async_exception import AsyncException

        return AsyncException()
    except (ImportError, RuntimeError) as error:
        say(f"synchronous budgets are not interrupted and end late: {error}")
        return Interrupter()


def begin_unlooked(function: Any) -> None:
    """Change a function so that it cannot be interrupted before its first call.

    Without this, an interrupt or a signal that is pending when a block ends is handled in the first
    instruction of `__exit__`, before a `try` can be there. The instruction (RESUME) looks for one
    unless its argument says that it follows an await; the argument has no other effect. Raises
    RuntimeError for a function that begins with another instruction.
    """
    code = function.__code__
    resume = bytes((opmap["RESUME"], 0))
    unlooked = bytes((opmap["RESUME"], _AFTER_AWAIT))
    begin = code.co_code[:2]
    if begin not in (resume, unlooked):
        raise RuntimeError(f"{code.co_qualname} begins with instruction {begin.hex()}")
    function.__code__ = code.replace(co_code=unlooked + code.co_code[2:])


def owner_of(frame: FrameType | None) -> FrameType:
    """The frame whose block it is: the caller of `__enter__`, or of an ExitStack's method.

    Raises RuntimeError where that function can be suspended inside the block: other code would run
    in the thread meanwhile, and the interrupt would hit that.
    """
    frame = _not_contextlib(frame)
    flags = frame.f_code.co_flags
    if flags & (_COROUTINE | _ASYNC_GENERATOR):
        raise RuntimeError("use `async with` for a budget in an async function")
    if flags & _GENERATOR:
        raise RuntimeError(_NO_GENERATORS)
    return frame


def check_async_owner(frame: FrameType | None) -> None:
    """Raise RuntimeError for an async generator: at a `yield` others run in the same task."""
    if _not_contextlib(frame).f_code.co_flags & _ASYNC_GENERATOR:
        raise RuntimeError(_NO_GENERATORS)


def _not_contextlib(frame: FrameType | None) -> FrameType:
    while frame is not None and frame.f_globals.get("__name__") == "contextlib":
        frame = frame.f_back
    if frame is None:
        raise RuntimeError("a budget is entered by Python code")
    return frame


def without_ours(tb: TracebackType | None) -> TracebackType | None:
    """The traceback as far as the code that was interrupted, without what raised the interrupt."""
    if tb is None:
        return None
    rest = without_ours(tb.tb_next)
    if rest is None and is_ours(tb.tb_frame.f_code):
        return None
    return type(tb)(rest, tb.tb_frame, tb.tb_lasti, tb.tb_lineno)


def is_spared(frame: FrameType) -> bool:
    """Whether the frame is of a module that is better not interrupted."""
    return _package_of(frame) in _SPARED


def ignores_exceptions(frame: FrameType | None, last: CodeType | None = None) -> bool:
    """Whether no exception gets out: of a destructor or of the callback of a weak reference.

    Looks at the frames from this one to that of `last`, or to the outermost.
    """
    while frame is not None and frame.f_code is not last:
        if frame.f_code.co_name == "__del__" or _package_of(frame) in _CALLED_BACK:
            return True
        frame = frame.f_back
    return False


def _package_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def is_ours(code: CodeType) -> bool:
    """Whether the code is a part of the runtime."""
    return code.co_filename.startswith(_OUR_FILES)


_OUR_FILES = __file__.rpartition("interrupt")[0]
