"""How the user wants exports to be timed, from LAMBDASCOPE_FLUSH and its neighbours.

Read once, after register; pure: the environment comes as a mapping. Wrong values are never fatal:
the default is taken and a line in `problems` says so.
"""

from __future__ import annotations

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

END = "end"  # hold every invocation at its end for its own export
PERIODIC = "periodic"  # the same, at most once in an interval
CONTINUOUS = "continuous"  # beside the handler, once in an interval; hold next for a moment only
ADAPTIVE = "adaptive"  # whichever costs least for how often the function is invoked
MODES = (END, PERIODIC, CONTINUOUS, ADAPTIVE)

DEFAULT_HOLD_S = 0.5
DEFAULT_INTERVAL_S = 5.0
DEFAULT_HOLD_P99_S = 0.002
DEFAULT_QUEUE_AGE_S = 3600.0


class FlushSettings:
    """All times are seconds. `hold_s` is the longest hold of one invocation; in the adaptive mode
    at most one busy invocation in a hundred is held for longer than `hold_p99_s`. What was tried
    and is older than `queue_age_s` is given up."""

    __slots__ = ("hold_p99_s", "hold_s", "interval_s", "mode", "queue_age_s")

    def __init__(self, *, mode: str = ADAPTIVE, hold_s: float = DEFAULT_HOLD_S) -> None:
        self.mode = mode
        self.hold_s = hold_s
        self.interval_s = DEFAULT_INTERVAL_S
        self.hold_p99_s = DEFAULT_HOLD_P99_S
        self.queue_age_s = DEFAULT_QUEUE_AGE_S


def read_flush_settings(
    environ: Mapping[str, str], hold_s: float
) -> tuple[FlushSettings, list[str]]:
    """The settings, and a line for each value that is wrong."""
    settings = FlushSettings(hold_s=hold_s)
    problems: list[str] = []
    mode, comma, interval = environ.get(names.ENV_FLUSH, "").strip().lower().partition(",")
    mode = mode.strip()
    if mode in MODES:
        settings.mode = mode
    elif mode or comma:
        problems.append(
            f"{names.ENV_FLUSH} {mode[:40]!r} is not known, using {ADAPTIVE}: give one of "
            f"{', '.join(MODES)}, for {PERIODIC} and {CONTINUOUS} with the interval in "
            f"milliseconds, such as {PERIODIC},10000"
        )
    found = number(interval) if comma else None
    if found is not None and found > 0:
        settings.interval_s = found / 1000
    elif comma:
        problems.append(
            f"{names.ENV_FLUSH}: {interval[:40]!r} is no number of milliseconds, using "
            f"{DEFAULT_INTERVAL_S * 1000:g}"
        )
    settings.hold_p99_s = (
        _read(environ, names.ENV_HOLD_P99, settings.hold_p99_s * 1000, problems) / 1000
    )
    settings.queue_age_s = _read(environ, names.ENV_QUEUE_AGE, settings.queue_age_s, problems)
    return settings, problems


def _read(environ: Mapping[str, str], name: str, default: float, problems: list[str]) -> float:
    text = environ.get(name, "").strip()
    found = number(text) if text else default
    if found is not None and found >= 0:
        return found
    problems.append(f"{name} {text[:40]!r} is no number from 0 on: using {default:g}")
    return default


def number(text: str) -> float | None:
    """The number that a variable holds; None for anything else."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value - value == 0 else None  # neither infinite nor NaN
