"""Events of each shape as ASGI requests."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.asgi.request import ALB, V1, V2, Request
from lambdascope.cli import sample_events

EVENTS = Path(sample_events.__file__).parent / "events"
SHAPES = {"apigw": V1, "http": V2, "url": V2, "alb": ALB}


def sample(name: str, **changes: Any) -> dict[str, Any]:
    """One of the command's sample events, changed."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event | changes


def scope_of(event: dict[str, Any], **options: str) -> dict[str, Any]:
    """The scope without a context."""
    return Request(event, **options).scope(None)


@pytest.mark.parametrize("name", SHAPES)
def test_what_all_samples_share(name: str) -> None:
    """Each shape gives the fields that ASGI asks for, and the event itself."""
    event = sample(name)
    request = Request(event)
    context = object()
    scope = request.scope(context)
    assert SHAPES[name] == request.shape
    assert (name == "url") == request.of_function_url
    assert ("http", "1.1", "https") == (scope["type"], scope["http_version"], scope["scheme"])
    assert ("203.0.113.10", 0) == scope["client"]
    host = event["headers"].get("host") or event["headers"]["Host"]
    assert (host, 443) == scope["server"]
    assert scope["aws.event"] is event
    assert scope["aws.context"] is context
    assert (b"user-agent", b"curl/8.5.0") in scope["headers"]
    assert "/orders/17" == scope["path"].removeprefix(scope["root_path"])
    assert (b"" if name == "alb" else b'{"total":42.5}') == request.body


@pytest.mark.parametrize(
    ("name", "method", "path", "root", "query"),
    [
        ("apigw", "POST", "/prod/orders/17", "/prod", b"dry=true"),
        ("http", "POST", "/orders/17", "", b"dry=true&tag=a&tag=b"),
        ("url", "POST", "/orders/17", "", b"dry=true&tag=a&tag=b"),
        ("alb", "GET", "/orders/17", "", b"dry=true"),
    ],
)
def test_request_lines(name: str, method: str, path: str, root: str, query: bytes) -> None:
    """Method, path with its root, and query, of each shape."""
    scope = scope_of(sample(name))
    assert (method, path, root, query) == (
        scope["method"],
        scope["path"],
        scope["root_path"],
        scope["query_string"],
    )


def test_values_of_one_name() -> None:
    """Lists of headers and parameters keep every value, in order."""
    event = sample("apigw")
    event["multiValueHeaders"] = {"X-A": ["1", "2"], "Cookie": ["a=1; b=2"]}
    event["multiValueQueryStringParameters"] = {"t": ["a b", "c&d"], "u": ["é"]}
    scope = scope_of(event)
    assert [(b"x-a", b"1"), (b"x-a", b"2"), (b"cookie", b"a=1; b=2")] == scope["headers"]
    assert b"t=a+b&t=c%26d&u=%C3%A9" == scope["query_string"]


def test_load_balancer_with_lists() -> None:
    """Its parameters come as they were sent, so that they are not encoded again."""
    event = sample("alb")
    del event["headers"], event["queryStringParameters"]
    event["multiValueHeaders"] = {"x-forwarded-for": ["198.51.100.1, 203.0.113.9"]}
    event["multiValueQueryStringParameters"] = {"q": ["a%20b", "c+d", "e f"]}
    request = Request(event)
    scope = request.scope(None)
    assert request.has_lists
    assert b"q=a%20b&q=c+d&q=e%20f" == scope["query_string"]
    assert ("203.0.113.9", 0) == scope["client"]
    assert ("lambda", 443) == scope["server"]


def test_cookies_of_format_2() -> None:
    """The list of cookies is the header, once."""
    event = sample("http", cookies=["a=1", "b=2"])
    event["headers"]["cookie"] = "a=1; b=2"
    cookies = [value for name, value in scope_of(event)["headers"] if name == b"cookie"]
    assert [b"a=1; b=2"] == cookies


@pytest.mark.parametrize(
    ("domain", "root"),
    [("abc.execute-api.us-east-1.amazonaws.com", "/prod"), ("api.example.com", "")],
)
def test_stage_in_the_path_of_an_http_api(domain: str, root: str) -> None:
    """The stage is the root path, but not behind a custom domain, where a path may be called so."""
    event = sample("http", rawPath="/prod/orders")
    event["requestContext"] |= {"stage": "prod", "domainName": domain}
    scope = scope_of(event)
    assert ("/prod/orders", root) == (scope["path"], scope["root_path"])


def test_base_path() -> None:
    """What a custom domain maps is the root path; a longer name is another path."""
    assert "/shop" == scope_of(sample("url", rawPath="/shop/x"), base_path="/shop")["root_path"]
    assert "" == scope_of(sample("url", rawPath="/shopping"), base_path="/shop")["root_path"]


def test_encoded_path() -> None:
    """The path is decoded; the raw path is what was sent, with nothing in it but ASCII."""
    scope = scope_of(sample("url", rawPath="/caf%C3%A9/a%2Fb c"))
    assert ("/café/a/b c", b"/caf%C3%A9/a%2Fb%20c") == (scope["path"], scope["raw_path"])


@pytest.mark.parametrize(
    ("headers", "scheme", "server"),
    [
        ({"host": "h:8080", "x-forwarded-proto": "http"}, "http", ("h", 8080)),
        ({"host": "[::1]", "x-forwarded-proto": "http"}, "http", ("[::1]", 80)),
        ({"host": "[::1]:90", "x-forwarded-port": "443"}, "https", ("[::1]", 90)),
        (
            {"host": "h", "x-forwarded-port": "x", "x-forwarded-proto": "gopher"},
            "https",
            ("h", 443),
        ),
    ],
)
def test_scheme_and_server(headers: dict[str, str], scheme: str, server: tuple[str, int]) -> None:
    """Both come from the headers; what makes no sense there is passed over."""
    scope = scope_of(sample("alb", headers=headers))
    assert (scheme, server) == (scope["scheme"], scope["server"])


def test_bodies() -> None:
    """Text is UTF-8, base64 is what it stands for, null is nothing."""
    raw = bytes(range(256))
    coded = base64.b64encode(raw).decode()
    assert raw == Request(sample("url", body=coded, isBase64Encoded=True)).body
    assert "é".encode() == Request(sample("url", body="é")).body
    assert b"" == Request(sample("url", body=None)).body


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ([], "the event is a list, not an HTTP request"),
        ({"Records": []}, "(its fields: Records)"),
        ({}, "(its fields: none)"),
        (sample("url", headers=[]), "the event's headers is a list, not a dict"),
        (sample("url", headers={"a": 1}), "the event's headers 'a' has a int where text belongs"),
        (sample("url", body={}), "the event's body is a dict, not a str"),
        (sample("url", body="?", isBase64Encoded=True), "the event's body is not base64"),
        (sample("url", rawPath=None), "the event has no rawPath"),
        (sample("url", cookies="a=1"), "the event's cookies is a str, not a list"),
        (sample("alb", httpMethod=None), "the event has no httpMethod"),
    ],
)
def test_odd_events(event: Any, said: str) -> None:
    """What is no request says what it is."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        scope_of(event)
    assert said in str(caught.value)


FIELDS = sorted({field for name in SHAPES for field in sample(name)})
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
AROUND = ["elb", "http", "identity", "path", "stage", "domainName", "protocol"]


@given(
    st.sampled_from(sorted(SHAPES)),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4),
    st.dictionaries(st.sampled_from(AROUND), JSON, max_size=3),
    JSON,
)
def test_any_event_is_a_request_or_a_value_error(
    name: str, changes: dict[str, Any], around: dict[str, Any], other: Any
) -> None:
    """Whatever an event holds, it is translated or refused with ValueError, and never else."""
    event = sample(name)
    event["requestContext"] = event["requestContext"] | around
    for each in (event | changes, other):
        try:
            request = Request(each)
            scope = request.scope(None)
        except ValueError as error:
            said = str(error)
        else:
            said = ""
            assert isinstance(request.body, bytes)
            assert scope["raw_path"].isascii()
            assert scope["query_string"].isascii()
        assert not said or said.startswith("the event")
