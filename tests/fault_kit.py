"""What the tests of faults share: something is raised, caught and put into a report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from lambdascope.runtime.faults import ErrorReport

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 1024 * 1024


def caught(function: Callable[[], object]) -> BaseException:
    """Return what `function` raises, without the frame of this helper."""
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
        return error.with_traceback(error.__traceback__.tb_next)
    raise AssertionError("nothing was raised")


def body_of(function: Callable[[], object]) -> dict[str, object]:
    """What the caller gets of what `function` raises."""
    report = ErrorReport(caught(function), "the id")
    return json.loads(report.to_json())


def divide() -> None:
    """Raise a ZeroDivisionError."""
    _ = 1 / 0


def raise_(error: BaseException) -> None:
    """Raise it from a function."""
    raise error


class Silent:
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")
