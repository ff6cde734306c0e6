"""OTEL_* variables that have no effect here, and why. Loaded where one is set that is not known.

Source: OpenTelemetry specification, "Environment Variable Specification"; opentelemetry-python,
environment_variables of API and SDK.
"""

from __future__ import annotations

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMERS = (
    "no timer may run across a freeze, so spans and records are handed over after each response"
)
# By the name, or by its beginning.
_WITHOUT_EFFECT = {
    "OTEL_CONFIG_FILE": "configuration files are not read; the other variables are",
    "OTEL_EXPERIMENTAL_CONFIG_FILE": "configuration files are not read; the other variables are",
    "OTEL_BSP_": _TIMERS,
    "OTEL_BLRP_": _TIMERS,
    "OTEL_METRIC_EXPORT_TIMEOUT": "what is collected is handed over to this host, not exported",
    "OTEL_PYTHON_ID_GENERATOR": "ids are random; X-Ray takes them since 2023",
    "OTEL_EXPORTER_JAEGER_": "Jaeger takes OTLP: set OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_ZIPKIN_": "spans are exported by OTLP: set OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_PROMETHEUS_": "nothing can scrape a function: metrics are exported by OTLP",
    "OTEL_ENTITIES": "entities are not supported yet; use OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_INSTRUMENTATION_AWS_LAMBDA_FLUSH_TIMEOUT": "no answer waits for a flush",
    "OTEL_AWS_LAMBDA_FAST_START": "nothing of OpenTelemetry is loaded before it is used",
}
# Read by the SDK, by instrumentors, by the exporters or by the extension.
_READ_ELSEWHERE = (
    "OTEL_ATTRIBUTE_",
    "OTEL_SPAN_",
    "OTEL_EVENT_",
    "OTEL_LINK_",
    "OTEL_LOGRECORD_",
    "OTEL_LOGS_",
    "OTEL_LOG_LEVEL",
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_METRICS_",
    "OTEL_EXPORTER_OTLP_",
    "OTEL_INSTRUMENTATION_",
    "OTEL_PYTHON_",
    "OTEL_SEMCONV_",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
)


_EXCEPTION_SIGNALS = ("logs", "logs/dup")


def problems_of(variables: list[str]) -> list[str]:
    """One line for each variable that has no effect, or that nobody knows."""
    lines = []
    for name in sorted(variables):
        reason = _reason(name)
        if reason is not None:
            lines.append(f"{name} has no effect: {reason}")
        elif not name.startswith(_READ_ELSEWHERE):
            lines.append(f"{name} is not a variable that is known here; is it misspelled?")
    return lines


def exception_signal(environ: Mapping[str, str], problems: list[str]) -> str:
    """OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN: "logs", "logs/dup" or "", which is span events."""
    chosen = environ.get(names.ENV_EXCEPTION_SIGNAL, "").strip().lower()
    if chosen and chosen not in _EXCEPTION_SIGNALS:
        why = f"not one of {', '.join(_EXCEPTION_SIGNALS)}"
    elif chosen and environ.get(names.ENV_LOGS_EXPORTER, "").strip().lower() == "none":
        why = f"of no use, because {names.ENV_LOGS_EXPORTER} is none"
    else:
        return chosen
    problems.append(f"{names.ENV_EXCEPTION_SIGNAL}={chosen[:40]!r} is {why}: span events are made")
    return ""


def _reason(name: str) -> str | None:
    for start, reason in _WITHOUT_EFFECT.items():
        if name == start or (start.endswith("_") and name.startswith(start)):
            return reason
    return None
