"""A bounded run of scripts/chaos: real processes, and faults that are drawn at random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chaos.collector import CollectorProcess
from chaos.fleet import Fleet
from chaos.run import AT_COLLECTOR, FAULTS, Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INVOCATIONS = 24


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[CollectorProcess]:
    """A collector in a process of its own."""
    with CollectorProcess(tmp_path) as made:
        yield made


@pytest.mark.parametrize("fault", FAULTS)
def test_every_span_survives_or_is_counted(
    fault: str, tmp_path: Path, collector: CollectorProcess
) -> None:
    """Whatever goes wrong, each span arrives once, or is left in the log, or is counted."""
    run = Run(fault, seed=3, folder=tmp_path, collector=collector, rate=0.6)
    run.go(INVOCATIONS)
    found = run.verdicts["faulty"]
    assert ([], INVOCATIONS) == (run.problems, found.invocations)
    assert found.spans >= 3 * INVOCATIONS
    assert found.spans <= found.exported + found.dropped.total()
    if fault in AT_COLLECTOR:
        assert found.requests[fault] > 0
    assert (run.deaths > 0) == (fault in ("killed", "timeout", "all"))


def test_fleet_survives_a_collector_that_limits_it(
    tmp_path: Path, collector: CollectorProcess
) -> None:
    """Environments that are refused together lose nothing and come again."""
    fleet = Fleet(5, limit=2, seed=1, gap_s=0.3)
    figures = fleet.go(tmp_path, collector, 4)
    assert [] == fleet.verdict.faults
    assert figures["requests"][429] > 0
    assert 2 * figures["invocations"] <= figures["spans"]
