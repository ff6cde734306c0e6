"""What to make of the platform's records, from environment variables."""

from __future__ import annotations

import pytest

from lambdascope.wire import names
from lambdascope_extension.platform_config import DEFAULT_INTERVAL_S, read_platform_config

ALL = ("traces", "metrics", "logs")


def test_defaults() -> None:
    """Spans and metrics are made, lines are not: they cost and CloudWatch has them anyway."""
    config = read_platform_config({}, ALL)

    assert (True, True, ("platform",)) == (config.spans, config.metrics, config.types)
    assert (DEFAULT_INTERVAL_S, False, []) == (
        config.interval_s,
        config.is_cumulative,
        config.problems,
    )
    assert config.wants_anything


def test_nothing_is_made_without_a_destination() -> None:
    """Signals that go nowhere are not made, and lines that were asked for are missed aloud."""
    config = read_platform_config({names.ENV_LOGS: "otlp"}, ())

    assert not config.wants_anything
    assert ("platform",) == config.types
    assert [names.ENV_LOGS in line for line in config.problems] == [True]


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("none", ("platform",)),
        ("OTLP", ("platform", "function")),
        ("function,extension", ("platform", "function", "extension")),
        (" extension , otlp", ("platform", "function", "extension")),
    ],
)
def test_log_types(text: str, types: tuple[str, ...]) -> None:
    """The words are types of the Telemetry API, and otlp stands for the function's."""
    assert types == read_platform_config({names.ENV_LOGS: text}, ALL).types


def test_standard_variables() -> None:
    """OTEL_METRICS_EXPORTER, the interval and the temporality mean what they do elsewhere."""
    config = read_platform_config(
        {
            names.ENV_METRICS_EXPORTER: "None",
            names.ENV_METRIC_INTERVAL: "5000",
            names.ENV_OTLP_TEMPORALITY: "cumulative",
            names.ENV_OTLP_HISTOGRAMS: "base2_exponential_bucket_histogram",
        },
        ALL,
    )

    assert config.is_exponential

    assert (False, 5.0, True) == (config.metrics, config.interval_s, config.is_cumulative)


def test_what_is_turned_off_for_the_function_is_off_here() -> None:
    """OTEL_TRACES_EXPORTER=none leaves the metrics, OTEL_SDK_DISABLED leaves nothing."""
    config = read_platform_config({names.ENV_TRACES_EXPORTER: "none"}, ALL)
    assert (False, True) == (config.spans, config.metrics)

    variables = {names.ENV_SDK_DISABLED: "TRUE", names.ENV_LOGS: "otlp"}
    assert not read_platform_config(variables, ALL).wants_anything


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (names.ENV_PLATFORM, "spans,colour"),
        (names.ENV_LOGS, "cloudwatch"),
        (names.ENV_METRIC_INTERVAL, "soon"),
        (names.ENV_OTLP_TEMPORALITY, "sometimes"),
        (names.ENV_OTLP_HISTOGRAMS, "pie"),
    ],
)
def test_wrong_values_are_said(name: str, value: str) -> None:
    """A value that is not known costs one line that names the variable, and nothing else."""
    config = read_platform_config({name: value}, ALL)

    (line,) = config.problems
    assert name in line
    assert config.spans
