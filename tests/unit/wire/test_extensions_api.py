"""The messages of the Extensions API: what one side encodes, the other reads back unchanged."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.wire import extensions_api
from lambdascope.wire.errors import LocalProtocolError, RemoteProtocolError
from lambdascope.wire.extensions_api import (
    ExtensionError,
    ExtensionNext,
    Invoke,
    Register,
    Registered,
    Shutdown,
)
from pieces import parse_one
from wire_texts import BODY, HEADER_TEXT, HEADER_TEXT_1

COMMON = (("Host", "127.0.0.1:9001"),)
EVENTS = st.lists(st.sampled_from(("INVOKE", "SHUTDOWN")), max_size=2).map(tuple)
REQUESTS = st.one_of(
    st.builds(Register, name=HEADER_TEXT, events=EVENTS, account_id=st.booleans()),
    st.builds(ExtensionNext, identifier=HEADER_TEXT),
    st.builds(
        ExtensionError,
        identifier=HEADER_TEXT,
        error_type=HEADER_TEXT,
        exiting=st.booleans(),
        body=BODY,
    ),
)
EVENT_MESSAGES = st.one_of(
    st.builds(
        Invoke,
        request_id=st.text(),
        deadline_ms=st.integers(),
        invoked_function_arn=st.text(),
        trace_id=st.none() | st.text(min_size=1),
    ),
    st.builds(
        Shutdown,
        reason=st.text(st.characters(max_codepoint=127)).map(str.lower),
        deadline_ms=st.integers(),
    ),
)


@given(REQUESTS)
def test_requests_round_trip(message: extensions_api.ExtensionRequest) -> None:
    """A server reads the message that the extension encoded."""
    parsed = parse_one(message.to_request(COMMON), request=True)
    assert message == extensions_api.parse_request(
        parsed.method, parsed.target, parsed.headers, parsed.body
    )


@given(
    st.builds(
        Registered,
        identifier=HEADER_TEXT_1,
        function_name=st.text(),
        function_version=st.text(),
        handler=st.text(),
        account_id=st.none() | st.text(),
    )
)
def test_registered_round_trips(message: Registered) -> None:
    """The extension reads the answer that the server encoded."""
    parsed = parse_one(message.to_response(), request=False)
    assert message == Registered.from_response(parsed.headers, parsed.body)


@given(EVENT_MESSAGES, HEADER_TEXT_1)
def test_events_round_trip(message: Invoke | Shutdown, event_identifier: str) -> None:
    """The extension reads the event that the server encoded, and can see its identifier."""
    parsed = parse_one(message.to_response(event_identifier), request=False)
    assert message == extensions_api.parse_event(parsed.body)
    assert event_identifier == parsed.headers["lambda-extension-event-identifier"]


@pytest.mark.parametrize("reason", ["SPINDOWN", "Timeout", "failure", "SandboxTerminated"])
def test_shutdown_reasons_are_lowered(reason: str) -> None:
    """Documentation and wire differ in case; readers see lower case only."""
    body = json.dumps({"eventType": "SHUTDOWN", "shutdownReason": reason, "deadlineMs": 7})
    assert Shutdown(reason=reason.lower(), deadline_ms=7) == extensions_api.parse_event(
        body.encode()
    )


@pytest.mark.parametrize(
    ("tracing", "trace_id"),
    [
        (None, None),
        ("Root=1", None),
        ({}, None),
        ({"value": ""}, None),
        ({"value": 5}, None),
        ({"type": "X-Amzn-Trace-Id", "value": "Root=1"}, "Root=1"),
    ],
)
def test_tracing_is_optional(tracing: object, trace_id: str | None) -> None:
    """An event without a trace header, or with a malformed one, is still an event."""
    body = {"eventType": "INVOKE", "deadlineMs": 7, "requestId": "a", "tracing": tracing}
    event = extensions_api.parse_event(json.dumps(body).encode())
    assert (
        Invoke(request_id="a", deadline_ms=7, invoked_function_arn="", trace_id=trace_id) == event
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"eventType":"INVOKE"}',
        b'{"eventType":"INVOKE","deadlineMs":"7"}',
        b'{"eventType":"INVOKE","deadlineMs":true}',
        b'{"eventType":"OTHER","deadlineMs":7}',
        b'{"deadlineMs":7}',
    ],
)
def test_events_that_are_none(body: bytes) -> None:
    """A body that is no known event is refused with a line that says where it came from."""
    with pytest.raises(RemoteProtocolError, match="event/next"):
        extensions_api.parse_event(body)


def test_answers_to_register_that_are_none() -> None:
    """Without an identifier or with a body that is no object there is no registration."""
    with pytest.raises(RemoteProtocolError, match="Lambda-Extension-Identifier"):
        Registered.from_response({}, b"{}")
    with pytest.raises(RemoteProtocolError, match="register"):
        Registered.from_response({"lambda-extension-identifier": "a"}, b"")
    bare = Registered.from_response({"lambda-extension-identifier": "a"}, b"{}")
    assert Registered(identifier="a", function_name="", function_version="", handler="") == bare


def register(body: bytes, **headers: str) -> extensions_api.ExtensionRequest | None:
    """What a server makes of a register request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return extensions_api.parse_request("POST", "/2020-01-01/extension/register", named, body)


def test_register_requests_of_foreign_extensions() -> None:
    """Events may be absent; features are a list with spaces; absent headers are empty."""
    assert Register(name="", events=()) == register(b"{}")
    assert Register(name="a", events=()) == register(b'{"events":null}', lambda_extension_name="a")
    assert Register(name="a", events=("7",), account_id=True) == register(
        b'{"events":[7],"configurationKeys":[]}',
        lambda_extension_name="a",
        lambda_extension_accept_feature="x, accountId",
    )


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"configurationKeys":["a"]}', b'{"events":"INVOKE"}']
)
def test_register_requests_that_are_refused(body: bytes) -> None:
    """AWS's server answers 403 to all of them."""
    with pytest.raises(RemoteProtocolError) as refused:
        register(body)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/2020-01-01/extension/register"),
        ("POST", "/2020-01-01/extension/event/next"),
        ("POST", "/2020-01-01/extension/other"),
        ("GET", "/2018-06-01/runtime/invocation/next"),
    ],
)
def test_requests_of_no_known_kind(method: str, target: str) -> None:
    """Paths and methods that the API does not have are not guessed at."""
    assert extensions_api.parse_request(method, target, {}, b"{}") is None


@pytest.mark.parametrize(
    "message",
    [
        Register(name="a\r\nB: c", events=()),
        Register(name="a", events=('INVOKE","x',)),
        Register(name="a", events=("INVOKE\n",)),
        Register(name="a", events=("\\",)),
        Register(name="a", events=("\u00e9",)),
        ExtensionNext(identifier="a\r\nB: c"),
        ExtensionError(identifier="a", error_type="a\r\nB: c", exiting=True),
        ExtensionError(identifier="a\r\nB: c", error_type="a", exiting=False),
    ],
)
def test_injection(message: extensions_api.ExtensionRequest) -> None:
    """Nothing that a field holds becomes a header or a JSON field of its own."""
    with pytest.raises(LocalProtocolError):
        message.to_request(COMMON)


@given(st.one_of(EVENT_MESSAGES, BODY))
def test_a_glance_sees_what_the_parser_reads(message: Invoke | Shutdown | bytes) -> None:
    """Of an event in the usual form the same id and deadline; of anything else nothing."""
    is_message = not isinstance(message, bytes)
    body = parse_one(message.to_response("e"), request=False).body if is_message else message
    usual = extensions_api.glance_at_invoke(body)
    if usual is not None:
        event = extensions_api.parse_event(body)
        assert isinstance(event, Invoke)
        assert (event.request_id, event.deadline_ms) == usual


def test_a_glance_at_the_usual_event() -> None:
    """As Lambda writes it; other spellings are for the parser."""
    event = Invoke(request_id="3da1-2", deadline_ms=1767225600000, invoked_function_arn="arn:f")
    body = parse_one(event.to_response("e"), request=False).body
    assert ("3da1-2", 1767225600000) == extensions_api.glance_at_invoke(body)
    for other in (
        body.replace(b":", b": "),
        body.replace(b"3da1", b"3d\\u0061"),
        body.replace(b"INVOKE", b"SHUTDOWN"),
        body.replace(b"1767225600000", b"-1"),
        body.replace(b"1767225600000", b"1" * 30),
        body[:-1],
        body[: body.index(b"3da1-2") + 6],
    ):
        assert extensions_api.glance_at_invoke(other) is None
