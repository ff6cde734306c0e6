"""The shortcut for healthy warm invocations writes what the general way writes, byte for byte."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.clock import Clock
from lambdascope.runtime import healthy_spans, phases
from lambdascope.runtime.init_phase import InitPhase
from lambdascope.runtime.trace_parent import TraceParent
from unit.runtime.kit import TRACE, make_config, make_invocation, make_times

MS = 1_000_000
ROOT = TRACE.partition(";")[0]
HEADERS = [
    TRACE,
    TRACE.replace("Sampled=1", "Sampled=0"),
    ROOT,
    f"{ROOT};Sampled=1",
    f"{TRACE};Lineage=a:1",
]


def warm(policy: str) -> phases.Phases:
    """The phases of an environment whose first invocation is over."""
    now = time.monotonic_ns()
    init = InitPhase(function_name="hello", init_type="on-demand", entered_ns=now, cpu_ns=0)
    init.ended_ns = now
    made = phases.Phases(make_config(LAMBDASCOPE_XRAY=policy), Clock(), init)
    times = make_times(make_invocation())
    times.returned_ns = times.reported_ns = times.received_ns
    made.finished(times, None)
    return made


@given(
    header=st.sampled_from(HEADERS),
    policy=st.sampled_from(["link", "parent"]),
    size=st.integers(0, 7_000_000),
    took_ms=st.integers(0, 900_000),
    status=st.sampled_from([202, 0, 413]),
    trigger=st.sampled_from(["http", "other", "pubsub"]),
    request_id=st.text("0123456789abcdef-", min_size=1, max_size=64),
)
def test_both_ways_write_the_same(
    header: str,
    policy: str,
    size: int,
    took_ms: int,
    status: int,
    trigger: str,
    request_id: str,
) -> None:
    """Whatever a healthy invocation looks like, its bytes do not depend on the way."""
    made = warm(policy)
    headers = {"lambda_runtime_trace_id": header, "lambda_runtime_aws_request_id": request_id}
    times = make_times(make_invocation(**headers))
    times.entered_ns = times.received_ns + MS
    times.returned_ns = times.entered_ns + took_ms * MS
    times.reported_ns = times.returned_ns + MS
    times.response_size, times.status_code, times.trigger = size, status, trigger
    parent = TraceParent(header, policy)
    assert healthy_spans.fits(times, parent)

    short = made._healthy_body(times, parent)
    invoke = made._invoke_span(times, parent, None)
    general = made._encoder.encode([invoke, made._report_span(times, parent, failed=False)])

    assert general == short


@pytest.mark.parametrize(
    "headers",
    [
        {"lambda_runtime_trace_id": ""},
        {"lambda_runtime_trace_id": "Self=1"},
        {"lambda_runtime_aws_tenant_id": "t", "lambda_runtime_trace_id": TRACE},
        {"lambda_runtime_aws_request_id": "x" * 65, "lambda_runtime_trace_id": TRACE},
    ],
)
def test_what_does_not_fit_goes_the_general_way(headers: dict[str, str]) -> None:
    """An invocation with more, or less, than the shortcut writes is not for it."""
    times = make_times(make_invocation(**headers))
    parent = TraceParent(times.invocation.trace_id, "link")

    assert not healthy_spans.fits(times, parent)
