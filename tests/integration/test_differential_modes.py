"""The differential suite once more: concurrent, and under AWS's own emulator.

The same cases and the same table as in test_differential.py, which runs them buffered under our
emulator, each in an environment of its own. Concurrent means that they run beside each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from differential_kit import (
    AWS_BUFFERED,
    AWS_CONCURRENT,
    AWS_PROCESSES,
    CONCURRENT,
    PROCESSES,
    assert_agree,
)
from differential_modes import CASES, answers, ours, theirs

if TYPE_CHECKING:
    from pathlib import Path

    from differential_modes import Answer

MODES = (
    pytest.param(CONCURRENT, id="concurrent", marks=pytest.mark.peers),
    pytest.param(PROCESSES, id="processes", marks=pytest.mark.peers),
    pytest.param(AWS_BUFFERED, id="aws", marks=[pytest.mark.peers, pytest.mark.rie]),
    pytest.param(AWS_CONCURRENT, id="aws-concurrent", marks=[pytest.mark.peers, pytest.mark.rie]),
    pytest.param(AWS_PROCESSES, id="aws-processes", marks=[pytest.mark.peers, pytest.mark.rie]),
)
_BASE = {PROCESSES: CONCURRENT, AWS_PROCESSES: AWS_CONCURRENT}
Both = tuple[dict[str, "Answer"], dict[str, "Answer"], str]


@pytest.fixture(scope="module", params=MODES)
def both(request: pytest.FixtureRequest, peer_python: Path) -> Both:
    """Our answers and those of AWS's client to all cases, and the mode."""
    mode: str = request.param
    rie = request.getfixturevalue("rie") if mode.startswith("aws-") else None
    base = _BASE.get(mode, mode)
    our = answers(base, ours(processes=mode in _BASE), rie)
    return our, answers(base, theirs(peer_python), rie), mode


@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", CASES)
def test_answers_agree(case: str, both: Both) -> None:
    """In every mode the caller gets the same answer from both clients, but for the table."""
    our, their, mode = both
    assert_agree(case, our[case], their[case], mode)


def test_all_kinds_of_cases_are_run() -> None:
    """Handlers, events, failures of init and ends of processes: more than 120 cases a mode."""
    assert 120 <= len(CASES) == len(set(CASES))
