"""The methods of the context that know the deadline, and what they cost who does not use them."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from budget_work import while_true
from deadline_kit import PATIENCE_S, SHORT_S
from lambdascope.runtime import batch, callbacks, deadline, deadline_context
from lambdascope.runtime.deadline import Deadline, DeadlineExceeded
from lambdascope.runtime.deadline_context import DeadlineMethods, invocation_ended
from lambdascope.runtime.watchdog import watchdog

SOURCE = Path(__file__).parents[3] / "src"


class Context(DeadlineMethods):
    """What the runtime's context has for them."""

    def __init__(self, seconds: float, request_id: str = "id") -> None:
        self.aws_request_id = request_id
        self._deadline_ns = time.monotonic_ns() + int(seconds * 1e9)
        self._epoch_deadline_time_in_ms = int((time.time() + seconds) * 1000)


def test_the_deadline_in_both_clocks() -> None:
    """`context.deadline` is the moment on both clocks, and the same one each time."""
    context = Context(3)

    assert context.deadline == context.deadline
    assert context.deadline.at == context._deadline_ns / 1e9
    assert context.deadline.epoch_ms == context._epoch_deadline_time_in_ms
    assert 2.9 < context.remaining() <= 3
    assert not context.deadline.expired
    assert Context(-1).remaining() == 0


def test_time_outs() -> None:
    """`context.timeout` is what is left less the reserve, at most the default."""
    context = Context(3)

    assert context.timeout(default=1) == 1
    assert 2.4 < context.timeout() <= 2.5
    assert 0.9 < context.timeout(default=10, reserve=2) <= 1


def test_budgets_of_both_kinds() -> None:
    """`context.budget` limits a block, synchronous or asynchronous, by the deadline."""
    context = Context(1 + SHORT_S)

    with pytest.raises(DeadlineExceeded), context.budget(reserve=1):
        while_true()

    async def handler() -> None:
        async with Context(1 + SHORT_S).budget(reserve=1):
            await asyncio.sleep(PATIENCE_S)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(handler())
    assert context.remaining() > 0.5


def test_iterating() -> None:
    """`context.iterate` goes on as long as there is time."""
    assert list(Context(3).iterate([1, 2])) == [1, 2]
    late = Context(0.4).iterate([1, 2])
    assert list(late) == []
    assert late.remaining_items == 2
    assert list(Context(3).iterate([1], reserve=1, per_item=2.5)) == []


def _batch(count: int) -> dict[str, Any]:
    keys = {"eventSource": "aws:sqs", "eventSourceARN": "arn:q"}
    return {"Records": [{"messageId": str(n), **keys} for n in range(count)]}


def test_a_record_that_hangs_is_stopped_and_delivered_again() -> None:
    """A batch is answered in time although one record hangs; what has been done stays done."""
    context = Context(1 + 2 * SHORT_S)

    def handle(record: dict[str, Any]) -> str:
        if record["messageId"] == "1":
            while True:
                pass
        return "done"

    result = context.process_batch(_batch(4), handle, reserve=1)

    assert context.remaining() > 0.5
    assert result == {"batchItemFailures": [{"itemIdentifier": n} for n in ("1", "2", "3")]}
    assert [failure.reason for failure in result.failures] == [
        batch.ERROR,
        batch.OUT_OF_TIME,
        batch.OUT_OF_TIME,
    ]
    assert isinstance(result.failures[0].error, DeadlineExceeded)
    assert "in handle" in result.failures[0].attributes()["exception.stacktrace"]
    assert json.loads(json.dumps(result)) == result


def test_an_async_record_that_hangs() -> None:
    """The same for an async function, which is cancelled."""

    async def handle(record: dict[str, Any]) -> None:
        await asyncio.sleep(PATIENCE_S if record["messageId"] == "1" else 0)

    result = asyncio.run(Context(1 + SHORT_S).process_batch(_batch(3), handle, reserve=1))

    assert [item["itemIdentifier"] for item in result["batchItemFailures"]] == ["1", "2"]


def test_a_record_that_is_done_too_late_is_done() -> None:
    """A function that has returned has done its work, also when its budget was used up by then."""

    def late(_record: dict[str, Any]) -> int:
        return 3**1_500_000 % 3  # without a point where it could be interrupted

    result = Context(SHORT_S).process_batch(_batch(1), late, reserve=0)

    assert result == {"batchItemFailures": []}
    assert result.results == [0]


def test_callbacks_and_the_end_of_the_invocation() -> None:
    """`context.on_deadline` calls in time; what is left over ends with the invocation."""
    context = Context(PATIENCE_S, "ends")
    early, late = threading.Event(), threading.Event()
    context.on_deadline(early.set, before=PATIENCE_S - SHORT_S)
    context.on_deadline(late.set, before=PATIENCE_S / 2)
    assert early.wait(PATIENCE_S)

    invocation_ended(context, PATIENCE_S)

    assert not watchdog.armed
    assert not late.is_set()


def test_a_retry_beside_what_it_repeats_keeps_its_own() -> None:
    """The end of an invocation does not touch another one with the same request id."""
    first, retry = Context(PATIENCE_S, "same"), Context(PATIENCE_S + 1, "same")
    ran = threading.Event()
    retry.on_deadline(ran.set, before=PATIENCE_S + 1 - SHORT_S)

    invocation_ended(first, PATIENCE_S)

    assert ran.wait(PATIENCE_S)


def test_defaults_are_those_of_the_functions() -> None:
    """The defaults are written twice, since nothing is loaded for them; they are the same."""
    assert deadline_context._RESERVE == deadline.DEFAULT_RESERVE
    assert deadline_context._BEFORE == callbacks.DEFAULT_BEFORE
    assert deadline_context._WATCHDOG == "lambdascope.runtime.watchdog"
    methods = inspect.signature(DeadlineMethods.process_batch).parameters
    function = inspect.signature(batch.process_batch).parameters
    assert {name: methods[name].default for name in ("reserve", "interrupt")} == {
        name: function[name].default for name in ("reserve", "interrupt")
    }


def test_methods_take_nothing_from_the_context() -> None:
    """They keep nothing on the context: loggers that print its attributes see no new ones."""
    context = Context(3)
    before = dict(vars(context))

    context.timeout()
    list(context.iterate([1]))
    with context.budget():
        pass
    _ = context.deadline

    assert vars(context) == before
    assert isinstance(context.deadline, Deadline)


def _loaded(code: str) -> set[str]:
    program = (
        f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n"
        "import lambdascope.runtime.context\n"
        "import lambdascope.runtime.deadline_context as module\n"
        "class Context(module.DeadlineMethods):\n"
        "    aws_request_id = 'id'\n"
        "    _deadline_ns = 1 << 62\n"
        "    _epoch_deadline_time_in_ms = 1\n"
        "context = Context()\n"
        f"before = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=30
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def test_what_is_loaded_when() -> None:
    """Nothing is loaded by the methods being there, and each loads no more than it needs."""
    ours = "lambdascope.runtime."
    heavy = {"asyncio", "ctypes", "threading", "typing", "dataclasses", "logging", "inspect", "re"}

    assert _loaded("module.invocation_ended(context, 0)") == set()
    for code in ("context.remaining()", "context.timeout()"):
        assert _loaded(code) == {f"{ours}deadline"}
    assert not _loaded("context.iterate([])") & heavy
    assert not _loaded("context.budget()") & heavy
    with_block = _loaded("with context.budget(): pass")
    assert f"{ours}watchdog" in with_block
    assert not with_block & (heavy - {"ctypes", "threading"})
    assert ("ctypes" in with_block) == (sys.version_info < (3, 12))
