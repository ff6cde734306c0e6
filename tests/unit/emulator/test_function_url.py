"""The function URL over real HTTP, in front of a fake of the execution environment."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Unpack

import pytest
import requests

from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import EnvironmentClosed
from lambdascope.emulator.function_url import FunctionUrl
from lambdascope.emulator.records import InvocationRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdascope.emulator.environment import InvokeOptions

WAIT_S = 20
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


class FakeEnvironment:
    """Answers every event with `answer`, and keeps the events; runs nothing."""

    def __init__(self, answer: bytes = b"{}", fault: Exception | None = None) -> None:
        self.config = FunctionConfig(handler="app.handler", task_root="/x")
        self.answer = answer
        self.fault = fault
        self.events: list[dict[str, Any]] = []
        self.options: list[dict[str, Any]] = []

    def invoke(self, event: bytes, **options: Unpack[InvokeOptions]) -> InvocationRecord:
        """As ExecutionEnvironment.invoke."""
        self.events.append(json.loads(event))
        self.options.append(dict(options))
        if self.fault is not None:
            raise self.fault
        record = InvocationRecord(
            request_id=str(options["request_id"]),
            number=1,
            cold=False,
            event=event,
            deadline_ms=0,
            trace_header=str(options["trace_header"]),
            invoked_function_arn="arn",
            answer=self.answer,
        )
        on_response = options["on_response"]
        assert on_response is not None
        on_response(record)
        return record


@contextmanager
def site(**options: Any) -> Iterator[tuple[str, FakeEnvironment]]:
    """A function URL for the length of a block, and the fake behind it."""
    fake = FakeEnvironment(**options)
    url = FunctionUrl(fake)
    url.start()
    try:
        yield url.url, fake
    finally:
        url.close()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_any_method_and_path_invokes(method: str) -> None:
    """Ids are the same in the event, in the invocation and in the response."""
    with site() as (url, fake):
        answer = requests.request(
            method, f"{url}a/b?c=d", headers={"X-Amzn-Trace-Id": TRACE}, timeout=WAIT_S
        )
    (event,), (options,) = fake.events, fake.options
    assert (method, "/a/b", "c=d") == (
        event["requestContext"]["http"]["method"],
        event["rawPath"],
        event["rawQueryString"],
    )
    assert event["requestContext"]["requestId"] == options["request_id"]
    assert answer.headers["x-amzn-RequestId"] == options["request_id"]
    assert TRACE == options["trace_header"]
    root = TRACE.partition(";")[0]
    assert root == answer.headers["X-Amzn-Trace-Id"] == event["headers"]["x-amzn-trace-id"]


def test_bodies_arrive() -> None:
    """JSON as text; a form in base64."""
    with site() as (url, fake):
        requests.post(url, json={"a": 1}, timeout=WAIT_S)
        requests.post(url, data={"a": "1"}, timeout=WAIT_S)
    first, second = fake.events
    assert ('{"a": 1}', False) == (first["body"], first["isBase64Encoded"])
    assert ("YT0x", True) == (second["body"], second["isBase64Encoded"])


def test_a_malformed_answer_is_502_and_said(capfd: pytest.CaptureFixture[str]) -> None:
    """One line names the request and what is wrong."""
    with site(answer=b'{"statusCode": 200, "body": {}}') as (url, _):
        answer = requests.get(f"{url}x", timeout=WAIT_S)
    assert (502, b"Internal Server Error") == (answer.status_code, answer.content)
    line = "lambdascope: GET /x: body is a dict, not a string; Lambda answers this with 502\n"
    assert line == capfd.readouterr().err


def test_a_request_that_is_too_large_is_refused() -> None:
    """413 for the body, and for a body that is too large only in base64; nothing is invoked."""
    with site() as (url, fake):
        for size in (6 * 1024 * 1024 + 1, 5 * 1024 * 1024):
            answer = requests.post(url, b"\xff" * size, timeout=WAIT_S)
            assert 413 == answer.status_code
            assert "smaller than 6291456 bytes" in answer.json()["Message"]
    assert [] == fake.events


def test_pages_from_elsewhere_are_refused() -> None:
    """A page of this machine may call the function, one of another site may not."""
    with site() as (url, fake):
        foreign = requests.get(url, headers={"Origin": "https://example.com"}, timeout=WAIT_S)
        own = requests.get(url, headers={"Origin": "http://localhost:3000"}, timeout=WAIT_S)
    assert (403, 200, 1) == (foreign.status_code, own.status_code, len(fake.events))


@pytest.mark.parametrize(("fault", "status"), [(EnvironmentClosed("over"), 409), (OSError(), 500)])
def test_an_environment_that_cannot_invoke(fault: Exception, status: int) -> None:
    """The client is told, and the connection stays usable."""
    with site(fault=fault) as (url, _), requests.Session() as session:
        for _ in range(2):
            assert status == session.get(url, timeout=WAIT_S).status_code


def test_answers_without_a_body_keep_the_connection() -> None:
    """204, 304 and HEAD leave nothing behind that could be read as the next answer."""
    with site() as (url, fake), requests.Session() as session:
        for status, method in [(204, "GET"), (304, "GET"), (200, "HEAD")]:
            fake.answer = json.dumps({"statusCode": status, "body": "yes"}).encode()
            answer = session.request(method, url, timeout=WAIT_S)
            assert (status, b"") == (answer.status_code, answer.content)
        assert b"yes" == session.get(url, timeout=WAIT_S).content
