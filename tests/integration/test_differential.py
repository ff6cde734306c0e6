"""The same handlers under AWS's Python client and under ours: the callers' answers agree.

Both run in our emulator. Wanted differences are listed in differential/differences.toml, and only
those: a field named there must differ (or the entry is stale), every other field must be equal.
"""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import pytest

from differential_kit import EVENT, HERE, REQUEST_ID, TRACE, assert_agree
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.emulator.records import InvocationRecord

pytestmark = pytest.mark.peers

CLIENT_CONTEXT = json.dumps(
    {
        "custom": {"k": "v"},
        "env": {"locale": "de"},
        "client": {"app_title": "t"},
        "w3c": {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "other": "x"},
    }
)

HANDLERS = [
    "app.echo",
    "app.kind",
    "app.nothing",
    "app.text",
    "app.numbers",
    "app.not_a_number",
    "app.raw_bytes",
    "app.inner_bytes",
    "app.bad_inner_bytes",
    "app.named_tuple",
    "app.keys",
    "app.bad_key",
    "app.a_set",
    "app.a_date",
    "app.a_cycle",
    "app.deep",
    "app.too_large",
    "app.just_fits",
    "app.raises",
    "app.raises_nothing",
    "app.raises_key",
    "app.raises_chained",
    "app.exits",
    "app.dies",
    "app.interrupts",
    "app.about",
    "app.text_forms",
    "app.environment",
    "app.logs",
    "app.coroutine",
    "app.not_callable",
    "app.missing",
    "nodot",
    "no_such_module.handler",
    "imports_missing.handler",
    "raises_at_import.handler",
    "exits_at_import.handler",
    "sys.exit",
    "folder/inner.handler",
    "folder.inner.handler",
    "results.datetimes",
    "results.dates",
    "results.times",
    "results.durations",
    "results.ids",
    "results.orders",
    "results.colours",
    "results.paths",
    "results.words",
    "results.rows",
    "results.fraction",
    "results.a_bytearray",
    "results.a_frozenset",
    "results.an_object",
    "results.a_class",
    "results.digits",
    "results.big_float",
    "results.too_deep",
    "results.mixed_cycle",
    "results.surrogate",
    "results.control",
    "results.keys_of_bytes",
    "results.bad_keys_of_bytes",
    "results.key_of_decimal",
    "results.ordered",
    "results.empties",
    "results.map_object",
    "results.raises_group",
    "results.raises_note",
    "results.raises_cancelled",
    "results.raises_in_context",
    "results.raises_without_text",
    "results.raises_stop",
    "results.raises_deep",
    "results.raises_unicode",
    "results.raises_import",
    "results.raises_syntax",
    "results.raises_long",
    "results.generator",
    "results.instance",
    "results.partial",
    "results.too_few",
    "results.segfaults",
    "results.is_killed",
    "results.Rows",
    "results.Order.handler",
    "result.handler",
    "app.py",
    "app.py.echo",
    "app:echo",
    "App.echo",
    "folder.echo",
    ".echo",
    "",
]
EVENTS = {
    "text": b'"just text"',
    "number": b"12345678901234567890123",
    "spaces": b' \n {"a": 1} ',
    "empty": b"",
    "not json": b"{'a': 1}",
    "cut": b'{"a": ',
    "two values": b"1 2",
    "nan": b'{"a": NaN}',
    "deep": b"[" * 200 + b"]" * 200,
    "big": json.dumps([{"id": i, "name": "x" * 20} for i in range(2000)]).encode(),
    "not utf-8": b'{"a": "\xff"}',
    "null": b"null",
    "array": b"[]",
    "true": b"true",
    "float": b"-1.5e-7",
    "infinite": b"1e999",
    "digits": b"1" * 5000,
    "unicode": '{"ключ": "значение \u2028 😀"}'.encode(),
    "escapes": b'"\\u0000\\ud83d\\ude00\\/\\b"',
    "lone surrogate": b'"\\ud800"',
    "control character": b'"\x01"',
    "same key twice": b'{"a": 1, "a": 2}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "leading zero": b"01",
    "trailing comma": b"[1,]",
    "too deep": b"[" * 100_000 + b"]" * 100_000,
}


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
    """No entry of the table is for a case that there is not, and there are enough cases."""
    others = {"app.client", "bad client context", "syntax error", "*"}
    known = {*HANDLERS, *(f"event {name}" for name in EVENTS), *others}
    table = tomllib.loads((HERE / "differences.toml").read_text())["difference"]

    assert {case for row in table for case in row["cases"]} <= known
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
        "cognito_identity": '{"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"}',
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
    (tmp_path / "broken.py").write_text("def handler(event, context)\n    return 1\n")
    ours = run("broken.handler", EVENT, (), tmp_path)
    theirs = run("broken.handler", EVENT, their_runtime, tmp_path)
    assert_agree("syntax error", ours, theirs)
    assert b"Runtime.UserCodeSyntaxError" in ours.answer
