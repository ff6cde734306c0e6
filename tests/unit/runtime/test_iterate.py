"""The iterator that stops in time, by a clock that the tests move."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deadline_kit import FakeClock, invocations
from lambdascope.runtime.deadline import NO_DEADLINE
from lambdascope.runtime.iterate import WhileTime, iter_while_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["invocations"]
TIMES = st.lists(st.floats(min_value=0, max_value=3), max_size=20)


def test_it_stops_when_another_item_would_not_fit() -> None:
    """The longest item so far is expected of the next one; what was not begun is kept."""
    clock = FakeClock()
    items = WhileTime([1, 2, 1, 1, 1], clock.deadline(7), reserve=1)
    done = []

    for seconds in items:
        clock.pass_by(seconds)
        done.append(seconds)

    # After 4 of 6 seconds, another one of 2 would end when nothing is left.
    assert done == [1, 2, 1]
    assert items.stopped
    assert items.remaining_items == 2
    assert list(items.unprocessed) == [1, 1]
    assert items.remaining_items == 0
    assert list(items) == []


def test_the_time_for_an_item_may_be_told() -> None:
    """With `per_item` in seconds that is expected, however long items really take."""
    clock = FakeClock()
    items = WhileTime([5, 0, 0, 0], clock.deadline(10), reserve=0, per_item=4.5)
    done = []

    for seconds in items:
        clock.pass_by(seconds)
        done.append(seconds)

    assert done == [5, 0, 0, 0]
    clock.pass_by(1)
    late = WhileTime([0], clock.deadline(4.5), reserve=0, per_item=4.5)
    assert list(late) == []
    assert late.stopped


def test_everything_in_time_is_not_a_stop() -> None:
    """An iterator that came to the end has stopped for no reason, also at the last moment."""
    clock = FakeClock()
    items = WhileTime([1, 1], clock.deadline(2.5), reserve=0.5)

    for seconds in items:
        clock.pass_by(seconds - 0.1)
    assert not items.stopped

    clock.pass_by(10)
    assert list(items) == []
    assert not items.stopped
    assert items.remaining_items == 0


def test_nothing_is_taken_from_the_source_too_early() -> None:
    """An item is fetched only when there is time for it: a queue loses nothing."""
    clock = FakeClock()
    fetched = []

    def source() -> Iterator[int]:
        for number in range(10):
            fetched.append(number)
            yield number

    items = WhileTime(source(), clock.deadline(3), reserve=0)
    for _ in items:
        clock.pass_by(1)

    # The third one would end exactly when nothing is left.
    assert fetched == [0, 1]
    assert items.remaining_items is None
    assert next(iter(items.unprocessed)) == 2


def test_fetching_counts() -> None:
    """The time that the source takes belongs to the item."""
    clock = FakeClock()

    def source() -> Iterator[int]:
        for number in range(10):
            clock.pass_by(2)
            yield number

    assert list(WhileTime(source(), clock.deadline(5), reserve=0)) == [0, 1]


@given(times=TIMES, left=st.floats(0, 20), reserve=st.floats(0, 5))
def test_nothing_is_lost_and_the_reserve_is_kept(
    times: list[float], left: float, reserve: float
) -> None:
    """Done and left over are the whole; only an item longer than all before uses the reserve."""
    clock = FakeClock()
    deadline = clock.deadline(left)
    items = WhileTime(times, deadline, reserve=reserve)
    done = []
    longest = 0.0
    for seconds in items:
        assert deadline.at - clock.now > reserve
        assert deadline.at - clock.now - reserve > longest - 1e-6
        longest = max(longest, seconds)
        clock.pass_by(seconds)
        done.append(seconds)

    rest = list(items.unprocessed)
    assert done + rest == times
    assert items.stopped == bool(rest)


async def _numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def test_async_items_and_async_loops() -> None:
    """`async for` takes asynchronous and plain items; what is left over is the source's own."""
    clock = FakeClock()

    async def run(items: WhileTime[int]) -> list[int]:
        done = []
        async for number in items:
            clock.pass_by(1)
            done.append(number)
        return done

    items = WhileTime(_numbers(5), clock.deadline(3.5), reserve=0)
    assert asyncio.run(run(items)) == [0, 1, 2]
    assert items.stopped
    assert items.remaining_items is None
    assert hasattr(items.unprocessed, "__anext__")
    assert asyncio.run(run(WhileTime([7, 8], clock.deadline(9), reserve=0))) == [7, 8]
    assert asyncio.run(run(WhileTime(_numbers(2), NO_DEADLINE))) == [0, 1]


def test_async_items_need_an_async_loop() -> None:
    """A plain loop over asynchronous items is refused in the words of the remedy."""
    with pytest.raises(TypeError, match="use `async for`"):
        next(WhileTime(_numbers(1), NO_DEADLINE))


@pytest.mark.parametrize("per_item", ["min", -1.0, None])
def test_what_an_item_takes_is_a_time(per_item: object) -> None:
    """An estimate that is no time is refused."""
    with pytest.raises(ValueError, match="per_item has to be"):
        WhileTime([], NO_DEADLINE, per_item=per_item)  # type: ignore[arg-type]


@pytest.mark.usefixtures("invocations")
def test_without_a_deadline_it_goes_to_the_end() -> None:
    """Outside an invocation everything is done."""
    items = iter_while_time(range(3))

    assert list(items) == [0, 1, 2]
    assert not items.stopped
