"""Two hundred environments and one rate-limited collector, on a clock that nobody waits for."""

from __future__ import annotations

import heapq

import pytest

from lambdascope_extension import flush_policy as policy
from lambdascope_extension import health
from lambdascope_extension.answers import EXPORTED, RETRY
from unit.extension.flusher_bench import Bench

ENVIRONMENTS = 200
GAP_S = 5.5  # each invocation may be held for its export
HANDLER_S = 0.02
ANSWER_S = 0.05
OUTAGE = (60.0, 90.0)
END_S = 400.0


class Collector:
    """Takes so many requests in each second, and nothing during the outage."""

    def __init__(self, per_second: int, retry_after: float) -> None:
        self.per_second = per_second
        self.retry_after = retry_after
        self.taken: dict[int, int] = {}
        self.refused: dict[int, int] = {}
        self.spans = 0

    def answer(self, now: float, items: int) -> tuple[str, dict[str, object]]:
        """What one request becomes."""
        second = int(now)
        if OUTAGE[0] <= now < OUTAGE[1] or self.taken.get(second, 0) >= self.per_second:
            self.refused[second] = self.refused.get(second, 0) + 1
            return RETRY, {"status": 429, "retry_after": self.retry_after}
        self.taken[second] = self.taken.get(second, 0) + 1
        self.spans += items
        return EXPORTED, {"elapsed": ANSWER_S}


class Environment:
    """One flusher that is invoked now and then, as the lifecycle would do it."""

    def __init__(self, collector: Collector) -> None:
        self.bench = Bench(batch_bytes=1_000_000)
        self.collector = collector
        self.arrivals: list[float] = []
        self.count = 0
        self.held_s: list[float] = []

    def invoke(self, now: float) -> float:
        """One invocation; when next is asked for."""
        self.count += 1
        self.arrivals = [*self.arrivals, now][-8:]
        self._flush(policy.AT_INVOKE, now)
        now += HANDLER_S
        self.bench.put(now)
        began = now
        now = self._flush(policy.AT_END, now)
        self.held_s.append(now - began)
        return now

    def _flush(self, moment: str, now: float) -> float:
        flusher = self.bench.flusher
        state = flusher.state(now, now + 10, self.count, self.arrivals)
        if policy.decide(moment, state, flusher.settings).action == policy.DEFER:
            return now
        flusher.begin(now, now + 0.5)
        return self.run(now)

    def run(self, now: float) -> float:
        """Answer until the round is over; when that is."""
        while (job := self.bench.exporter.job) is not None:
            outcome, fields = self.collector.answer(now, job.batch.items)
            now += ANSWER_S
            self.bench.finish(now, outcome, **fields)
        return now


def live(retry_after: float) -> tuple[Collector, list[Environment]]:
    """A fleet that is invoked all at once, again and again, and at last exports what it has."""
    collector = Collector(60, retry_after)
    fleet = [Environment(collector) for _ in range(ENVIRONMENTS)]
    events = [(0.0, number) for number in range(ENVIRONMENTS)]
    while events[0][0] < END_S:
        now, number = heapq.heappop(events)
        done = fleet[number].invoke(now)
        heapq.heappush(events, (max(done, now + GAP_S), number))
    for number, one in enumerate(fleet):
        for attempt in range(20):
            now = END_S + 700 + number / 50 + 50 * attempt
            one.bench.flusher.begin(now, now + 5, everything=True)
            one.run(now)
    return collector, fleet


def worst(collector: Collector) -> int:
    """The most refusals in a second long after the outage."""
    return max(collector.refused.get(second, 0) for second in range(95, 300))


@pytest.mark.parametrize("retry_after", [0.0, 5.0])
def test_fleet_comes_through_an_outage(retry_after: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost, holds stay short, and the environments do not come back in step."""
    collector, fleet = live(retry_after)
    assert sum(one.count for one in fleet) == collector.spans
    assert {(0, 0)} == {(sum(one.bench.account[1].values()), one.bench.account[2]) for one in fleet}
    held = sorted(hold for one in fleet for hold in one.held_s[1:])
    assert held[len(held) // 2] <= ANSWER_S
    # The same fleet without jitter, to see that it is the jitter.
    monkeypatch.setattr(health, "_random", lambda: 0.5)
    in_step, _ = live(retry_after)
    assert 2 * worst(collector) < worst(in_step)
