"""The Sentry SDK's AWS Lambda integration in our loop: its patches of AWS's client take effect."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from compat_kit import OURS, THEIRS, Function, Recorder, texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.compat


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """Where the SDK sends to."""
    with Recorder() as running:
        yield running


def sentry(
    python: Path, side: str, recorder: Recorder, handler: str = "sentry_app.handler", **other: Any
) -> Function:
    """The function, with the recorder as its DSN."""
    variables = {"DSN": recorder.dsn, **other.pop("variables", {})}
    return Function(python, side, handler, variables=variables, **other)


def value_of(event: dict[str, Any]) -> dict[str, Any]:
    """The exception that an event is about."""
    value: dict[str, Any] = event["exception"]["values"][-1]
    return value


def essence(event: dict[str, Any]) -> dict[str, Any]:
    """What an event says, without ids, times, the stack and what the SDK knows of the client."""
    told = {key: event.get(key) for key in ("tags", "transaction", "level", "platform", "user")}
    value = value_of(event)
    told["exception"] = {key: value.get(key) for key in ("type", "value", "mechanism", "module")}
    told["lambda"] = {
        key: value
        for key, value in event["extra"]["lambda"].items()
        if key not in ("execution_duration_in_millis", "remaining_time_in_millis")
    }
    return told


def test_an_exception_of_the_handler(compat_python: Path) -> None:
    """It is captured alike, without frames of ours, and the caller gets the same answer."""
    events, answers = [], []
    for side in (OURS, THEIRS):
        with Recorder() as recorder, sentry(compat_python, side, recorder) as function:
            answers.append(json.loads(function.invoke("raise").answer))
            # It has arrived when the caller has its answer, so that a freeze cannot hold it.
            (event,) = recorder.now("event")
            events.append(event)
    assert answers[1] == answers[0]
    assert essence(events[1]) == essence(events[0])
    value = value_of(events[0])
    assert ("ValueError", "no such order") == (value["type"], value["value"])
    assert {"type": "aws_lambda", "handled": False} == value["mechanism"]
    stacks = [[f["function"] for f in value_of(e)["stacktrace"]["frames"]] for e in events]
    assert [["handler"]] * 2 == stacks
    assert "17" == events[0]["tags"]["order"]


def test_a_transaction_for_each_invocation(compat_python: Path) -> None:
    """Each invocation is a transaction, which has been sent when the caller has its answer."""
    found = []
    for side in (OURS, THEIRS):
        with Recorder() as recorder, sentry(compat_python, side, recorder) as function:
            for count in (1, 2):
                assert {"order": 17} == function.answer({})
                assert count == len(recorder.now("transaction"))
            found.append([each["transaction"] for each in recorder.now("transaction")])
            assert [] == recorder.now("event")
    assert [["function", "function"]] * 2 == found


def test_the_warning_before_the_deadline(compat_python: Path, recorder: Recorder) -> None:
    """`timeout_warning` captures its warning 1.5 s before our deadline."""
    with sentry(compat_python, OURS, recorder, timeout_ms=3000, init_timeout_ms=10_000) as function:
        function.answer({})
        assert {"order": 17} == function.answer("slow")
        (event,) = recorder.wait_for("event")
    assert "ServerlessTimeoutWarning" == value_of(event)["type"]
    assert "Configured timeout duration = 3 seconds" in value_of(event)["value"]


@pytest.mark.parametrize(
    ("how", "error_type", "text"),
    [
        ("raise", "LookupError", "no configuration"),
        ("import", "Runtime.ImportModuleError", "No module named 'no_such_package'"),
    ],
)
def test_a_failed_init(compat_python: Path, how: str, error_type: str, text: str) -> None:
    """It is captured under the type that AWS's client gives it, here with the real stack."""
    answers = []
    for side in (OURS, THEIRS):
        with (
            Recorder() as recorder,
            sentry(compat_python, side, recorder, variables={"FAIL_INIT": how}) as function,
        ):
            answer = json.loads(function.invoke({}).answer)
            answers.append((answer["errorType"], answer["errorMessage"]))
            event = recorder.wait_for("event")[0]
            assert error_type == value_of(event)["type"]
            assert text in value_of(event)["value"]
            if side == OURS:
                chain = event["exception"]["values"]
                frames = [f for v in chain for f in v.get("stacktrace", {}).get("frames", [])]
                assert [f for f in frames if f["filename"] == "sentry_app.py"], chain
    assert answers[1] == answers[0]


@pytest.mark.parametrize("handler", ["sentry_app.asynchronous", "sentry_app.stream"])
def test_what_only_our_runtime_runs(compat_python: Path, recorder: Recorder, handler: str) -> None:
    """Exceptions of coroutines and of streams midway are captured and sent, too."""
    with sentry(compat_python, OURS, recorder, handler) as function:
        record = function.invoke({})
        assert record.function_error is not None, texts(record)
        (event,) = recorder.now("event")
    assert "ValueError" == value_of(event)["type"]


def test_set_up_inside_the_handler(compat_python: Path) -> None:
    """Set up late, the SDK flushes before that invocation's answer and wraps the next."""
    for side in (OURS, THEIRS):
        with (
            Recorder() as recorder,
            sentry(compat_python, side, recorder, "late_sentry.handler") as function,
        ):
            assert "set up" == function.answer("set up")
            assert ["set up"] == [event["message"] for event in recorder.now("event")]
            function.invoke("raise")
            assert "later" == value_of(recorder.now("event")[1])["value"]
