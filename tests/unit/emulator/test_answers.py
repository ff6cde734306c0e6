"""The words in which failures are told."""

from __future__ import annotations

import json
import signal

import pytest

from lambdascope.emulator import answers, records


@pytest.mark.parametrize(
    ("returncode", "text"),
    [
        (0, "exit status 0"),
        (1, "exit status 1"),
        (137, "exit status 137"),
        (-signal.SIGKILL, "signal: killed"),
        (-signal.SIGSEGV, "signal: segmentation fault"),
        (-signal.SIGTERM, "signal: terminated"),
        (-64, "signal: SIGRTMAX"),
        (-63, "signal: signal 63"),
    ],
)
def test_exits_are_told_as_go_does(returncode: int, text: str) -> None:
    """Lambda prints the text of Go's os.ProcessState."""
    assert text == answers.exit_text(returncode)


def test_the_answer_names_the_request() -> None:
    """A fault of the platform is wrapped with the request's id."""
    expected = {"errorType": "Runtime.ExitError"}
    expected["errorMessage"] = "RequestId: r Error: Runtime exited with error: exit status 1"
    assert expected == json.loads(answers.runtime_exit(1).answer("r"))


def test_what_the_runtime_posted_is_not_touched() -> None:
    """The caller gets the bytes of init/error as they are."""
    fault = answers.init_error("", b"\xff not json")
    assert b"\xff not json" == fault.answer("r")
    assert ("Runtime.Unknown", records.INIT_ERROR) == (fault.error_type, fault.status)


@pytest.mark.parametrize(
    ("timeout_ms", "text"),
    [
        (3000, "Task timed out after 3.00 seconds"),
        (250, "Task timed out after 0.25 seconds"),
        (900_000, "Task timed out after 900.00 seconds"),
    ],
)
def test_the_timeout_is_told_in_seconds(timeout_ms: int, text: str) -> None:
    """Two decimals, whatever the timeout."""
    assert text == answers.timed_out(timeout_ms).message


@pytest.mark.parametrize(
    ("header", "body", "expected"),
    [
        ("Function.Odd", b'{"errorType": "Other"}', "Function.Odd"),
        ("", b'{"errorType": "ValueError"}', "ValueError"),
        ("", b'{"errorType": 5}', "Runtime.Unknown"),
        ("", b'{"errorType": ""}', "Runtime.Unknown"),
        ("", b"[]", "Runtime.Unknown"),
        ("", b"", "Runtime.Unknown"),
        ("", b"[" * 100_000, "Runtime.Unknown"),
    ],
)
def test_the_type_of_a_reported_error(header: str, body: bytes, expected: str) -> None:
    """The header counts before the body; a body without a type is unknown."""
    assert expected == answers.reported_type(header, body)


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ("Runtime.ExitError", "Runtime.ExitError"),
        ("Function.MyError", "Function.MyError"),
        ("Function.my-error", "Function.Unknown"),
        ("ValueError", "Runtime.Unknown"),
        ("Extension.Crash", "Extension.Crash"),
        ("Sandbox.Failure", "Sandbox.Failure"),
    ],
)
def test_types_in_platform_records_are_limited(reported: str, expected: str) -> None:
    """The platform takes only types of its own form from a runtime."""
    assert expected == answers.telemetry_type(reported)


def test_extension_faults_have_the_words_of_aws() -> None:
    """Status 0 is told apart, as AWS's server does."""
    assert "exit code 0" == answers.extension_exit(0).message
    assert "exit status 2" == answers.extension_exit(2).message
    assert records.OUT_OF_MEMORY == answers.extension_exit(-9, out_of_memory=True).status
