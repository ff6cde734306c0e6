"""The real extension process, frozen at times, and a collector that answers at random."""

from __future__ import annotations

import random
import re
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from fake_collector import BY_REQUESTS, Answer, FakeCollector
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_fakes import Function

    Start = Callable[..., Function]

INVOCATIONS = 200
_NEVER = threading.Event()
_LEDGER = re.compile(
    r"traces: (\d+) spans accepted, (\d+) exported, (\d+) dropped \((.*)\), 0 held"
)


def answer(draw: random.Random) -> Answer:
    """What the collector does next."""
    soon = (("Retry-After", "0"),)
    # After a failure that may pass the collector is left alone for a while, so they are rare here.
    if draw.random() < 0.04:
        return draw.choice(
            [
                Answer(429, headers=soon),
                Answer(503, headers=soon),
                Answer(502),
                Answer(504, close=True),
                Answer(cut=draw.choice([0, 10, 40])),
                Answer(hold=_NEVER),
            ]
        )
    if draw.random() < 0.6:
        return draw.choice([Answer(), Answer(close=True), Answer(200, body=b"\xff\xff garbage")])
    elsewhere = (("Location", "/elsewhere"),)
    return Answer(draw.choice([302, 400, 401, 413, 500]), headers=elsewhere)


@pytest.mark.parametrize("variables", [{}, BY_REQUESTS], ids=["plain", "requests"])
@pytest.mark.parametrize("seed", range(4))
def test_every_span_is_accounted_for(
    start: Start, collector: FakeCollector, seed: int, variables: dict[str, str]
) -> None:
    """Each span has arrived once or is counted as dropped, and nobody was kept waiting."""
    draw = random.Random(seed)
    mode = ("end", "continuous,20", "end", "periodic,20")[seed]
    collector.plan(*[answer(draw) for _ in range(INVOCATIONS)])
    function = start(
        **{names.ENV_FLUSH: mode, names.ENV_HOLD_BUDGET: "500", names.ENV_STDOUT_BYTES: "0"},
        **variables,
    )
    sent = []
    for number in range(INVOCATIONS):
        spans = [f"s{number}.{index}" for index in range(draw.randrange(1, 4))]
        sent += spans
        if draw.random() < 0.2:
            function.extension.signal(signal.SIGSTOP)
            threading.Timer(draw.random() / 50, function.extension.signal, [signal.SIGCONT]).start()
        assert function.invoke(*spans) < 5
    summary = function.shut_down()
    # A batch whose answer was not waited for may come again, under the same id.
    batches = {one.batch_id: one.spans for one in collector.accepted}
    arrived = Counter(name for spans in batches.values() for name in spans)
    assert set(arrived) <= set(sent)
    assert {1} >= set(arrived.values())
    found = _LEDGER.search(summary)
    accepted, exported, dropped = (
        (int(found[1]), int(found[2]), int(found[3])) if found else (len(sent), len(sent), 0)
    )
    assert (len(sent), len(sent)) == (accepted, exported + dropped)
    asked = Counter(one.batch_id for one in collector.requests)
    doubtful = sum(len(spans) for batch, spans in batches.items() if asked[batch] > 1)
    assert 0 <= dropped - (len(sent) - len(arrived)) <= doubtful
