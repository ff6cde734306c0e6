"""How the health of a collector changes with its answers."""

from __future__ import annotations

import pytest

from lambdascope_extension.health import (
    CLOSED,
    GRACE_FAILURES,
    HALF_OPEN,
    LONGEST_PAUSE_S,
    LONGEST_RETRY_AFTER_S,
    OPEN,
    Health,
)


def test_pauses_double_up_to_a_limit() -> None:
    """Each failure in a row doubles the longest pause, until it is a minute."""
    health = Health(random=lambda: 1.0)
    pauses = []
    for _ in range(9):
        health.failed(100.0)
        pauses.append(health.retry_at - 100.0)
    assert [1, 2, 4, 8, 16, 32, 60, 60, 60] == pauses
    assert not health.is_ready(159.9)
    assert health.is_ready(160.0)


@pytest.mark.parametrize(("random", "pause_s"), [(0.0, 0.0), (0.25, 1.0), (1.0, 4.0)])
def test_pauses_have_full_jitter(random: float, pause_s: float) -> None:
    """A pause is drawn between nothing and its limit."""
    health = Health(random=lambda: random)
    for _ in range(3):
        health.failed(0.0)
    assert pause_s == health.retry_at


def test_environments_that_fail_together_come_back_apart() -> None:
    """Two hundred environments that are told the same time spread over the pause behind it."""
    fleet = [Health() for _ in range(200)]
    for health in fleet:
        for _ in range(4):
            health.failed(0.0, retry_after=5.0)
    tenths = {int((health.retry_at - 5.0) / 0.8) for health in fleet}
    assert set(range(10)) == tenths
    assert len({health.retry_at for health in fleet}) > 190


@pytest.mark.parametrize(
    ("retry_after", "at"), [(0.0, 0.5), (30.0, 30.5), (10**9, LONGEST_RETRY_AFTER_S + 0.5)]
)
def test_retry_after_is_honoured(retry_after: float, at: float) -> None:
    """Nobody asks before the time that the collector named, up to ten minutes."""
    health = Health(random=lambda: 0.5)
    health.failed(0.0, retry_after)
    assert at == health.retry_at


def test_breaker_has_a_grace() -> None:
    """The first failure does not open the breaker, the next does, a pause later it is half open."""
    health = Health(random=lambda: 1.0)
    states = [health.state(0.0)]
    for _ in range(GRACE_FAILURES + 1):
        health.failed(0.0)
        states.append(health.state(0.0))
    assert [CLOSED, CLOSED, OPEN] == states
    assert HALF_OPEN == health.state(health.retry_at)
    health.failed(health.retry_at)
    assert (OPEN, 2) == (health.state(health.retry_at - 0.1), health.outage)
    health.succeeded(0.1)
    assert (CLOSED, 0) == (health.state(0.0), health.outage)


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


def test_pause_never_exceeds_its_limit() -> None:
    """However often it failed, the pause stays under a minute."""
    health = Health()
    for _ in range(3000):
        health.failed(0.0)
        assert 0 <= health.retry_at <= LONGEST_PAUSE_S
