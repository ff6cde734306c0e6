# ruff: noqa: PT012 - the blocks end in the middle
"""Asynchronous budgets: the task is cancelled, as asyncio.timeout_at does it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from budget_work import while_condition
from deadline_kit import PATIENCE_S, SHORT_S, invocations, spin_until, within
from lambdascope.runtime.budget import Budget, budget
from lambdascope.runtime.deadline import Deadline, DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

__all__ = ["invocations"]


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(coroutine, PATIENCE_S))


def test_a_waiting_task_is_cancelled() -> None:
    """What waits is cancelled when the budget is used up, and the block ends by the exception."""
    steps = []

    async def handler() -> None:
        with pytest.raises(DeadlineExceeded, match="the budget is used up") as caught:
            async with within():
                try:
                    await asyncio.sleep(PATIENCE_S)
                except asyncio.CancelledError:
                    steps.append("cancelled")
                    raise
        steps.append(caught.traceback[-1].name)

    began = time.monotonic()
    _run(handler())

    assert SHORT_S <= time.monotonic() - began < PATIENCE_S
    assert steps == ["cancelled", "sleep"]


def test_in_time() -> None:
    """A block that is left in time leaves no timer behind."""

    async def handler() -> None:
        async with within() as limit:
            await asyncio.sleep(0)
        await asyncio.sleep(2 * SHORT_S)
        assert limit.expired
        assert asyncio.current_task().cancelling() == 0

    _run(handler())


def test_nothing_left() -> None:
    """Where nothing is left the block is not begun."""
    begun = []

    async def handler() -> None:
        with pytest.raises(DeadlineExceeded):
            async with Budget(Deadline.after(1), reserve=2):
                begun.append(True)

    _run(handler())
    assert begun == []


def test_a_computation_ends_late_but_not_well() -> None:
    """Code that does not await is not cancelled; the block ends by the exception all the same."""

    async def handler() -> None:
        with pytest.raises(DeadlineExceeded):
            async with within():
                spin_until(time.monotonic() + 2 * SHORT_S)
        await asyncio.sleep(0)

    _run(handler())


def test_nested_budgets() -> None:
    """The block whose budget is used up ends; those around it go on if there is time."""
    steps = []

    async def handler() -> None:
        with pytest.raises(DeadlineExceeded):
            async with within(3 * SHORT_S):
                with pytest.raises(DeadlineExceeded):
                    async with within():
                        await asyncio.sleep(PATIENCE_S)
                steps.append("inner")
                with contextlib.suppress(DeadlineExceeded):
                    async with within(PATIENCE_S):
                        await asyncio.sleep(PATIENCE_S)
                    steps.append("not reached")
        steps.append("outer")

    _run(handler())
    assert steps == ["inner", "outer"]


def test_other_time_outs_and_cancellations_pass_through() -> None:
    """What others cancel, and time-outs that others raise, are not taken for ours."""

    async def handler() -> None:
        with pytest.raises(TimeoutError) as caught:
            async with within(PATIENCE_S):
                async with asyncio.timeout(SHORT_S):
                    await asyncio.sleep(PATIENCE_S)
        assert not isinstance(caught.value, DeadlineExceeded)

        with pytest.raises(TimeoutError, match="mine") as caught:
            async with within(PATIENCE_S):
                raise TimeoutError("mine")
        assert not isinstance(caught.value, DeadlineExceeded)

        async def limited() -> None:
            async with within(PATIENCE_S):
                await asyncio.sleep(PATIENCE_S)

        task = asyncio.create_task(limited())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    _run(handler())


def test_a_task_group_is_cancelled_as_a_whole() -> None:
    """All tasks of a group inside the block end with it."""
    ended = []

    async def work(name: str) -> None:
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            ended.append(name)

    async def handler() -> None:
        with pytest.raises(DeadlineExceeded):
            async with within(), asyncio.TaskGroup() as group:
                group.create_task(work("a"))
                group.create_task(work("b"))

    _run(handler())
    assert sorted(ended) == ["a", "b"]


def test_tasks_have_their_own_budgets() -> None:
    """A budget ends its own task, and no other one of the same loop."""

    async def limited(seconds: float) -> str:
        try:
            async with within(seconds):
                await asyncio.sleep(3 * SHORT_S)
        except DeadlineExceeded:
            return "exceeded"
        return "done"

    async def handler() -> None:
        results = await asyncio.gather(*(limited(s) for s in (SHORT_S, PATIENCE_S, SHORT_S)))
        assert results == ["exceeded", "done", "exceeded"]

    _run(handler())


def test_a_plain_function_may_have_a_budget_in_a_task() -> None:
    """A function that a coroutine calls is interrupted, and the other tasks are not."""
    steps = []

    def compute() -> None:
        with within():
            while_condition()

    async def other() -> None:
        for _ in range(3):
            await asyncio.sleep(SHORT_S / 3)
        steps.append("other")

    async def handler() -> None:
        task = asyncio.create_task(other())
        await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded):
            compute()
        steps.append("computed")
        await task

    _run(handler())
    assert steps == ["computed", "other"]


def test_an_async_generator_cannot_hold_one() -> None:
    """At a yield its consumer runs in the same task, and would be cancelled."""

    async def generator() -> AsyncIterator[int]:
        async with within():
            yield 1

    async def handler() -> None:
        with pytest.raises(RuntimeError, match="cannot be held by a generator"):
            await generator().__anext__()

    _run(handler())


@pytest.mark.usefixtures("invocations")
def test_no_thread_and_no_limit_without_need() -> None:
    """Without a deadline there is no limit; asynchronous budgets start no thread."""

    async def handler() -> None:
        async with budget() as limit:
            await asyncio.sleep(0)
        assert limit.remaining() == float("inf")

    before = threading.active_count()
    _run(handler())
    assert threading.active_count() == before
