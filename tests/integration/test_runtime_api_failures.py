"""The real runtime process when the Runtime API fails, at next, at a post, or altogether."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from lambdascope.wire import names
from runtime_fakes import RuntimeProcess, close, event, own_lines, raw, run, status, write_app

if TYPE_CHECKING:
    from pathlib import Path


NEXT_FAILURES = {
    "403": ([status(403, "wrong state")], "answered 403 to next: wrong state; the runtime ends"),
    "500": ([status(500, "")], "answered 500 to next: (empty); the runtime ends"),
    "no HTTP": ([raw(b"220 smtp\r\n\r\n")], "malformed status line '220 smtp'; the runtime ends"),
    "no request id": (
        [status(200, "{}")],
        "next answered without Lambda-Runtime-Aws-Request-Id; the runtime ends",
    ),
    "two request ids": (
        [event(**{names.REQUEST_ID: "r1, r2"})],
        "next answered with several Lambda-Runtime-Aws-Request-Id; the runtime ends",
    ),
    "closed twice": ([close, close], "; the runtime ends"),
}


@pytest.mark.parametrize(("nexts", "line"), NEXT_FAILURES.values(), ids=NEXT_FAILURES)
def test_next_that_fails(nexts: list[object], line: str, tmp_path: Path) -> None:
    """When next cannot be answered the process ends with a failure and one line."""
    outcome = run(tmp_path, "def handler(e, c): pass", nexts)

    (said,) = own_lines(outcome.err)
    assert said.endswith(line)
    assert said.startswith("Runtime API")
    assert (1, True) == (outcome.status, outcome.ended_itself)


def test_connection_lost_in_next(tmp_path: Path) -> None:
    """A connection that broke while waiting is opened once more; the event is the same."""
    outcome = run(tmp_path, "def handler(e, c): return e", [close, event(b"1"), close, event(b"2")])

    assert [b"1", b"2"] == outcome.api.responses
    assert 5 == outcome.api.next_count
    assert (0, "") == (outcome.status, outcome.err)


def test_answer_that_breaks_off(tmp_path: Path) -> None:
    """An event that was cut in the middle is asked for again."""
    cut = raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", then_close=True)

    outcome = run(tmp_path, "def handler(e, c): return e", [cut, event(b"1")])

    assert [b"1"] == outcome.api.responses
    assert "" == outcome.err


@pytest.mark.parametrize("deadline", ["soon", "", "-1", "0", "9" * 5000])
def test_odd_deadline(deadline: str, tmp_path: Path) -> None:
    """An event with a deadline that is no date, or in no year to come, is run and answered."""
    code = "def handler(e, c): return c.get_remaining_time_in_millis() > 1e12"
    nexts = [event(**{names.DEADLINE_MS: deadline})]

    outcome = run(tmp_path, code, nexts)

    assert [b"true" if len(deadline) > 9 else b"false"] == outcome.api.responses
    assert (0, "") == (outcome.status, outcome.err)


def test_connection_lost_in_post(tmp_path: Path) -> None:
    """A post whose answer was lost is made once more: it may not have arrived."""
    outcome = run(tmp_path, "def handler(e, c): return e", [event(b"1"), event(b"2")], [close])

    assert [b"1", b"1", b"2"] == outcome.api.responses
    assert (0, "") == (outcome.status, outcome.err)


def test_post_that_had_arrived(tmp_path: Path) -> None:
    """A platform that had taken the lost post refuses the second one; a line tells both."""
    posts = [close, status(403, "too late")]

    outcome = run(tmp_path, "def handler(e, c): return e", [event(b"1"), event(b"2")], posts)

    assert [b"1", b"1", b"2"] == outcome.api.responses
    (line,) = own_lines(outcome.err)
    assert line.startswith("lost the Runtime API while posting r1: ")
    assert line.endswith("; posted again: Runtime API answered 403 for r1: too late")
    assert 0 == outcome.status


@pytest.mark.parametrize("code", ["return 1", "raise ValueError", "yield 'piece'"])
def test_event_that_is_handed_out_again(code: str, tmp_path: Path) -> None:
    """An outcome that was lost is posted again with the same event, which is not run again."""
    due = {names.DEADLINE_MS: str(int(time.time() * 1000) + 10_000)}
    nexts = [event(**due), event(**due), event(**due, request_id="r2")]

    outcome = run(
        tmp_path,
        f"def handler(e, c):\n  print('ran', c.aws_request_id)\n  {code}",
        nexts,
        [close] * 2,
    )

    assert ["ran r1", "ran r2"] == [line for line in outcome.out.splitlines() if "ran r" in line]
    assert "r1 was handed out again: its outcome is posted again, not run" in own_lines(outcome.err)
    assert 0 == outcome.status


def test_a_later_try_of_an_event(tmp_path: Path) -> None:
    """The same event with another deadline is another try, which is run."""
    nexts = [event(), event(in_ms=20_000)]

    outcome = run(tmp_path, "def handler(e, c): print('ran')", nexts, [close] * 2)

    assert 2 == outcome.out.count("ran")


def test_garbage_after_a_post(tmp_path: Path) -> None:
    """An answer to a post that is no HTTP ends the process with one line."""
    outcome = run(
        tmp_path, "def handler(e, c): return e", [event(b"1"), event(b"2")], [raw(b"huh\r\n\r\n")]
    )

    (line,) = own_lines(outcome.err)
    assert line.startswith("Runtime API, post: ")
    assert 1 == outcome.status


def test_dead_runtime_api(tmp_path: Path) -> None:
    """Nobody at the address: one line that names it, and a failure."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    write_app(tmp_path, "def handler(e, c): pass")

    with RuntimeProcess(address, tmp_path) as process:
        assert 1 == process.wait()

    (line,) = own_lines(process.err)
    assert f"cannot connect to {address}: Connection refused" in line


@pytest.mark.parametrize("address", ["", "nonsense:x", "127.0.0.1:99999"])
def test_bad_address(address: str, tmp_path: Path) -> None:
    """A missing or malformed address is one line that names the variable."""
    with RuntimeProcess(address, tmp_path) as process:
        assert 1 == process.wait()

    (line,) = own_lines(process.err)
    assert line.startswith("AWS_LAMBDA_RUNTIME_API")
