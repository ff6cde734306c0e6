"""The invoke endpoint over real HTTP, in front of a fake of the execution environment.

What AWS's own clients make of the answers is checked in tests/integration/test_invoke_endpoint.py.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from endpoint_kit import TRACE, WAIT_S, FakeEnvironment, endpoint, error_of, post
from lambdascope.emulator.environment import EnvironmentClosed
from lambdascope.emulator.invoke import InvokeEndpoint
from lambdascope.emulator.records import LogLine

if TYPE_CHECKING:
    import pytest


def test_an_event_goes_in_and_its_answer_comes_out() -> None:
    """Bytes untouched both ways; version, request id and trace header of the invocation."""
    event = '{"é": [1, 2.50]} '.encode()
    with endpoint() as (url, fake):
        answer = post(url, event, headers={"X-Amzn-Trace-Id": TRACE})
    assert (answer.status_code, answer.content) == (200, event)
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["X-Amz-Executed-Version"] == "$LATEST"
    assert answer.headers["x-amzn-RequestId"] == "made-up"
    assert answer.headers["X-Amzn-Trace-Id"] == TRACE
    assert "X-Amz-Function-Error" not in answer.headers
    assert "X-Amz-Log-Result" not in answer.headers
    assert fake.calls[0][1]["trace_header"] == TRACE


def test_no_event_is_an_empty_object() -> None:
    """AWS's command line without --payload sends no body."""
    with endpoint() as (url, fake):
        assert post(url, b"").status_code == 200
    assert fake.calls[0][0] == b"{}"


def test_a_function_error_is_200_with_a_header() -> None:
    """The status says that the function ran; the header says that it failed."""
    body = b'{"errorMessage":"no","errorType":"ValueError"}'
    with endpoint(FakeEnvironment(answer=body, function_error="Unhandled")) as (url, _):
        answer = post(url)
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["X-Amz-Function-Error"] == "Unhandled"


def test_a_tenant_is_passed_on() -> None:
    """X-Amz-Tenant-Id becomes the invocation's tenant."""
    with endpoint() as (url, fake):
        post(url, headers={"X-Amz-Tenant-Id": "blue"})
    assert fake.calls[0][1]["tenant_id"] == "blue"


def test_the_caller_does_not_wait_for_extensions() -> None:
    """The answer comes while the invocation is still going on."""
    fake = FakeEnvironment()
    fake.extensions_back.clear()
    with endpoint(fake) as (url, _):
        assert post(url, b"[1]").content == b"[1]"
        assert not fake.done.acquire(blocking=False)


def test_the_tail_of_the_log_has_the_report() -> None:
    """With LogType Tail the answer waits for the end of the invocation."""
    with endpoint() as (url, _):
        answer = post(url, headers={"X-Amz-Log-Type": "Tail"})
    assert base64.b64decode(answer.headers["X-Amz-Log-Result"]) == b"REPORT at the end\n"


def test_the_tail_of_the_log_has_four_kilobytes() -> None:
    """The last 4096 bytes, beginning with a whole character."""
    lines = [LogLine(time_ns=0, source="function", text="é" * 3000)]
    with endpoint(FakeEnvironment(logs=lines)) as (url, _):
        answer = post(url, headers={"X-Amz-Log-Type": "Tail"})
    tail = base64.b64decode(answer.headers["X-Amz-Log-Result"])
    end = b"\nREPORT at the end\n"
    # 4096 less the end is an odd number of bytes, and every é has two.
    assert (len(end), tail) == (19, "é".encode() * 2038 + end)


def test_an_event_is_accepted_at_once_and_run_once() -> None:
    """202 without a body; the invocation has the request id that the caller was given."""
    with endpoint() as (url, fake):
        fake.extensions_back.clear()
        headers = {"X-Amz-Invocation-Type": "Event", "X-Amz-Client-Context": "e30="}
        answers = [post(url, b"%d" % number, headers=headers) for number in range(3)]
        fake.extensions_back.set()
        for _ in answers:
            assert fake.done.acquire(timeout=WAIT_S)
    assert [(a.status_code, a.content) for a in answers] == [(202, b"")] * 3
    assert [event for event, _ in fake.calls] == [b"0", b"1", b"2"]
    given = [answer.headers["x-amzn-RequestId"] for answer in answers]
    assert [options["request_id"] for _, options in fake.calls] == given
    # Lambda passes it on in synchronous invocations only.
    assert fake.calls[0][1]["client_context"] is None


def test_an_event_that_fails_is_said_not_to_be_retried(capfd: pytest.CaptureFixture[str]) -> None:
    """Lambda would try again; the emulator says that it does not."""
    with endpoint(FakeEnvironment(function_error="Unhandled")) as (url, fake):
        answer = post(url, headers={"X-Amz-Invocation-Type": "Event"})
        # The next event is run after the line was said.
        post(url, headers={"X-Amz-Invocation-Type": "Event"})
        for _ in range(2):
            assert fake.done.acquire(timeout=WAIT_S)
    said = capfd.readouterr().err.splitlines()
    assert said[0] == (
        f"lambdascope: event {answer.headers['x-amzn-RequestId']} ended with a function error; "
        "Lambda would retry it up to twice, the emulator does not"
    )


def test_events_that_are_not_run_at_the_end_are_counted(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Stopping loses queued events, and says how many."""
    fake = FakeEnvironment()
    fake.extensions_back.clear()
    listening = InvokeEndpoint(fake)
    listening.start()
    try:
        for _ in range(3):
            post(listening.url, headers={"X-Amz-Invocation-Type": "Event"})
        assert fake.begun.acquire(timeout=WAIT_S)
    finally:
        listening.close()
        listening.close()
        fake.extensions_back.set()
    assert "stopped with 2 queued events not run" in capfd.readouterr().err


def test_a_full_queue_is_too_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """429, which SDKs send again later."""
    monkeypatch.setattr("lambdascope.emulator.async_events._QUEUED_EVENTS", 1)
    with endpoint() as (url, fake):
        fake.extensions_back.clear()
        headers = {"X-Amz-Invocation-Type": "Event"}
        post(url, headers=headers)
        assert fake.begun.acquire(timeout=WAIT_S)
        assert post(url, headers=headers).status_code == 202
        assert error_of(post(url, headers=headers)) == (429, "TooManyRequestsException")


def test_a_dry_run_checks_and_runs_nothing() -> None:
    """204; a bad request is refused as in a real run."""
    headers = {"X-Amz-Invocation-Type": "DryRun"}
    with endpoint() as (url, fake):
        assert (post(url, headers=headers).status_code, fake.calls) == (204, [])
        assert post(url, b"{", headers=headers).status_code == 400


def test_an_environment_that_was_shut_down_is_a_conflict() -> None:
    """409, because SDKs would repeat a 5xx."""
    fake = FakeEnvironment()
    fake.fault = EnvironmentClosed("the execution environment was shut down")
    with endpoint(fake) as (url, _):
        answer = post(url)
    assert error_of(answer) == (409, "ResourceConflictException")


def test_a_fault_of_the_emulator_is_said_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    """500 with ServiceException; no traceback, and the endpoint goes on."""
    fake = FakeEnvironment()
    fake.fault = RuntimeError("a bug")
    with endpoint(fake) as (url, _):
        answer = post(url)
        assert error_of(answer) == (500, "ServiceException")
        fake.fault = None
        assert post(url).status_code == 200
    said = capfd.readouterr().err
    assert said.splitlines() == [
        "lambdascope: an invocation failed in the emulator: RuntimeError('a bug')"
    ]
