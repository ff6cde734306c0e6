"""What the runtime reads from its environment."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from lambdascope.runtime.config import (
    XRAY_LINK,
    XRAY_PARENT,
    ConfigError,
    RuntimeConfig,
    percent_decode,
)

API = {"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001"}


def _make(argv: tuple[str, ...] = (), /, **environ: str) -> RuntimeConfig:
    return RuntimeConfig.from_env(API | environ, ["lambdascope", *argv])


def test_everything_lambda_sets() -> None:
    """Each variable of Lambda becomes a field, as text where AWS's context has text."""
    config = _make(
        _HANDLER="app.handler",
        LAMBDA_TASK_ROOT="/var/task",
        AWS_LAMBDA_FUNCTION_NAME="hello",
        AWS_LAMBDA_FUNCTION_VERSION="$LATEST",
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE="128",
        AWS_LAMBDA_LOG_GROUP_NAME="/aws/lambda/hello",
        AWS_LAMBDA_LOG_STREAM_NAME="2026/01/01/[$LATEST]abc",
        AWS_REGION="eu-central-1",
        AWS_LAMBDA_INITIALIZATION_TYPE="provisioned-concurrency",
        AWS_LAMBDA_LOG_FORMAT="JSON",
        AWS_LAMBDA_LOG_LEVEL="debug",
        _LAMBDA_TELEMETRY_LOG_FD="3",
    )

    assert vars(config) == {
        "handler": "app.handler",
        "keep_async_tasks": False,
        "max_concurrency": 1,
        "by_processes": False,
        "log_socket": "",
        "api_host": "127.0.0.1",
        "api_port": 9001,
        "task_root": "/var/task",
        "function_name": "hello",
        "function_version": "$LATEST",
        "memory_limit_in_mb": "128",
        "log_group_name": "/aws/lambda/hello",
        "log_stream_name": "2026/01/01/[$LATEST]abc",
        "region": "eu-central-1",
        "init_type": "provisioned-concurrency",
        "ensure_ascii": True,
        "json_logs": True,
        "exception_signal": "",
        "has_limits": False,
        "log_level": "DEBUG",
        "log_fd": 3,
        "problems": [],
        "record_spans": True,
        "time_imports": True,
        "hold_gc": True,
        "instruments": None,
        "instrument_index": "",
        "handoff_file": "",
        "wants_export": False,
        "propagators": ("tracecontext", "baggage"),
        "reads_xray": True,
        "sampler": None,
        "to_console": False,
        "xray_policy": XRAY_LINK,
        "service_name": "",
        "resource_attributes": {},
        "for_datadog": False,
    }


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("", None),
        (" ", None),
        ("none", ()),
        (" OFF ", ()),
        ("botocore, Requests,", ("botocore", "requests")),
    ],
)
def test_what_is_instrumented(text: str, chosen: tuple[str, ...] | None) -> None:
    """All that can be, nothing, or the named; nothing where no spans are recorded."""
    assert chosen == _make(LAMBDASCOPE_INSTRUMENT=text).instruments
    assert () == _make(LAMBDASCOPE_INSTRUMENT=text, OTEL_SDK_DISABLED="true").instruments


def test_handler_from_argument() -> None:
    """The first argument wins over _HANDLER; without both the handler is empty."""
    assert _make(("mine.handler",), _HANDLER="app.handler").handler == "mine.handler"
    assert _make(_HANDLER="app.handler").handler == "app.handler"
    assert _make().handler == ""


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:x", "127.0.0.1:0", ":9001", "host:70000", "\udcff:1"]
)
def test_bad_api_address(address: str) -> None:
    """Without an address of the Runtime API nothing can run: one line that names the variable."""
    with pytest.raises(ConfigError, match=r"^AWS_LAMBDA_RUNTIME_API") as caught:
        RuntimeConfig.from_env({"AWS_LAMBDA_RUNTIME_API": address}, ["lambdascope"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "escaped"),
    [
        ("AWS_Lambda_python3.11", True),
        ("AWS_Lambda_python3.12", False),
        ("AWS_Lambda_python3.15", False),
    ],
)
def test_escaping_by_the_image(environment: str, escaped: bool) -> None:
    """Text is escaped as AWS's client does in the same image."""
    assert escaped == _make(AWS_EXECUTION_ENV=environment).ensure_ascii


@pytest.mark.parametrize(
    ("environ", "recorded"),
    [
        ({}, True),
        ({"OTEL_SDK_DISABLED": "TRUE "}, False),
        ({"OTEL_SDK_DISABLED": "1"}, True),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": " None"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
    ],
)
def test_switching_off(environ: dict[str, str], recorded: bool) -> None:
    """The two standard switches stop the recording of spans, and the timing of imports with it."""
    config = _make(**environ)

    assert (recorded, recorded) == (config.record_spans, config.time_imports)


def test_own_switches() -> None:
    """LAMBDASCOPE_IMPORTS=0 and LAMBDASCOPE_INIT_GC=on switch one thing each."""
    config = _make(LAMBDASCOPE_IMPORTS="0", LAMBDASCOPE_INIT_GC="on")

    assert (True, False, False) == (config.record_spans, config.time_imports, config.hold_gc)


@pytest.mark.parametrize(
    ("environ", "policy"),
    [
        ({}, XRAY_LINK),
        ({"LAMBDASCOPE_XRAY": "Parent"}, XRAY_PARENT),
        ({"OTEL_PROPAGATORS": "tracecontext,xray-lambda"}, XRAY_PARENT),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://xray.eu-west-1.amazonaws.com"}, XRAY_PARENT),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example"}, XRAY_LINK),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "https://xray.eu-west-1.amazonaws.com",
                "LAMBDASCOPE_XRAY": "link",
            },
            XRAY_LINK,
        ),
        ({"LAMBDASCOPE_DESTINATION": "aws-logs, AWS-XRAY"}, XRAY_PARENT),
        ({"LAMBDASCOPE_DESTINATION": "aws-logs"}, XRAY_LINK),
        ({"LAMBDASCOPE_DESTINATION": "aws-xray,honeycomb"}, XRAY_LINK),
    ],
)
def test_xray_policy(environ: dict[str, str], policy: str) -> None:
    """The X-Ray header is the parent only where X-Ray is the backend, or where it is asked for."""
    assert policy == _make(**environ).xray_policy


def test_unknown_xray_policy_is_told() -> None:
    """A value that is not known is named, and the safe one is taken."""
    config = _make(LAMBDASCOPE_XRAY="always")

    assert XRAY_LINK == config.xray_policy
    assert [
        "LAMBDASCOPE_XRAY='always' is not known: use parent or link; link is taken"
    ] == config.problems


def test_resource_attributes() -> None:
    """Pairs are percent-decoded; what is no pair is left out and named."""
    config = _make(OTEL_RESOURCE_ATTRIBUTES="a=b, team=pay%20roll ,c=d=e,,nonsense,=x,\udcffk=%ff")

    assert config.resource_attributes == {
        "a": "b",
        "team": "pay roll",
        "c": "d=e",
        "\udcffk": "\ufffd",
    }
    assert config.problems == [
        "OTEL_RESOURCE_ATTRIBUTES: 'nonsense' is not key=value; left out",
        "OTEL_RESOURCE_ATTRIBUTES: '=x' is not key=value; left out",
    ]


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("a%20b", "a b"),
        ("%C3%A9", "é"),
        ("100%", "100%"),
        ("%+1%-1% 1%1", "%+1%-1% 1%1"),
        ("%zz%41", "%zzA"),
    ],
)
def test_percent_decoding(text: str, decoded: str) -> None:
    """Two hexadecimal digits after a % are a byte; anything else stays as it is."""
    assert decoded == percent_decode(text)


@given(st.lists(st.one_of(st.binary(), st.just(b"%"), st.just(b"%f"))).map(b"".join))
def test_percent_decoding_never_raises(raw: bytes) -> None:
    """Any bytes that an environment can hold are decoded to something."""
    assert isinstance(percent_decode(raw.decode("utf-8", "surrogateescape")), str)


@pytest.mark.parametrize("text", ["", "x", "-1", "1.0", "²"])
def test_log_descriptor_that_is_no_number(text: str) -> None:
    """A log descriptor is digits; anything else counts as not set."""
    assert _make(_LAMBDA_TELEMETRY_LOG_FD=text).log_fd is None


def test_endpoint_is_noticed() -> None:
    """Somebody who sets an OTLP endpoint wants an export."""
    assert _make(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://x").wants_export


@pytest.mark.parametrize(
    ("text", "expected", "reads_xray"),
    [
        ("", ("tracecontext", "baggage"), True),
        (" , ", ("tracecontext", "baggage"), True),
        ("b3,tracecontext", ("b3", "tracecontext"), False),
        ("TraceContext , xray, tracecontext", ("tracecontext", "xray"), True),
        ("baggage,xray-lambda", ("baggage", "xray-lambda"), True),
        ("tracecontext,none", (), False),
    ],
)
def test_propagators(text: str, expected: tuple[str, ...], reads_xray: bool) -> None:
    """OTEL_PROPAGATORS is a list in the order of its members, each once."""
    config = _make(OTEL_PROPAGATORS=text)

    assert (expected, reads_xray, []) == (config.propagators, config.reads_xray, config.problems)


def test_unknown_propagator() -> None:
    """One that is not known is left out and said."""
    config = _make(OTEL_PROPAGATORS="jaeger,b3")

    assert config.propagators == ("b3",)
    assert config.problems == [
        (
            "OTEL_PROPAGATORS: 'jaeger' is not known "
            "(tracecontext, baggage, b3, b3multi, xray, xray-lambda, none); left out"
        )
    ]


def test_datadog_among_the_destinations() -> None:
    """Datadog's own variables make resource attributes where it is a destination; OTEL_* win."""
    variables = {"DD_SERVICE": "shop", "DD_ENV": "prod", "DD_TAGS": "team:a,bad, x:1"}
    with_it = _make(
        LAMBDASCOPE_DESTINATION="otlp,datadog",
        OTEL_RESOURCE_ATTRIBUTES="team=b",
        **variables,
    )
    without = _make(LAMBDASCOPE_DESTINATION="otlp,datadogs", **variables)

    assert with_it.for_datadog
    assert {
        "service.name": "shop",
        "deployment.environment.name": "prod",
        "team": "b",
        "x": "1",
    } == with_it.resource_attributes
    assert (False, {}) == (without.for_datadog, without.resource_attributes)
