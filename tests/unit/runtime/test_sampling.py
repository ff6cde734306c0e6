"""OTEL_TRACES_SAMPLER decides for the invoke span what the SDK decides for the spans below."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import sampling as sdk

from lambdascope.runtime.config import XRAY_LINK
from lambdascope.runtime.sampling import KNOWN, read_sampler, settle
from lambdascope.runtime.trace_parent import TraceParent
from unit.runtime.kit import make_config

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

RATIO = 0.3
THEIRS: dict[str, Sampler] = {
    "always_on": sdk.ALWAYS_ON,
    "always_off": sdk.ALWAYS_OFF,
    "traceidratio": sdk.TraceIdRatioBased(RATIO),
    "parentbased_always_on": sdk.ParentBased(sdk.ALWAYS_ON),
    "parentbased_always_off": sdk.ParentBased(sdk.ALWAYS_OFF),
    "parentbased_traceidratio": sdk.ParentBased(sdk.TraceIdRatioBased(RATIO)),
}


def place(trace_id: bytes, *, sampled: bool | None) -> TraceParent:
    """The place of an invocation in a trace; `sampled` is None for one without a parent."""
    made = TraceParent(None, XRAY_LINK)
    made.trace_id, made.sampled = trace_id, sampled
    made.parent_span_id = b"" if sampled is None else b"\1" * 8
    return made


@given(
    name=st.sampled_from(KNOWN),
    trace_id=st.binary(min_size=16, max_size=16).filter(any),
    sampled=st.sampled_from([None, True, False]),
)
def test_decisions_are_the_sdks(name: str, trace_id: bytes, sampled: bool | None) -> None:
    """For every sampler, trace id and parent."""
    number = int.from_bytes(trace_id, "big")
    context = None
    if sampled is not None:
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if sampled else 0)
        remote = trace.SpanContext(number, 1, is_remote=True, trace_flags=flags)
        context = trace.set_span_in_context(trace.NonRecordingSpan(remote))

    theirs = THEIRS[name].should_sample(context, number, "span").decision.is_sampled()
    ours = read_sampler(name, str(RATIO), [])

    assert theirs == ours(place(trace_id, sampled=sampled))


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER='jaeger_remote'"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "x"}, "ARG='x'"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}, "ARG='2'"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER='zipkin'"),
        ({"OTEL_CONFIG_FILE": "/x.yaml"}, "OTEL_CONFIG_FILE has no effect"),
        ({"OTEL_BSP_SCHEDULE_DELAY": "1"}, "OTEL_BSP_SCHEDULE_DELAY has no effect"),
        ({"OTEL_TRACE_SAMPLER": "always_on"}, "OTEL_TRACE_SAMPLER is not a variable"),
    ],
)
def test_what_cannot_be_used_is_said(variables: dict[str, str], said: str) -> None:
    """In one line that names the variable."""
    (line,) = make_config(**variables).problems

    assert said in line


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_TRACES_SAMPLER": ""},
        {"OTEL_TRACES_SAMPLER": "Always_On", "OTEL_TRACES_EXPORTER": "OTLP"},
        {"OTEL_SPAN_EVENT_COUNT_LIMIT": "5", "OTEL_PYTHON_LOG_CORRELATION": "true"},
        {"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "5", "OTEL_SEMCONV_STABILITY_OPT_IN": "http"},
    ],
)
def test_what_can_be_used_is_not(variables: dict[str, str]) -> None:
    """Standard variables with good values are not spoken of."""
    assert [] == make_config(**variables).problems


def test_a_ratio_that_is_none_records_everything() -> None:
    """The default of the argument is taken."""
    sampler = read_sampler("traceidratio", "many", [])

    assert sampler(place(b"\xff" * 16, sampled=None))


@pytest.mark.parametrize(
    ("sampler", "argument", "settled"),
    [
        ("traceidratio", "0.5", ["traceidratio", "0.5"]),
        (" TraceIdRatio", "2", [" TraceIdRatio", "1"]),
        ("parentbased_traceidratio", None, ["parentbased_traceidratio", "1"]),
        ("xray", "endpoint=http://localhost:2000", ["parentbased_always_on", "endpoint=http"]),
        (None, None, [None, None]),
    ],
)
def test_what_the_sdk_gets_to_read(
    sampler: str | None, argument: str | None, settled: list[str | None]
) -> None:
    """The environment has what is taken, so that the SDK has nothing to complain of."""
    given = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    environ = {name: value for name, value in given.items() if value is not None}
    settle(environ)

    found = [environ.get(name) for name in given]
    assert settled == [value and value.partition("://")[0] for value in found]
