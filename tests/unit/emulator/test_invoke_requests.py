"""What the invoke endpoint refuses, and with which of AWS's errors."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
import requests

from endpoint_kit import ARN, WAIT_S, FakeEnvironment, endpoint, error_of, post, text_of
from lambdascope.emulator.config import FunctionConfig

if TYPE_CHECKING:
    from collections.abc import Iterator


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
