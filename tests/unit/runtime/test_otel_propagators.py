"""OTEL_PROPAGATORS in the function's OpenTelemetry, and what goes along with HTTP calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import DefaultSetter

from lambdascope.runtime.config import RuntimeConfig
from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.otel.propagators import InvocationHeader, XrayPropagator, choose
from lambdascope.runtime.otel.settings import hide_propagators
from lambdascope.runtime.telemetry import InvokeTimes
from lambdascope.runtime.trace_parent import TraceParent
from lambdascope.wire import names
from lambdascope.wire.runtime_api import Invocation

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE_ID = "5759e988bd862e3fe1be46a994272793"
HEADER = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1"
DEFAULT = ["TraceContextTextMapPropagator", "W3CBaggagePropagator"]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """The global propagators are put back."""
    before = propagate.get_global_textmap()
    yield
    propagate.set_global_textmap(before)


@pytest.fixture
def invocation() -> Iterator[InvokeTimes]:
    """The current invocation, with X-Ray's header."""
    headers = {names.REQUEST_ID.lower(): "id", names.TRACE_ID.lower(): HEADER}
    times = InvokeTimes(Invocation(headers=headers, body=b"{}"), 0)
    times.trace = TraceParent(HEADER, "link")
    token = current_invocation.set(times)
    yield times
    current_invocation.reset(token)
    current_invocation._latest = None


def in_span() -> Context:
    """A context with a span of the function's."""
    place = trace.SpanContext(
        0x11111111222222222222222222222222, 0x3333333333333333, False, trace.TraceFlags(1)
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(place), Context())


def chosen(text: str, said: list[str], **environ: str) -> list[str]:
    """The global propagators for the variable's text."""
    config = RuntimeConfig({"AWS_LAMBDA_RUNTIME_API": "x:1"} | environ, "")
    choose(propagate, text, config, said.append)
    made: Any = propagate.get_global_textmap()
    return [type(each).__name__ for each in made._propagators]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [*DEFAULT, "InvocationHeader"]),
        (" , ", [*DEFAULT, "InvocationHeader"]),
        ("tracecontext,baggage", DEFAULT),
        ("Baggage", DEFAULT[1:]),
        ("xray,tracecontext,xray-lambda", [DEFAULT[0], "XrayPropagator"]),
        ("xray", ["XrayPropagator"]),
        ("none", []),
        ("none,tracecontext", []),
    ],
)
def test_chosen_by_the_variable(text: str, expected: list[str]) -> None:
    """The named ones and no others; X-Ray's header goes along by default, and where it is named."""
    said: list[str] = []

    assert expected == chosen(text, said)
    assert [] == said


def test_where_nothing_is_recorded() -> None:
    """Without spans of ours OpenTelemetry's defaults are left alone."""
    assert DEFAULT == chosen("", [], OTEL_TRACES_EXPORTER="none")


def test_what_is_not_installed() -> None:
    """It is left out and said; the others work."""
    said: list[str] = []

    assert DEFAULT[:1] == chosen("jaeger,tracecontext", said)
    assert 1 == len(said)
    assert said[0].startswith("OTEL_PROPAGATORS: 'jaeger' cannot be used (ModuleNotFoundError")


def test_those_that_somebody_has_chosen() -> None:
    """Propagators that are not OpenTelemetry's default ones stay."""
    mine = CompositePropagator([])
    propagate.set_global_textmap(mine)

    assert [] == chosen("tracecontext", [])
    assert mine is propagate.get_global_textmap()


@pytest.mark.parametrize("text", [None, "b3"])
def test_hidden_for_a_while(text: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is hidden, and is afterwards what it was."""
    import os

    monkeypatch.delenv(names.ENV_PROPAGATORS, raising=False)
    if text is not None:
        monkeypatch.setenv(names.ENV_PROPAGATORS, text)
    restore = hide_propagators()

    assert names.ENV_PROPAGATORS not in os.environ
    restore()
    assert text == os.environ.get(names.ENV_PROPAGATORS)


def test_the_invocations_header(invocation: InvokeTimes) -> None:
    """It goes into the headers of a request once, and not into a message's attributes."""

    class Message(DefaultSetter):
        """As instrumentors of queues have them."""

    request: dict[str, str] = {}
    theirs = {"X-Amzn-Trace-Id": "theirs"}
    message: dict[str, str] = {}
    InvocationHeader().inject(request, in_span())
    InvocationHeader().inject(theirs, in_span())
    InvocationHeader().inject(message, in_span(), Message())

    assert {"X-Amzn-Trace-Id": HEADER} == request
    assert {"X-Amzn-Trace-Id": "theirs"} == theirs
    assert {} == message
    assert set() == InvocationHeader().fields


def test_before_the_first_invocation() -> None:
    """There is no header to pass on."""
    request: dict[str, str] = {}
    InvocationHeader().inject(request, in_span())

    assert {} == request


def test_xray_by_name(invocation: InvokeTimes) -> None:
    """The current span in X-Ray's form, with the invocation's Lineage."""
    request: dict[str, str] = {}
    XrayPropagator(takes_invocation=False).inject(request, in_span())
    XrayPropagator(takes_invocation=False).inject(request, Context())

    root = "1-11111111-222222222222222222222222"
    expected = f"Root={root};Parent=3333333333333333;Sampled=1;Lineage=a:1"
    assert {"X-Amzn-Trace-Id": expected} == request


@pytest.mark.parametrize("name", ["X-Amzn-Trace-Id", "x-amzn-trace-id"])
def test_xray_is_read(name: str) -> None:
    """A carrier's header becomes the remote parent; a malformed one does not."""
    propagator = XrayPropagator(takes_invocation=False)
    found = trace.get_current_span(propagator.extract({name: HEADER}, Context()))

    assert TRACE_ID == f"{found.get_span_context().trace_id:032x}"
    assert found.get_span_context().is_remote
    assert {} == propagator.extract({name: "Root=1-x"}, Context())


def test_the_invocation_is_a_parent_only_where_asked(invocation: InvokeTimes) -> None:
    """`xray-lambda` takes the invocation's header where there is no other parent."""
    lambdas = XrayPropagator(takes_invocation=True)
    found = trace.get_current_span(lambdas.extract({}, Context())).get_span_context()
    kept = trace.get_current_span(lambdas.extract({}, in_span())).get_span_context()

    assert TRACE_ID == f"{found.trace_id:032x}"
    assert 0x3333333333333333 == kept.span_id
    assert {} == XrayPropagator(takes_invocation=False).extract({}, Context())
