"""The invoke endpoint over real HTTP, in front of a fake of the execution environment.

What AWS's own clients make of the answers is checked in tests/integration/test_invoke_endpoint.py.
"""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Unpack

import pytest
import requests

from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import EnvironmentClosed
from lambdascope.emulator.invoke import InvokeEndpoint
from lambdascope.emulator.records import InvocationRecord, LogLine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdascope.emulator.environment import InvokeOptions

WAIT_S = 20
ARN = "arn:aws:lambda:us-east-1:123456789012:function:shop"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"


class FakeEnvironment:
    """Answers with the event, and with `answer_fields` changed; runs nothing.

    It publishes the answer, then waits for `extensions_back`, as the real one waits for extensions.
    """

    def __init__(self, **answer_fields: Any) -> None:
        self.config = FunctionConfig(handler="app.handler", task_root="/x", function_name="shop")
        self.answer_fields = answer_fields
        self.calls: list[tuple[bytes, dict[str, Any]]] = []
        self.extensions_back = threading.Event()
        self.extensions_back.set()
        self.fault: Exception | None = None
        self.begun = threading.Semaphore(0)
        self.done = threading.Semaphore(0)

    def invoke(self, event: bytes, **options: Unpack[InvokeOptions]) -> InvocationRecord:
        """As ExecutionEnvironment.invoke."""
        self.calls.append((event, dict(options)))
        self.begun.release()
        if self.fault is not None:
            self.done.release()
            raise self.fault
        record = InvocationRecord(
            request_id=options.get("request_id") or "made-up",
            number=len(self.calls),
            cold=False,
            event=event,
            deadline_ms=0,
            trace_header=options.get("trace_header") or "Root=1-0-0;Sampled=0",
            invoked_function_arn=ARN,
            **{"answer": event, **self.answer_fields},
        )
        on_response = options.get("on_response")
        if on_response is not None:
            on_response(record)
        assert self.extensions_back.wait(WAIT_S)
        record.logs.append(LogLine(time_ns=0, source="platform", text="REPORT at the end"))
        self.done.release()
        return record


@contextmanager
def endpoint(environment: FakeEnvironment | None = None) -> Iterator[tuple[str, FakeEnvironment]]:
    """An endpoint for the length of a block: its URL, and the fake behind it."""
    fake = environment or FakeEnvironment()
    listening = InvokeEndpoint(fake)
    listening.start()
    try:
        yield listening.url, fake
    finally:
        fake.extensions_back.set()
        listening.close()


def post(
    url: str,
    body: bytes = b"{}",
    *,
    name: str = "shop",
    query: str = "",
    headers: dict[str, str] | None = None,
) -> requests.Response:
    """One request as an SDK sends it."""
    target = f"{url}/2015-03-31/functions/{name}/invocations{query}"
    return requests.post(target, body, headers=headers, timeout=WAIT_S)


def error_of(answer: requests.Response) -> tuple[int, str]:
    """Status and error type, after checking that header and body belong to an AWS error."""
    body = answer.json()
    assert body["Type"] in ("User", "Service")
    assert body.get("message") or body.get("Message")
    assert answer.headers["x-amzn-RequestId"]
    return answer.status_code, answer.headers["x-amzn-ErrorType"]


def text_of(answer: requests.Response) -> str:
    """The words of an error."""
    body = answer.json()
    return str(body.get("message") or body.get("Message"))


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


@pytest.mark.parametrize(
    ("name", "query", "qualifier"),
    [
        ("shop", "", None),
        ("shop:live", "", "live"),
        ("shop", "?Qualifier=3", "3"),
        ("shop", "?Qualifier=%24LATEST", "$LATEST"),
        ("shop:3", "?Qualifier=3", "3"),
        ("arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ashop", "", None),
        ("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:shop:live", "", "live"),
        ("123456789012:function:shop", "", None),
        ("123456789012:shop", "", None),
        ("function:shop:7", "", "7"),
    ],
)
def test_names_arns_and_partial_arns_mean_the_function(
    name: str, query: str, qualifier: str | None
) -> None:
    """Region and account are placeholders here, so only the name counts; any version is there."""
    with endpoint() as (url, fake):
        assert post(url, name=name, query=query).status_code == 200
    assert fake.calls[0][1]["qualifier"] == qualifier


@pytest.mark.parametrize("name", ["function", "function:live", "function%3A%24LATEST"])
def test_a_function_called_function_is_found(name: str) -> None:
    """The emulator's default name reads like a part of an ARN."""
    fake = FakeEnvironment()
    fake.config = FunctionConfig(handler="app.handler", task_root="/x")
    with endpoint(fake) as (url, _):
        assert post(url, name=name).status_code == 200


@pytest.mark.parametrize("name", ["other", "other:1", ARN.replace("shop", "other"), "shopping"])
def test_another_function_is_not_found(name: str) -> None:
    """404 with ResourceNotFoundException; the text names the function that is here."""
    with endpoint() as (url, fake):
        answer = post(url, name=name)
    assert error_of(answer) == (404, "ResourceNotFoundException")
    assert text_of(answer).startswith("Function not found: arn:aws:lambda:us-east-1:")
    assert "this emulator runs the function shop" in text_of(answer)
    assert fake.calls == []


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("sh!op", ""),
        ("shop", "?Qualifier=a%20b"),
        ("shop:a%0Ab", ""),
        ("shop:1", "?Qualifier=2"),
    ],
)
def test_a_malformed_name_or_qualifier_is_refused(name: str, query: str) -> None:
    """400 with InvalidParameterValueException."""
    with endpoint() as (url, _):
        answer = post(url, name=name, query=query)
    assert error_of(answer) == (400, "InvalidParameterValueException")


@pytest.mark.parametrize(
    "event",
    [b"{", b"'x'", b"\xff\xfe", b"{} {}", b'{"a": NaN}', b"[" * 100_000],
)
@pytest.mark.parametrize("kind", ["RequestResponse", "Event"])
def test_an_event_that_is_not_json_is_refused(event: bytes, kind: str) -> None:
    """400 with InvalidRequestContentException in AWS's words, whatever the invocation type."""
    with endpoint() as (url, fake):
        answer = post(url, event, headers={"X-Amz-Invocation-Type": kind})
    assert error_of(answer) == (400, "InvalidRequestContentException")
    assert text_of(answer).startswith(
        "Could not parse request body into json: Could not parse payload into json: "
    )
    assert fake.calls == []


def test_a_synchronous_event_may_have_six_megabytes() -> None:
    """6291456 bytes pass; one more is 413, which the sender can read."""
    fits = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
    with endpoint() as (url, fake):
        assert post(url, fits).status_code == 200
        answer = post(url, fits + b" ")
        assert error_of(answer) == (413, "RequestEntityTooLargeException")
        expected = "Request must be smaller than 6291456 bytes for the InvokeFunction operation"
        assert text_of(answer) == expected
        assert [len(event) for event, _ in fake.calls] == [6 * 1024 * 1024]


def test_an_asynchronous_event_may_have_one_megabyte() -> None:
    """The limit of type Event is smaller, and its text has the size."""
    event = b'"' + b"x" * (1024 * 1024 - 1) + b'"'
    headers = {"X-Amz-Invocation-Type": "Event"}
    with endpoint() as (url, _):
        answer = post(url, event, headers=headers)
        assert error_of(answer) == (413, "RequestEntityTooLargeException")
        assert text_of(answer) == (
            "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
        )
        assert post(url, event[1:].replace(b"x", b'"', 1), headers=headers).status_code == 202


def test_a_body_in_chunks_has_the_same_limit() -> None:
    """Without a Content-Length the size is known only when it is too late."""

    def pieces() -> Iterator[bytes]:
        for _ in range(7):
            yield b" " * (1024 * 1024)

    with endpoint() as (url, _):
        target = f"{url}/2015-03-31/functions/shop/invocations"
        answer = requests.post(target, pieces(), timeout=WAIT_S)
        assert error_of(answer) == (413, "RequestEntityTooLargeException")


def test_a_client_context_is_decoded_for_the_runtime() -> None:
    """Base64 outside, JSON text inside."""
    context = '{"custom": {"k": "é"}}'
    encoded = base64.b64encode(context.encode()).decode()
    with endpoint() as (url, fake):
        assert post(url, headers={"X-Amz-Client-Context": encoded}).status_code == 200
    assert fake.calls[0][1]["client_context"] == context


def test_a_client_context_of_many_lines_fits_into_a_header() -> None:
    """It is the same JSON, without what a header cannot hold."""
    encoded = base64.b64encode(b'{\n  "custom": {}\n}').decode()
    with endpoint() as (url, fake):
        assert post(url, headers={"X-Amz-Client-Context": encoded}).status_code == 200
    assert fake.calls[0][1]["client_context"] == '{"custom": {}}'


@pytest.mark.parametrize(
    "header",
    ["!", "e3", base64.b64encode(b"[]").decode(), base64.b64encode(b"\xff").decode()],
)
def test_a_bad_client_context_is_refused(header: str) -> None:
    """400 with InvalidRequestContentException in AWS's words."""
    with endpoint() as (url, _):
        answer = post(url, headers={"X-Amz-Client-Context": header})
    assert error_of(answer) == (400, "InvalidRequestContentException")
    assert text_of(answer) == "Client context must be a valid Base64-encoded JSON object."


def test_a_client_context_over_the_limit_is_refused() -> None:
    """3583 bytes are Lambda's limit."""
    header = base64.b64encode(json.dumps({"a": "x" * 3000}).encode()).decode()
    with endpoint() as (url, _):
        answer = post(url, headers={"X-Amz-Client-Context": header})
    assert error_of(answer) == (400, "InvalidRequestContentException")
    assert "3583" in text_of(answer)


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


def test_an_unknown_invocation_type_is_refused() -> None:
    """400 naming the types that there are."""
    with endpoint() as (url, _):
        answer = post(url, headers={"X-Amz-Invocation-Type": "Later"})
    assert error_of(answer) == (400, "InvalidParameterValueException")
    assert "[Event, RequestResponse, DryRun]" in text_of(answer)


def test_events_cannot_be_streamed() -> None:
    """400 naming the types that InvokeWithResponseStream has."""
    with endpoint() as (url, fake):
        target = f"{url}/2021-11-15/functions/shop/response-streaming-invocations"
        headers = {"X-Amz-Invocation-Type": "Event"}
        answer = requests.post(target, b"{}", headers=headers, timeout=WAIT_S)
        headers = {"X-Amz-Invocation-Type": "DryRun"}
        assert requests.post(target, b"{}", headers=headers, timeout=WAIT_S).status_code == 204
    assert (error_of(answer), fake.calls) == ((400, "InvalidParameterValueException"), [])
    assert "[RequestResponse, DryRun]" in text_of(answer)


def test_other_methods_and_paths_are_refused() -> None:
    """405 for the wrong method, 404 for what is not emulated."""
    with endpoint() as (url, _):
        invoke = f"{url}/2015-03-31/functions/shop/invocations"
        assert error_of(requests.get(invoke, timeout=WAIT_S))[0] == 405
        get_function = f"{url}/2015-03-31/functions/shop"
        assert error_of(requests.get(get_function, timeout=WAIT_S)) == (
            404,
            "UnknownOperationException",
        )
        assert error_of(requests.post(f"{url}/", b"{}", timeout=WAIT_S))[0] == 405


def test_a_visitor_gets_a_hint() -> None:
    """GET / says in one line how to invoke; the health path answers."""
    with endpoint() as (url, _):
        hint = requests.get(url, timeout=WAIT_S)
        assert (hint.status_code, hint.text.count("\n")) == (200, 1)
        assert f"--endpoint-url {url} --function-name shop" in hint.text
        assert requests.get(f"{url}/2018-06-01/ping", timeout=WAIT_S).text == "pong"


def test_a_page_from_elsewhere_cannot_run_the_function() -> None:
    """A browser says where a request comes from; only pages of this machine may call."""
    with endpoint() as (url, fake):
        assert post(url, headers={"Origin": "https://example.com"}).status_code == 403
        assert post(url, headers={"Origin": "null"}).status_code == 403
        assert post(url, headers={"Origin": "http://["}).status_code == 403
        assert fake.calls == []
        assert post(url, headers={"Origin": "http://localhost:3000"}).status_code == 200


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
