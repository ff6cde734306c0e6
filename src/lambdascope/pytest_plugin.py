"""Fixtures for pytest, there as soon as lambdascope is installed beside it.

`lambda_context`: makes contexts, the same arguments as `make_context`. `lambda_function`: makes a
`Function` of a handler. `lambda_spans`: the spans that end in the test, in memory, from whatever
tracer; it needs the OpenTelemetry SDK.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lambdascope.runtime.context import LambdaContext
    from lambdascope.testing import Function, RecordedSpans


class _Switch:
    """The one processor of the session: hands spans to the test that is running."""

    def __init__(self) -> None:
        self.spans: RecordedSpans | None = None

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """See the SDK's SpanProcessor."""

    def _on_ending(self, span: Any) -> None:
        """See the SDK's SpanProcessor."""

    def on_end(self, span: Any) -> None:
        if self.spans is not None:
            self.spans.append(span)

    def shutdown(self) -> None:
        """See the SDK's SpanProcessor."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held."""
        return True


@pytest.fixture
def lambda_context() -> Callable[..., LambdaContext]:
    """Makes contexts: `lambda_context(remaining_s=1.5)`."""
    from lambdascope.testing import make_context

    return make_context


@pytest.fixture
def lambda_function(request: pytest.FixtureRequest) -> Callable[..., Function]:
    """Makes functions: `lambda_function(handler).invoke(event)`.

    Their spans are those of `lambda_spans`, where the test has that too.
    """
    from lambdascope.testing import Function

    if "lambda_spans" in request.fixturenames:
        return partial(Function, spans=request.getfixturevalue("lambda_spans"))
    return Function


@pytest.fixture
def lambda_spans(_lambda_span_switch: _Switch) -> Iterator[RecordedSpans]:
    """The spans that end while the test runs."""
    from lambdascope.testing import RecordedSpans

    _lambda_span_switch.spans = spans = RecordedSpans()
    yield spans
    _lambda_span_switch.spans = None


@pytest.fixture(scope="session")
def _lambda_span_switch() -> _Switch:
    """One for the session: tracers keep the provider that they have first met."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider: Any = trace.get_tracer_provider()
    if not hasattr(provider, "add_span_processor"):
        provider = TracerProvider(shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    switch = _Switch()
    provider.add_span_processor(switch)
    return switch
