"""Variables of OpenTelemetry that only functions which use it need. Loaded with the API.

Source: OpenTelemetry specification, "Environment Variable Specification"; for logs, the variable of
opentelemetry-instrumentation-logging.
"""

from __future__ import annotations

import os

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

TEMPORALITIES = ("delta", "cumulative", "lowmemory")
EXPONENTIAL = "base2_exponential_bucket_histogram"
_HISTOGRAMS = ("explicit_bucket_histogram", EXPONENTIAL)
_EXEMPLAR_FILTERS = ("trace_based", "always_on", "always_off")
_INTERVAL_MS = 60_000


class MetricSettings:
    """Times in milliseconds. `say` gets one line for each value that cannot be used."""

    def __init__(self, environ: MutableMapping[str, str], say: Callable[[str], None]) -> None:
        self.are_exported = _exporter(environ, names.ENV_METRICS_EXPORTER) != "none"
        self.interval_ms = _INTERVAL_MS
        text = environ.get(names.ENV_METRIC_INTERVAL, "").strip()
        if text.isascii() and text.isdigit():
            self.interval_ms = int(text)
        elif text:
            say(f"{names.ENV_METRIC_INTERVAL}={text[:40]!r} is no number of ms; {_INTERVAL_MS}")
        self.temporality = _chosen(environ, names.ENV_OTLP_TEMPORALITY, TEMPORALITIES, say)
        self.histograms = _chosen(environ, names.ENV_OTLP_HISTOGRAMS, _HISTOGRAMS, say)
        if names.ENV_EXEMPLAR_FILTER in environ:
            # The SDK cannot be made with a filter that it does not know.
            known = _chosen(environ, names.ENV_EXEMPLAR_FILTER, _EXEMPLAR_FILTERS, say)
            environ[names.ENV_EXEMPLAR_FILTER] = known


def _chosen(
    environ: Mapping[str, str], variable: str, known: tuple[str, ...], say: Callable[[str], None]
) -> str:
    """The value, which is one of those known; else the first of them, and a line."""
    text = environ.get(variable, "").strip().lower()
    if text in known:
        return text
    if text:
        say(f"{variable}={text[:40]!r} is not one of {', '.join(known)}; {known[0]} is taken")
    return known[0]


# The arguments of the SDK's SpanLimits, and the variables of which the first that is set counts.
_LIMITS = {
    "max_attributes": ("OTEL_ATTRIBUTE_COUNT_LIMIT",),
    "max_events": ("OTEL_SPAN_EVENT_COUNT_LIMIT",),
    "max_links": ("OTEL_SPAN_LINK_COUNT_LIMIT",),
    "max_span_attributes": ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    "max_event_attributes": ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    "max_link_attributes": ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    "max_attribute_length": ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",),
    "max_span_attribute_length": (
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    ),
}
_LOG_LIMITS = {
    "count": ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_ATTRIBUTE_COUNT_LIMIT"),
    "length": ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
}
_COUNT = 128
_NO_LIMIT = -1


def span_limits(environ: MutableMapping[str, str], say: Callable[[str], None]) -> dict[str, int]:
    """The arguments of the SDK's SpanLimits; -1 for no limit.

    Read here, because the SDK cannot even be imported with a number that is none: such a variable
    is taken out of the environment.
    """
    return _read_limits(_LIMITS, environ, say)


def log_limits(environ: MutableMapping[str, str], say: Callable[[str], None]) -> tuple[int, int]:
    """How many attributes a log record may have, and how long; as above."""
    limits = _read_limits(_LOG_LIMITS, environ, say)
    return limits["count"], limits["length"]


def _read_limits(
    known: Mapping[str, tuple[str, ...]],
    environ: MutableMapping[str, str],
    say: Callable[[str], None],
) -> dict[str, int]:
    limits: dict[str, int] = {}
    for argument, variables in known.items():
        default = _NO_LIMIT if argument.endswith("length") else _COUNT
        limits[argument] = default
        for variable in variables:
            text = environ.get(variable, "").strip()
            if text.isascii() and text.isdigit():
                limits[argument] = int(text)
                break
            if text:
                del environ[variable]
                shown = "no limit" if default == _NO_LIMIT else default
                say(f"{variable}={text[:40]!r} is no number; {shown} is taken")
    return limits


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


def hide_provider(kind: str) -> None:
    """Take the SDK's own provider out of the API's variable: it is what we give out anyway.

    One that the API makes would have nobody to hand its spans to. Another one is the function's.
    """
    variable = f"OTEL_PYTHON_{kind.upper()}_PROVIDER"
    if os.environ.get(variable) in ("", f"sdk_{kind}_provider"):
        del os.environ[variable]


def hide_propagators() -> Callable[[], None]:
    """Hide OTEL_PROPAGATORS until what this returns is called."""
    hidden = os.environ.pop(names.ENV_PROPAGATORS, None)

    def restore() -> None:
        if hidden is not None:
            os.environ[names.ENV_PROPAGATORS] = hidden

    return restore
