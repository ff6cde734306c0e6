"""Thousands of invocations, faults drawn at random, resets included, on a clock of the test's."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from fake_collector import span_names, traces
from lambdascope_extension import flush_policy as policy
from lambdascope_extension import leftovers
from lambdascope_extension.answers import CUT, EXPORTED, REFUSED, RETRY
from lambdascope_extension.flush_settings import MODES
from lambdascope_extension.leftovers import Leftovers
from unit.extension.flusher_bench import Bench
from unit.extension.loopback import is_balanced

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope_extension.buffer import Batch

INVOCATIONS = 3000
# Weights of what the collector does with a request.
FAULTS = {
    "takes": 60,
    "takes, answer lost": 3,
    "rejects one": 3,
    "429": 4,
    "503": 4,
    "silent": 4,
    "reset": 4,
    "400": 3,
    "401": 1,
    "413": 6,
}


class World:
    """A collector that recognises batch ids, and the environments of one sandbox after another."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.draw = random.Random(seed)
        self.folder = folder
        self.now = 1.0
        self.batches: dict[str, list[str]] = {}
        self.rejected = 0
        self.totals: Counter[str] = Counter()
        self.invocations = 0
        self.arrivals: list[float] = []
        self.start()

    def start(self) -> None:
        """New processes."""
        self.bench = Bench(batch_bytes=4000)
        self.bench.flusher.settings.mode = self.draw.choice(MODES)
        self.invocations = 0
        self.leftovers = Leftovers(self.bench.buffer, str(self.folder), {}, self.bench.lines.append)
        self.leftovers.restore()

    def take(self, batch: Batch) -> None:
        """The collector has a batch."""
        self.batches.setdefault(batch.id, span_names(batch.body))

    def answer(self) -> None:
        """One request ends in one way or another."""
        job = self.bench.exporter.job
        assert job is not None
        what = self.draw.choices(list(FAULTS), list(FAULTS.values()))[0]
        if job.batch.id in self.batches and what in ("rejects one", "400", "401", "413"):
            what = "takes"  # it knows the batch
        self.now += self.draw.random() / 10
        finish = self.bench.finish
        if what == "takes":
            self.take(job.batch)
            finish(self.now, EXPORTED, elapsed=0.05)
        elif what == "rejects one":
            self.take(job.batch)
            self.batches[job.batch.id].pop()
            finish(self.now, EXPORTED, rejected=1, elapsed=0.05)
        elif what in ("takes, answer lost", "silent"):
            if what != "silent":
                self.take(job.batch)
            self.bench.flusher.cut()
            if self.draw.random() < 0.5:  # the result does not come before the freeze
                self.bench.flusher.take_back()
                self.now += 100
            finish(self.now, CUT)
        elif what in ("429", "503", "reset"):
            finish(self.now, RETRY, status=int(what) if what != "reset" else 0)
        else:
            finish(self.now, REFUSED, status=int(what), reason=what)

    def flush(self, moment: str) -> None:
        """What the lifecycle does at one moment."""
        flusher = self.bench.flusher
        state = flusher.state(self.now, self.now + 10, self.invocations, self.arrivals)
        if policy.decide(moment, state, flusher.settings).action != policy.DEFER:
            flusher.begin(self.now, self.now + 0.5)
            self.run()

    def run(self) -> None:
        """Until the round is over."""
        while self.bench.exporter.job is not None:
            self.answer()

    def invoke(self, number: int) -> int:
        """One invocation; how many spans it had."""
        self.now += self.draw.choice([0.01, 0.01, 1.0, 40.0])
        self.invocations += 1
        self.arrivals = [*self.arrivals, self.now][-8:]
        self.flush(policy.AT_INVOKE)
        names = [f"{number}.{index}" for index in range(self.draw.randrange(1, 4))]
        is_failed = self.draw.random() < 0.05
        body = traces(*names, error=is_failed)
        self.bench.put(self.now, body, items=len(names), urgent=is_failed)
        self.flush(policy.AT_END)
        return len(names)

    def end(self, *, is_last: bool) -> None:
        """SHUTDOWN: a reset, or the end."""
        self.bench.flusher.last_attempts = 4 if is_last else 1
        self.bench.flusher.begin(self.now, self.now + 1.8, everything=True)
        self.run()
        if not is_last:
            self.leftovers.keep("timeout", float("inf"))
        self.bench.buffer.drop_all("shutdown")
        account = self.bench.ledger.accounts["traces"]
        assert is_balanced(account)
        assert 0 == account.held
        self.totals["exported"] += account.exported
        for reason, count in account.dropped.items():
            self.totals[reason] += count


@pytest.mark.parametrize("seed", range(4))
def test_every_span_once_or_counted(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every span is at the collector once, or is counted as dropped with its reason."""
    tmp_path.chmod(0o700)
    world = World(seed, tmp_path)
    # The processes' clocks are the test's, too.
    monkeypatch.setattr("lambdascope_extension.spool.monotonic", lambda: world.now)
    monkeypatch.setattr("lambdascope_extension.spool.time", lambda: 1e9 + world.now)
    monkeypatch.setattr(leftovers, "monotonic", lambda: world.now)
    sent = 0
    for number in range(INVOCATIONS):
        sent += world.invoke(number)
        if world.draw.random() < 0.01:
            world.end(is_last=False)
            world.start()
    world.end(is_last=True)
    arrived = Counter(name for names in world.batches.values() for name in names)
    totals = world.totals
    handed_on = totals.pop("spooled", 0)
    dropped = sum(count for reason, count in totals.items() if reason != "exported")
    assert handed_on > 0
    assert {1} == set(arrived.values())
    assert sent == totals["exported"] + dropped
    # Of a batch whose answer was lost nobody knows, if the end comes before another attempt.
    doubtful = totals["shutdown"] + totals["buffer_full"] + totals["too_old"]
    assert 0 <= dropped - (sent - len(arrived)) <= doubtful
    assert totals["exported"] > 0.8 * sent
