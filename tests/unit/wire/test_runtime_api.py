"""The messages of the Runtime API: what one side encodes, the other reads back unchanged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.wire import http1, names, runtime_api, streaming
from lambdascope.wire.errors import LocalProtocolError, RemoteProtocolError
from lambdascope.wire.runtime_api import (
    InitError,
    Invocation,
    InvocationError,
    InvocationResponse,
    Next,
)
from pieces import Parsed, parse_one
from wire_texts import BODY, HEADER_TEXT, HEADER_TEXT_1, OPTIONAL, TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable

COMMON = (("Host", "127.0.0.1:9001"), ("User-Agent", "lambdascope/test"))
REQUEST_IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)
RESPONSES = st.builds(
    InvocationResponse,
    request_id=REQUEST_IDS,
    body=BODY,
    content_type=HEADER_TEXT_1,
    invocation_id=OPTIONAL,
    mode=st.sampled_from(("", "streaming", "other")),
)
MESSAGES = st.one_of(
    st.builds(Next, restore=st.booleans()),
    RESPONSES,
    st.builds(
        InvocationError,
        request_id=REQUEST_IDS,
        body=BODY,
        error_type=HEADER_TEXT,
        xray_cause=HEADER_TEXT,
        invocation_id=OPTIONAL,
        content_type=HEADER_TEXT_1,
    ),
    st.builds(
        InitError,
        body=BODY,
        error_type=HEADER_TEXT,
        xray_cause=HEADER_TEXT,
        restore=st.booleans(),
    ),
)
OPTIONAL_HEADERS = st.dictionaries(
    st.sampled_from(
        (
            names.FUNCTION_ARN,
            names.TRACE_ID,
            names.CLIENT_CONTEXT,
            names.COGNITO_IDENTITY,
            names.TENANT_ID,
            names.INVOCATION_ID,
            "Content-Type",
            "X-Unknown",
        )
    ).map(str.lower),
    HEADER_TEXT,
)


def received(data: bytes) -> runtime_api.RuntimeRequest | None:
    """What a server makes of a request."""
    parsed = parse_one(data, request=True)
    return runtime_api.parse_request(parsed.method, parsed.target, parsed.headers, parsed.body)


def parse(
    method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> runtime_api.RuntimeRequest | None:
    """`parse_request` with defaults."""
    return runtime_api.parse_request(method, target, headers or {}, body)


@given(MESSAGES)
def test_requests_round_trip(message: runtime_api.RuntimeRequest) -> None:
    """A server reads the message that the runtime encoded."""
    assert message == received(message.to_request(COMMON))


@given(MESSAGES)
def test_requests_carry_the_common_headers(message: runtime_api.RuntimeRequest) -> None:
    """Every request has Host and User-Agent, because AWS's server needs them."""
    headers = parse_one(message.to_request(COMMON), request=True).headers
    assert (headers["host"], headers["user-agent"]) == ("127.0.0.1:9001", "lambdascope/test")


@given(
    TOKEN.map(str.lower).filter(lambda name: name not in runtime_api._HOP_BY_HOP),
    HEADER_TEXT_1,
    st.integers(0, 9 * 10**12),
    OPTIONAL_HEADERS,
    BODY,
)
def test_invocations_round_trip(
    unknown: str, request_id: str, deadline_ms: int, optional: dict[str, str], body: bytes
) -> None:
    """The runtime reads the event that the server encoded, with all of its headers."""
    headers = {
        unknown: "kept",
        **optional,
        "lambda-runtime-aws-request-id": request_id,
        "lambda-runtime-deadline-ms": str(deadline_ms),
    }
    sent = Invocation(headers=headers, body=body)
    parsed = parse_one(sent.to_response(), request=False)
    got = Invocation(headers=parsed.headers, body=parsed.body)
    assert str(len(body)) == got.headers.pop("content-length")
    assert sent == got
    assert (request_id, deadline_ms) == (got.request_id, got.deadline_ms)
    assert got.tenant_id == (optional.get("lambda-runtime-aws-tenant-id") or None)


def test_headers_of_one_hop_are_written_anew() -> None:
    """What the framing decides is not repeated from the message."""
    headers = {
        "lambda-runtime-aws-request-id": "a",
        "lambda-runtime-deadline-ms": "1",
        "content-length": "99",
        "transfer-encoding": "chunked",
        "connection": "close",
        "date": "today",
        "trailer": "x",
    }
    parsed = parse_one(Invocation(headers=headers, body=b"{}").to_response(), request=False)
    assert parsed.headers == {
        "lambda-runtime-aws-request-id": "a",
        "lambda-runtime-deadline-ms": "1",
        "content-length": "2",
    }


def test_empty_headers_are_absent() -> None:
    """Managed instances send headers without a value; they mean nothing."""
    names_of_optional = (
        "lambda-runtime-trace-id",
        "lambda-runtime-client-context",
        "lambda-runtime-cognito-identity",
        "lambda-runtime-aws-tenant-id",
        "lambda-runtime-invocation-id",
        "content-type",
    )
    required = {"lambda-runtime-aws-request-id": "a", "lambda-runtime-deadline-ms": "1"}
    empty = Invocation(headers={**required, **dict.fromkeys(names_of_optional, "")}, body=b"")
    absent = Invocation(headers=required, body=b"")
    for message in (empty, absent):
        assert message.trace_id is None
        assert message.client_context is None
        assert message.cognito_identity is None
        assert message.tenant_id is None
        assert message.invocation_id is None
        assert message.content_type == "application/json"
        assert message.invoked_function_arn == ""


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"lambda-runtime-deadline-ms": "1"},
        {"lambda-runtime-aws-request-id": "", "lambda-runtime-deadline-ms": "1"},
        {"lambda-runtime-aws-request-id": "a, b", "lambda-runtime-deadline-ms": "1"},
    ],
)
def test_an_answer_to_next_without_an_id_or_with_two(headers: dict[str, str]) -> None:
    """Without one there is no invocation; the error names the header."""
    with pytest.raises(RemoteProtocolError, match=r"next answered with.* Lambda-Runtime-Aws-Req"):
        Invocation(headers=headers, body=b"{}")


@pytest.mark.parametrize("deadline", [None, "", "soon", "-1", "1_0", "\u0661", "1.5", "0x1"])
def test_an_event_without_a_deadline(deadline: str | None) -> None:
    """A deadline that is missing or no number has passed long ago, as for AWS's client."""
    headers = {"lambda-runtime-aws-request-id": "a"}
    if deadline is not None:
        headers["lambda-runtime-deadline-ms"] = deadline

    assert 0 == Invocation(headers=headers, body=b"{}").deadline_ms


@pytest.mark.parametrize("deadline", ["9000000000001", "9" * 18, "9" * 5000])
def test_a_deadline_that_never_comes(deadline: str) -> None:
    """One that is too far away for Python's time-outs is the farthest that is not."""
    headers = {"lambda-runtime-aws-request-id": "a", "lambda-runtime-deadline-ms": deadline}

    assert 9_000_000_000_000 == Invocation(headers=headers, body=b"{}").deadline_ms


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("POST", "/2018-06-01/runtime/invocation/next"),
        ("POST", "/2018-06-01/runtime/restore/next"),
        ("GET", "/2018-06-01/runtime/invocation/a/response"),
        ("GET", "/2018-06-01/runtime/init/error"),
        ("PUT", "/2018-06-01/runtime/invocation/a/response"),
        ("POST", "/2018-06-01/runtime/invocation//response"),
        ("POST", "/2018-06-01/runtime/invocation/a"),
        ("POST", "/2018-06-01/runtime/invocation/a/response/more"),
        ("POST", "/2018-06-01/runtime/invocation/a/b/response"),
        ("POST", "/2018-06-01/runtime/other"),
        ("GET", "/2015-03-31/functions/f/invocations"),
        ("GET", ""),
    ],
)
def test_requests_of_no_known_kind(method: str, target: str) -> None:
    """Paths and methods that the API does not have are not guessed at."""
    assert parse(method, target) is None


def test_requests_of_foreign_runtimes() -> None:
    """Absent headers are empty, a query is ignored, a raw mode is kept for the server to refuse."""
    assert Next() == parse("GET", "/2018-06-01/runtime/invocation/next?x=y")
    assert InvocationResponse(
        request_id="a", body=b"x", content_type="", mode="Streaming"
    ) == parse(
        "POST",
        "/2018-06-01/runtime/invocation/a/response",
        {"lambda-runtime-function-response-mode": "Streaming"},
        b"x",
    )
    assert InvocationError(request_id="a", body=b"{}", content_type="") == parse(
        "POST",
        "/2018-06-01/runtime/invocation/a/error",
        {"lambda-runtime-invocation-id": ""},
        b"{}",
    )
    assert InitError(body=b"", restore=True) == parse("POST", "/2018-06-01/runtime/restore/error")


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("a%2Fb", "a/b"),
        ("%C3%a9", "\u00e9"),
        ("100%", "100%"),
        ("%", "%"),
        ("%4", "%4"),
        ("%zz%41", "%zzA"),
        ("%%41", "%A"),
        ("%+1", "%+1"),
        ("%FF", "\ufffd"),
    ],
)
def test_percent_encoding(raw: str, text: str) -> None:
    """Escapes are undone; what only looks like one stays."""
    assert text == runtime_api.unquote(raw)


@given(st.text(st.characters(codec="utf-8")))
def test_percent_encoding_round_trips(text: str) -> None:
    """Any text survives a path segment."""
    quoted = runtime_api.quote(text)
    assert text == runtime_api.unquote(quoted)
    assert quoted.isascii()
    assert not set(quoted) & set(" /?#\r\n")


INJECTED = [
    lambda text: InvocationResponse(request_id="a", body=b"", content_type=text),
    lambda text: InvocationResponse(request_id="a", body=b"", invocation_id=text),
    lambda text: InvocationResponse(request_id="a", body=b"", mode=text),
    lambda text: InvocationError(request_id="a", body=b"", error_type=text),
    lambda text: InvocationError(request_id="a", body=b"", xray_cause=text),
    lambda text: InvocationError(request_id="a", body=b"", invocation_id=text),
    lambda text: InitError(body=b"", error_type=text),
    lambda text: InitError(body=b"", xray_cause=text),
]


@pytest.mark.parametrize("make", INJECTED)
def test_injection(make: Callable[[str], runtime_api.RuntimeRequest]) -> None:
    """A line break in a field never becomes a header of its own."""
    for text in ("a\r\nB: c", "a\nb", "a\0b"):
        with pytest.raises(LocalProtocolError):
            make(text).to_request(COMMON)


def test_a_request_id_cannot_leave_its_place() -> None:
    """A line break or slash in an id is percent-encoded, not refused."""
    message = InvocationResponse(request_id="../a\r\nB: c", body=b"")
    target = parse_one(message.to_request(COMMON), request=True).target
    assert target == "/2018-06-01/runtime/invocation/..%2Fa%0D%0AB%3A%20c/response"


def test_answers_of_the_server() -> None:
    """Success and error bodies have AWS's shape."""
    accepted = parse_one(runtime_api.status_response(names.ACCEPTED), request=False)
    assert (accepted.status, json.loads(accepted.body)) == (202, {"status": "OK"})
    refused = parse_one(
        runtime_api.error_response(400, names.INVALID_REQUEST_ID, 'a "b"\n'), request=False
    )
    assert refused.status == 400
    assert json.loads(refused.body) == {"errorType": "InvalidRequestID", "errorMessage": 'a "b"\n'}
    for answer in (accepted, refused):
        assert answer.headers["content-type"] == "application/json"


def streamed(answer: InvocationResponse, end: bytes) -> Parsed:
    """The streamed answer as a server sees it, its body in chunks of three bytes."""
    chunks = (http1.encode_chunk(answer.body[i : i + 3]) for i in range(0, len(answer.body), 3))
    return parse_one(
        b"".join((streaming.encode_stream_head(answer, COMMON), *chunks, end)), request=True
    )


@given(RESPONSES)
def test_streamed_answers_round_trip(answer: InvocationResponse) -> None:
    """A server reads a streamed answer as one of mode streaming, on a connection that ends."""
    parsed = streamed(answer, http1.encode_last_chunk())
    answer.mode = "streaming"
    assert answer == runtime_api.parse_request(
        parsed.method, parsed.target, parsed.headers, parsed.body
    )
    assert not parsed.keep_alive
    assert parsed.trailers is not None
    assert streaming.parse_stream_error(parsed.trailers) is None


@given(HEADER_TEXT, BODY)
def test_errors_in_trailers_round_trip(error_type: str, body: bytes) -> None:
    """An error after the first byte arrives with its type and its JSON, and both are announced."""
    answer = InvocationResponse(request_id="a", body=b"half of")
    parsed = streamed(answer, streaming.encode_stream_error(error_type, body))
    assert parsed.trailers is not None
    expected = (error_type, body) if error_type or body else None
    assert expected == streaming.parse_stream_error(parsed.trailers)
    announced = {name.strip().lower() for name in parsed.headers["trailer"].split(",")}
    assert set(parsed.trailers) == announced


@pytest.mark.parametrize("text", ["*", "a", "YQ=", "YQ==\u00e9", "Y Q=="])
def test_a_trailer_that_is_no_base64(text: str) -> None:
    """It is taken as it is, so that what the function said is not lost."""
    found = streaming.parse_stream_error({"lambda-runtime-function-error-body": text})
    assert ("", text.encode()) == found


def test_injection_into_a_stream() -> None:
    """A line break never leaves in the head or in the trailers."""
    answer = InvocationResponse(request_id="a", body=b"", content_type="a\r\nB: c")
    with pytest.raises(LocalProtocolError):
        streaming.encode_stream_head(answer, COMMON)
    with pytest.raises(LocalProtocolError):
        streaming.encode_stream_error("a\r\nB: c", b"{}")


@given(
    request_id=st.text(min_size=1, max_size=40),
    body=st.binary(max_size=50),
    content_type=st.sampled_from(["application/json", "application/unknown", "text/plain; a=b"]),
)
def test_the_usual_response_is_like_any_other(
    request_id: str, body: bytes, content_type: str
) -> None:
    """What is put together in few steps is what the general way writes, byte for byte."""
    common = (("Host", "127.0.0.1:9001"), ("User-Agent", "test/1"))
    response = InvocationResponse(request_id=request_id, body=body, content_type=content_type)

    usual, general = response.to_request(common), response.to_request(list(common))

    assert general == usual


def test_a_content_type_with_a_line_break_is_refused() -> None:
    """Also on the way that most responses take."""
    response = InvocationResponse(request_id="1", body=b"", content_type="a\r\nb: c")

    with pytest.raises(LocalProtocolError):
        response.to_request((("Host", "a"),))
