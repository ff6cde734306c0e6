"""What a function URL makes of requests and of answers, without any socket."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.http_answer import MalformedAnswer, buffered_answer, streamed_answer
from lambdascope.emulator.http_event import HttpRequest, http_event, url_id

CONFIG = FunctionConfig(handler="app.handler", task_root="/x", function_name="shop")
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
PRELUDE = "application/vnd.awslambda.http-integration-response"


def event_of(
    target: str = "/", *, method: str = "GET", body: bytes = b"", **headers: str
) -> dict[str, Any]:
    """The event of a request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = HttpRequest(
        method=method,
        target=target,
        headers={"host": "localhost:1", **named},
        body=body,
        source_ip="127.0.0.1",
        port=8080,
    )
    found = http_event(
        request, CONFIG, request_id="r1", trace_header=TRACE, time_ns=1_583_348_638_390_000_000
    )
    again: dict[str, Any] = json.loads(json.dumps(found))
    return again


def test_the_event_of_a_request() -> None:
    """Format 2.0 with a function URL's sentinels; path and query as they were sent."""
    event = event_of(
        "/a%20b/c?x=1&x=2%2C3&y=&z=%C3%A9", cookie="a=1; b=2", user_agent="curl/8", x_own="v"
    )
    domain = url_id(CONFIG)
    assert ("2.0", "$default") == (event["version"], event["routeKey"])
    assert ("/a%20b/c", "x=1&x=2%2C3&y=&z=%C3%A9") == (event["rawPath"], event["rawQueryString"])
    assert {"x": "1,2,3", "y": "", "z": "é"} == event["queryStringParameters"]
    assert ["a=1", "b=2"] == event["cookies"]
    assert {
        "host": "localhost:1",
        "cookie": "a=1; b=2",
        "user-agent": "curl/8",
        "x-own": "v",
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-port": "8080",
        "x-forwarded-proto": "http",
        "x-amzn-trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793",
    } == event["headers"]
    assert {
        "accountId": "anonymous",
        "apiId": domain,
        "domainName": f"{domain}.lambda-url.us-east-1.on.aws",
        "domainPrefix": domain,
        "http": {
            "method": "GET",
            "path": "/a%20b/c",
            "protocol": "HTTP/1.1",
            "sourceIp": "127.0.0.1",
            "userAgent": "curl/8",
        },
        "requestId": "r1",
        "routeKey": "$default",
        "stage": "$default",
        "time": "04/Mar/2020:19:03:58 +0000",
        "timeEpoch": 1583348638390,
    } == event["requestContext"]
    assert event["isBase64Encoded"] is False


def test_what_is_not_there_has_no_field() -> None:
    """No body, no query and no cookies leave no keys."""
    event = event_of()
    assert {"body", "queryStringParameters", "cookies"}.isdisjoint(event)
    assert "" == event["rawQueryString"]


@pytest.mark.parametrize(
    ("content_type", "body", "is_text"),
    [
        ("application/json", b'{"a": 1}', True),
        ("text/html; charset=utf-8", "é".encode(), True),
        ("application/problem+json", b"{}", True),
        ("", b"plain", True),
        ("", b"\xff\xfe", False),
        ("text/plain; charset=latin-1", b"\xe9", False),
        ("application/octet-stream", b"plain", False),
        ("application/x-www-form-urlencoded", b"a=1", False),
    ],
)
def test_bodies_that_are_not_text_are_in_base64(
    content_type: str, body: bytes, is_text: bool
) -> None:
    """By content type; forms are not text."""
    event = event_of(method="POST", body=body, content_type=content_type)
    expected = body.decode() if is_text else base64.b64encode(body).decode()
    assert (expected, not is_text) == (event["body"], event["isBase64Encoded"])


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [("http://h:1/p?q=1", "/p", "q=1"), ("http://h", "/", ""), ("*", "/", ""), ("/?", "/", "")],
)
def test_other_forms_of_targets(target: str, path: str, query: str) -> None:
    """Those that proxies are asked with, and OPTIONS *."""
    event = event_of(target)
    assert (path, query) == (event["rawPath"], event["rawQueryString"])


def answered(value: object) -> tuple[int, list[tuple[str, str]], bytes]:
    """The response that a buffered answer makes."""
    head, body = buffered_answer(json.dumps(value).encode())
    return head.status, list(head.headers), body


@pytest.mark.parametrize("value", [None, "text", 17, [1], {"body": "x"}, {}])
def test_any_json_is_a_body(value: object) -> None:
    """200 with the bytes as the runtime sent them."""
    kind = [("content-type", "application/json")]
    assert (200, kind, json.dumps(value).encode()) == answered(value)


def test_an_object_with_a_status_is_a_response() -> None:
    """Headers of any scalar, a cookie each, text or base64; what belongs to the hop is ours."""
    assert (
        201,
        [("X-A", "1"), ("X-B", "true"), ("Content-Type", "text/x"), ("set-cookie", "a=1")],
        "é".encode(),
    ) == answered(
        {
            "statusCode": 201,
            "headers": {
                "X-A": 1,
                "X-B": True,
                "Content-Type": "text/x",
                "Content-Length": "7",
                "Connection": "close",
                "Transfer-Encoding": "chunked",
            },
            "cookies": ["a=1"],
            "body": "é",
        }
    )
    kind = [("content-type", "application/json")]
    assert (404, kind, b"") == answered({"statusCode": "404"})
    encoded = base64.b64encode(b"\xff").decode()
    assert b"\xff" == answered({"statusCode": 200, "body": encoded, "isBase64Encoded": True})[2]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"statusCode": 99}, "statusCode is '99'"),
        ({"statusCode": 101}, "statusCode is '101'"),
        ({"statusCode": None}, "statusCode is 'None'"),
        ({"statusCode": True}, "statusCode is 'True'"),
        ({"statusCode": 200, "body": {"a": 1}}, "body is a dict, not a string"),
        ({"statusCode": 200, "body": "!", "isBase64Encoded": True}, "body is not base64"),
        ({"statusCode": 200, "headers": []}, None),
        ({"statusCode": 200, "headers": [1]}, "headers is not an object"),
        ({"statusCode": 200, "headers": {"a": []}}, "header 'a' is a list, not a string"),
        ({"statusCode": 200, "headers": {"a": "x\r\ny: z"}}, "header 'a' has characters"),
        ({"statusCode": 200, "headers": {"a b": "x"}}, "header 'a b' has characters"),
        ({"statusCode": 200, "cookies": "a=1"}, "cookies is not a list"),
    ],
)
def test_answers_of_which_no_response_can_be_made(value: object, words: str | None) -> None:
    """Each says what is wrong with it."""
    if words is None:
        assert 200 == answered(value)[0]
        return
    with pytest.raises(MalformedAnswer) as caught:
        answered(value)
    assert words in str(caught.value)


def test_an_answer_that_is_not_json() -> None:
    """It cannot be translated."""
    with pytest.raises(MalformedAnswer, match="not JSON"):
        buffered_answer(b"<html>")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 1000])
def test_a_prelude_in_pieces_of_any_size(size: int) -> None:
    """What follows the eight NUL bytes is the body, whatever bytes it has."""
    data = b'{"statusCode": 202, "headers": {"a": "b"}}' + bytes(8) + b"\0body"
    pieces = iter([data[at : at + size] for at in range(0, len(data), size)])
    head, begun = streamed_answer(PRELUDE, pieces)
    assert (202, (("a", "b"), ("content-type", "application/octet-stream"))) == (
        head.status,
        head.headers,
    )
    assert b"\0body" == begun + b"".join(pieces)


def test_a_plain_stream_has_no_prelude() -> None:
    """Nothing is read before the head is there."""
    pieces = iter([b'{"statusCode": 500}' + bytes(8)])
    head, begun = streamed_answer("text/plain", pieces)
    assert (200, (("content-type", "text/plain"),), b"") == (head.status, head.headers, begun)
    assert 1 == len(list(pieces))


@pytest.mark.parametrize(
    "data", [b"", b'{"statusCode": 200}', b"no json" + bytes(8), b"[]" + bytes(8), b"x" * 2_000_000]
)
def test_bad_preludes(data: bytes) -> None:
    """One that does not end, is no JSON, or is no object."""
    with pytest.raises(MalformedAnswer, match="prelude"):
        streamed_answer(PRELUDE, iter([data]))
