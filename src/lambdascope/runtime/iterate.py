"""An iterator that stops while there is still time to answer, and says what it has left over."""

from __future__ import annotations

from _operator import length_hint

from lambdascope.runtime.deadline import DEFAULT_RESERVE, check_reserve, current_deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
    from typing import Generic, Literal, TypeVar

    from lambdascope.runtime.deadline import Deadline

    Item = TypeVar("Item")

    class _Of(Generic[Item]):
        """WhileTime[Item], without importing typing at run time."""

    PerItem = float | Literal["max"]
else:
    Item = None

    class _Of:
        """What the type checker reads as Generic."""

        def __class_getitem__(cls, _item: object) -> type:
            return cls


class WhileTime(_Of[Item]):
    """`for item in WhileTime(items, deadline): ...`, and `async for` over items of either kind.

    Before it takes an item from the source it asks whether there is time for it: what is left of
    the deadline has to be more than `reserve` and the expected time of an item. That is the longest
    one so far ("max": from taking it to asking for the next; 0 for the first), or the seconds given
    as `per_item`. An item that has begun is not interrupted.
    """

    def __init__(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        deadline: Deadline,
        *,
        reserve: float = DEFAULT_RESERVE,
        per_item: PerItem = "max",
    ) -> None:
        check_reserve(reserve)
        if per_item != "max" and not (isinstance(per_item, int | float) and per_item >= 0):
            raise ValueError(f'per_item has to be "max" or 0 seconds or more, not {per_item!r}')
        self._deadline = deadline
        self._reserve = reserve
        self._per_item = per_item
        self._longest = 0.0
        self._taken_at: float | None = None
        self._iterator: Iterator[Item] | None = None
        self._async_iterator: AsyncIterator[Item] | None = None
        if hasattr(items, "__aiter__"):
            self._async_iterator = items.__aiter__()
        else:
            self._iterator = iter(items)
        self.stopped = False

    @property
    def unprocessed(self) -> Iterator[Item] | AsyncIterator[Item]:
        """What was not handed out, as the source's own iterator: nothing of it is read here."""
        return self._iterator if self._iterator is not None else self._the_async()

    @property
    def remaining_items(self) -> int | None:
        """How many were not handed out; None where the source cannot tell, as a generator."""
        hint = -1 if self._iterator is None else length_hint(self._iterator, -1)
        return None if hint < 0 else hint

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        if self._iterator is None:
            raise TypeError("use `async for`: these items come from an asynchronous iterator")
        if not self._has_time():
            raise StopIteration
        return next(self._iterator)

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        if not self._has_time():
            raise StopAsyncIteration
        if self._iterator is None:
            return await self._the_async().__anext__()
        try:
            return next(self._iterator)
        except StopIteration:
            raise StopAsyncIteration from None

    def _has_time(self) -> bool:
        now = self._deadline.clock()
        if self._taken_at is not None:
            self._longest = max(self._longest, now - self._taken_at)
        self._taken_at = now
        expected = self._longest if isinstance(self._per_item, str) else self._per_item
        left = self._deadline.at - now - self._reserve
        # Nothing is left to be done where the source has ended; then no item was given up.
        self.stopped = self.stopped or (left <= expected and self.remaining_items != 0)
        return not self.stopped

    def _the_async(self) -> AsyncIterator[Item]:
        if self._async_iterator is None:
            raise TypeError("there is no source")
        return self._async_iterator


def iter_while_time(
    items: Iterable[Item] | AsyncIterable[Item],
    *,
    reserve: float = DEFAULT_RESERVE,
    per_item: PerItem = "max",
    deadline: Deadline | None = None,
) -> WhileTime[Item]:
    """Iterate as long as there is time before the deadline less `reserve` seconds.

    By default the deadline of the invocation that is running; without one, to the end.
    """
    if deadline is None:
        deadline = current_deadline()
    return WhileTime(items, deadline, reserve=reserve, per_item=per_item)
