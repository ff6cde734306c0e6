"""The interrupt of CPython 3.12 and later: events in the code that the thread is running.

The functions on the thread's stack get local events (PEP 669). The thread itself then calls back at
the next one, looks whether its block is still open, and raises. So nothing can be raised outside
the block. The points (`code_points`) are those at which the interpreter looks for signals, with one
difference: a loop is interrupted at its head and not in the jump back to it, which may be outside
the handlers of the code around the loop. An event is a change of the function's instructions:
nothing is changed until a budget has run out.
"""

from __future__ import annotations

import sys
from time import monotonic

from lambdascope.runtime.code_points import loop_heads, return_point
from lambdascope.runtime.deadline import BudgetInterrupt
from lambdascope.runtime.interrupt import (
    Interrupter,
    ignores_exceptions,
    is_ours,
    is_spared,
)
from lambdascope.runtime.watchdog import LEFT, Alarm, watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType, FrameType
    from typing import Any

    from lambdascope.runtime.budget import Budget
    from lambdascope.runtime.interrupt import Due

# Identifiers that are not set aside for debuggers, coverage, profilers and optimisers.
_TOOLS = (4, 3)
_NAME = "lambdascope"
_FIRST_PRESS_S = 0.001
_LAST_PRESS_S = 0.05


class Monitoring(Interrupter):
    """Raises BudgetInterrupt out of the events of `sys.monitoring`."""

    __slots__ = ("_due", "_events", "_monitoring", "_next", "_points", "_pressed", "_tool")

    able = True

    def __init__(self, due: Due) -> None:
        self._monitoring: Any = vars(sys)["monitoring"]
        self._due = due
        self._tool = self._take_tool()
        # The functions that have events, for each budget that is to be interrupted, and when to
        # look again.
        self._pressed: dict[Budget, set[CodeType]] = {}
        self._next: dict[Budget, Alarm] = {}
        # The offsets of their instructions at which they may be interrupted.
        self._points: dict[CodeType, set[int]] = {}
        events = self._monitoring.events
        self._events = events.PY_START | events.CALL | events.INSTRUCTION
        for event, callback in (
            (events.PY_START, self._started),
            (events.C_RETURN, self._returned),
            (events.INSTRUCTION, self._reached),
        ):
            self._monitoring.register_callback(self._tool, event, callback)

    def interrupt(self, budget: Budget) -> None:
        """Set events, now and again until one was met: the thread may enter other functions."""
        self._pressed[budget] = set()
        self.press(budget, _FIRST_PRESS_S)

    def press(self, budget: Budget, again_s: float) -> None:
        """Set events in the functions of the thread's stack up to that of the block."""
        pressed = self._pressed.get(budget)
        if pressed is None:
            return
        if budget.interrupted:
            # What the block still does, its cleaning up, is not to be slowed down.
            self._pressed[budget] = set()
            self._clear(pressed)
            return
        frame = sys._current_frames().get(budget.thread)
        if frame is None:
            return  # the thread has ended without leaving the block
        for place in frames_of(frame, budget.code):
            code = place.f_code
            points = self._points.get(code)
            if points is None:
                points = self._points[code] = loop_heads(code)
            points.add(return_point(code, place.f_lasti))
            if code not in pressed:
                pressed.add(code)
                self._monitoring.set_local_events(self._tool, code, self._events)
        self._next[budget] = alarm = _Press(self, budget, again_s)
        watchdog.watch(alarm)
        if budget not in self._pressed:
            self.finish(budget)  # the block was left meanwhile
            self._clear(pressed)

    def finish(self, budget: Budget) -> None:
        """Take the events back."""
        self._clear(self._pressed.pop(budget, set()))
        alarm = self._next.pop(budget, None)
        if alarm is not None:
            alarm.claim.setdefault(0, LEFT)
            watchdog.drop(alarm)

    def _take_tool(self) -> int:
        for tool in _TOOLS:
            if self._monitoring.get_tool(tool) is None:
                self._monitoring.use_tool_id(tool, _NAME)
                return tool
        raise RuntimeError("sys.monitoring has no free tool id")

    def _clear(self, codes: set[CodeType]) -> None:
        for code in list(codes):
            if not any(code in others for others in list(self._pressed.values())):
                self._monitoring.set_local_events(self._tool, code, 0)
        if not self._pressed:
            self._points.clear()

    def _started(self, _code: CodeType, _offset: int) -> None:
        if self._due.is_due():
            self._raise(sys._getframe(1))

    def _returned(self, _code: CodeType, _offset: int, function: object, _arg: object) -> None:
        # What a `with` has just taken is given back only once its block has begun.
        if getattr(function, "__name__", "") != "__enter__" and self._due.is_due():
            self._raise(sys._getframe(1))

    def _reached(self, code: CodeType, offset: int) -> None:
        if offset in self._points.get(code, ()) and self._due.is_due():
            self._raise(sys._getframe(1))

    def _raise(self, frame: FrameType) -> None:
        if not ignores_exceptions(frame):
            self._due.take_due()
            raise BudgetInterrupt


class _Press(Alarm):
    """Look again at what the thread is doing, after a while that doubles each time."""

    __slots__ = ("_after_s", "_budget", "_monitoring")

    title = "interrupting a budget"

    def __init__(self, monitoring: Monitoring, budget: Budget, after_s: float) -> None:
        super().__init__(monotonic() + after_s, budget.owner)
        self._monitoring = monitoring
        self._budget = budget
        self._after_s = after_s

    def ring(self) -> None:
        """Called by the watchdog."""
        self._monitoring.press(self._budget, min(self._after_s * 2, _LAST_PRESS_S))


def frames_of(frame: FrameType | None, last: CodeType) -> Iterator[FrameType]:
    """The frames of a stack that may be interrupted, from the innermost to that of `last`."""
    while frame is not None:
        if not is_spared(frame) and not is_ours(frame.f_code):
            yield frame
        if frame.f_code is last:
            return
        frame = frame.f_back
