"""Runs pairs of environments, one with a fault and one without, through the same invocations.

Both are invoked in turns, so that whatever else the machine does hits both. All is drawn from the
seed: flush modes, events, faults and when they happen. What depends on the scheduler is not.
"""

from __future__ import annotations

import math
import random
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from chaos.life import Life, Records
from chaos.verdict import Verdict
from lambdascope.wire import names

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.collector import CollectorProcess
    from chaos.life import Answered

# By name what the collector does with a request; the others are done here.
AT_COLLECTOR = ("429", "503", "slow", "reset", "lost", "key", "partial", "freeze", "halt")
FAULTS = ("none", "down", *AT_COLLECTOR, "thaw", "killed", "timeout", "records", "all")
# Periodic and continuous with short intervals, so that there is much to go wrong.
_MODES = ("adaptive", "adaptive", "end", "periodic,50", "continuous,50")
_CLEAN = "clean"
_FAULTY = "faulty"
_REPLAYED = "replayed"
_COMMAND = "import sys; from lambdascope.cli.main import main; sys.exit(main())"
_LIVES_OF = (10, 70)
_TIMEOUT_MS = 1500
# Long enough for pauses of a retry to end; the longest ones are a freeze that connections die in.
_LONG_GAPS = 0.03
_LONG_GAP_S = 6.0


class Pair:
    """One life of the two environments. `fault` is one of FAULTS."""

    def __init__(self, run: Run, number: int) -> None:
        self._run = run
        self._draw = draw = random.Random(f"{run.seed} {run.fault} {number}")
        variables = {names.ENV_FLUSH: draw.choice(_MODES)}
        if run.fault == "all" and draw.random() < 0.2:
            variables[names.ENV_STDOUT_BYTES] = "0"  # then the ledger alone tells of losses
        kinds = AT_COLLECTOR if run.fault == "all" else (run.fault,)
        self._faults = [one for one in kinds if one in AT_COLLECTOR]
        run.collector.tell(_FAULTY, faults=self._faults, rate=run.rate, up=True)
        folder = run.folder / f"{run.fault}{number}"
        self.clean = Life(folder / _CLEAN, run.endpoints[_CLEAN], variables)
        self.faulty = Life(
            folder / f"{run.fault}-{number}",
            run.endpoints[_FAULTY],
            variables,
            timeout_ms=_TIMEOUT_MS if self._has("timeout") else 30_000,
        )
        self.lives = (self.clean, self.faulty)
        if self._has("records"):
            self.faulty.records = Records(self.faulty.environment, draw)
        self.answers: list[tuple[Answered, Answered]] = []
        self._is_down = False
        self._nothing = threading.Event()

    def live(self, invocations: int) -> None:
        """All invocations of both, and their end."""
        for life in self.lives:
            life.start()
        for number in range(invocations):
            self._invoke(number)
        self._freeze_none()
        for life in self.lives:
            life.end()

    def _invoke(self, number: int) -> None:
        draw, run = self._draw, self._run
        count, pause_s = draw.randrange(1, 6), draw.choice((0, 0, 0.001, 0.005))
        event: dict[str, object] = {
            "spans": [f"{number}.{index}" for index in range(count)],
            "pause_s": pause_s,
        }
        faulty_event, killed_after_s = event, None
        if self._has("killed") and draw.random() < run.rate / 5:
            if draw.random() < 0.5:
                faulty_event = {**event, "dies_in": f"{number}.{draw.randrange(count)}"}
            else:
                killed_after_s = draw.random() ** 2 * 0.03
        elif self._has("timeout") and draw.random() < run.rate / 15:
            faulty_event = {**event, "hangs_in": f"{number}.{draw.randrange(count)}"}
        self._disturb()
        answers: dict[str, Answered] = {}
        for life in draw.sample(self.lives, 2):
            life.thawed()
            if life is self.clean:
                answers[_CLEAN] = life.invoke(event)
            else:
                self._tell_pids()
                answers[_FAULTY] = life.invoke(faulty_event, killed_after_s=killed_after_s)
        for answered in answers.values():
            answered.latency_ms -= 1000 * count * pause_s
        self.answers.append((answers[_CLEAN], answers[_FAULTY]))

    def _disturb(self) -> None:
        """What happens between two invocations, while everything is frozen."""
        draw, collector = self._draw, self._run.collector
        if draw.random() < _LONG_GAPS:
            self._nothing.wait(_LONG_GAP_S * draw.random() ** 4)
        if self._has("down") and draw.random() < 0.1:
            self._is_down = not self._is_down
            collector.tell(_FAULTY, up=not self._is_down)
        if self._has("thaw") and draw.random() < self._run.rate:
            self.faulty.thawed()
            collector.tell(_FAULTY, reset=True)

    def _tell_pids(self) -> None:
        if {"freeze", "halt"} & set(self._faults):
            self._run.collector.tell(_FAULTY, pids=self.faulty.pids())

    def _freeze_none(self) -> None:
        # A collector that stops a process which is being shut down would stop its grace, too.
        self._run.collector.tell(_FAULTY, pids={})

    def _has(self, fault: str) -> bool:
        return self._run.fault in (fault, "all")


class Run:
    """All pairs of one fault, which happens to a share `rate` of what it can happen to.

    The latencies are milliseconds of warm invocations, without what the handler waited by itself.
    """

    def __init__(
        self,
        fault: str,
        *,
        seed: int,
        folder: Path,
        collector: CollectorProcess,
        rate: float = 0.3,
    ) -> None:
        self.fault = fault
        self.rate = rate
        # Processes that were killed and came again.
        self.deaths = 0
        self.seed = seed
        self.folder = folder
        self.collector = collector
        self.endpoints = {
            site: collector.tell(site, up=True, seed=seed) for site in (_CLEAN, _FAULTY)
        }
        self.verdicts = {_CLEAN: Verdict(), _FAULTY: Verdict()}
        self.latencies: dict[str, list[float]] = {_CLEAN: [], _FAULTY: []}
        self.held: dict[str, list[float]] = {_CLEAN: [], _FAULTY: []}

    def go(self, invocations: int, seconds: float = float("inf")) -> None:
        """As many lives as it takes for that many invocations; none begins after that time."""
        number, until = 0, time.monotonic() + seconds
        while (left := invocations - self.verdicts[_FAULTY].invocations) > 0:
            if time.monotonic() > until:
                break
            draw = random.Random(f"{self.seed} {self.fault} {number} length")
            pair = Pair(self, number)
            pair.live(min(left, draw.randrange(*_LIVES_OF)))
            requests = {site: self.collector.requests(site) for site in (_CLEAN, _FAULTY)}
            for site, life in zip((_CLEAN, _FAULTY), pair.lives, strict=True):
                self.verdicts[site].add(life, requests[site])
            halts = [(one.at, one.at + one.halted_s) for one in requests[_FAULTY] if one.halted_s]
            for clean, faulty in pair.answers:
                faulty.leave_out(halts)
                self.note(clean, faulty)
            self.deaths += pair.faulty.generations - 1
            number += 1
        self._replay(self.verdicts[_FAULTY])

    def _replay(self, verdict: Verdict) -> None:
        """Send on what was left in the log."""
        if verdict.log:
            file = self.folder / "log"
            file.write_text("\n".join(verdict.log))
            endpoint = self.collector.tell(_REPLAYED, up=True)
            command = [sys.executable, "-c", _COMMAND, "replay"]
            subprocess.run(
                [*command, file, "--endpoint", endpoint], check=True, capture_output=True
            )
            verdict.add_replayed(self.collector.requests(_REPLAYED))

    def note(self, clean: Answered, faulty: Answered) -> None:
        """One invocation of each; cold ones and those that were killed are not compared."""
        if clean.is_warm and faulty.is_warm:
            for site, answered in ((_CLEAN, clean), (_FAULTY, faulty)):
                self.latencies[site].append(answered.latency_ms)
                self.held[site].append(answered.held_ms)

    @property
    def problems(self) -> list[str]:
        """What is wrong, on either side."""
        return [*self.verdicts[_CLEAN].faults, *self.verdicts[_FAULTY].faults]

    def row(self) -> dict[str, object]:
        """The figures of this fault."""
        found = self.verdicts[_FAULTY]
        clean, faulty = self.latencies[_CLEAN], self.latencies[_FAULTY]
        slower = sum(b > a for a, b in zip(clean, faulty, strict=True))
        return {
            "fault": self.fault,
            "invocations": found.invocations,
            "spans": found.spans,
            "exported": found.exported,
            "repeated": found.repeated,
            "replayed": found.replayed,
            "dropped": {reason: n for reason, n in sorted(found.dropped.items()) if n},
            "doubtful": found.doubtful,
            "lost": found.lost,
            "requests": {kind or "taken": n for kind, n in sorted(found.requests.items())},
            "p50": [quantile(one, 0.5) for one in (clean, faulty)],
            "p99": [quantile(one, 0.99) for one in (clean, faulty)],
            "max": [max(one, default=0.0) for one in (clean, faulty)],
            "slower": slower / max(1, len(clean)),
            "held p50": [quantile(self.held[site], 0.5) for site in (_CLEAN, _FAULTY)],
            "held p99": [quantile(self.held[site], 0.99) for site in (_CLEAN, _FAULTY)],
        }


def quantile(values: list[float], share: float) -> float:
    """The value that this share of all does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
