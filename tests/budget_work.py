"""Work in Python that does not end by itself, in the forms that the interpreter compiles apart."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def helper(number: int) -> int:
    """Return the next number."""
    return number + 1


def numbers() -> Iterator[int]:
    """Count for ever."""
    number = 0
    while True:
        yield number
        number += 1


def fibonacci(number: int) -> int:
    """Compute for ever, for a large number."""
    return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)


def while_true() -> None:
    """Loop without a condition."""
    while True:
        pass


def while_condition() -> None:
    """Loop with a condition."""
    number = 0
    while number >= 0:
        number += 1


def while_on_one_line() -> None:
    """Loop without a line of its own for the body."""
    number = 0
    while number >= 0: number += 1  # fmt: skip  # noqa: E701


def while_calling_c() -> None:
    """Loop with a call into C as the condition."""
    while time.monotonic() > 0: pass  # fmt: skip  # noqa: E701


def while_calling_python() -> None:
    """Loop with a call of a Python function."""
    number = 0
    while number >= 0:
        number = helper(number)


def for_generator() -> None:
    """Loop over a generator."""
    for _ in numbers():
        pass


def for_range() -> None:
    """Loop over an iterator in C."""
    for number in range(1 << 60):
        _ = number * number


def comprehension() -> None:
    """Loop in a comprehension, with a condition."""
    _ = [number for number in range(1 << 60) if number < 0]


def generator() -> None:
    """Loop in C over a generator."""
    sum(helper(number) for number in range(1 << 60))


def recursion() -> None:
    """Call for ever, without a loop."""
    fibonacci(200)


def callback_from_c() -> None:
    """Loop in C with calls of a Python function."""
    max(range(1 << 60), key=lambda number: -number)


def retries() -> None:
    """Loop that retries after each exception."""
    while True:
        try:
            for_range()
        except Exception:  # noqa: BLE001 - as many people write it
            continue


def in_a_try() -> None:
    """Loop inside handlers, with handlers inside."""
    try:
        while True:
            try:
                helper(1)
            except ValueError:
                continue
    finally:
        helper(2)


def with_many_lines_in_the_loop() -> None:
    """Loop that is long."""
    # So many instructions that the jump back needs an extended argument.
    value = 0
    while value >= 0:
        value = (value + 1 + 2 + 3 + 4 + 5) * 1 - 15 + 1
        value = value if value < 1_000_000 else 0
        a = b = c = d = e = f = g = value
        if value == -1: a, b, c, d, e, f, g = g, f, e, d, c, b, a  # fmt: skip  # noqa: E701
        a += b * c - d + e * f - g
        b += c * d - e + f * g - a
        c += d * e - f + g * a - b
        d += e * f - g + a * b - c
        e += f * g - a + b * c - d
        f += g * a - b + c * d - e
        g += a * b - c + d * e - f
        a += b * c - d + e * f - g
        b += c * d - e + f * g - a
        a = b = c = d = e = f = g = 0


BUSY = [
    while_true,
    while_condition,
    while_on_one_line,
    while_calling_c,
    while_calling_python,
    for_generator,
    for_range,
    comprehension,
    generator,
    recursion,
    callback_from_c,
    retries,
    in_a_try,
    with_many_lines_in_the_loop,
]
