"""What calls carry along, by the invocation's place in a trace."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.outbound import AwsCalls, Place, xray_header
from lambdascope.runtime.telemetry import InvokeTimes
from lambdascope.runtime.trace_parent import TraceParent
from lambdascope.wire import names
from lambdascope.wire.runtime_api import Invocation

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = "1-5759e988-bd862e3fe1be46a994272793"
HEADER = f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1|b:2"
TRACE_ID = "5759e988bd862e3fe1be46a994272793"


def invoked(
    header: str | None = HEADER, policy: str = "link", *, spans: bool = True
) -> InvokeTimes:
    """An invocation that has just begun."""
    headers = {names.REQUEST_ID.lower(): "id", names.TRACE_ID.lower(): header or ""}
    invocation = Invocation(headers=headers, body=b"{}")
    times = InvokeTimes(invocation, 0)
    if spans:
        times.trace = TraceParent(header, policy)
    return times


def place(trace_id: str = TRACE_ID, *, sampled: bool = True) -> Place:
    """A span of the function's."""
    return Place(trace_id, "00f067aa0ba902b7", sampled=sampled, trace_state="")


@pytest.fixture
def handlers() -> ModuleType:
    """Stands for botocore.handlers, with one handler of its own."""
    module = ModuleType("handlers")
    module.BUILTIN_HANDLERS = [("before-call", None)]  # type: ignore[attr-defined]
    return module


@pytest.fixture
def times() -> Iterator[InvokeTimes]:
    """The current invocation."""
    begun = invoked()
    token = current_invocation.set(begun)
    yield begun
    current_invocation.reset(token)
    current_invocation._latest = None


class Request:
    """Stands for what botocore sends."""

    def __init__(self, **headers: str) -> None:
        self.headers: dict[str, Any] = headers


def test_a_linked_header_is_passed_on_as_it_is() -> None:
    """Where the trace is not X-Ray's, its header keeps its own parent."""
    assert HEADER == xray_header(invoked(), place())


def test_a_parent_header_names_the_span() -> None:
    """Where the trace is X-Ray's, the parent is the current span, and Lineage is kept."""
    assert f"Root={ROOT};Parent=00f067aa0ba902b7;Sampled=1;Lineage=a:1|b:2" == xray_header(
        invoked(policy="parent"), place()
    )


@pytest.mark.parametrize("other", [place("1" * 32), place(sampled=False), None])
def test_spans_that_xray_does_not_know(other: Place | None) -> None:
    """One of another trace, one that is not recorded, or none: the header stays as it is."""
    assert HEADER == xray_header(invoked(policy="parent"), other)


@pytest.mark.parametrize(("header", "sent"), [(None, ""), ("", ""), ("a\r\nb", ""), ("ä", "")])
def test_headers_that_cannot_be_sent(header: str | None, sent: str) -> None:
    """None is made up, and none that would break a request is passed on."""
    assert sent == xray_header(invoked(header), place())
    assert sent == xray_header(invoked(header, spans=False), None)


def test_aws_calls(handlers: ModuleType, times: InvokeTimes) -> None:
    """Both headers are set, ours before botocore's own handler, quoted as botocore does."""
    AwsCalls(w3c=True).join(handlers)
    (call, before), own, (send, after) = handlers.BUILTIN_HANDLERS
    params: dict[str, Any] = {"headers": {}}
    request = Request()
    before(params=params, model=None)
    assert after(request=request) is None

    assert ("before-call", "before-send", ("before-call", None)) == (call, send, own)
    assert {"X-Amzn-Trace-Id": HEADER.replace("|", "%7C")} == params["headers"]
    assert times.trace is not None
    trace_id, span_id = times.trace.hex_ids()
    assert {"traceparent": f"00-{trace_id}-{span_id}-01"} == request.headers


def test_what_is_there_stays(handlers: ModuleType, times: InvokeTimes) -> None:
    """Headers that somebody else has set are not touched."""
    AwsCalls(w3c=True).join(handlers)
    (_, before), _, (_, after) = handlers.BUILTIN_HANDLERS
    params = {"headers": {"X-Amzn-Trace-Id": "theirs"}}
    request = Request(traceparent="theirs")
    before(params=params)
    after(request=request)

    assert {"headers": {"X-Amzn-Trace-Id": "theirs"}} == params
    assert {"traceparent": "theirs"} == request.headers


def test_the_state_of_the_trace_goes_with_it(handlers: ModuleType, times: InvokeTimes) -> None:
    """The sender's tracestate is passed on beside traceparent."""
    assert times.trace is not None
    times.trace.trace_state = "vendor=1"
    AwsCalls(w3c=True).join(handlers)
    request = Request()
    handlers.BUILTIN_HANDLERS[-1][1](request=request)

    assert "vendor=1" == request.headers["tracestate"]


def test_without_w3c(handlers: ModuleType) -> None:
    """OTEL_PROPAGATORS without tracecontext leaves traceparent out."""
    AwsCalls(w3c=False).join(handlers)

    assert ["before-call", "before-call"] == [name for name, _ in handlers.BUILTIN_HANDLERS]


def test_before_the_first_invocation(handlers: ModuleType) -> None:
    """Calls in init carry nothing."""
    AwsCalls(w3c=True).join(handlers)
    params: dict[str, Any] = {"headers": {}}
    request = Request()
    handlers.BUILTIN_HANDLERS[0][1](params=params)
    handlers.BUILTIN_HANDLERS[-1][1](request=request)

    assert ({}, {}) == (params["headers"], request.headers)


def test_a_call_never_fails_for_it(
    handlers: ModuleType, times: InvokeTimes, capsys: pytest.CaptureFixture[str]
) -> None:
    """A botocore that is not as we know it is said once, and its calls go on."""
    AwsCalls(w3c=True).join(handlers)
    for _ in range(2):
        handlers.BUILTIN_HANDLERS[0][1](params=None)
        handlers.BUILTIN_HANDLERS[-1][1](request=None)

    assert 1 == capsys.readouterr().err.count("lambdascope: AWS calls carry no trace context")
