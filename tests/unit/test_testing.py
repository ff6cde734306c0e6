"""What users test their handlers with: functions, contexts, spans, and the fixtures of pytest."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import StatusCode

import lambdascope
from lambdascope.testing import Function, make_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

# As a user writes it, with the fixtures that the installed package brings.
USERS_TESTS = """
import pytest
from opentelemetry import trace

tracer = trace.get_tracer("orders")

def handler(event, context):
    with tracer.start_as_current_span("work"):
        trace.get_current_span().set_attribute("order", event["order"])
    trace.get_current_span().set_attribute("customer", 7)
    return context.aws_request_id

@pytest.mark.parametrize("order", [1, 2])
def test_spans(lambda_function, lambda_spans, order):
    function = lambda_function(handler, name="shop")
    assert "id" == function.invoke({"order": order}, request_id="id")
    shop = lambda_spans.one("shop")
    (work,) = lambda_spans.children_of(shop)
    assert [("customer", 7)] == list(shop.attributes.items())
    assert order == work.attributes["order"]
    assert 2 == len(lambda_spans)

def test_context(lambda_context):
    assert 0 < lambda_context(remaining_s=1.5).get_remaining_time_in_millis() <= 1500
"""


def test_the_fixtures_of_pytest(tmp_path: Path) -> None:
    """They are there without any configuration, and each test has its own spans."""
    tmp_path.joinpath("test_users.py").write_text(USERS_TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)

    assert "3 passed" in done.stdout, done.stdout


def test_a_context_alone() -> None:
    """A context has the names, client context and deadline that it was asked to have."""
    context = make_context(
        function_name="shop", remaining_s=5, client_context={"custom": {"a": 1}}, tenant_id="t"
    )

    assert ("shop", "t") == (context.function_name, context.tenant_id)
    assert context.client_context is not None
    assert {"a": 1} == context.client_context.custom
    assert 4 < context.remaining() <= 5
    with context.budget(reserve=0.5) as budget:
        assert not budget.expired
    with pytest.raises(RuntimeError, match="Function"):
        context.stream().write(b"x")


def test_async_handlers() -> None:
    """A coroutine is awaited, and work after the response has been done."""
    done: list[str] = []

    async def handler(event: str, context: Any) -> str:
        context.run_after_response(done.append, event)
        return event

    assert "x" == Function(handler).invoke("x")
    assert ["x"] == done


def test_streams() -> None:
    """What a handler streams is a list of its pieces, with the status if it has one."""

    def generator(event: Any, context: Any) -> Iterator[Any]:
        yield lambdascope.HttpPrelude(418)
        yield b"a"
        yield "b"

    async def asynchronous(event: Any, context: Any) -> AsyncIterator[bytes]:
        yield b"a"

    def explicit(event: Any, context: Any) -> None:
        with context.stream(content_type="text/plain") as out:
            out.write(b"a")

    answer = Function(generator).invoke()
    assert [b"a", b"b"] == answer
    assert 418 == answer.prelude.status_code
    assert [b"a"] == Function(asynchronous).invoke() == Function(explicit).invoke()


def test_failures() -> None:
    """The handler's exception comes through, and its span is an error."""

    def handler(event: Any, context: Any) -> None:
        raise LookupError("no order 17")

    function = Function(handler, name="shop")
    with pytest.raises(LookupError, match="no order 17"):
        function.invoke()

    assert StatusCode.ERROR is function.spans.one("shop").status.status_code


def test_deadlines() -> None:
    """An invocation with little time left is one for the handler too."""

    def handler(event: Any, context: Any) -> None:
        with context.budget(reserve=0):
            while True:
                pass

    with pytest.raises(lambdascope.DeadlineExceeded):
        Function(handler).invoke(remaining_s=0.05)


def test_the_invoke_span_is_current() -> None:
    """The handler sees the span that is recorded."""
    seen: list[int] = []
    function = Function(
        lambda _event, _context: seen.append(trace.get_current_span().get_span_context().span_id)
    )

    function.invoke()
    function.invoke()

    assert seen == [span.context.span_id for span in function.spans]


def test_a_span_that_is_not_there() -> None:
    """The failure of an assertion tells which spans there are."""
    function = Function(lambda event, context: None, name="shop")
    function.invoke()

    with pytest.raises(AssertionError, match="0 spans are named 'work'; there are: shop"):
        function.spans.one("work")
