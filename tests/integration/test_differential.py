"""The same handlers under AWS's Python client and under ours: the callers' answers agree.

Both run in our emulator. Wanted differences are listed in differential/differences.toml, and only
those: a field named there must differ (or the entry is stale), every other field must be equal.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from differential_cases import BROKEN_MODULE, CLIENT_CONTEXT, COGNITO, EVENTS, HANDLERS
from differential_kit import EVENT, HERE, MODES, REQUEST_ID, TRACE, assert_agree
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.emulator.records import InvocationRecord

pytestmark = pytest.mark.peers


def run(
    handler: str, event: bytes, runtime: tuple[str, ...], folder: Path = HERE, **options: str
) -> InvocationRecord:
    """One cold invocation without extension, like the other side's."""
    config = FunctionConfig(
        handler=handler,
        task_root=str(folder),
        runtime=runtime,
        timeout_ms=10_000,
        memory_mb=512,
        own_extension=False,
    )
    environment = ExecutionEnvironment(config)
    try:
        return environment.invoke(
            event,
            request_id=REQUEST_ID,
            trace_header=TRACE,
            **options,  # type: ignore[arg-type]
        )
    finally:
        environment.shutdown()


def test_the_table_names_cases_that_are_run() -> None:
    """No entry of the table is for a case or mode that there is not; there are enough cases."""
    others = {"app.client", "bad client context", "syntax error", "*"}
    known = {*HANDLERS, *(f"event {name}" for name in EVENTS), *others}
    table = tomllib.loads((HERE / "differences.toml").read_text())["difference"]

    assert {case for row in table for case in row["cases"]} <= known
    assert {mode for row in table for mode in row.get("modes", ())} <= set(MODES)
    assert len(known) > 60


@pytest.fixture
def their_runtime(peer_python: Path) -> tuple[str, ...]:
    """AWS's client, as the argv of a runtime."""
    return (str(peer_python), "-m", "awslambdaric", "{handler}")


@pytest.mark.parametrize("handler", HANDLERS)
def test_handlers_answer_alike(handler: str, their_runtime: tuple[str, ...]) -> None:
    """A handler gives the caller the same answer under both clients."""
    ours = run(handler, EVENT, ())
    theirs = run(handler, EVENT, their_runtime)
    assert_agree(handler, ours, theirs)


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_read_alike(name: str, their_runtime: tuple[str, ...]) -> None:
    """An event arrives the same, or is refused the same, under both clients."""
    ours = run("app.echo", EVENTS[name], ())
    theirs = run("app.echo", EVENTS[name], their_runtime)
    assert_agree(f"event {name}", ours, theirs)


def test_client_context_and_identity_arrive_alike(their_runtime: tuple[str, ...]) -> None:
    """Client context, Cognito identity and tenant id reach the handler under both clients."""
    options = {
        "client_context": CLIENT_CONTEXT,
        "cognito_identity": COGNITO,
        "tenant_id": "tenant-1",
    }
    ours = run("app.client", EVENT, (), **options)
    theirs = run("app.client", EVENT, their_runtime, **options)
    assert_agree("app.client", ours, theirs)
    assert b'"app_title": "t"' in ours.answer


def test_a_bad_client_context_is_refused_alike(their_runtime: tuple[str, ...]) -> None:
    """A client context that is not JSON is AWS's LambdaContextUnmarshalError under both."""
    ours = run("app.echo", EVENT, (), client_context="{not json")
    theirs = run("app.echo", EVENT, their_runtime, client_context="{not json")
    assert_agree("bad client context", ours, theirs)
    assert b"Runtime.LambdaContextUnmarshalError" in ours.answer


def test_a_syntax_error_is_reported_alike(their_runtime: tuple[str, ...], tmp_path: Path) -> None:
    """A module that does not compile is AWS's UserCodeSyntaxError, with the place, under both."""
    (tmp_path / "broken.py").write_text(BROKEN_MODULE)
    ours = run("broken.handler", EVENT, (), tmp_path)
    theirs = run("broken.handler", EVENT, their_runtime, tmp_path)
    assert_agree("syntax error", ours, theirs)
    assert b"Runtime.UserCodeSyntaxError" in ours.answer
