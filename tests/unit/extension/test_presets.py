"""Backends by name: addresses and headers from their own variables, and what is said about gaps."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from lambdascope_extension.presets import PRESETS, platform_variables, read_destinations

if TYPE_CHECKING:
    from lambdascope_extension.destination import ExportConfig

KEY = "k3y-v4lue"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:key-AbCdEf"
AWS = {"AWS_REGION": "eu-west-1", "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f"}
STREAM = {"LAMBDASCOPE_AWS_LOGS_HEADERS": "x-aws-log-stream=s"}
GRAFANA = {"GRAFANA_CLOUD_ZONE": "prod-eu-west-2", "GRAFANA_CLOUD_INSTANCE_ID": "123"}
BASIC = "Basic " + base64.b64encode(f"123:{KEY}".encode()).decode()
# Name, variables, base URL, headers of traces or of the only signal.
KNOWN: list[tuple[str, dict[str, str], str, dict[str, str]]] = [
    (
        "datadog",
        {"DD_API_KEY": f" {KEY}\n", "DD_SITE": "datadoghq.eu"},
        "https://otlp.datadoghq.eu",
        {"dd-api-key": KEY, "dd-otlp-source": "serverless", "compute_stats": "true"},
    ),
    (
        "honeycomb",
        {"HONEYCOMB_API_KEY": KEY, "HONEYCOMB_DATASET": "shop"},
        "https://api.honeycomb.io",
        {"x-honeycomb-team": KEY, "x-honeycomb-dataset": "shop"},
    ),
    (
        "honeycomb",
        {"HONEYCOMB_API_KEY": KEY, "HONEYCOMB_API_ENDPOINT": "https://api.eu1.honeycomb.io:443/"},
        "https://api.eu1.honeycomb.io:443",
        {"x-honeycomb-team": KEY},
    ),
    ("newrelic", {"NEW_RELIC_LICENSE_KEY": KEY}, "https://otlp.nr-data.net", {"api-key": KEY}),
    (
        "newrelic",
        {"NEW_RELIC_LICENSE_KEY": "eu01xx" + KEY},
        "https://otlp.eu01.nr-data.net",
        {"api-key": "eu01xx" + KEY},
    ),
    (
        "newrelic",
        {"NEW_RELIC_LICENSE_KEY": "gov01xx" + KEY},
        "https://gov-otlp.nr-data.net",
        {"api-key": "gov01xx" + KEY},
    ),
    (
        "grafana",
        {**GRAFANA, "GRAFANA_CLOUD_API_KEY": KEY},
        "https://otlp-gateway-prod-eu-west-2.grafana.net/otlp",
        {"authorization": BASIC},
    ),
    (
        "dash0",
        {"DASH0_AUTH_TOKEN": KEY, "DASH0_REGION": "eu-west-1", "DASH0_DATASET": "prod"},
        "https://ingress.eu-west-1.aws.dash0.com",
        {"authorization": f"Bearer {KEY}", "dash0-dataset": "prod"},
    ),
    ("aws-xray", AWS, "https://xray.eu-west-1.amazonaws.com", {}),
    (
        "aws-logs",
        {**AWS, **STREAM},
        "https://logs.eu-west-1.amazonaws.com",
        {"x-aws-log-group": "/aws/lambda/f", "x-aws-log-stream": "s"},
    ),
    (
        "aws-metrics",
        {"AWS_REGION": "cn-north-1"},
        "https://monitoring.cn-north-1.amazonaws.com.cn",
        {},
    ),
]
ONLY = {"aws-xray": "traces", "aws-logs": "logs", "aws-metrics": "metrics"}


def read(name: str, **variables: str) -> list[ExportConfig]:
    """The destinations of a list of names."""
    return read_destinations({"LAMBDASCOPE_DESTINATION": name, **variables}, own_port=4318)


@pytest.mark.parametrize(("name", "variables", "base", "headers"), KNOWN)
def test_known_backends(
    name: str, variables: dict[str, str], base: str, headers: dict[str, str]
) -> None:
    """Address and headers are those of the vendor; bodies are compressed; nothing is said."""
    [config] = read(name, **variables)

    wanted = [ONLY[name]] if name in ONLY else ["traces", "metrics", "logs"]
    assert ([], name, wanted) == (config.problems, config.name, list(config.destinations))
    first = config.destinations[wanted[0]]
    assert {signal: f"{base}/v1/{signal}" for signal in wanted} == {
        signal: one.url for signal, one in config.destinations.items()
    }
    assert headers == {name: value.decode() for name, value in first.headers.items()}
    assert first.gzip
    assert first.hint.startswith("check ")
    assert (name in ONLY) == bool(first.service) == bool(first.region)
    assert {"not_taken"} >= set(config.reasons.values())


def test_every_preset_is_tried() -> None:
    """The table above has each of them."""
    assert set(PRESETS) == {one[0] for one in KNOWN}


def test_headers_of_single_signals() -> None:
    """Datadog takes the source for spans and metrics, and makes statistics of spans alone."""
    [config] = read("datadog", DD_API_KEY=KEY)

    assert {
        "traces": ["compute_stats", "dd-api-key", "dd-otlp-source"],
        "metrics": ["dd-api-key", "dd-otel-metric-config", "dd-otlp-source"],
        "logs": ["dd-api-key"],
    } == {signal: sorted(one.headers) for signal, one in config.destinations.items()}
    assert (3_200_000, 500_000, 0) == tuple(one.max_bytes for one in config.destinations.values())
    header = config.destinations["metrics"].headers["dd-otel-metric-config"]
    assert {"resource_attributes_as_tags": True} == json.loads(header)


@pytest.mark.parametrize(
    ("name", "variables", "part"),
    [
        ("datadog", {}, "DD_API_KEY or DD_API_KEY_SECRET_ARN or "),
        ("datadog", {"DD_API_KEY": "a\nb"}, "DD_API_KEY holds a line break"),
        ("honeycomb", {}, "HONEYCOMB_API_KEY is not set"),
        ("newrelic", {}, "NEW_RELIC_LICENSE_KEY is not set"),
        ("grafana", {}, "GRAFANA_CLOUD_OTLP_ENDPOINT or GRAFANA_CLOUD_ZONE is not set"),
        ("grafana", GRAFANA, "GRAFANA_CLOUD_API_KEY or GRAFANA_CLOUD_API_TOKEN is not set"),
        ("dash0", {"DASH0_AUTH_TOKEN": KEY}, "DASH0_ENDPOINT or DASH0_REGION is not set"),
        ("dash0", {"DASH0_REGION": "eu-west-1"}, "DASH0_AUTH_TOKEN is not set"),
        ("aws-xray", {}, "AWS_REGION or AWS_DEFAULT_REGION is not set"),
        ("aws-logs", AWS, "LAMBDASCOPE_AWS_LOGS_HEADERS does not say x-aws-log-stream"),
    ],
)
def test_what_is_missing(name: str, variables: dict[str, str], part: str) -> None:
    """A gap is one line that names the variable; telemetry for that destination is counted."""
    [config] = read(name, **variables)

    assert ({}, {"config"}) == (config.destinations, set(config.reasons.values()))
    assert 1 == len(config.problems)
    assert config.problems[0].startswith(f"LAMBDASCOPE_DESTINATION {name}: {part}")


def test_site_that_is_no_host() -> None:
    """What is wrong with an address is said about the destination, without the key."""
    [config] = read("datadog", DD_API_KEY=KEY, DD_SITE="data dog")

    assert 1 == len(config.problems)
    assert (
        "LAMBDASCOPE_DESTINATION datadog: https://otlp.data dog names no host"
        in (config.problems[0])
    )
    assert KEY not in config.problems[0]


@pytest.mark.parametrize(
    ("name", "variables", "header", "found"),
    [
        ("datadog", {"DD_API_KEY_SECRET_ARN": ARN}, "dd-api-key", (ARN, "value", b"")),
        ("datadog", {"DD_KMS_API_KEY": "AQ=="}, "dd-api-key", ("AQ==", "kms", b"")),
        ("honeycomb", {"HONEYCOMB_API_KEY": ARN}, "x-honeycomb-team", (ARN, "value", b"")),
        (
            "newrelic",
            {"NEW_RELIC_LICENSE_KEY_SECRET": "NEW_RELIC_LICENSE_KEY"},
            "api-key",
            ("NEW_RELIC_LICENSE_KEY#LicenseKey", "value", b""),
        ),
        (
            "newrelic",
            {"NEW_RELIC_LICENSE_KEY_SSM_PARAMETER_NAME": "/nr"},
            "api-key",
            ("/nr", "parameter", b""),
        ),
        (
            "grafana",
            {**GRAFANA, "GRAFANA_CLOUD_API_KEY": ARN},
            "authorization",
            (ARN, "basic", b"123:"),
        ),
        (
            "dash0",
            {"DASH0_ENDPOINT": "https://d", "DASH0_AUTH_TOKEN": ARN},
            "authorization",
            (ARN, "value", b"Bearer "),
        ),
    ],
)
def test_keys_in_stores(
    name: str, variables: dict[str, str], header: str, found: tuple[str, str, bytes]
) -> None:
    """The vendors' variables for stored keys, and ARNs in their others, are references."""
    [config] = read(name, **variables)

    for one in config.destinations.values():
        secret = one.secrets[header]
        assert found == (secret.reference, secret.how, secret.prefix)
        assert header not in one.headers


def test_own_variables_win() -> None:
    """Another endpoint and more headers can be said for each destination."""
    [config] = read(
        "datadog",
        DD_API_KEY=KEY,
        LAMBDASCOPE_DATADOG_ENDPOINT="http://relay:8080/dd/",
        LAMBDASCOPE_DATADOG_HEADERS="dd-otel-span-mapping=%7B%7D,DD-API-KEY=mine",
        OTEL_EXPORTER_OTLP_COMPRESSION="none",
        OTEL_EXPORTER_OTLP_TIMEOUT="3",
    )
    one = config.destinations["logs"]

    assert ("http://relay:8080/dd/v1/logs", False, 3.0) == (one.url, one.gzip, one.timeout_s)
    assert {"dd-otel-span-mapping": b"{}", "dd-api-key": b"mine"} == one.headers


def test_several() -> None:
    """Each name makes a destination of its own, and the standard variables are `otlp`'s alone."""
    variables = {
        "DD_API_KEY": KEY,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-own=secret",
    }
    datadog, otlp = read("Datadog, OTLP datadog", **variables)

    assert (["datadog", "otlp"], []) == ([datadog.name, otlp.name], datadog.problems)
    assert (False, True) == tuple(one.destinations["traces"].is_grpc for one in (datadog, otlp))
    assert "x-own" not in datadog.destinations["traces"].headers


def test_unknown_names() -> None:
    """A name that is not known is said with those that are; alone it makes no destination."""
    [config] = read("splunk", OTEL_EXPORTER_OTLP_ENDPOINT="http://c:4318")
    two = read("splunk,honeycomb", HONEYCOMB_API_KEY=KEY)

    assert {} == config.destinations
    assert "'splunk' is not known, left out: use some of datadog, " in config.problems[0]
    assert ["honeycomb"] == [one.name for one in two]
    assert 1 == len(two[0].problems)


def test_endpoint_that_is_not_used() -> None:
    """A standard endpoint beside a preset goes nowhere, and that is said with what to do."""
    [config] = read("datadog", DD_API_KEY=KEY, OTEL_EXPORTER_OTLP_ENDPOINT="http://c:4318")

    assert 1 == len(config.problems)
    assert "add otlp to that, or say with LAMBDASCOPE_DATADOG_ENDPOINT" in config.problems[0]


def test_endpoint_that_is_for_a_stock_sdk() -> None:
    """A standard endpoint that is the extension itself only tells an SDK where that is."""
    [config] = read("datadog", DD_API_KEY=KEY, OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:4318")
    assert [] == config.problems
    own = {"LAMBDASCOPE_OTLP_ENDPOINT": "http://c:1"}
    [config, other] = read("datadog,otlp", DD_API_KEY=KEY, **own)
    assert ("otlp", "http://c:1/v1/traces") == (other.name, other.destinations["traces"].url)
    assert "datadoghq" in config.destinations["traces"].url
    [config] = read("datadog", DD_API_KEY=KEY, **own)
    assert [True] == [line.startswith("LAMBDASCOPE_OTLP_ENDPOINT") for line in config.problems]


@pytest.mark.parametrize(("name", "expected"), [("datadog", "delta"), ("honeycomb", "cumulative")])
def test_delta_where_nothing_else_is_taken(name: str, expected: str) -> None:
    """The platform's metrics are delta for a destination that refuses cumulative ones."""
    variable = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    environ = {"LAMBDASCOPE_DESTINATION": name, "DD_API_KEY": KEY, variable: "cumulative"}
    problems: list[str] = []
    found = platform_variables(environ, read_destinations(environ, own_port=1), problems)

    assert expected == found[variable]
    assert (expected == "delta") == bool(problems)
