"""How the health of a collector changes with its answers."""

from __future__ import annotations

import pytest

from lambdascope_extension.health import LONGEST_PAUSE_S, LONGEST_RETRY_AFTER_S, Health


def test_pauses_double_up_to_a_limit() -> None:
    """Each failure in a row doubles the pause, until it is a minute."""
    health = Health(random=lambda: 0.5)
    pauses = []
    for _ in range(9):
        health.failed(100.0)
        pauses.append(health.retry_at - 100.0)
    assert [1, 2, 4, 8, 16, 32, 60, 60, 60] == pauses
    assert not health.is_ready(159.9)
    assert health.is_ready(160.0)


@pytest.mark.parametrize(("random", "pause_s"), [(0.0, 0.8), (1.0, 1.2)])
def test_pauses_are_spread(random: float, pause_s: float) -> None:
    """Environments that failed together come back up to a fifth earlier or later."""
    health = Health(random=lambda: random)
    health.failed(0.0)
    assert health.retry_at == pytest.approx(pause_s)


@pytest.mark.parametrize(
    ("retry_after", "pause_s"), [(0.1, 1), (30, 30), (10**9, LONGEST_RETRY_AFTER_S)]
)
def test_retry_after_is_honoured(retry_after: float, pause_s: float) -> None:
    """The collector's own wish counts if it is longer, up to ten minutes."""
    health = Health(random=lambda: 0.5)
    health.failed(0.0, retry_after)
    assert pause_s == health.retry_at


def test_success_forgets_failures() -> None:
    """One success makes the collector healthy again."""
    health = Health()
    health.failed(0.0)
    health.succeeded(0.2)
    assert (0, True, 0.2) == (health.failures, health.is_ready(0.0), health.latency)


def test_refusal_is_an_answer() -> None:
    """A collector that refuses data is there and need not be avoided."""
    health = Health()
    health.failed(0.0)
    health.answered()
    assert (0, True, None) == (health.failures, health.is_ready(0.0), health.latency)


def test_cut_export_is_expected_to_take_longer() -> None:
    """After a cut the next attempt reckons with twice the time that was not enough."""
    health = Health()
    health.succeeded(0.01)
    health.was_cut(0.0, 0.3)
    assert (1, 0.6) == (health.failures, health.latency)


def test_pause_never_exceeds_its_limit_by_jitter_alone() -> None:
    """However often it failed, the pause stays near a minute."""
    health = Health()
    for _ in range(3000):
        health.failed(0.0)
    assert LONGEST_PAUSE_S * 0.8 <= health.retry_at <= LONGEST_PAUSE_S * 1.2
