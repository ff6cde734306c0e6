"""Where telemetry goes: the standard variables, their traps, and what is said about mistakes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.wire import names
from lambdascope_extension.export_config import (
    ExportConfig,
    parse_headers,
    read_export_config,
)

BASE = "OTEL_EXPORTER_OTLP_"
OWN_PORT = 4318


def read(**variables: str) -> ExportConfig:
    """The configuration for variables without their common prefix."""
    environ = {f"{BASE}{name}": value for name, value in variables.items()}
    return read_export_config(
        environ, own_port=OWN_PORT, is_readable=lambda path: "missing" not in path
    )


def urls(config: ExportConfig) -> dict[str, str]:
    """The URL of each signal that has one."""
    return {signal: one.url for signal, one in config.destinations.items()}


def test_general_endpoint_is_a_base() -> None:
    """The general endpoint gets the path of each signal, whether it ends with a slash or not."""
    for endpoint in ("http://collector:4318/otlp", "HTTP://collector:4318/otlp/"):
        assert {
            "traces": "http://collector:4318/otlp/v1/traces",
            "metrics": "http://collector:4318/otlp/v1/metrics",
            "logs": "http://collector:4318/otlp/v1/logs",
        } == urls(read(ENDPOINT=endpoint))


def test_own_endpoint_is_used_as_it_is() -> None:
    """A signal's own endpoint wins and gets nothing added but a missing slash."""
    config = read(
        ENDPOINT="https://all.example",
        TRACES_ENDPOINT="http://traces.example:1/x",
        LOGS_ENDPOINT="http://logs.example",
    )
    assert {
        "traces": "http://traces.example:1/x",
        "metrics": "https://all.example/v1/metrics",
        "logs": "http://logs.example/",
    } == urls(config)
    assert [] == config.problems


@pytest.mark.parametrize("variables", [{}, {"ENDPOINT": ""}, {"ENDPOINT": " "}])
def test_no_endpoint(variables: dict[str, str]) -> None:
    """Without an endpoint everything is dropped for that reason, and one line says so."""
    config = read(**variables)
    assert dict.fromkeys(("traces", "metrics", "logs"), "no_endpoint") == config.reasons
    assert [True] == ["no OTEL_EXPORTER_OTLP_ENDPOINT" in line for line in config.problems]


def test_endpoint_for_one_signal_only() -> None:
    """Who sends only traces on purpose is not told about the other signals."""
    config = read(TRACES_ENDPOINT="http://traces.example/v1/traces")
    assert ({"metrics": "no_endpoint", "logs": "no_endpoint"}, []) == (
        config.reasons,
        config.problems,
    )


@pytest.mark.parametrize(
    "endpoint",
    [
        "collector:4318",
        "grpc://collector:4317",
        "http://",
        "http://:4318",
        "http://host:port",
        "http://host:99999",
        "http://[::1",
        "http://a b",
    ],
)
def test_wrong_endpoint(endpoint: str) -> None:
    """An endpoint that cannot be one is named with its variable, and nothing is sent."""
    config = read(ENDPOINT=endpoint)
    assert dict.fromkeys(("traces", "metrics", "logs"), "config") == config.reasons
    assert all(line.startswith(f"{BASE}ENDPOINT ") for line in config.problems)
    assert 1 == len(config.problems)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://localhost:4318",
        "http://127.0.0.1:4318/",
        "http://127.1.2.3:4318",
        "http://[::1]:4318",
        "http://user:secret@localhost:4318",
    ],
)
def test_own_receiver_is_no_destination(endpoint: str) -> None:
    """An endpoint that is the extension itself would send telemetry round in a circle."""
    config = read(ENDPOINT=endpoint)
    assert "config" == config.reasons["traces"]
    assert [True] == ["circle" in line for line in config.problems]
    assert names.ENV_EXTENSION_ENDPOINT in config.problems[0]
    assert "secret" not in config.problems[0]


def test_endpoint_for_the_extension_alone() -> None:
    """It wins over all standard endpoints, which a stock SDK in the function has for itself."""
    config = read_export_config(
        {
            names.ENV_EXTENSION_ENDPOINT: "https://c:1/base/",
            f"{BASE}ENDPOINT": f"http://localhost:{OWN_PORT}",
            f"{BASE}LOGS_ENDPOINT": f"http://localhost:{OWN_PORT}/v1/logs",
            f"{BASE}PROTOCOL": "http/json",
            f"{BASE}HEADERS": "a=b",
        },
        own_port=OWN_PORT,
    )
    assert [] == config.problems
    assert {
        "traces": "https://c:1/base/v1/traces",
        "metrics": "https://c:1/base/v1/metrics",
        "logs": "https://c:1/base/v1/logs",
    } == urls(config)
    assert {"a": b"b"} == config.destinations["logs"].headers


def test_endpoint_for_the_extension_may_not_be_the_extension() -> None:
    """It is refused like any other, by its own name."""
    own = f"http://localhost:{OWN_PORT}"
    config = read_export_config({names.ENV_EXTENSION_ENDPOINT: own}, own_port=OWN_PORT)
    assert {} == config.destinations
    assert [True] == [line.startswith(names.ENV_EXTENSION_ENDPOINT) for line in config.problems]


@pytest.mark.parametrize(
    "endpoint", ["http://localhost:4319", "http://collector:4318", "http://127.example:4318"]
)
def test_neighbours_are_destinations(endpoint: str) -> None:
    """Another port, or the same port on another host, is somebody else."""
    assert [] == read(ENDPOINT=endpoint).problems


@pytest.mark.parametrize("protocol", ["thrift", "http/json"])
def test_other_protocols_are_refused(protocol: str) -> None:
    """Only OTLP over HTTP with protobuf is sent; nothing else is pretended."""
    config = read(ENDPOINT="http://collector:4317", TRACES_PROTOCOL=protocol)
    assert {"traces": "config"} == config.reasons
    assert [True] == [f"{BASE}TRACES_PROTOCOL {protocol!r}" in line for line in config.problems]
    assert not read(ENDPOINT="http://c:4318", PROTOCOL="http/protobuf").problems


def test_credentials_in_the_url_become_a_header() -> None:
    """User and password never stand in a URL that could be printed."""
    config = read(ENDPOINT="https://user:p%40ss@collector/x?key=secret")
    traces = config.destinations["traces"]
    assert b"Basic dXNlcjpwQHNz" == traces.headers["authorization"]
    assert "https://collector/x" == traces.shown.removesuffix("/v1/traces")


def test_headers() -> None:
    """Headers are percent-decoded, and a signal's own replace the general ones."""
    config = read(
        ENDPOINT="http://c:1",
        HEADERS="Api-Key=a%20b%2Cc, x-two = 2,,x-eq=a=b",
        LOGS_HEADERS="other=%zz%C3%A9",
    )
    assert {"api-key": b"a b,c", "x-two": b"2", "x-eq": b"a=b"} == config.destinations[
        "traces"
    ].headers
    assert {"other": b"%zz\xc3\xa9"} == config.destinations["logs"].headers


@pytest.mark.parametrize("headers", ["secretvalue", "a b=secretvalue", "k=secretvalue%0d%0aX: y"])
def test_wrong_headers_are_left_out_unseen(headers: str) -> None:
    """A header that cannot be sent is reported without its value."""
    config = read(ENDPOINT="http://c:1", HEADERS=f"good=1,{headers}")
    assert {"good": b"1"} == config.destinations["traces"].headers
    assert [True] == ["1 of its entries left out" in line for line in config.problems]
    assert "secretvalue" not in "".join(config.problems)


@given(text=st.text())
def test_any_header_text_gives_legal_headers(text: str) -> None:
    """No text makes a header that would break a request."""
    headers, _ = parse_headers(text)
    for name, value in headers.items():
        assert name == name.lower()
        assert name.isascii()
        assert not set(value) & set(range(32)) | {127} & set(value)


@pytest.mark.parametrize(
    ("timeout", "seconds", "lines"),
    [("2.5", 2.5, 0), ("", 10.0, 0), ("2500", 2.5, 1), ("1000", 1.0, 1), ("999", 999.0, 0)],
)
def test_timeout_unit(timeout: str, seconds: float, lines: int) -> None:
    """Seconds, as Python reads them; from 1000 on milliseconds, with a warning."""
    config = read(ENDPOINT="http://c:1", TIMEOUT=timeout)
    assert (seconds, lines) == (config.destinations["logs"].timeout_s, len(config.problems))


@pytest.mark.parametrize("timeout", ["x", "0", "-1", "nan", "inf"])
def test_wrong_timeout(timeout: str) -> None:
    """A time-out that is none gives the default and a line."""
    config = read(ENDPOINT="http://c:1", TIMEOUT=timeout)
    assert 10.0 == config.destinations["traces"].timeout_s
    assert 1 == len(config.problems)


@pytest.mark.parametrize(
    ("compression", "gzip", "lines"),
    [("gzip", True, 0), ("none", False, 0), ("", False, 0), ("zstd", False, 1)],
)
def test_compression(compression: str, gzip: bool, lines: int) -> None:
    """gzip or nothing; what is not known is sent plain."""
    config = read(ENDPOINT="http://c:1", COMPRESSION=compression)
    assert (gzip, lines) == (config.destinations["traces"].gzip, len(config.problems))


def test_certificates() -> None:
    """CA and client certificate go to the sender as it wants them."""
    config = read(
        ENDPOINT="https://c",
        CERTIFICATE="/ca.pem",
        CLIENT_CERTIFICATE="/cert.pem",
        CLIENT_KEY="/key.pem",
        LOGS_CLIENT_KEY="",
    )
    traces = config.destinations["traces"]
    assert ("/ca.pem", ("/cert.pem", "/key.pem")) == (traces.verify, traces.cert)
    both_in_one = read(ENDPOINT="https://c", CLIENT_CERTIFICATE="/both.pem")
    assert (True, "/both.pem") == (
        both_in_one.destinations["logs"].verify,
        both_in_one.destinations["logs"].cert,
    )


@pytest.mark.parametrize(
    "variables", [{"CERTIFICATE": "/missing"}, {"CLIENT_KEY": "/key.pem"}], ids=str
)
def test_unusable_certificates_stop_the_export(variables: dict[str, str]) -> None:
    """Without the certificate that was asked for nothing is sent, least of all unchecked."""
    config = read(ENDPOINT="https://c", **variables)
    assert {"config"} == set(config.reasons.values())
    assert 1 == len(config.problems)


@pytest.mark.parametrize(
    ("text", "hold_s", "lines"), [("", 0.5, 0), ("120", 0.12, 0), ("0", 0.0, 0), ("x", 0.5, 1)]
)
def test_hold_budget(text: str, hold_s: float, lines: int) -> None:
    """The longest hold after an invocation is the user's to say, in milliseconds."""
    config = read_export_config(
        {names.ENV_HOLD_BUDGET: text, f"{BASE}ENDPOINT": "http://c:1"}, own_port=OWN_PORT
    )
    assert (hold_s, lines) == (config.hold_s, len(config.problems))


def test_one_line_for_one_mistake() -> None:
    """A general variable is read for three signals and complained about once."""
    assert 1 == len(read(ENDPOINT="http://c:1", TIMEOUT="soon").problems)


@pytest.mark.parametrize(
    ("endpoint", "insecure", "url"),
    [
        ("http://collector:4317", "", "http://collector:4317"),
        ("https://collector:4317/ignored", "true", "https://collector:4317"),
        ("collector:4317", "", "https://collector:4317"),
        ("collector:4317", "true", "http://collector:4317"),
        ("collector", "True", "http://collector"),
    ],
)
def test_grpc(endpoint: str, insecure: str, url: str) -> None:
    """With gRPC the endpoint may lack a scheme, and a path in it does not count."""
    config = read(PROTOCOL="grpc", ENDPOINT=endpoint, INSECURE=insecure)

    assert {url} == set(urls(config).values())
    assert all(one.is_grpc and url == one.shown for one in config.destinations.values())


def test_headers_that_are_references() -> None:
    """A value whose last word is the ARN of a secret is kept as a reference, with what precedes."""
    secret = "arn:aws:secretsmanager:eu-west-1:1:secret:key-AbCdEf"
    parameter = "arn:aws-us-gov:ssm:us-gov-west-1:1:parameter/key"
    other = "arn:aws:sns:eu-west-1:1:topic"
    headers = f"authorization=Bearer%20{secret},x-key={parameter},x-topic={other}"
    found = read(ENDPOINT="http://c:4318", HEADERS=headers).destinations["traces"]

    assert {"x-topic": other.encode()} == found.headers
    assert {"authorization": (b"Bearer ", secret), "x-key": (b"", parameter)} == {
        name: (one.prefix, one.reference) for name, one in found.secrets.items()
    }
    assert found.needs_aws


def test_a_secret_with_all_headers() -> None:
    """One variable names a secret that holds the whole list of headers."""
    environ = {names.ENV_OTLP_ENDPOINT: "http://c:4318", names.ENV_HEADERS_SECRET: "arn:x"}
    found = read_export_config(environ, own_port=1).destinations["logs"]

    assert ("arn:x", "headers") == (found.secrets[""].reference, found.secrets[""].how)


def test_certificates_of_openssl() -> None:
    """SSL_CERT_FILE counts where OTEL_EXPORTER_OTLP_CERTIFICATE is not set."""
    environ = {names.ENV_OTLP_ENDPOINT: "https://c", names.ENV_SSL_CERT_FILE: "/ca.pem"}

    def verified(**more: str) -> object:
        config = read_export_config(environ | more, own_port=1, is_readable=lambda path: True)
        return config.destinations["traces"].verify

    assert ("/ca.pem", "/own.pem") == (
        verified(),
        verified(OTEL_EXPORTER_OTLP_CERTIFICATE="/own.pem"),
    )
