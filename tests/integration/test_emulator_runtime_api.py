"""The Runtime API on the wire: raw requests of real processes, and the answers of AWS's server."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

import pytest

from emulator_kit import ECHO, WAIT_S, WITNESS, Stage

if TYPE_CHECKING:
    from pathlib import Path

# Lets a script collect answers as (status, error type) and give them back as its response.
REPORTER = """
from raw import *
seen = []
def note(answer):
    status, headers, body = answer
    try:
        kind = json.loads(body).get("errorType", "")
    except ValueError:
        kind = ""
    seen.append([status, kind])
"""


def test_requests_at_the_wrong_time_are_refused(tmp_path: Path) -> None:
    """The id is checked before the state, and init/error is over with the first next."""
    script = f"""{REPORTER}
note(respond("nobody"))
request_id, headers, body = next_event()
note(call("POST", RUNTIME + "init/error", b"{{}}"))
note(respond("other"))
note(fail("other"))
note(respond(request_id, Lambda_Runtime_Invocation_Id="stale"))
say("first", respond(request_id, b"done")[0])
note(respond(request_id))
note(fail(request_id))
say("seen", json.dumps(seen))
next_event()
"""
    with Stage(tmp_path, script).ready() as stage:
        assert b"done" == stage.invoke().answer
        expected = [
            [400, "InvalidRequestID"],
            [403, "InvalidStateTransition"],
            [400, "InvalidRequestID"],
            [400, "InvalidRequestID"],
            [410, "InvokeTimeout"],
            [403, "InvalidStateTransition"],
            [403, "InvalidStateTransition"],
        ]
        assert "202" == stage.lines.wait_for("first")
        assert expected == json.loads(stage.lines.wait_for("seen"))


def test_what_is_not_there_is_404(tmp_path: Path) -> None:
    """Unknown paths, wrong methods and SnapStart's paths without SnapStart are not found."""
    with Stage(tmp_path).ready() as stage:
        runtime = "/2018-06-01/runtime/"
        for method, path in [
            ("GET", "/"),
            ("GET", runtime + "nothing"),
            ("PUT", runtime + "invocation/next"),
            ("POST", runtime + "invocation/x/else"),
            ("GET", runtime + "restore/next"),
            ("POST", runtime + "restore/error"),
            ("DELETE", "/2020-01-01/extension/register"),
            ("GET", "/2022-07-01/telemetry"),
        ]:
            assert 404 == stage.post(path, b"", method=method).status, path
        assert 200 == stage.post("/2018-06-01/ping", b"", method="GET").status


def test_next_while_running_gives_the_same_event_again(tmp_path: Path) -> None:
    """A runtime that lost the answer to next asks again and loses nothing."""
    script = """
from raw import *
first = next_event()
second = next_event()
respond(second[0], json.dumps(first[1] == second[1] and first[2] == second[2]).encode())
next_event()
"""
    with Stage(tmp_path, script).ready() as stage:
        assert b"true" == stage.invoke().answer


def test_a_next_that_was_given_up_is_not_served(tmp_path: Path) -> None:
    """The event goes to the latest next of a runtime that asked twice."""
    script = f"""
from raw import *
lost = socket.create_connection(API.split(":"))
lost.sendall(request("GET", RUNTIME + "invocation/next"))
lost.close()
{ECHO}"""
    with Stage(tmp_path, script).ready() as stage:
        assert b'"hello"' == stage.invoke().answer


def test_a_next_that_was_given_up_takes_nothing_from_a_later_one(tmp_path: Path) -> None:
    """A next whose client is gone when it is read leaves the one that waits alone."""
    with Stage(tmp_path).ready().frozen() as stage:
        host, port = stage.environment.api_address.split(":")
        with socket.create_connection((host, int(port)), WAIT_S) as late:
            # The cork lets the request and the end of the connection go out in one piece.
            late.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
            late.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
            late.shutdown(socket.SHUT_WR)
            assert b"" == late.recv(1)
        assert b'"hello"' == stage.invoke().answer


@pytest.mark.parametrize("chunked", [False, True])
def test_a_response_over_the_limit(tmp_path: Path, chunked: bool) -> None:
    """More than 6 MiB and 100 bytes is 413, the caller reads the sizes, the runtime goes on."""
    script = f"""
from raw import *
chunked = {chunked}
while True:
    request_id, headers, body = next_event()
    data = b"x" * int(body)
    if not chunked:
        say("status", respond(request_id, data)[0])
        continue
    head = f"POST {{RUNTIME}}invocation/{{request_id}}/response HTTP/1.1\\r\\nHost: x\\r\\n"
    head += "Connection: close\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
    chunk = f"{{len(data):x}}\\r\\n".encode() + data + b"\\r\\n0\\r\\n\\r\\n"
    say("status", exchange(head.encode() + chunk)[0])
"""
    limit = 6 * 1024 * 1024 + 100
    stage = Stage(tmp_path, script).configure(memory_limit=False)
    with stage.ready() as stage:
        whole = stage.invoke(str(limit).encode())
        assert (limit, None) == (len(whole.answer), whole.function_error)
        record = stage.invoke(str(limit + 1).encode())
        assert ["202", "413"] == [stage.lines.wait_for("status", count=n) for n in (1, 2)]
        expected = {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": f"Response payload size ({limit + 1} bytes) exceeded maximum allowed "
            f"payload size ({limit} bytes).",
        }
        assert expected == json.loads(record.answer)
        assert ("error", "Unhandled") == (record.status, record.function_error)
        assert not stage.invoke(b"5").cold


def test_content_type_goes_through(tmp_path: Path) -> None:
    """The response's content type reaches the caller."""
    script = """
from raw import *
while True:
    request_id, headers, body = next_event()
    respond(request_id, b"<p>", Content_Type="text/html")
"""
    with Stage(tmp_path, script).ready() as stage:
        assert "text/html" == stage.invoke().content_type


def test_an_error_is_the_functions(tmp_path: Path) -> None:
    """What the runtime posts as an error is the answer; its type is the header's or the body's."""
    script = """
from raw import *
while True:
    request_id, headers, body = next_event()
    kind = {"Lambda_Runtime_Function_Error_Type": "Function.Odd"} if body == b"header" else {}
    say("status", fail(request_id, b'{"errorType": "Odd", "errorMessage": "x"}', **kind)[0])
"""
    with Stage(tmp_path, script).ready() as stage:
        record = stage.invoke()
        assert b'{"errorType": "Odd", "errorMessage": "x"}' == record.answer
        assert ("error", "Odd", "Unhandled") == (
            record.status,
            record.error_type,
            record.function_error,
        )
        assert "202" == stage.lines.wait_for("status")
        assert "Function.Odd" == stage.invoke(b"header").error_type
        # To the platform an error of the handler is a success.
        assert "Status" not in stage.lines.texts("platform")[-1]


def test_an_error_with_its_cause_keeps_the_cause_from_the_caller(tmp_path: Path) -> None:
    """The X-Ray cause in a body of its own content type is not part of the answer."""
    script = """
from raw import *
while True:
    request_id, headers, body = next_event()
    fail(request_id, b'{"errorType": "E", "errorCause": {"exceptions": []}}',
         Content_Type="application/vnd.aws.lambda.error.cause+json")
"""
    with Stage(tmp_path, script).ready() as stage:
        assert {"errorType": "E"} == json.loads(stage.invoke().answer)


STREAMER = """
from raw import *
import base64
request_id, headers, body = next_event()
head = f"POST {RUNTIME}invocation/{request_id}/response HTTP/1.1\\r\\nHost: x\\r\\n"
head += "Connection: close\\r\\nTransfer-Encoding: chunked\\r\\nContent-Type: text/plain\\r\\n"
head += "Lambda-Runtime-Function-Response-Mode: streaming\\r\\n"
head += "Trailer: Lambda-Runtime-Function-Error-Type\\r\\n\\r\\n"
chunks = b"3\\r\\nabc\\r\\n2\\r\\nde\\r\\n0\\r\\n"
error = base64.b64encode(b'{"errorType": "Late"}').decode()
trailers = ""
if body == b"fail":
    trailers = "Lambda-Runtime-Function-Error-Type: Function.Late\\r\\n"
    trailers += f"Lambda-Runtime-Function-Error-Body: {error}\\r\\n"
say("status", exchange(head.encode() + chunks + trailers.encode() + b"\\r\\n")[0])
next_event()
"""


def test_a_streamed_response_is_collected(tmp_path: Path) -> None:
    """A caller that did not ask for a stream gets the whole."""
    with Stage(tmp_path, STREAMER).ready() as stage:
        record = stage.invoke()
        assert (b"abcde", "text/plain", "success") == (
            record.answer,
            record.content_type,
            record.status,
        )
        assert "202" == stage.lines.wait_for("status")


def test_a_stream_that_fails_in_the_middle_is_an_error(tmp_path: Path) -> None:
    """The error in the trailers is the answer of a buffered invocation."""
    with Stage(tmp_path, STREAMER).ready() as stage:
        record = stage.invoke(b"fail")
        assert b'{"errorType": "Late"}' == record.answer
        assert ("error", "Function.Late") == (record.status, record.error_type)


def test_an_unknown_response_mode_leaves_the_runtime_stuck(tmp_path: Path) -> None:
    """As with AWS's server the bad header is 400, and after it nothing is possible but to exit."""
    script = f"""{REPORTER}
request_id, headers, body = next_event()
note(respond(request_id, Lambda_Runtime_Function_Response_Mode="buffered"))
note(respond(request_id))
note(call("GET", RUNTIME + "invocation/next"))
say("seen", json.dumps(seen))
sys.exit(1)
"""
    with Stage(tmp_path, script).ready() as stage:
        record = stage.invoke()
        expected = [
            [400, "InvalidFunctionResponseMode"],
            [403, "InvalidStateTransition"],
            [403, "InvalidStateTransition"],
        ]
        assert expected == json.loads(stage.lines.wait_for("seen"))
        assert "Runtime.ExitError" == record.error_type


def test_a_response_that_breaks_off_is_answered_when_the_runtime_goes_on(tmp_path: Path) -> None:
    """A connection that ends in the middle of a response is a truncated response."""
    script = f"""
from raw import *
request_id, headers, body = next_event()
broken = socket.create_connection(API.split(":"))
broken.sendall(request("POST", f"{{RUNTIME}}invocation/{{request_id}}/response", b"12345")[:-2])
broken.shutdown(socket.SHUT_WR)
broken.recv(1)  # until the other side has seen that, as each connection has a thread of its own
while (answer := call("GET", RUNTIME + "invocation/next"))[0] != 200:
    pass
respond(answer[1]["lambda-runtime-aws-request-id"], answer[2])
{ECHO}"""
    with Stage(tmp_path, script).ready() as stage:
        record = stage.invoke()
        assert "Runtime.TruncatedResponse" == json.loads(record.answer)["errorType"]
        assert not stage.invoke().cold


@pytest.mark.parametrize(
    ("garbage", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 1_100_000, 431),
    ],
    ids=["tls", "short", "old", "length", "coding", "long"],
)
def test_garbage_is_refused_and_nothing_else_suffers(
    tmp_path: Path, garbage: bytes, status: int
) -> None:
    """A runtime that speaks garbage gets an error status; another connection is served as ever."""
    tmp_path.joinpath("garbage").write_bytes(garbage)
    script = """
from raw import *
while True:
    request_id, headers, body = next_event()
    answer = exchange(open("garbage", "rb").read())
    respond(request_id, str(answer[0]).encode())
"""
    with Stage(tmp_path, script).ready() as stage:
        assert str(status).encode() == stage.invoke().answer
        assert str(status).encode() == stage.invoke().answer


def test_restore_comes_with_the_first_invocation(tmp_path: Path) -> None:
    """With SnapStart, restore/next is answered when there is an invocation, and not before."""
    script = f"""
from raw import *
say("restored", call("GET", RUNTIME + "restore/next")[0])
{ECHO}"""
    with Stage(tmp_path, script).configure(init_type="snap-start").ready() as stage:
        assert [] == stage.lines.texts("function")
        assert b'"hello"' == stage.invoke().answer
        assert "200" == stage.lines.wait_for("restored")


def test_an_extension_cannot_hold_the_runtime_back(tmp_path: Path) -> None:
    """The event reaches runtime and extension before either is back."""
    script = """
from raw import *
while True:
    request_id, headers, body = next_event()
    open(os.environ["GATE"]).read()
    respond(request_id, body)
"""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    variables = {"GATE": str(gate)}
    with Stage(tmp_path, script, witness=WITNESS).configure(variables=variables).ready() as stage:
        call = stage.invoke_beside()
        # The extension has its event while the runtime still works on its own.
        stage.lines.wait_for("event")
        gate.write_text("go")
        assert "success" == call.over().status
