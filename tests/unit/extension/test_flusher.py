"""Rounds of exports, with a fake exporter and time as an argument."""

from __future__ import annotations

import pytest

from lambdascope_extension import health
from lambdascope_extension.answers import CUT, EXPORTED, REFUSED, RETRY
from lambdascope_extension.exporter import BROKEN, COLD, READY, WARMING
from unit.extension.flusher_bench import Bench


@pytest.fixture(autouse=True)
def half_of_the_longest_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are drawn; here they are always the same."""
    monkeypatch.setattr(health, "_random", lambda: 0.5)


def test_round_exports_what_was_there() -> None:
    """A round goes from batch to batch and ends with what was there when it began."""
    bench = Bench()
    bench.put(1.0)
    bench.put(1.5)
    bench.put(1.6, signal="logs")
    bench.flusher.begin(2.0, 3.0)
    bench.put(2.1)
    assert [True, True, False] == [bench.finish(2.2) for _ in range(3)]
    assert ["traces", "traces", "logs"] == [job.batch.signal for job in bench.exporter.sent]
    assert (2, {}, 1) == bench.account


def test_last_round_takes_everything() -> None:
    """At shutdown what comes later belongs to the round as well."""
    bench = Bench()
    bench.flusher.begin(2.0, 3.0, everything=True)
    bench.put(2.5)
    assert bench.flusher.resume(2.5)
    assert not bench.finish(2.6)


def test_first_round_loads_the_sender() -> None:
    """Loading begins with the first round that has something to send, and not before."""
    bench = Bench(ready=False)
    bench.flusher.begin(1.0, 3.0)
    assert COLD == bench.exporter.state
    bench.put(1.0)
    bench.flusher.begin(1.0, 3.0)
    assert (WARMING, False) == (bench.exporter.state, bench.flusher.is_sending)
    assert bench.flusher.resume(1.1)
    bench.exporter.state = READY
    assert bench.flusher.resume(1.2)
    assert bench.flusher.is_sending


def test_sender_that_cannot_be_loaded() -> None:
    """Without a sender everything is dropped with that reason, and one line says so."""
    bench = Bench(ready=False)
    bench.put(1.0)
    bench.flusher.begin(1.0, 3.0)
    bench.exporter.state, bench.exporter.problem = WARMING, "No module named 'requests'"
    collect = bench.exporter.collect

    def broken() -> None:
        bench.exporter.state = BROKEN
        collect()

    bench.exporter.collect = broken  # type: ignore[method-assign,assignment]
    bench.flusher.on_wake(1.1)
    bench.flusher.on_wake(1.2)
    assert not bench.flusher.resume(1.2)
    assert (0, {"no_sender": 1}, 0) == bench.account
    assert [True] == ["requests" in line for line in bench.lines]


def test_time_of_an_export() -> None:
    """An export has what is left of the round, or the user's time-out if that is less."""
    bench = Bench(OTEL_EXPORTER_OTLP_TIMEOUT="2")
    bench.put(1.0)
    bench.put(1.0)
    bench.flusher.begin(1.0, 3.5)
    bench.finish(2.5)
    assert [2.0, 1.0] == [job.timeout_s for job in bench.exporter.sent]
    assert not bench.finish(3.5)


def test_round_ends_with_its_time() -> None:
    """After its time nothing new is sent, however much is left."""
    bench = Bench()
    bench.put(1.0)
    bench.flusher.begin(1.0, 1.0)
    assert [] == bench.exporter.sent


@pytest.mark.parametrize("outcome", [RETRY, CUT])
def test_not_taken_is_kept(outcome: str) -> None:
    """A batch that may be tried again comes back, is left alone for a pause, and keeps its id."""
    bench = Bench()
    bench.put(1.0)
    bench.flusher.begin(1.0, 3.0)
    assert not bench.finish(1.1, outcome, reason="503")
    assert (0, {}, 1) == bench.account
    assert (0, 0.0) == (lambda s: (s.pending_bytes, s.oldest))(bench.flusher.state(1.2, 9.0, 1, []))
    bench.flusher.begin(1.2, 3.0)
    assert 1 == len(bench.exporter.sent)
    bench.flusher.begin(9.0, 12.0)
    first, second = bench.exporter.sent
    assert first.batch.id == second.batch.id
    assert not bench.finish(9.1)
    assert (1, {}, 0) == bench.account
    assert 1 == len(bench.lines)


def test_probe_after_a_failure_is_short() -> None:
    """After a grace, the export that looks whether the collector is back gets ever less time."""
    bench = Bench()
    bench.put(1.0)
    now = 1.0
    for _ in range(4):
        bench.flusher.begin(now, now + 100)
        bench.finish(now, RETRY)
        now += 100
    assert [10.0, 10.0, 0.25, 0.125] == [job.timeout_s for job in bench.exporter.sent]
    assert 3 == bench.flusher.state(now, None, 1, []).failures


def test_slow_collector_gets_its_time_beside_a_handler() -> None:
    """A collector that was cut is given twice as long as it was expected to take."""
    bench = Bench()
    bench.put(1.0)
    for now in (1.0, 100.0):
        bench.flusher.begin(now, now + 0.5)
        bench.finish(now + 0.5, CUT)
    bench.flusher.begin(200.0, 900.0)
    assert [0.5, 0.5, 2.0] == [job.timeout_s for job in bench.exporter.sent]


def test_other_signals_go_on_when_one_fails() -> None:
    """Each signal has its own health."""
    bench = Bench()
    bench.put(1.0)
    bench.put(1.1, signal="logs")
    bench.flusher.begin(1.2, 3.0)
    assert bench.finish(1.3, RETRY)
    assert "logs" == bench.exporter.sent[1].batch.signal
    assert not bench.finish(1.4)
    assert 0 == bench.flusher.state(1.5, 9.0, 1, []).failures


def test_shutdown_tries_once_more() -> None:
    """The last round ignores the pause, tries each signal once and does not go round and round."""
    bench = Bench()
    bench.put(1.0)
    bench.flusher.begin(1.0, 3.0)
    bench.finish(1.1, RETRY, retry_after=500.0)
    bench.flusher.begin(1.2, 3.2, everything=True)
    assert 2.0 == pytest.approx(bench.exporter.sent[1].timeout_s)
    assert not bench.finish(1.3, RETRY)
    assert (0, {}, 1) == bench.account


def test_last_round_tries_again_while_there_is_time() -> None:
    """With several attempts the last round waits for its pauses, inside its time only."""
    bench = Bench()
    bench.flusher.last_attempts = 3
    bench.put(1.0)
    bench.put(1.1, signal="logs")
    bench.flusher.begin(1.0, 3.0, everything=True)
    assert bench.finish(1.1, RETRY, retry_after=0.2)
    assert "logs" == bench.exporter.sent[-1].batch.signal
    assert bench.finish(1.15)
    assert 2 == len(bench.exporter.sent)
    retry_at = bench.flusher.retry_at(1.15)
    assert 1.3 <= retry_at <= 2.3
    assert bench.flusher.resume(retry_at)
    first, again = bench.exporter.sent[0].batch, bench.exporter.sent[2].batch
    assert (first.id, 3) == (again.id, len(bench.exporter.sent))
    assert not bench.finish(retry_at, RETRY, retry_after=5.0)
    assert float("inf") == bench.flusher.retry_at(retry_at)


def test_last_round_has_so_many_attempts() -> None:
    """After its attempts a signal is left alone, and the round is over."""
    bench = Bench()
    bench.flusher.last_attempts = 3
    bench.put(1.0)
    bench.flusher.begin(1.0, 100.0, everything=True)
    now = 1.0
    while bench.finish(now, RETRY):
        now = bench.flusher.retry_at(now)
        bench.flusher.resume(now)
    assert 3 == len(bench.exporter.sent)


def test_all_attempts_fit_into_the_last_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """However unlucky the draw: a collector that fails fast is asked as often as it may be."""
    monkeypatch.setattr(health, "_random", lambda: 1.0)
    bench = Bench()
    bench.flusher.last_attempts = 4
    bench.put(1.0)
    bench.flusher.begin(1.0, 2.8, everything=True)
    now = 1.0
    while bench.finish(now + 0.02, RETRY):
        now = bench.flusher.retry_at(now)
        bench.flusher.resume(now)
    assert 4 == len(bench.exporter.sent)


def test_refused_is_dropped() -> None:
    """What the collector will never take is dropped under its status."""
    bench = Bench()
    bench.put(1.0)
    bench.put(1.0)
    bench.flusher.begin(1.0, 3.0)
    assert bench.finish(1.1, REFUSED, status=401, reason="401 Unauthorized", hint="check")
    assert not bench.finish(1.2, REFUSED, reason="fault")
    assert (0, {"status_401": 1, "failed": 1}, 0) == bench.account


def test_partial_success() -> None:
    """Rejected spans and records are dropped; of metrics the collector counts the points."""
    bench = Bench()
    bench.put(1.0)
    bench.put(1.1, signal="metrics")
    bench.flusher.begin(2.0, 3.0)
    assert bench.finish(2.1, rejected=1, message="too old")
    bench.finish(2.2, rejected=1)
    assert (0, {"rejected": 1}, 0) == bench.account
    assert 1 == bench.ledger.accounts["metrics"].exported
    assert 1 == len(bench.lines)


@pytest.mark.parametrize(("outcome", "account"), [(EXPORTED, (1, {}, 0)), (CUT, (0, {}, 1))])
def test_result_after_taking_back(outcome: str, account: object) -> None:
    """A cut export that answers late is counted once, whatever it says."""
    bench = Bench()
    bench.put(1.0)
    bench.flusher.begin(1.0, 3.0)
    bench.flusher.cut()
    bench.flusher.take_back()
    bench.flusher.take_back()
    assert (0, {}, 1) == bench.account
    assert bench.flusher.is_sending
    bench.finish(5.0, outcome)
    assert account == bench.account


def test_result_after_dropping() -> None:
    """A batch that was dropped while its export hung is not counted a second time."""
    bench = Bench()
    bench.put(1.0)
    bench.flusher.begin(1.0, 3.0)
    bench.flusher.take_back()
    bench.buffer.drop_all("shutdown")
    bench.finish(5.0)
    assert (0, {"shutdown": 1}, 0) == bench.account


def test_connections_after_a_thaw() -> None:
    """The first export after a long freeze opens a new connection, the second keeps it."""
    bench = Bench()
    bench.put(1.0)
    bench.put(1.0)
    bench.flusher.after_thaw()
    bench.flusher.begin(1.0, 3.0)
    bench.finish(1.1)
    assert [True, False] == [job.wants_new_connection for job in bench.exporter.sent]
