"""Calls a function shortly before the deadline, in the watchdog's thread."""

from __future__ import annotations

from _contextvars import copy_context

from lambdascope.runtime.deadline import check_reserve, current_deadline
from lambdascope.runtime.watchdog import LEFT, Alarm, watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.runtime.deadline import Deadline

DEFAULT_BEFORE = 1.0


class DeadlineCallback(Alarm):
    """A function that is called once, at a moment, unless it is cancelled before."""

    __slots__ = ("_callback", "_context")

    patient = True
    title = "a callback before the deadline"

    def __init__(self, callback: Callable[[], object], at: float, owner: object) -> None:
        super().__init__(at, owner)
        self._callback = callback
        # So that its log records and spans belong to the invocation that has set it.
        self._context = copy_context()

    def cancel(self) -> bool:
        """Take it back; False when it is running or has run already."""
        mine = self.claim.setdefault(0, LEFT) is LEFT
        watchdog.drop(self)
        return mine

    def ring(self) -> None:
        """Call the function. Called by the watchdog."""
        self._context.run(self._callback)


def on_deadline(
    callback: Callable[[], object],
    before: float = DEFAULT_BEFORE,
    *,
    deadline: Deadline | None = None,
) -> DeadlineCallback:
    """Call `callback` `before` seconds before the deadline, if the invocation is running then.

    It runs once, in a thread of its own, while the handler goes on; when that moment has passed
    already it runs at once. All callbacks and the budgets of the process share that thread: one
    that takes long delays the others. What it raises is said in one line on standard error. An
    invocation that ends before takes its callbacks back.
    """
    check_reserve(before)
    if deadline is None:
        deadline = current_deadline()
    alarm = DeadlineCallback(callback, deadline.at - before, deadline.owner)
    watchdog.watch(alarm)
    return alarm
