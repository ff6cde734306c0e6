"""The methods of the context that know the deadline.

`LambdaContext` inherits them. They keep nothing on the context, and what they use is loaded when it
is used first: until then an invocation pays nothing for them. Imports `sys` alone.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if not TYPE_CHECKING:

    def overload(function):
        """Nothing: typing's is for the type checker, and is not imported at run time."""
        return function


if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
    from typing import Any, TypeVar, overload  # noqa: TC004 - at run time it is the one above

    from lambdascope.runtime.batch import BatchResult, Record
    from lambdascope.runtime.budget import Budget
    from lambdascope.runtime.callbacks import DeadlineCallback
    from lambdascope.runtime.deadline import Deadline
    from lambdascope.runtime.iterate import PerItem, WhileTime

    Item = TypeVar("Item")

# As in `deadline` and `callbacks`; a test holds them equal.
_RESERVE = 0.5
_BEFORE = 1.0
_WATCHDOG = "lambdascope.runtime.watchdog"


class DeadlineMethods:
    """For a class with the deadline in both clocks and a request id."""

    aws_request_id: str
    _deadline_ns: int
    _epoch_deadline_time_in_ms: int

    @property
    def deadline(self) -> Deadline:
        """When Lambda ends this invocation: `.at` (monotonic seconds), `.epoch_ms`, `.expired`."""
        from lambdascope.runtime.deadline import Deadline

        return Deadline(
            self._deadline_ns / 1e9,
            epoch_ms=self._epoch_deadline_time_in_ms,
            owner=_owner(self),
        )

    def remaining(self) -> float:
        """Seconds until then; 0.0 afterwards."""
        return self.deadline.remaining()

    def budget(self, reserve: float = _RESERVE) -> Budget:
        """A limit for a block, `with` or `async with`: stopped `reserve` seconds before the end.

        Raises DeadlineExceeded at the end of the block, or at once when nothing is left.
        """
        from lambdascope.runtime.budget import Budget

        return Budget(self.deadline, reserve=reserve)

    def timeout(self, default: float | None = None, *, reserve: float = _RESERVE) -> float:
        """Seconds that a client may wait: what is left less `reserve`, at most `default`.

        Never less than 1 ms, as clients refuse 0 or take it for "never".
        """
        from lambdascope.runtime.deadline import timeout

        return timeout(default, reserve=reserve, deadline=self.deadline)

    def iterate(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        *,
        reserve: float = _RESERVE,
        per_item: PerItem = "max",
    ) -> WhileTime[Item]:
        """Iterate, `for` or `async for`, as long as there is time for one more item."""
        from lambdascope.runtime.iterate import WhileTime

        return WhileTime(items, self.deadline, reserve=reserve, per_item=per_item)

    @overload
    def process_batch(  # type: ignore[overload-overlap]  # a coroutine is an object as well
        self,
        event: Record,
        record_handler: Callable[[Record], Coroutine[Any, Any, object]],
        *,
        reserve: float = ...,
        interrupt: bool = ...,
    ) -> Coroutine[Any, Any, BatchResult]: ...
    @overload
    def process_batch(
        self,
        event: Record,
        record_handler: Callable[[Record], object],
        *,
        reserve: float = ...,
        interrupt: bool = ...,
    ) -> BatchResult: ...
    def process_batch(
        self,
        event: Record,
        record_handler: Callable[[Record], object],
        *,
        reserve: float = _RESERVE,
        interrupt: bool = True,
    ) -> BatchResult | Coroutine[Any, Any, BatchResult]:
        """Call the function for each record; the answer names those to be delivered again.

        For an `async def` function it has to be awaited.
        """
        from lambdascope.runtime.batch import process_batch

        return process_batch(event, record_handler, self, reserve=reserve, interrupt=interrupt)

    def on_deadline(
        self, callback: Callable[[], object], before: float = _BEFORE
    ) -> DeadlineCallback:
        """Call a function `before` seconds before the end, in a thread, if it comes to that."""
        from lambdascope.runtime.callbacks import on_deadline

        return on_deadline(callback, before, deadline=self.deadline)


def invocation_ended(context: DeadlineMethods, patience: float) -> None:
    """Take back what this invocation has set, so that no timer is pending in the freeze.

    Waits at most `patience` seconds, for a callback that is running. Where nothing was ever set
    this is one look into a dictionary.
    """
    module = sys.modules.get(_WATCHDOG)
    if module is not None:
        module.watchdog.release(_owner(context), patience)


def _owner(context: DeadlineMethods) -> tuple[str, int]:
    # The deadline as well: a retry has the same request id, and may run beside what it repeats.
    return context.aws_request_id, context._epoch_deadline_time_in_ms
