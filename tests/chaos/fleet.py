"""A fleet: many environments of one function, and a collector that limits them all together.

Each environment is real processes, invoked at times of its own. For a while the collector refuses
everybody, so that all fail together and are all told the same time to come back. Shown is that
nothing is lost, that they do not come back in step, and how long invocations were held.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from chaos.life import Life
from chaos.run import quantile
from chaos.verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.collector import CollectorProcess, Request
    from chaos.life import Answered

# No SDK of OpenTelemetry's: each invocation has the runtime's own spans.
APP = """
import os

journal = os.open(os.environ["CHAOS_JOURNAL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

def handler(event, context):
    os.write(journal, b"began " + context.aws_request_id.encode() + b"\\n")
"""
_SITE = "fleet"
_STARTING = 4
_OUTAGE = (0.3, 0.45)  # from and to, as shares of the run
_WINDOW_S = 0.1


class Fleet:
    """`size` environments, invoked every `gap_s` on average; `limit` is the collector's, 0 none."""

    def __init__(self, size: int, *, limit: float, seed: int, gap_s: float = 2.0) -> None:
        self._size = size
        self._limit = limit
        self._seed = seed
        self._gap_s = gap_s
        self._over = threading.Event()
        self._answered: list[Answered] = []
        self.verdict = Verdict()

    def go(self, folder: Path, collector: CollectorProcess, seconds: float) -> dict[str, Any]:
        """Start all, let them live, end them at different times; the figures."""
        endpoint = collector.tell(_SITE, up=True, seed=self._seed)
        lives = [
            Life(folder / str(number), f"{endpoint}/{number}", {}, app=APP)
            for number in range(self._size)
        ]
        with ThreadPoolExecutor(_STARTING) as pool:
            list(pool.map(Life.start, lives))
        pss = [pss_kb(life.pids()["lambdascope"]) for life in lives]
        collector.tell(_SITE, limit=self._limit, retry_after=1)
        threads = [
            threading.Thread(target=self._live, args=(life, number, seconds))
            for number, life in enumerate(lives)
        ]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        outage = [began + share * seconds for share in _OUTAGE]
        if self._limit:
            self._wait_until(outage[0])
            collector.tell(_SITE, faults=["429"], rate=1.0)
            self._wait_until(outage[1])
            collector.tell(_SITE, faults=[], rate=0.0)
        for thread in threads:
            thread.join()
        requests = collector.requests(_SITE)
        for number, life in enumerate(lives):
            self.verdict.add(life, _of(requests, number))
        return self._figures(requests, pss, began=began, seconds=seconds)

    def _live(self, life: Life, number: int, seconds: float) -> None:
        draw = random.Random(f"{self._seed} {number}")
        until = time.monotonic() + seconds
        while (now := time.monotonic() + draw.expovariate(1 / self._gap_s)) < until:
            self._wait_until(now)
            self._answered.append(life.invoke({"spans": []}))
        # Lambda ends idle environments one by one.
        self._wait_until(until + draw.random() * seconds / 4)
        life.end()

    def _wait_until(self, moment: float) -> None:
        self._over.wait(max(0.0, moment - time.monotonic()))

    def _figures(
        self, requests: list[Request], pss: list[int], *, began: float, seconds: float
    ) -> dict[str, Any]:
        sent: dict[str, float] = {}
        retries: list[tuple[float, float]] = []
        for one in requests:
            if one.batch_id in sent:
                retries.append((one.at, one.at - sent[one.batch_id]))
            sent[one.batch_id] = one.at
        delays = sorted(delay for _, delay in retries)
        windows = Counter(int((at - began) / _WINDOW_S) for at, _ in retries)
        counts = [windows[n] for n in range(int(1.25 * seconds / _WINDOW_S))]
        held = [one.held_ms for one in self._answered]
        warm = [one.latency_ms for one in self._answered if one.is_warm]
        found = self.verdict
        return {
            "environments": self._size,
            "limit": self._limit,
            "pss_mb": sum(pss) / len(pss) / 1024,
            "invocations": found.invocations,
            "spans": found.spans,
            "exported": found.exported,
            "repeated": found.repeated,
            "dropped": dict(found.dropped),
            "lost": found.lost,
            "requests": dict(Counter(one.status for one in requests)),
            "retries": len(retries),
            "delay_s": {q: quantile(delays, q) for q in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)},
            "most in a window": max(counts, default=0),
            "windows with retries": sum(map(bool, counts)),
            "retries each second": [sum(counts[n : n + 10]) for n in range(0, len(counts), 10)],
            "held_ms": {q: quantile(held, q) for q in (0.5, 0.9, 0.99)},
            "held mean": sum(held) / max(1, len(held)),
            "latency_ms": {q: quantile(warm, q) for q in (0.5, 0.9, 0.99)},
        }


def _of(requests: list[Request], number: int) -> list[Request]:
    """What one environment sent, by the beginning of its paths."""
    prefix = f"/{number}/"
    return [
        one._replace(path=one.path.removeprefix(prefix[:-1]))
        for one in requests
        if one.path.startswith(prefix)
    ]


def pss_kb(pid: int) -> int:
    """The memory of a process, with its share of what it shares."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
