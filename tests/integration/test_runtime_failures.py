"""The real runtime process when the function fails: the handler, its import, its streams.

The API is a fake (runtime_fakes.ScriptedApi). Whatever happens, the caller gets AWS's error type,
the log says what happened, and nobody sees a traceback of the runtime's own.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lambdascope.wire import names
from runtime_fakes import Outcome, close, event, own_lines, raw, run, status

if TYPE_CHECKING:
    from pathlib import Path


def _body(outcome: Outcome, index: int = 0) -> dict[str, object]:
    return json.loads(outcome.api.errors[index].body)


def _fails(tmp_path: Path, statement: str, before: str = "") -> Outcome:
    """Run a handler with `statement` for one event, and an ordinary one for the next."""
    code = f"{before}\ndef handler(event, context):\n    if event == 'fine': return event\n"
    code += "".join(f"    {line}\n" for line in statement.splitlines())
    return run(tmp_path, code, [event(), event(b'"fine"', "r2")])


FAILURES = {
    "exception": ("raise ValueError('no')", "ValueError", "Function.ValueError", "no"),
    "own exception": (
        "class _Bad_Thing2(Exception): pass\nraise _Bad_Thing2('x')",
        "_Bad_Thing2",
        "Function.BadThing",
        "x",
    ),
    "keyboard interrupt": (
        "raise KeyboardInterrupt",
        "KeyboardInterrupt",
        "Function.KeyboardInterrupt",
        "",
    ),
    "cancelled": (
        "import asyncio; raise asyncio.CancelledError('c')",
        "CancelledError",
        "Function.CancelledError",
        "c",
    ),
    "base exception": (
        "class Odd(BaseException): pass\nraise Odd('o')",
        "Odd",
        "Function.Odd",
        "o",
    ),
    "generator exit": ("raise GeneratorExit", "GeneratorExit", "Function.GeneratorExit", ""),
    "no memory": ("return bytearray(1 << 60)", "MemoryError", "Function.MemoryError", ""),
    "recursion": (
        "def f(): f()\nf()",
        "RecursionError",
        "Function.RecursionError",
        "maximum recursion depth exceeded",
    ),
    "not JSON": (
        "return {1, 2}",
        "Runtime.MarshalError",
        "Runtime.MarshalError",
        "Unable to marshal response: Object of type set is not JSON serializable",
    ),
    "deep result": (
        "a = []\nfor _ in range(100_000): a = [a]\nreturn a",
        "Runtime.MarshalError",
        "Runtime.MarshalError",
        None,
    ),
    "result of itself": (
        "a = []; a.append(a); return a",
        "Runtime.MarshalError",
        "Runtime.MarshalError",
        "Unable to marshal response: Circular reference detected",
    ),
    "low recursion limit": (
        "import sys; sys.setrecursionlimit(40); raise ValueError('low')",
        "ValueError",
        "Function.ValueError",
        "low",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failing_handler(name: str, tmp_path: Path) -> None:
    """The caller gets type and message, the log one event, and the next event is served."""
    statement, error_type, header, message = FAILURES[name]

    outcome = _fails(tmp_path, statement)

    body = _body(outcome)
    assert (error_type, header) == (body["errorType"], outcome.api.errors[0].error_type)
    assert message is None or body["errorMessage"].startswith(message)
    assert "r1" == body["requestId"] == outcome.api.errors[0].request_id
    assert [b'"fine"'] == outcome.api.responses
    assert outcome.out.startswith(f"[ERROR] {error_type}")
    assert 1 == outcome.out.count("\n")
    assert (0, "") == (outcome.status, outcome.err)


def test_lone_surrogate(tmp_path: Path) -> None:
    """Escaped, a lone surrogate is fine; unescaped it cannot be sent, and that is an error."""
    code = "def handler(event, context): return '\\ud800'"
    escaped = run(tmp_path, code, [event()])
    unescaped = run(tmp_path, code, [event()], AWS_EXECUTION_ENV="AWS_Lambda_python3.12")

    assert [b'"\\ud800"'] == escaped.api.responses
    assert names.FAULT_MARSHAL == unescaped.api.errors[0].error_type
    assert 0 == unescaped.status


def test_exception_that_cannot_be_told(tmp_path: Path) -> None:
    """Even an exception whose text raises SystemExit is reported, and the runtime lives on."""
    outcome = _fails(
        tmp_path,
        "class Silent(Exception):\n  def __str__(self): raise SystemExit(3)\nraise Silent",
    )

    assert "Silent" == _body(outcome)["errorType"]
    assert [b'"fine"'] == outcome.api.responses
    assert (0, "") == (outcome.status, outcome.err)


def test_no_memory_left(tmp_path: Path) -> None:
    """A function that used its memory up is reported with its stack, and served again."""
    code = """
import resource
def handler(event, context):
    if event == "fine": return event
    resource.setrlimit(resource.RLIMIT_AS, (200 * 1024 * 1024,) * 2)
    held, size = [], 1 << 20
    while True:
        try:
            held.append(bytearray(size))
        except MemoryError:
            if size < 16: raise
            size //= 2
"""
    outcome = run(tmp_path, code, [event(), event(b'"fine"', "r2")])

    assert "MemoryError" == _body(outcome)["errorType"]
    assert "held.append" in _body(outcome)["stackTrace"][-1]
    assert [b'"fine"'] == outcome.api.responses
    assert (0, "") == (outcome.status, outcome.err)


def test_stack_of_the_function(tmp_path: Path) -> None:
    """The stack begins in the function and has the lines of its source."""
    outcome = _fails(tmp_path, "inner()", before="def inner():\n    return 1 / 0\n")

    stack = _body(outcome)["stackTrace"]
    assert ["handler", "inner"] == [line.split(", in ")[1].split("\n")[0] for line in stack]
    assert stack[1].endswith("    return 1 / 0\n")
    assert "/app.py" in json.loads(outcome.api.errors[0].xray_cause)["paths"][0]


def test_chain_and_notes(tmp_path: Path) -> None:
    """Causes and notes go to the caller and to the log."""
    outcome = _fails(
        tmp_path,
        "try: 1 / 0\n"
        "except Exception as e:\n"
        "    e2 = ValueError('b'); e2.add_note('look here'); raise e2 from e",
    )

    body = _body(outcome)
    assert ("ZeroDivisionError", ["look here"]) == (body["cause"]["errorType"], body["notes"])
    assert "\rlook here\rCaused by ZeroDivisionError: division by zero\r" in outcome.out


def test_error_log_in_json(tmp_path: Path) -> None:
    """In JSON format a failure is one object with the fields of the error."""
    code = "def handler(event, context): raise ValueError('no\\nway')"

    outcome = run(tmp_path, code, [event()], AWS_LAMBDA_LOG_FORMAT="JSON")

    fields = json.loads(outcome.out)
    assert ("ERROR", "ValueError", "no\nway", "r1") == (
        fields["level"],
        fields["errorType"],
        fields["errorMessage"],
        fields["requestId"],
    )


@pytest.mark.parametrize(
    "spoil",
    ["sys.stdout.close()", "sys.stdout = None", "sys.stdout = object()", "os.close(1)"],
)
def test_function_that_breaks_its_stdout(spoil: str, tmp_path: Path) -> None:
    """A failure is still logged when the function took standard output away: on standard error."""
    outcome = _fails(tmp_path, f"{spoil}\nraise ValueError('told')", before="import os, sys")

    assert "told" == _body(outcome)["errorMessage"]
    assert outcome.err.startswith("[ERROR] ValueError: told\rTraceback")
    assert [b'"fine"'] == outcome.api.responses
    assert 0 == outcome.status


def test_function_that_breaks_both_streams(tmp_path: Path) -> None:
    """Without any stream invocations are served all the same."""
    outcome = _fails(
        tmp_path, "sys.stdout.close(); sys.stderr.close()\nraise ValueError", before="import sys"
    )

    assert "ValueError" == _body(outcome)["errorType"]
    assert [b'"fine"'] == outcome.api.responses
    assert (0, "") == (outcome.status, outcome.err)


def test_function_that_closes_every_descriptor(tmp_path: Path) -> None:
    """A function that closes what it does not own costs a new connection, not the environment."""
    outcome = _fails(tmp_path, "import os; os.closerange(3, 100)\nreturn 'closed'")

    assert [b'"closed"', b'"fine"'] == outcome.api.responses
    assert 0 == outcome.status


BAD_EVENTS = {
    "no JSON": (event(b"{"), names.FAULT_UNMARSHAL, "Unable to unmarshal input: "),
    "no text": (event(b'"\xff"'), names.FAULT_UNMARSHAL, "Unable to unmarshal input: "),
    "empty": (event(b""), names.FAULT_UNMARSHAL, "Unable to unmarshal input: "),
    "deep": (event(b"[" * 100_000), names.FAULT_UNMARSHAL, "Unable to unmarshal input: "),
    "client context": (
        event(Lambda_Runtime_Client_Context="{"),
        names.FAULT_CONTEXT,
        "Unable to parse Client Context JSON: ",
    ),
    "identity": (
        event(Lambda_Runtime_Cognito_Identity="[]"),
        names.FAULT_CONTEXT,
        "Unable to parse Cognito Identity JSON: ",
    ),
}


@pytest.mark.parametrize(("bad", "error_type", "message"), BAD_EVENTS.values(), ids=BAD_EVENTS)
def test_bad_event(bad: object, error_type: str, message: str, tmp_path: Path) -> None:
    """An event that cannot be read never reaches the handler; the error has AWS's type."""
    code = "def handler(event, context): return event"

    outcome = run(tmp_path, code, [bad, event(b"1")])

    assert error_type == outcome.api.errors[0].error_type == _body(outcome)["errorType"]
    assert _body(outcome)["errorMessage"].startswith(message)
    assert [b"1"] == outcome.api.responses
    assert "" == outcome.err


INIT_FAILURES = {
    "no dot": ("", "handler", names.FAULT_MALFORMED_HANDLER, "Bad handler 'handler'"),
    "no handler": ("", "", names.FAULT_MALFORMED_HANDLER, "Bad handler ''"),
    "built-in": ("", "sys.handler", names.FAULT_BUILTIN_CONFLICT, "Cannot use built-in module sys"),
    "missing module": (
        "",
        "nowhere.handler",
        names.FAULT_IMPORT_MODULE,
        "Unable to import module 'nowhere': No module named 'nowhere'",
    ),
    "nested missing module": (
        "import nothing_such",
        "app.handler",
        names.FAULT_IMPORT_MODULE,
        "Unable to import module 'app': No module named 'nothing_such'",
    ),
    "syntax error": ("def (", "app.handler", names.FAULT_SYNTAX, "Syntax error in module 'app': "),
    "missing function": (
        "x = 1",
        "app.handler",
        names.FAULT_HANDLER_NOT_FOUND,
        "Handler 'handler' missing on module 'app'",
    ),
    "exception": ("1 / 0", "app.handler", "ZeroDivisionError", "division by zero"),
    "exit": (
        "import sys; sys.exit(3)",
        "app.handler",
        names.FAULT_EXIT,
        "Runtime exited with error: exit status 3",
    ),
    "exit with text": (
        "raise SystemExit('no config')",
        "app.handler",
        names.FAULT_EXIT,
        "Runtime exited with error: exit status 1: no config",
    ),
    "exit 0": (
        "import sys; sys.exit(0)",
        "app.handler",
        names.FAULT_EXIT,
        "Runtime exited with error: exit status 0",
    ),
    "interrupt": ("raise KeyboardInterrupt", "app.handler", "KeyboardInterrupt", ""),
}


@pytest.mark.parametrize(
    ("code", "handler", "error_type", "message"), INIT_FAILURES.values(), ids=INIT_FAILURES
)
def test_init_error(code: str, handler: str, error_type: str, message: str, tmp_path: Path) -> None:
    """A failed init is posted with AWS's type, logged, and ends the process with a failure."""
    outcome = run(tmp_path, code, handler=handler)

    (error,) = outcome.api.init_errors
    body = json.loads(error.body)
    assert error_type == body["errorType"]
    assert body["errorMessage"].startswith(message)
    assert "" == body["requestId"]
    header = error_type if error_type.startswith("Runtime.") else f"Function.{error_type}"
    assert header == error.error_type
    assert outcome.out.startswith(f"[ERROR] {error_type}")
    assert "" == outcome.err
    assert outcome.ended_itself
    assert (3 if code.endswith("(3)") else 1) == outcome.status
    assert 0 == outcome.api.next_count


def test_way_to_a_nested_import_error(tmp_path: Path) -> None:
    """The traceback that AWS's client drops goes to the caller, and no frame of the runtime's."""
    (tmp_path / "helper.py").write_text("\nimport nothing_such\n")

    outcome = run(tmp_path, "import helper")

    cause = json.loads(outcome.api.init_errors[0].body)["cause"]
    assert ["app.py", "helper.py"] == [
        line.split('"')[1].rpartition("/")[2] for line in cause["stackTrace"]
    ]
    assert "Caused by ModuleNotFoundError: No module named 'nothing_such'\r" in outcome.out


@pytest.mark.parametrize(
    "answer", [status(403, "too late"), status(500, "broken"), close, raw(b"220 x\r\n\r\n")]
)
def test_init_error_that_is_not_accepted(answer: object, tmp_path: Path) -> None:
    """The runtime ends in any case; one line says that the report did not arrive."""
    outcome = run(tmp_path, "1 / 0", (), [answer])

    (line,) = own_lines(outcome.err)
    assert "init/error" in line
    assert 1 == outcome.status


def test_problems_of_the_configuration(tmp_path: Path) -> None:
    """What is wrong in the environment is said once, and the function runs."""
    outcome = run(
        tmp_path,
        "def handler(e, c): return e",
        [event(b"1")],
        LAMBDASCOPE_XRAY="always",
        OTEL_RESOURCE_ATTRIBUTES="nonsense",
        OTEL_TRACE_SAMPLER="always_on",
    )

    assert [b"1"] == outcome.api.responses
    assert ["LAMBDASCOPE_XRAY='always'", "OTEL_RESOURCE_ATTRIBUTES:", "OTEL_TRACE_SAMPLER"] == [
        line.split()[0] for line in own_lines(outcome.err)
    ]
