"""The stacks of all threads and tasks as text."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING

from lambdascope.runtime.stacks import stack_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FILE = __file__


def line_of(function: object, offset: int) -> str:
    """The line of a function's code, as the text has it."""
    code = function.__code__  # type: ignore[attr-defined]
    number = code.co_firstlineno + offset
    return f'  File "{FILE}", line {number}, in {code.co_qualname}\n'


def interrupted() -> str:
    """What a signal handler would see here."""
    return stack_text(sys._getframe())


def test_own_thread() -> None:
    """The interrupted thread comes first, latest call last."""
    first = interrupted().split("\nThread ")[0]

    assert first.startswith(f"Thread MainThread {threading.get_ident():#x} (interrupted):\n")
    assert first.endswith(line_of(interrupted, 2))
    assert line_of(test_own_thread, 2) in first


def waits(ready: threading.Event, end: threading.Event) -> None:
    """Says that it is there, and waits."""
    ready.set()
    end.wait(20)


def test_other_threads() -> None:
    """Every other thread follows under its name."""
    ready, end = threading.Event(), threading.Event()
    thread = threading.Thread(target=waits, args=(ready, end), name="worker")
    thread.start()
    ready.wait(20)
    text = stack_text(None)
    end.set()
    thread.join()

    other = text.split(f"Thread worker {thread.ident:#x}:\n")[1]
    assert line_of(waits, 3) in other
    assert "(interrupted):\n  (not in Python code)\n" in text


async def numbers() -> AsyncIterator[int]:
    """Never comes to its first number."""
    await asyncio.Event().wait()
    yield 1


async def iterates() -> None:
    """Waits for a number."""
    async for _ in numbers():
        pass


def test_tasks() -> None:
    """Tasks are shown by name with what they await, down to the innermost."""

    async def main() -> str:
        task = asyncio.create_task(iterates(), name="iteration")
        await asyncio.sleep(0)
        text = stack_text(None)
        task.cancel()
        return text

    shown = asyncio.run(main()).split("Task iteration:\n")[1]
    assert shown.startswith(line_of(iterates, 2))


def test_deep_recursion() -> None:
    """The text of a stack is bounded, and the latest calls are what is kept."""

    def deep(left: int) -> str:
        return deep(left - 1) if left else stack_text(sys._getframe())

    first = deep(300).split("\nThread ")[0]
    assert 65 == len(first.splitlines())
    assert first.endswith(line_of(deep, 1))
