"""What results mean for batches, with a model of a collector; the ledger under any faults."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fake_collector import span_names, traces
from lambdascope_extension.answers import CUT, EXPORTED, REFUSED, RETRY
from lambdascope_extension.ledger import SIGNALS
from unit.extension.flusher_bench import Bench
from unit.extension.loopback import is_balanced


class Model:
    """A collector with a limit on bodies that refuses bodies with a poisoned span."""

    def __init__(self, bench: Bench, *, cap: int = 10**9, poison: str = "") -> None:
        self.bench = bench
        self.cap = cap
        self.poison = poison
        self.taken: list[str] = []
        self.requests = 0

    def run(self) -> None:
        """Answer until the round is over."""
        bench = self.bench
        bench.flusher.begin(1.0, 9.0, everything=True)
        while bench.exporter.job is not None:
            self.requests += 1
            body = bench.exporter.job.batch.body
            names = span_names(body)
            if len(body) > self.cap:
                bench.finish(2.0, REFUSED, status=413, reason="413")
            elif self.poison and self.poison in names:
                bench.finish(2.0, REFUSED, status=400, reason="400")
            else:
                self.taken += names
                bench.finish(2.0)


def many(count: int, *, messages: int) -> Bench:
    """A flusher with `count` spans in each of some messages, all in one batch."""
    bench = Bench(batch_bytes=1_000_000)
    for message in range(messages):
        spans = [f"m{message}s{number}" for number in range(count)]
        bench.put(1.0, traces(*spans), items=count)
    return bench


def test_too_large_batch_is_cut_between_messages() -> None:
    """413: the batch goes again in parts, whole messages each, and nothing is lost."""
    bench = many(1, messages=8)
    model = Model(bench, cap=4 * len(traces("m0s0")))
    model.run()
    assert sorted(f"m{number}s0" for number in range(8)) == sorted(model.taken)
    assert (8, {}, 0) == bench.account
    assert 3 == model.requests


def test_too_large_message_is_cut_between_spans() -> None:
    """413 for a single message: it is cut on the borders of its spans."""
    bench = many(64, messages=1)
    model = Model(bench, cap=len(traces("m0s0", "m0s1", "m0s2")))
    model.run()
    assert sorted(f"m0s{number}" for number in range(64)) == sorted(model.taken)
    assert (64, {}, 0) == bench.account


def test_single_item_over_the_cap_is_dropped() -> None:
    """413 for one span: it alone is dropped, with its reason, and said."""
    bench = Bench(batch_bytes=1_000_000)
    bench.put(1.0, traces("a") + traces("big" * 500) + traces("b"), items=3)
    model = Model(bench, cap=500)
    model.run()
    assert (["a", "b"], (2, {"too_large": 1}, 0)) == (sorted(model.taken), bench.account)
    assert [False, True] == ["1 dropped" in line for line in bench.lines]


def test_later_batches_respect_the_cap() -> None:
    """After a 413 the next batches are made smaller before they are sent."""
    bench = many(1, messages=2000)
    model = Model(bench, cap=60_000)
    model.run()
    before = model.requests
    for number in range(2000):
        bench.put(1.0, traces(f"n{number}"))
    model.run()
    assert (4000, {}, 0) == bench.account
    assert before - 1 >= model.requests - before


@pytest.mark.parametrize("bad", range(0, 100, 9))
def test_one_garbage_message_is_lost_alone(bad: int) -> None:
    """400: the batch is bisected down to the message that the collector refuses."""
    bench = many(1, messages=100)
    model = Model(bench, poison=f"m{bad}s0")
    model.run()
    assert sorted(f"m{n}s0" for n in range(100) if n != bad) == sorted(model.taken)
    assert (99, {"status_400": 1}, 0) == bench.account
    assert model.requests <= 18


def test_message_with_a_refused_span_is_one_senders() -> None:
    """400 for a single message is final: its spans are not tried one by one."""
    bench = many(5, messages=1)
    model = Model(bench, poison="m0s3")
    model.run()
    assert (0, {"status_400": 5}, 0) == bench.account
    assert 1 == model.requests


def test_collector_that_refuses_everything_is_not_asked_for_ever() -> None:
    """When nothing at all is taken, batches are dropped whole after some attempts."""
    bench = many(1, messages=500)
    model = Model(bench, cap=0)
    model.run()
    assert (0, {"too_large": 500}, 0) == bench.account
    assert model.requests < 60


def test_collector_that_finds_everything_bad_is_not_asked_for_ever() -> None:
    """The same for 400: after so many cuts without a success, batches are dropped whole."""
    bench = Bench(batch_bytes=1_000_000)
    for _ in range(1000):
        bench.put(1.0, traces("bad"))
    model = Model(bench, poison="bad")
    model.run()
    assert (0, {"status_400": 1000}, 0) == bench.account
    assert model.requests < 150


def test_many_large_items_do_not_take_small_ones_with_them() -> None:
    """However many items are over the cap, all others arrive, and few requests are refused."""
    bench = Bench(batch_bytes=1_000_000)
    for number in range(50):
        bench.put(1.0, traces(f"big{number}" * 200))
    for number in range(50):
        bench.put(1.0, traces(f"small{number}"))
    model = Model(bench, cap=500)
    model.run()
    assert sorted(f"small{number}" for number in range(50)) == sorted(model.taken)
    assert (50, {"too_large": 50}, 0) == bench.account
    assert model.requests < 40


def test_broken_connection_after_a_freeze_does_not_count() -> None:
    """What broke while the environment was frozen says nothing about the collector."""
    bench = Bench()
    bench.put(1.0)
    bench.flusher.begin(1.0, 3.0)
    bench.flusher.cut()
    bench.flusher.take_back()
    assert not bench.finish(900.0, RETRY)
    bench.flusher.begin(900.0, 903.0)
    assert 2 == len(bench.exporter.sent)
    assert [] == bench.lines


OUTCOMES = st.one_of(
    st.tuples(st.just(EXPORTED), st.just(200), st.integers(0, 5)),
    st.tuples(st.just(REFUSED), st.sampled_from([400, 401, 413, 500, 0]), st.just(0)),
    st.tuples(st.just(RETRY), st.sampled_from([429, 503, 0]), st.just(0)),
    st.tuples(st.just(CUT), st.just(0), st.just(0)),
)


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 2**32), outcomes=st.lists(OUTCOMES, max_size=40))
def test_ledger_holds_under_any_faults(seed: int, outcomes: list[tuple[str, int, int]]) -> None:
    """accepted = exported + dropped + held, whatever the collector does and in whatever order."""
    draw = random.Random(seed)
    bench = Bench(batch_bytes=2000)
    now = 1.0
    for outcome, status, rejected in outcomes:
        for _ in range(draw.randrange(4)):
            count = draw.randrange(1, 20)
            signal = draw.choice(SIGNALS)
            body = traces(*(f"s{number}" for number in range(count)))
            bench.put(now, body, signal, items=count, urgent=draw.random() < 0.2)
        bench.flusher.begin(now, now + 5, everything=draw.random() < 0.3)
        now += draw.random() * 100
        if bench.exporter.job is not None:
            if draw.random() < 0.2:
                bench.flusher.cut()
                bench.flusher.take_back()
            if draw.random() < 0.1:
                bench.buffer.drop_all("fault")
            bench.finish(now, outcome, status=status, rejected=rejected)
        if draw.random() < 0.1:
            bench.buffer.expire(now - 50)
        for account in bench.ledger.accounts.values():
            assert is_balanced(account)
            assert account.held >= 0
    job = bench.exporter.job
    held = bench.buffer.pending()[0] + (len(job.batch.body) if job else 0)
    assert held == bench.buffer.held_bytes
