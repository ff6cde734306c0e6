"""What every thread and every asyncio task is doing, as text; loaded when the end is near.

Called in signal handlers, also between any two instructions of the function's: it takes no locks of
the function's and imports nothing but `sys`. The form is that of Python's tracebacks, without
source lines, which would have to be read from files.
"""

from __future__ import annotations

import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

_MAX_FRAMES = 64
_MAX_TASKS = 50
_MAX_THREADS = 100


def stack_text(frame: FrameType | None) -> str:
    """All stacks, latest call last; `frame` is what this thread was doing, others follow."""
    own = get_ident()
    parts = [f"Thread {_name(own)} (interrupted):\n{_frames(frame)}"]
    others = [item for item in sys._current_frames().items() if item[0] != own]
    parts += [f"Thread {_name(ident)}:\n{_frames(top)}" for ident, top in others[:_MAX_THREADS]]
    parts += _tasks()
    return "\n".join(parts)


def _frames(top: FrameType | None) -> str:
    lines: list[str] = []
    frame = top
    while frame is not None and len(lines) < _MAX_FRAMES:
        lines.append(_line(frame))
        frame = frame.f_back
    return "".join(reversed(lines)) or "  (not in Python code)\n"


def _line(frame: FrameType) -> str:
    code = frame.f_code
    return f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_qualname}\n'


def _name(ident: int) -> str:
    threading = sys.modules.get("threading")
    # Not current_thread() or enumerate(): they take a lock or make an object.
    thread = getattr(threading, "_active", {}).get(ident)
    return f"{thread.name} {ident:#x}" if thread is not None else f"{ident:#x}"


def _tasks() -> list[str]:
    """The tasks of the loop that runs in this thread."""
    asyncio: Any = sys.modules.get("asyncio")
    try:
        loop = None if asyncio is None else asyncio._get_running_loop()
        if loop is None:
            return []
        tasks = sorted(asyncio.all_tasks(loop), key=lambda task: str(task.get_name()))
    except (RuntimeError, AttributeError):
        return []  # the function was changing them right now
    return [f"Task {task.get_name()}:\n{_awaits(task.get_coro())}" for task in tasks[:_MAX_TASKS]]


def _awaits(coroutine: Any) -> str:
    """The frames of a coroutine and of what it awaits, down to the innermost."""
    lines: list[str] = []
    while coroutine is not None and len(lines) < _MAX_FRAMES:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            frame = getattr(coroutine, "ag_frame", None)
        if frame is not None:
            lines.append(_line(frame))
        inner = getattr(coroutine, "cr_await", None)
        coroutine = inner if inner is not None else getattr(coroutine, "gi_yieldfrom", None)
    return "".join(lines) or "  (not in Python code)\n"
