"""Responses as the answers that each sender of events expects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lambdascope.asgi.answer import answer
from lambdascope.asgi.request import Request
from lambdascope.cli import sample_events

EVENTS = Path(sample_events.__file__).parent / "events"
HEADERS = [
    (b"Content-Type", b"text/plain"),
    (b"vary", b"a"),
    (b"Vary", b"b"),
    (b"set-cookie", b"c=1"),
    (b"set-cookie", b"d=2"),
]
LISTS = {"content-type": ["text/plain"], "vary": ["a", "b"], "set-cookie": ["c=1", "d=2"]}
JOINED = {"content-type": "text/plain", "vary": "a, b"}


def answered(event: dict[str, Any], body: bytes = b"text") -> dict[str, Any]:
    """The answer to one of the events."""
    return answer(Request(event), 201, HEADERS, body)


def sample(name: str) -> dict[str, Any]:
    """One of the command's sample events."""
    event: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return event


@pytest.mark.parametrize("name", ["http", "url"])
def test_format_2(name: str) -> None:
    """One value for each header; cookies by themselves."""
    assert {
        "statusCode": 201,
        "headers": JOINED,
        "cookies": ["c=1", "d=2"],
        "body": "text",
        "isBase64Encoded": False,
    } == answered(sample(name))


def test_format_1() -> None:
    """Lists of values."""
    expected = {"statusCode": 201, "multiValueHeaders": LISTS}
    assert expected | {"body": "text", "isBase64Encoded": False} == answered(sample("apigw"))


def test_load_balancer() -> None:
    """Lists where the request has them; else cookies under names that differ in case."""
    event = sample("alb")
    expected = {"statusCode": 201, "statusDescription": "201 Created"}
    body = {"body": "text", "isBase64Encoded": False}
    cookies = {"set-cookie": "c=1", "Set-cookie": "d=2"}
    assert expected | body | {"headers": JOINED | cookies} == answered(event)
    event["multiValueHeaders"] = {name: [value] for name, value in event.pop("headers").items()}
    assert expected | body | {"multiValueHeaders": LISTS} == answered(event)


@pytest.mark.parametrize(
    ("body", "text", "is_base64"),
    [
        (b"", "", False),
        ("é".encode(), "é", False),
        (b"\x1f\x8b\x08", "H4sI", True),
        (b"\0\0", "AAA=", True),
    ],
)
def test_bodies(body: bytes, text: str, is_base64: bool) -> None:
    """What is not text is in base64, and said to be."""
    found = answered(sample("url"), body)
    assert (text, is_base64) == (found["body"], found["isBase64Encoded"])
