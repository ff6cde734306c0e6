"""Messages typed by hand from AWS's documentation, read and written by both roles.

A vector is a file of exact bytes with the address of its source in the first line. Our code plays
both sides of every exchange in other tests, so a mistake shared by both sides would pass there; it
does not pass here. The comparison of what we send uses a reader of its own, not our parser.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambdascope.emulator.telemetry import SubscribeAnswer
from lambdascope.wire import extensions_api, http1, names, runtime_api, streaming, telemetry_api
from lambdascope.wire.extensions_api import (
    ExtensionError,
    ExtensionNext,
    Invoke,
    Register,
    Registered,
    Shutdown,
)
from lambdascope.wire.runtime_api import (
    InitError,
    Invocation,
    InvocationError,
    InvocationResponse,
    Next,
)
from lambdascope.wire.telemetry_api import Subscribe
from vector_files import VECTORS, common, meaning, raw, received

SOURCES = (
    "# https://docs.aws.amazon.com/lambda/",
    # What the guide does not describe: restore, and the answer of an emulator without telemetry.
    "# https://github.com/aws/aws-lambda-runtime-interface-emulator/",
)
ID_1 = "156cb537-e2d4-11e8-9b34-d36013741fb9"
ID_2 = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
EXTENSION_ID = "5aa9a5d4-5e1a-4fd7-92b4-2d0c2a2e3bd9"
EVENT_ID = "31a5b0a3-0a2d-4b4a-9a7f-3f1f0a3b8c11"
XRAY_CAUSE = '{"working_directory":"/var/task","exceptions":[],"paths":[]}'
STREAM_ERROR = b'{"errorMessage":"half","errorType":"Broken"}'


def registered(version: str, handler: str, account_id: str | None = None) -> Registered:
    """The answer to register."""
    return Registered(
        identifier=EXTENSION_ID,
        function_name="hello",
        function_version=version,
        handler=handler,
        account_id=account_id,
    )


REQUESTS: dict[str, tuple[Any, Any]] = {
    "runtime-next": (runtime_api, Next()),
    "runtime-response": (runtime_api, InvocationResponse(request_id=ID_1, body=b'"SUCCESS"')),
    "runtime-response-echo": (
        runtime_api,
        InvocationResponse(
            request_id=ID_2,
            body=b"\x01\x02\x03",
            content_type="application/octet-stream",
            invocation_id="7f1c2d",
        ),
    ),
    "runtime-error": (
        runtime_api,
        InvocationError(
            request_id=ID_1,
            body=(
                b'{"errorMessage" : "The event has no id.", '
                b'"errorType" : "InvalidEventData", "stackTrace": []}'
            ),
            error_type="Function.InvalidEventData",
            xray_cause=XRAY_CAUSE,
        ),
    ),
    "runtime-init-error": (
        runtime_api,
        InitError(
            body=(
                b'{"errorMessage":"no such handler","errorType":"Runtime.HandlerNotFound","x":[1]}'
            ),
            error_type=names.FAULT_HANDLER_NOT_FOUND,
        ),
    ),
    "runtime-restore-next": (runtime_api, Next(restore=True)),
    "runtime-restore-error": (
        runtime_api,
        InitError(
            body=b'{"errorMessage":"no","errorType":"Runtime.AfterRestoreError"}',
            error_type="Runtime.AfterRestoreError",
            restore=True,
        ),
    ),
    "extension-register": (
        extensions_api,
        Register(name="example.sh", events=("INVOKE", "SHUTDOWN")),
    ),
    "extension-register-account": (
        extensions_api,
        Register(name="example", events=("SHUTDOWN",), account_id=True),
    ),
    "extension-next": (extensions_api, ExtensionNext(identifier=EXTENSION_ID)),
    "extension-init-error": (
        extensions_api,
        ExtensionError(
            identifier=EXTENSION_ID,
            error_type="Extension.ConfigInvalid",
            exiting=False,
            body=(
                b'{"errorMessage":"no endpoint","errorType":"Extension.ConfigInvalid",'
                b'"stackTrace":[""]}'
            ),
        ),
    ),
    "extension-exit-error": (
        extensions_api,
        ExtensionError(identifier=EXTENSION_ID, error_type="Extension.UnknownReason", exiting=True),
    ),
    "telemetry-subscribe": (
        telemetry_api,
        Subscribe(
            identifier=EXTENSION_ID,
            types=("platform", "function", "extension"),
            uri="http://sandbox.localdomain:8080/telemetry",
            buffering=(1000, 262144, 100),
        ),
    ),
}
STREAMS = {
    "runtime-stream": (
        InvocationResponse(
            request_id=ID_2,
            body=b"hello wonderful world",
            content_type="text/plain",
            mode="streaming",
        ),
        None,
    ),
    "runtime-stream-error": (
        InvocationResponse(
            request_id=ID_2,
            body=b"half",
            content_type="application/octet-stream",
            invocation_id="7f1c2d",
            mode="streaming",
        ),
        ("Function.Broken", STREAM_ERROR),
    ),
}
EVENTS: dict[str, tuple[Invoke | Shutdown, str]] = {
    "extension-invoke": (
        Invoke(
            request_id="3da1f2dc-3222-475e-9205-e2e6c6318895",
            deadline_ms=1767225600000,
            invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:hello",
            trace_id="Root=1-5f35ae12-0c0fec141ab77a00bc047aa2;Parent=2be948a625588e32;Sampled=1",
        ),
        EVENT_ID,
    ),
    "extension-invoke-untraced": (
        Invoke(
            request_id="3da1f2dc-3222-475e-9205-e2e6c6318895",
            deadline_ms=1767225600000,
            invoked_function_arn="arn:aws:lambda:eu-west-1:1:function:f",
        ),
        EVENT_ID,
    ),
    "extension-shutdown": (
        Shutdown(reason="spindown", deadline_ms=1767225602000),
        "31a5b0a3-0a2d-4b4a-9a7f-3f1f0a3b8c12",
    ),
}
REGISTERED = {
    "extension-registered": registered("$LATEST", "lambda_function.run"),
    "extension-registered-account": registered("7", "app.run", "123456789012"),
}
INVOCATIONS: dict[str, dict[str, object]] = {
    "runtime-next": {
        "request_id": ID_1,
        "deadline_ms": 1542409706888,
        "invoked_function_arn": ("arn:aws:lambda:us-east-2:123456789012:function:custom-runtime"),
        "trace_id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1",
        "client_context": None,
        "cognito_identity": None,
        "tenant_id": None,
        "invocation_id": None,
        "content_type": "application/json",
        "body": '{"key":"v\u00e9","n":1.0}'.encode(),
    },
    "runtime-next-all-headers": {
        "request_id": ID_2,
        "deadline_ms": 1767225600000,
        "invoked_function_arn": "arn:aws:lambda:eu-west-1:123456789012:function:f:live",
        "trace_id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0",
        "client_context": '{"client":{"app_title":"demo"},"custom":{},"env":{}}',
        "cognito_identity": (
            '{"cognitoIdentityId":"eu-west-1:1","cognitoIdentityPoolId":"eu-west-1:2"}'
        ),
        "tenant_id": "blue",
        "invocation_id": "7f1c2d",
        "content_type": "application/json",
        "body": b'{"a":1}',
    },
    "runtime-next-empty-headers": {
        "request_id": ID_2,
        "deadline_ms": 1767225600000,
        "invoked_function_arn": "arn:aws:lambda:eu-west-1:123456789012:function:f",
        "trace_id": None,
        "client_context": None,
        "cognito_identity": None,
        "tenant_id": None,
        "invocation_id": None,
        "content_type": "application/json",
        "body": b"null",
    },
}
REFUSALS = {
    "runtime-refused-400": (400, names.INVALID_REQUEST_ID, "Invalid request ID"),
    "runtime-refused-403": (
        403,
        names.INVALID_STATE_TRANSITION,
        (
            "State transition from InitError to Ready failed for runtime. "
            "Error: State transition is not allowed"
        ),
    ),
    "runtime-refused-413": (
        413,
        names.REQUEST_ENTITY_TOO_LARGE,
        f"Exceeded maximum allowed payload size ({names.MAX_PAYLOAD_BYTES} bytes).",
    ),
    "runtime-refused-500": (500, "InternalServerError", "Internal Server Error"),
    "extension-refused": (
        403,
        names.UNKNOWN_EXTENSION_IDENTIFIER,
        f"Unknown extension {EXTENSION_ID}",
    ),
    "telemetry-not-supported": (
        202,
        names.TELEMETRY_NOT_SUPPORTED,
        "Telemetry API is not supported",
    ),
    "telemetry-closed": (
        403,
        names.TELEMETRY_SUBSCRIPTION_CLOSED,
        "Telemetry API subscription is closed already",
    ),
}
PLAIN = {
    "runtime-accepted": (runtime_api.status_response(names.ACCEPTED), 202),
    "extension-accepted": (runtime_api.status_response(names.ACCEPTED), 202),
    "runtime-restore-next": (http1.encode_response(names.OK, ()), 200),
    "telemetry-subscribed": (
        SubscribeAnswer(status=names.OK, body=telemetry_api.SUBSCRIBED_BODY).to_response(),
        200,
    ),
}
OTHERS = {"telemetry-batch.request", "extension-shutdown-upper-case.response"}


@pytest.mark.parametrize("name", sorted(path.stem for path in VECTORS.glob("*.http")))
def test_vectors_name_their_source_and_are_used(name: str) -> None:
    """Each vector says where it is from, and a test below reads it."""
    first, _, _ = (VECTORS / f"{name}.http").read_text(errors="replace").partition("\n")
    assert first.startswith(SOURCES)
    requests = {f"{stem}.request" for stem in (*REQUESTS, *STREAMS)}
    responses = {
        f"{stem}.response" for stem in (*EVENTS, *REGISTERED, *INVOCATIONS, *REFUSALS, *PLAIN)
    }
    assert name in requests | responses | OTHERS


@pytest.mark.parametrize("name", REQUESTS)
def test_requests(name: str) -> None:
    """A server of ours reads the documented request, and our client sends the same."""
    api, message = REQUESTS[name]
    parsed = received(f"{name}.request")
    got = api.parse_request(parsed.method, parsed.target, parsed.headers, parsed.body)
    assert message == got
    assert meaning(raw(f"{name}.request")) == meaning(message.to_request(common(parsed)))


@pytest.mark.parametrize("name", STREAMS)
def test_streamed_responses(name: str) -> None:
    """A server of ours reads a streamed answer with its end, and our client sends the same."""
    message, error = STREAMS[name]
    parsed = received(f"{name}.request")
    got = runtime_api.parse_request(parsed.method, parsed.target, parsed.headers, parsed.body)
    assert message == got
    assert parsed.trailers is not None
    assert error == streaming.parse_stream_error(parsed.trailers)
    end = streaming.encode_stream_error(*error) if error else http1.encode_last_chunk()
    sent = b"".join(
        (
            streaming.encode_stream_head(message, common(parsed)),
            http1.encode_chunk(message.body),
            end,
        )
    )
    assert meaning(raw(f"{name}.request")) == meaning(sent)


@pytest.mark.parametrize("name", INVOCATIONS)
def test_invocations(name: str) -> None:
    """Our runtime reads the documented answer to next, and our server answers the same."""
    parsed = received(f"{name}.response")
    got = Invocation(headers=parsed.headers, body=parsed.body)
    assert INVOCATIONS[name] == {field: getattr(got, field) for field in INVOCATIONS[name]}
    assert meaning(raw(f"{name}.response")) == meaning(got.to_response())


@pytest.mark.parametrize("name", REGISTERED)
def test_registrations(name: str) -> None:
    """Our extension reads the documented answer to register, and our server answers the same."""
    message = REGISTERED[name]
    parsed = received(f"{name}.response")
    assert message == Registered.from_response(parsed.headers, parsed.body)
    assert meaning(raw(f"{name}.response")) == meaning(message.to_response())


@pytest.mark.parametrize("name", EVENTS)
def test_events(name: str) -> None:
    """Our extension reads the documented event, and our server sends the same."""
    message, identifier = EVENTS[name]
    parsed = received(f"{name}.response")
    assert message == extensions_api.parse_event(parsed.body)
    assert identifier == parsed.headers["lambda-extension-event-identifier"]
    assert meaning(raw(f"{name}.response")) == meaning(message.to_response(identifier))


def test_shutdown_as_the_documentation_spells_it() -> None:
    """The reason in upper case, without identifier or content type, is understood too."""
    parsed = received("extension-shutdown-upper-case.response")
    expected = Shutdown(reason=names.SHUTDOWN_TIMEOUT, deadline_ms=1767225602000)
    assert expected == extensions_api.parse_event(parsed.body)


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name: str) -> None:
    """We read the documented refusal, and our server refuses in the same words."""
    status, error_type, message = REFUSALS[name]
    parsed = received(f"{name}.response")
    assert status == parsed.status
    assert {"errorType": error_type, "errorMessage": message} == json.loads(parsed.body)
    sent = runtime_api.error_response(status, error_type, message)
    assert meaning(raw(f"{name}.response")) == meaning(sent)


@pytest.mark.parametrize("name", PLAIN)
def test_plain_answers(name: str) -> None:
    """We read the documented success, and our server answers the same."""
    sent, status = PLAIN[name]
    assert status == received(f"{name}.response").status
    assert meaning(raw(f"{name}.response")) == meaning(sent)


def test_batch() -> None:
    """Our extension reads a delivered batch, and our server delivers the same."""
    parsed = received("telemetry-batch.request")
    records = telemetry_api.parse_batch(parsed.body)
    assert [
        ("2026-01-01T00:00:00.100Z", "platform.initStart"),
        ("2026-01-01T00:00:00.300Z", "platform.start"),
        ("2026-01-01T00:00:00.310Z", "function"),
        ("2026-01-01T00:00:00.340Z", "platform.report"),
    ] == [(record["time"], record["type"]) for record in records]
    assert records[2]["record"] == "plain text\n"
    texts = [json.dumps(record).encode() for record in records]
    sent = telemetry_api.encode_batch(parsed.target, common(parsed), texts)
    assert meaning(raw("telemetry-batch.request")) == meaning(sent)
