"""The post of each invocation: the same as any HTTP request, and nothing else taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.wire import handoff_post, names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.heads import parse_request_head

PREFIX = handoff_post.prefix("127.0.0.1:4318", "t0k3n")
USUAL = handoff_post.encoder(PREFIX)("8476a536-e9f4-11e8-9739-2dfe598c3fcd", 3, b"body")


@given(
    st.text(st.sampled_from("0123456789abcdefABCDEF-"), min_size=1).filter(lambda s: s.strip("-")),
    st.integers(0, 999_999_999),
    st.binary(),
)
def test_as_any_request(request_id: str, spans: int, body: bytes) -> None:
    """What is written is read at a look, and by the parser of requests, with the same result."""
    data = handoff_post.encoder(PREFIX)(request_id, spans, body)
    assert (request_id, spans, body) == handoff_post.parse(data, PREFIX)
    head = parse_request_head(data[: len(data) - len(body) - 4])
    assert (names.TRACES_PATH, len(body)) == (head.target, head.content_length)
    assert {
        "host": "127.0.0.1:4318",
        "lambdascope-token": "t0k3n",
        "content-type": names.CONTENT_TYPE_PROTOBUF,
        "lambdascope-request-id": request_id,
        "lambdascope-done": str(spans),
        "content-length": str(len(body)),
    } == head.headers


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"POST", b"GET "),
        (b"t0k3n", b"T0k3n"),
        (b"Done: 3", b"Done: -3"),
        (b"Done: 3", b"Done: "),
        (b"Done: 3", b"Done: 3333333333"),
        (b"Length: 4", b"Length: 5"),
        (b"Length: 4", b"Length: 3"),
        (b"Length: 4", b"Length: +4"),
        (b"Length: 4", b"Length: 4\r\nContent-Length: 4"),
        (b"Length: 4", b"Length: 4\r\nTransfer-Encoding: chunked"),
        (b"Length: 4", b"Length: 4\r\nConnection: close"),
        (b"Length: 4", b"Length: 4\r\nContent-Encoding: gzip"),
        (b"8476a536", b"8476a536\r\nX: y"),
        (b"8476a536", b"8476 536"),
        (b"8476a536", b"8476a536\xff"),
        (b"\r\n\r\n", b"\r\n"),
        (b"body", b"bod"),
        (b"body", b"body!"),
    ],
)
def test_anything_else_is_left_to_the_parser(old: bytes, new: bytes) -> None:
    """One byte that differs, and it is not taken for the usual post."""
    assert old in USUAL
    assert handoff_post.parse(USUAL.replace(old, new, 1), PREFIX) is None


def test_a_part_of_a_head() -> None:
    """Whatever length it names, what has come of a head is no request yet."""
    for length in range(3000):
        data = PREFIX + b"r-1\r\nLambdascope-Done: 3\r\nContent-Length: %d" % length
        assert handoff_post.parse(data, PREFIX) is None


@given(st.binary(max_size=60), st.integers(0, len(USUAL)))
def test_bytes_in_between(junk: bytes, at: int) -> None:
    """With bytes that do not belong there it is either left alone or what the parser reads."""
    data = USUAL[:at] + junk + USUAL[at:]
    found = handoff_post.parse(data, PREFIX)
    if found is None:
        return
    end = data.index(b"\r\n\r\n")
    try:
        head = parse_request_head(data[:end])
    except RemoteProtocolError as error:
        pytest.fail(f"read at a look, but refused by the parser: {error}")
    assert found[0] == head.headers["lambdascope-request-id"]
    assert (str(found[1]), found[2]) == (head.headers["lambdascope-done"], data[end + 4 :])
