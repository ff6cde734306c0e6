"""Every variable of OpenTelemetry is read somewhere, or said to have no effect."""

from __future__ import annotations

import pytest
from opentelemetry import environment_variables as api
from opentelemetry.sdk import environment_variables as sdk

from lambdascope.runtime.otel_variables import exception_signal, problems_of
from unit.runtime.kit import make_config

OFFICIAL = {
    value
    for module in (api, sdk)
    for value in vars(module).values()
    if isinstance(value, str) and value.startswith("OTEL_")
}


def test_official_ones_are_known() -> None:
    """Nothing that the installed API or SDK reads is taken for a misspelling."""
    said = make_config(**dict.fromkeys(OFFICIAL, "1")).problems

    assert len(OFFICIAL) > 60
    assert [] == [line for line in said if "misspelled" in line]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("OTEL_BSP_SCHEDULE_DELAY", "no timer may run across a freeze"),
        ("OTEL_CONFIG_FILE", "configuration files are not read"),
        ("OTEL_LOG_LEVEL", "each problem is said once"),
        ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "OTEL_RESOURCE_ATTRIBUTES"),
        ("OTEL_PYTHON_TRACER_CONFIGURATOR", "all scopes are recorded"),
        ("OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER", "without the extension only"),
        ("OTEL_EXPORTER_OTLP_TRACE_ENDPOINT", "misspelled"),
        ("OTEL_EXPORTER_OTLP_ENDPOINTS", "misspelled"),
        ("OTEL_SPAN_ATTRIBUTES_COUNT_LIMIT", "misspelled"),
        ("OTEL_SERVICE_NAMES", "misspelled"),
    ],
)
def test_lines(name: str, said: str) -> None:
    """One line says that a variable has no effect, and why; an empty one is like none."""
    (line,) = make_config(**{name: "x"}).problems

    assert line.startswith(f"{name} ")
    assert said in line
    assert [] == make_config(**{name: ""}).problems


@pytest.mark.parametrize(
    "name",
    [
        "OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY",
        "OTEL_EXPORTER_OTLP_INSECURE",
        "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
        "OTEL_PYTHON_REQUESTS_EXCLUDED_URLS",
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST",
        "OTEL_SEMCONV_STABILITY_OPT_IN",
    ],
)
def test_read_elsewhere(name: str) -> None:
    """Nothing is said of what somebody reads."""
    assert [] == problems_of({name: "1"}, [name])


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "'prometheus' is not otlp, console or none"),
        ({"OTEL_LOGS_EXPORTER": "otlp/stdout"}, "'otlp/stdout' is not otlp, console or none"),
        ({"OTEL_METRICS_EXPORTER": "console"}, "without the extension only"),
        ({"OTEL_LOGS_EXPORTER": "console", "OTEL_TRACES_EXPORTER": "console"}, ""),
        ({"OTEL_LOGS_EXPORTER": "None", "OTEL_METRICS_EXPORTER": "OTLP"}, ""),
    ],
)
def test_exporters(environ: dict[str, str], said: str) -> None:
    """An exporter that is not known, or not used, is one line."""
    lines = make_config(**environ).problems

    assert len(lines) == bool(said)
    assert said in "".join(lines)


def test_exception_signal() -> None:
    """It is one of two values, in any case; else span events are made."""
    name = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"
    problems: list[str] = []

    assert ["logs", "logs/dup", ""] == [
        exception_signal({name: value}, problems) for value in (" Logs", "logs/dup", "")
    ]
    assert [] == problems
    assert "" == exception_signal({name: "events"}, problems)
    assert 1 == len(problems)
