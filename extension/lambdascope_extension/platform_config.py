"""What to make of the platform's records: spans, metrics, logs. From environment variables.

Read once, after register and before the subscription, which depends on it. Pure: the environment
comes as a mapping. What is wrong becomes a line in `problems`, and the default is taken.
"""

from __future__ import annotations

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Mapping

_NONE = "none"
_SPANS = "spans"
_METRICS = "metrics"
# The interval of OpenTelemetry's periodic reader.
DEFAULT_INTERVAL_S = 60.0
_CUMULATIVE = "cumulative"
_TEMPORALITIES = ("delta", "lowmemory", _CUMULATIVE)
_EXPONENTIAL = "base2_exponential_bucket_histogram"
_HISTOGRAMS = ("explicit_bucket_histogram", _EXPONENTIAL)
# Types of the Telemetry API; "otlp" is the short form of the first.
_LOG_TYPES = {"otlp": "function", "function": "function", "extension": "extension"}


class PlatformConfig:
    """Values only. `log_types` are the types of lines to subscribe to, () for none."""

    __slots__ = (
        "interval_s",
        "is_cumulative",
        "is_exponential",
        "log_types",
        "metrics",
        "problems",
        "spans",
    )

    def __init__(self) -> None:
        self.spans = False
        self.metrics = False
        self.log_types: tuple[str, ...] = ()
        self.is_cumulative = False
        self.is_exponential = False
        self.interval_s = DEFAULT_INTERVAL_S
        self.problems: list[str] = []

    @property
    def wants_anything(self) -> bool:
        """Whether records are of any use beyond the end of an invocation."""
        return self.spans or self.metrics or bool(self.log_types)

    @property
    def types(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return ("platform", *self.log_types)


def read_platform_config(
    environ: Mapping[str, str], destinations: Container[str]
) -> PlatformConfig:
    """Read the variables. A signal without a destination is not made."""
    config = PlatformConfig()
    if _lower(environ, names.ENV_SDK_DISABLED) == "true":
        return config
    wanted = _listed(environ, names.ENV_PLATFORM, (_SPANS, _METRICS), config.problems)
    if not _lower(environ, names.ENV_PLATFORM):
        wanted = {_SPANS, _METRICS}
    without_spans = _lower(environ, names.ENV_TRACES_EXPORTER) == _NONE
    config.spans = _SPANS in wanted and "traces" in destinations and not without_spans
    without_metrics = _lower(environ, names.ENV_METRICS_EXPORTER) == _NONE
    config.metrics = _METRICS in wanted and "metrics" in destinations and not without_metrics
    # Off unless asked for: every line is paid for again, and CloudWatch has it anyway.
    logs = _listed(environ, names.ENV_LOGS, tuple(_LOG_TYPES), config.problems)
    if logs and "logs" in destinations:
        config.log_types = tuple(sorted({_LOG_TYPES[name] for name in logs}, reverse=True))
    elif logs:
        config.problems.append(
            f"{names.ENV_LOGS} is set and logs have no destination: set {names.ENV_OTLP_ENDPOINT}"
        )
    temporality = _one_of(environ, names.ENV_OTLP_TEMPORALITY, _TEMPORALITIES, config.problems)
    config.is_cumulative = temporality == _CUMULATIVE
    histograms = _one_of(environ, names.ENV_OTLP_HISTOGRAMS, _HISTOGRAMS, config.problems)
    config.is_exponential = histograms == _EXPONENTIAL
    config.interval_s = _interval_s(environ, config.problems)
    return config


def _lower(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip().lower()


def _listed(
    environ: Mapping[str, str], name: str, known: tuple[str, ...], problems: list[str]
) -> set[str]:
    """The known words of a list; `none` is the empty one."""
    words = {word.strip() for word in _lower(environ, name).split(",")} - {"", _NONE}
    unknown = sorted(words.difference(known))
    if unknown:
        problems.append(
            f"{name} {unknown[0][:40]!r} is not known, left out: use {', '.join(known)} or none"
        )
    return words.intersection(known)


def _one_of(
    environ: Mapping[str, str], name: str, known: tuple[str, ...], problems: list[str]
) -> str:
    """The value, the first known one where it is not set or wrong."""
    value = _lower(environ, name) or known[0]
    if value not in known:
        problems.append(f"{name} {value[:40]!r} is not known: using {known[0]}")
        return known[0]
    return value


def _interval_s(environ: Mapping[str, str], problems: list[str]) -> float:
    text = environ.get(names.ENV_METRIC_INTERVAL, "").strip()
    if not text:
        return DEFAULT_INTERVAL_S
    if text.isascii() and text.isdigit() and 0 < len(text) < 10:
        return int(text) / 1000
    problems.append(
        f"{names.ENV_METRIC_INTERVAL} {text[:40]!r} is no number of milliseconds: using "
        f"{DEFAULT_INTERVAL_S * 1000:g}"
    )
    return DEFAULT_INTERVAL_S
