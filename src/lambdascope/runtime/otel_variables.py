"""OTEL_* variables that have no effect here, and why. Loaded where one is set that is not known.

Source: OpenTelemetry specification, "Environment Variable Specification"; opentelemetry-python,
environment_variables of API and SDK; OpenTelemetry semantic conventions, exceptions (its switch).
"""

from __future__ import annotations

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_TIMERS = (
    "no timer may run across a freeze, so spans and records are handed over after each response"
)
_CONFIGURATORS = "all scopes are recorded; OTEL_TRACES_SAMPLER chooses among traces"
# By the name, or by its beginning.
_WITHOUT_EFFECT = {
    "OTEL_CONFIG_FILE": "configuration files are not read; the other variables are",
    "OTEL_EXPERIMENTAL_CONFIG_FILE": "configuration files are not read; the other variables are",
    "OTEL_BSP_": _TIMERS,
    "OTEL_BLRP_": _TIMERS,
    "OTEL_METRIC_EXPORT_TIMEOUT": "what is collected is handed over to this host, not exported",
    "OTEL_LOG_LEVEL": "each problem is said once, whatever the level",
    "OTEL_PYTHON_ID_GENERATOR": "ids are random; X-Ray takes them since 2023",
    "OTEL_PYTHON_TRACER_CONFIGURATOR": _CONFIGURATORS,
    "OTEL_PYTHON_METER_CONFIGURATOR": _CONFIGURATORS,
    "OTEL_PYTHON_LOGGER_CONFIGURATOR": _CONFIGURATORS,
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "the SDK is not let measure itself",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "the resource is what Lambda says of the function; add "
    "to it with OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_EXPORTER_JAEGER_": "Jaeger takes OTLP: set OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_ZIPKIN_": "spans are exported by OTLP: set OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_PROMETHEUS_": "nothing can scrape a function: metrics are exported by OTLP",
    "OTEL_ENTITIES": "entities are not supported yet; use OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_INSTRUMENTATION_AWS_LAMBDA_FLUSH_TIMEOUT": "no answer waits for a flush",
    "OTEL_AWS_LAMBDA_FAST_START": "nothing of OpenTelemetry is loaded before it is used",
}
# Read by the SDK, by the exporters, by the extension, or where the function uses what they are for.
_KNOWN = frozenset(
    (
        "OTEL_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        "OTEL_SPAN_EVENT_COUNT_LIMIT",
        "OTEL_SPAN_LINK_COUNT_LIMIT",
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        names.ENV_METRICS_EXPORTER,
        names.ENV_LOGS_EXPORTER,
        names.ENV_METRIC_INTERVAL,
        names.ENV_EXEMPLAR_FILTER,
        names.ENV_OTLP_TEMPORALITY,
        names.ENV_OTLP_HISTOGRAMS,
    )
)
_OTLP = (
    *("ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION", "INSECURE"),
    *("CERTIFICATE", "CLIENT_KEY", "CLIENT_CERTIFICATE"),
)
# Each instrumentor has its own.
_OF_INSTRUMENTORS = ("OTEL_INSTRUMENTATION_", "OTEL_PYTHON_", "OTEL_SEMCONV_")
_CREDENTIAL_PROVIDER = "OTEL_PYTHON_EXPORTER_OTLP_"
_EXPORTERS = ("", "otlp", "console", "none")
_EXCEPTION_SIGNALS = ("logs", "logs/dup")


def problems_of(environ: Mapping[str, str], variables: Iterable[str]) -> list[str]:
    """One line for each of the variables that has no effect, or that nobody knows, and for each
    value that cannot be taken for metrics and logs."""
    lines = []
    for name in sorted(variables):
        reason = _reason(name)
        if reason is not None:
            lines.append(f"{name} has no effect: {reason}")
        elif name.startswith(_CREDENTIAL_PROVIDER):
            lines.append(
                f"{name} has an effect without the extension only, which takes "
                "OTEL_EXPORTER_OTLP_HEADERS"
            )
        elif not _is_known(name):
            lines.append(f"{name} is not a variable that is known here; is it misspelled?")
    return lines + _of_exporters(environ)


def exception_signal(environ: Mapping[str, str], problems: list[str]) -> str:
    """OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN: "logs", "logs/dup" or "", which is span events."""
    chosen = _value(environ, names.ENV_EXCEPTION_SIGNAL)
    if chosen and chosen not in _EXCEPTION_SIGNALS:
        why = f"not one of {', '.join(_EXCEPTION_SIGNALS)}"
    elif chosen and _value(environ, names.ENV_LOGS_EXPORTER) == "none":
        why = f"of no use, because {names.ENV_LOGS_EXPORTER} is none"
    else:
        return chosen
    problems.append(f"{names.ENV_EXCEPTION_SIGNAL}={chosen[:40]!r} is {why}: span events are made")
    return ""


def _of_exporters(environ: Mapping[str, str]) -> list[str]:
    lines = []
    is_printed = _value(environ, names.ENV_TRACES_EXPORTER) == "console"
    for name in (names.ENV_METRICS_EXPORTER, names.ENV_LOGS_EXPORTER):
        chosen = _value(environ, name)
        if chosen not in _EXPORTERS:
            lines.append(f"{name}={chosen[:40]!r} is not otlp, console or none; otlp is taken")
        elif chosen == "console" and not is_printed:
            lines.append(
                f"{name}=console has an effect without the extension only, or together with "
                f"{names.ENV_TRACES_EXPORTER}=console; else otlp is taken"
            )
    return lines


def _reason(name: str) -> str | None:
    for start, reason in _WITHOUT_EFFECT.items():
        if name == start or (start.endswith("_") and name.startswith(start)):
            return reason
    return None


def _is_known(name: str) -> bool:
    if name in _KNOWN or name.startswith(_OF_INSTRUMENTORS):
        return True
    setting = name.removeprefix(names.OTLP_ENV_PREFIX)
    for signal in ("TRACES_", "METRICS_", "LOGS_"):
        setting = setting.removeprefix(signal)
    return name.startswith(names.OTLP_ENV_PREFIX) and setting in _OTLP


def _value(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name, "").strip().lower()
