"""The variables of the flush policy, and what is said about mistakes."""

from __future__ import annotations

import pytest

from lambdascope.wire import names
from lambdascope_extension.flush_settings import FlushSettings, read_flush_settings


def read(**variables: str) -> tuple[FlushSettings, list[str]]:
    """The settings for variables by the names of their constants."""
    environ = {getattr(names, f"ENV_{name}"): value for name, value in variables.items()}
    return read_flush_settings(environ, 0.3)


@pytest.mark.parametrize(
    ("text", "mode", "interval_s", "lines"),
    [
        ("", "adaptive", 5.0, 0),
        ("end", "end", 5.0, 0),
        (" Periodic , 60000 ", "periodic", 60.0, 0),
        ("continuous,250", "continuous", 0.25, 0),
        ("adaptive", "adaptive", 5.0, 0),
        ("often", "adaptive", 5.0, 1),
        ("periodic,soon", "periodic", 5.0, 1),
        ("periodic,-1", "periodic", 5.0, 1),
        (",7", "adaptive", 0.007, 1),
        ("periodic,inf", "periodic", 5.0, 1),
    ],
)
def test_mode_and_interval(text: str, mode: str, interval_s: float, lines: int) -> None:
    """A mode, with an interval in milliseconds behind a comma; nonsense is named and ignored."""
    settings, problems = read(FLUSH=text)
    assert (mode, interval_s, lines, 0.3) == (
        settings.mode,
        settings.interval_s,
        len(problems),
        settings.hold_s,
    )


def test_numbers() -> None:
    """The promise is in milliseconds, the age in seconds; nonsense leaves the default."""
    settings, problems = read(HOLD_P99="20", QUEUE_AGE="60")
    assert (0.02, 60.0, []) == (settings.hold_p99_s, settings.queue_age_s, problems)
    settings, problems = read(HOLD_P99="fast", QUEUE_AGE="-1")
    assert (0.002, 3600.0, 2) == (settings.hold_p99_s, settings.queue_age_s, len(problems))
    assert all("LAMBDASCOPE_" in line for line in problems)
