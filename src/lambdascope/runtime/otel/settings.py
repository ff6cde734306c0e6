"""Variables of OpenTelemetry that only functions which use it need. Loaded with the API.

Source: OpenTelemetry specification, "Environment Variable Specification"; for logs, the variable of
opentelemetry-instrumentation-logging.
"""

from __future__ import annotations

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TEMPORALITIES = ("delta", "cumulative", "lowmemory")
_INTERVAL_MS = 60_000


class MetricSettings:
    """Times in milliseconds. `say` gets one line for each value that cannot be used."""

    def __init__(self, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self.are_exported = _exporter(environ, names.ENV_METRICS_EXPORTER) != "none"
        self.interval_ms = _INTERVAL_MS
        text = environ.get(names.ENV_METRIC_INTERVAL, "").strip()
        if text.isascii() and text.isdigit():
            self.interval_ms = int(text)
        elif text:
            say(f"{names.ENV_METRIC_INTERVAL}={text[:40]!r} is no number of ms; {_INTERVAL_MS}")
        self.temporality = environ.get(names.ENV_OTLP_TEMPORALITY, "").strip().lower() or "delta"
        if self.temporality not in TEMPORALITIES:
            chosen, known = self.temporality[:40], ", ".join(TEMPORALITIES)
            say(f"{names.ENV_OTLP_TEMPORALITY}={chosen!r} is not one of {known}; delta is taken")
            self.temporality = "delta"


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Whether nothing at all is wanted."""
    return environ.get(names.ENV_SDK_DISABLED, "").strip().lower() == "true"


def logs_are_exported(environ: Mapping[str, str]) -> bool:
    """Whether records of the logs API are wanted at all."""
    return _exporter(environ, names.ENV_LOGS_EXPORTER) != "none"


def logging_is_exported(environ: Mapping[str, str]) -> bool:
    """Whether records of Python's `logging` are to become OTLP logs: only when asked for."""
    asked = environ.get(names.ENV_PYTHON_LOGGING, "").strip().lower() == "true"
    return asked and logs_are_exported(environ)


def _exporter(environ: Mapping[str, str], variable: str) -> str:
    return environ.get(variable, "").strip().lower()
