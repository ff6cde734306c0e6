"""The constants: unique where they must be, and well-formed for the place that they go to."""

from __future__ import annotations

import string
from collections import Counter

import pytest

from lambdascope.wire import names

VALUES = {name: value for name, value in vars(names).items() if name.isupper()}
TEXTS = {name: value for name, value in VALUES.items() if isinstance(value, str)}
HEADER_PREFIXES = ("Lambda-Runtime-", "Lambda-Extension-", "Lambdascope-")
TOKEN = set(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
# Prefixes, suffixes and versions are parts of the paths, not paths.
PARTS = {
    "RUNTIME_API_VERSION",
    "RUNTIME_BASE",
    "INVOCATION_PREFIX",
    "RESPONSE_SUFFIX",
    "ERROR_SUFFIX",
    "EXTENSION_BASE",
}


def group(*, prefix: str = "", suffix: str = "") -> dict[str, str]:
    """The texts whose constant's name begins or ends so."""
    return {
        name: value
        for name, value in TEXTS.items()
        if name.startswith(prefix) and name.endswith(suffix) and name not in PARTS
    }


HEADERS = {name: value for name, value in TEXTS.items() if value.startswith(HEADER_PREFIXES)}
# Paths of URLs; the one file is told by its name.
PATHS = {n: value for n, value in TEXTS.items() if value.startswith("/") and "FILE" not in n}
WHOLE_PATHS = {name: value for name, value in PATHS.items() if name not in PARTS}
ERROR_TYPES = {
    name: value
    for name, value in TEXTS.items()
    if value.partition(".")[0] in ("Runtime", "Function", "Sandbox", "Extension", "Telemetry")
}


@pytest.mark.parametrize(
    ("values", "at_least"),
    [
        pytest.param(HEADERS, 20, id="headers"),
        pytest.param(WHOLE_PATHS, 14, id="paths"),
        pytest.param(group(prefix="ENV_"), 20, id="environment variables"),
        pytest.param(ERROR_TYPES, 25, id="error types"),
        pytest.param(group(prefix="INIT_"), 4, id="initialization types"),
        pytest.param(group(prefix="EVENT_"), 2, id="events"),
        pytest.param(group(prefix="SHUTDOWN_"), 3, id="shutdown reasons"),
        pytest.param(group(prefix="CONTENT_TYPE_"), 2, id="content types"),
    ],
)
def test_no_value_stands_twice(values: dict[str, str], at_least: int) -> None:
    """Each header, path, variable and type has one constant, whatever its case."""
    assert len(values) >= at_least
    repeated = [value for value, n in Counter(map(str.lower, values.values())).items() if n > 1]
    assert repeated == []


@pytest.mark.parametrize("name", HEADERS)
def test_header_names_are_tokens(name: str) -> None:
    """A header name is made of ASCII token characters and written as AWS's server writes it."""
    value = HEADERS[name]
    assert set(value) <= TOKEN
    assert all(part[0].isupper() for part in value.split("-"))


@pytest.mark.parametrize("name", PATHS)
def test_paths_need_no_encoding(name: str) -> None:
    """A path can stand in a request line as it is."""
    assert set(PATHS[name]) <= set(string.ascii_letters + string.digits + "/-")
    assert "//" not in PATHS[name]


def test_parts_of_paths_belong_to_their_version() -> None:
    """Every path begins with the date that AWS gave its API."""
    runtime = f"/{names.RUNTIME_API_VERSION}/"
    for name, path in WHOLE_PATHS.items():
        if name == "CREDENTIALS_PATH":
            assert path.startswith("/2021-04-23/")
        elif name in {"TRACES_PATH", "METRICS_PATH", "LOGS_SIGNAL_PATH"}:
            assert path.startswith("/v1/")
        elif name == "HELLO_PATH":
            assert path.startswith("/lambdascope/v1/")
        elif name.startswith("EXTENSION_"):
            assert path.startswith(names.EXTENSION_BASE + "/")
        elif name in {"TELEMETRY_PATH", "LOGS_PATH"}:
            assert path.split("/")[1] in {"2022-07-01", "2020-08-15"}
        else:
            assert path.startswith(runtime)
    assert names.NEXT_PATH.startswith(names.INVOCATION_PREFIX)
    assert names.INVOCATION_PREFIX.startswith(names.RUNTIME_BASE + "/")


def test_the_prefix_of_the_handoff() -> None:
    """Our own headers are told by their prefix, which is in lower case as parsed names are."""
    own = [value for value in HEADERS.values() if value.startswith("Lambdascope-")]
    assert own == [
        names.HANDOFF_TOKEN,
        names.HANDOFF_REQUEST_ID,
        names.HANDOFF_DONE,
        names.BATCH_ID,
    ]
    assert all(value.lower().startswith(names.HANDOFF_HEADER_PREFIX) for value in own)


def test_environment_variables_are_names() -> None:
    """Upper case, digits and underscores; each begins with AWS's, OpenTelemetry's or our prefix."""
    for name, value in group(prefix="ENV_").items():
        assert set(value) <= set(string.ascii_uppercase + string.digits + "_"), name
        prefixes = ("AWS_", "LAMBDA_", "_", "LAMBDASCOPE_", "OTEL_", "DD_")
        assert value.startswith(prefixes) or name == "ENV_SSL_CERT_FILE", name


def test_limits() -> None:
    """The limits are those that AWS documents."""
    assert names.MAX_PAYLOAD_BYTES == 6_291_556
    assert names.TELEMETRY_MAX_ITEMS == (1000, 10000, 10000)
    assert names.TELEMETRY_MAX_BYTES == (262_144, 1_048_576, 262_144)
    assert names.TELEMETRY_TIMEOUT_MS == (25, 30_000, 1_000)
    assert names.TELEMETRY_SCHEMA_VERSION in names.TELEMETRY_SCHEMA_VERSIONS
    assert (
        names.INIT_TIMEOUT_MS,
        names.SHUTDOWN_BUDGET_MS,
        names.SHUTDOWN_BUDGET_INTERNAL_MS,
    ) == (10_000, 2_000, 500)
    assert names.SHUTDOWN_RUNTIME_SHARE_MS < names.SHUTDOWN_BUDGET_MS
