"""The small parts of SnapStart: the names of hooks, new random state, the notes of both phases."""

from __future__ import annotations

import functools
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lambdascope.runtime.init_phase import InitPhase
from lambdascope.runtime.snapshot import RestorePhase, name_of, reseed

SOURCE = Path(__file__).parents[3] / "src"


class Pool:
    """Something with hooks."""

    def open(self) -> None:
        """A hook."""

    def __call__(self) -> None:
        """A hook, too."""


class Odd:
    """A hook whose names are no texts."""

    __module__ = None  # type: ignore[assignment]  # as some C extensions have it
    __qualname__ = "Odd"

    def __call__(self) -> None:
        """A hook."""


@pytest.mark.parametrize(
    ("hook", "name"),
    [
        (Pool().open, f"{__name__}.Pool.open"),
        (Pool(), f"{__name__}.Pool"),
        (functools.partial(Pool().open), f"{__name__}.Pool.open"),
        (print, "builtins.print"),
        ([].append, "list.append"),
        (Odd(), "Odd"),
    ],
)
def test_name_of(hook: object, name: str) -> None:
    """A hook is called by its module and name; an object that is one by its class's."""
    assert name == name_of(hook)


def test_long_names_are_cut() -> None:
    """The name of a span has a limit."""

    def hook() -> None: ...

    hook.__qualname__ = "x" * 1000

    assert 120 == len(name_of(hook))


def test_reseed() -> None:
    """What `random` would have given next is not what it gives."""
    state = random.getstate()
    try:
        random.seed(1)
        expected = random.random()
        random.seed(1)
        reseed()
        assert expected != random.random()
    finally:
        random.setstate(state)


def test_reseed_loads_nothing() -> None:
    """A function that does not use `random` does not pay for it."""
    code = "import sys; from lambdascope.runtime.snapshot import reseed as r; r()"
    code += "; print('random' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert ("False\n", "") == (done.stdout, done.stderr)


def test_parts_belong_to_the_phase_that_runs() -> None:
    """After the restore, parts and the end are the restore's; init keeps its own."""
    init = InitPhase(function_name="hello", init_type="snap-start", entered_ns=1, cpu_ns=0)
    init.part("load handler", 2, 3)
    init.end(4)
    assert 4 == init.ready_ns

    init.restore = RestorePhase(10)
    init.part("connect extension", 11, 12)
    init.end(13)

    assert [("load handler", 2, 3)] == init.parts
    assert [("connect extension", 11, 12)] == init.restore.parts
    assert (4, 13, 13) == (init.ended_ns, init.restore.ended_ns, init.ready_ns)
