"""The real runtime process against a fake Runtime API: events in, answers out.

The API is a fake (runtime_fakes.ScriptedApi): it follows a script and checks nothing, so that it
can also answer what the protocol forbids.
"""

from __future__ import annotations

import gc
import json
import os
import struct
from typing import TYPE_CHECKING

import pytest

from lambdascope.wire import names
from lambdascope.wire.runtime_api import InvocationResponse
from runtime_fakes import ARN, TRACE, event, raw, run, status

if TYPE_CHECKING:
    from pathlib import Path

ECHO = "def handler(event, context): return event"


def test_success(tmp_path: Path) -> None:
    """Events are answered in turn; SIGTERM while idle ends the process with status 0."""
    outcome = run(tmp_path, ECHO, [event(b'{"a": 1}', "r1"), event(b'"two"', "r2")])

    assert [b'{"a": 1}', b'"two"'] == outcome.api.responses
    assert ["r1", "r2"] == [m.request_id for m in outcome.api.of(InvocationResponse)]
    assert (0, "", "", False) == (outcome.status, outcome.out, outcome.err, outcome.ended_itself)


def test_requests_of_the_runtime(tmp_path: Path) -> None:
    """Every request names the host and says who asks; next has no body."""
    outcome = run(tmp_path, ECHO, [event()])

    assert {outcome.api.address} == {head["host"] for head in outcome.api.heads}
    assert all(head["user-agent"].startswith("lambdascope/") for head in outcome.api.heads)
    assert "content-length" not in outcome.api.heads[0]
    assert "application/json" == outcome.api.heads[1]["content-type"]


def test_context_and_environment(tmp_path: Path) -> None:
    """The handler gets AWS's context, the trace header in its environment, and newer headers."""
    code = """
import os
def handler(event, context):
    return [context.aws_request_id, context.function_name, context.memory_limit_in_mb,
            context.invoked_function_arn, context.tenant_id, context.client_context.custom,
            context.identity.cognito_identity_id,
            0 < context.get_remaining_time_in_millis() <= 5000,
            os.environ.get("_X_AMZN_TRACE_ID"), context.headers["lambda-runtime-aws-newer"],
            os.getcwd()]
"""
    outcome = run(
        tmp_path,
        code,
        [
            event(
                in_ms=5000,
                Lambda_Runtime_Trace_Id=TRACE,
                Lambda_Runtime_Aws_Tenant_Id="t",
                Lambda_Runtime_Client_Context='{"custom": {"k": "v"}}',
                Lambda_Runtime_Cognito_Identity='{"cognitoIdentityId": "c"}',
                LAMBDA_Runtime_Aws_Newer="new",
            )
        ],
    )

    assert [
        *("r1", "hello", "128", ARN, "t", {"k": "v"}, "c", True, TRACE, "new"),
        str(tmp_path),
    ] == json.loads(outcome.api.responses[0])


def test_trace_header_is_removed(tmp_path: Path) -> None:
    """An event without a trace header leaves none of the event before."""
    code = "import os\ndef handler(e, c): return os.environ.get('_X_AMZN_TRACE_ID')"

    outcome = run(tmp_path, code, [event(Lambda_Runtime_Trace_Id=TRACE), event()])

    assert [f'"{TRACE}"'.encode(), b"null"] == outcome.api.responses


def test_empty_headers_count_as_absent(tmp_path: Path) -> None:
    """Managed instances send every header, empty where there is nothing to say."""
    code = (
        "def handler(e, c): return [c.tenant_id, c.client_context, c.identity.cognito_identity_id]"
    )
    empty = {
        names.TRACE_ID: "",
        names.CLIENT_CONTEXT: "",
        names.COGNITO_IDENTITY: "",
        names.TENANT_ID: "",
        names.INVOCATION_ID: "",
    }

    outcome = run(tmp_path, code, [event(**empty)])

    assert [b"[null, null, null]"] == outcome.api.responses
    assert names.INVOCATION_ID.lower() not in outcome.api.heads[1]


def test_invocation_id_is_echoed(tmp_path: Path) -> None:
    """The nonce of an event comes back with its response, and with its error."""
    code = "def handler(event, context):\n    if event: raise ValueError\n"

    outcome = run(
        tmp_path,
        code,
        [
            event(b"0", Lambda_Runtime_Invocation_Id="n-1"),
            event(b"1", Lambda_Runtime_Invocation_Id="n-2"),
            event(b"0"),
        ],
    )

    posts = [message for message in outcome.api.seen if hasattr(message, "invocation_id")]
    assert ["n-1", "n-2", None] == [message.invocation_id for message in posts]


@pytest.mark.parametrize("style", [str.lower, str.upper])
def test_case_of_headers(style: type, tmp_path: Path) -> None:
    """Names of headers are found in any spelling."""
    head = (
        f"{style(names.REQUEST_ID)}: r9\r\n{style(names.DEADLINE_MS)}: 9999999999999\r\n"
        f"{style(names.FUNCTION_ARN)}: {ARN}\r\n{style('Content-Type')}: application/json\r\n"
        f"{style('Content-Length')}: 2\r\n"
    )

    outcome = run(tmp_path, ECHO, [raw(f"HTTP/1.1 200 OK\r\n{head}\r\n{{}}".encode())])

    assert ["r9"] == [m.request_id for m in outcome.api.of(InvocationResponse)]


def test_chunked_event(tmp_path: Path) -> None:
    """An event may come in chunks, with anything between the pieces."""
    head = (
        f"HTTP/1.1 200 OK\r\n{names.REQUEST_ID}: r1\r\n{names.DEADLINE_MS}: 9999999999999\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunks = '3\r\n{"a\r\n5;x=y\r\n": 1}\r\n0\r\nTrailer: x\r\n\r\n'

    outcome = run(tmp_path, ECHO, [raw((head + chunks).encode()), event(b"2")])

    assert [b'{"a": 1}', b"2"] == outcome.api.responses


def test_odd_request_id(tmp_path: Path) -> None:
    """A request id with characters that a path does not have is encoded."""
    outcome = run(tmp_path, ECHO, [event(b"1", "a/b ü?")])

    assert ["a/b ü?"] == [m.request_id for m in outcome.api.of(InvocationResponse)]


def test_bytes_result(tmp_path: Path) -> None:
    """Bytes go out as they are, as application/unknown."""
    outcome = run(tmp_path, "def handler(e, c): return bytes(range(256))", [event()])

    (response,) = outcome.api.of(InvocationResponse)
    assert (bytes(range(256)), "application/unknown") == (response.body, response.content_type)


def test_other_content_type(tmp_path: Path) -> None:
    """An event of another type than application/json arrives as bytes."""
    code = "def handler(e, c): return [type(e).__name__, len(e)]"

    outcome = run(tmp_path, code, [event(b"\x00\xff", content_type="image/png")])

    assert [b'["bytes", 2]'] == outcome.api.responses


def test_multi_byte_text(tmp_path: Path) -> None:
    """The length of a response is that of its bytes."""
    code = "def handler(event, context): return {'text': 'grüße \\U0001f600', 'event': event}"

    outcome = run(
        tmp_path, code, [event('"äö"'.encode())], AWS_EXECUTION_ENV="AWS_Lambda_python3.13"
    )

    body = '{"text": "grüße \U0001f600", "event": "äö"}'.encode()
    assert [body] == outcome.api.responses
    assert str(len(body)) == outcome.api.heads[1]["content-length"]


@pytest.mark.parametrize("size", [names.MAX_PAYLOAD_BYTES, names.MAX_PAYLOAD_BYTES + 1])
def test_size_limit(size: int, tmp_path: Path) -> None:
    """A response at the limit is posted; over it the caller gets an error that names the size."""
    outcome = run(tmp_path, f"def handler(e, c): return b'x' * {size}", [event()])

    if size == names.MAX_PAYLOAD_BYTES:
        assert [size] == [len(body) for body in outcome.api.responses]
        return
    (error,) = outcome.api.errors
    assert names.FAULT_RESPONSE_SIZE == error.error_type
    assert f"({size} bytes)" in json.loads(error.body)["errorMessage"]
    assert 2 == outcome.api.next_count


@pytest.mark.parametrize("code", [400, 403, 410, 413, 404])
def test_refused_post(code: int, tmp_path: Path) -> None:
    """When the platform has decided already, one line says so and the next event is asked for."""
    outcome = run(tmp_path, ECHO, [event(b"1"), event(b"2", "r2")], [status(code, "no\n way")])

    assert [b"1", b"2"] == outcome.api.responses
    assert f"lambdascope: Runtime API answered {code} for r1: no way\n" == outcome.err
    assert 0 == outcome.status


def test_post_that_cannot_be_recovered(tmp_path: Path) -> None:
    """500 for a post ends the process with a non-zero status."""
    outcome = run(tmp_path, ECHO, [event(b"1"), event(b"2")], [status(500, "broken")])

    assert [b"1"] == outcome.api.responses
    assert outcome.ended_itself
    assert 1 == outcome.status
    assert "lambdascope: Runtime API answered 500 for r1: broken; the runtime ends\n" == outcome.err


def test_handler_in_a_folder(tmp_path: Path) -> None:
    """A handler is found by its path, and LAMBDA_TASK_ROOT comes before everything else."""
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "b.py").write_text("def handler(e, c): return __file__")

    outcome = run(tmp_path, "", [event()], handler="a/b.handler", LAMBDA_TASK_ROOT=str(root))

    assert [json.dumps(str(root / "a" / "b.py")).encode()] == outcome.api.responses


def test_handler_from_the_environment(tmp_path: Path) -> None:
    """Without an argument the handler is that of _HANDLER; an argument wins."""
    without = run(tmp_path, ECHO, [event(b"3")], handler="", _HANDLER="app.handler")
    argument = run(tmp_path, ECHO, [event(b"4")], _HANDLER="wrong.handler")

    assert [b"3"] == without.api.responses
    assert [b"4"] == argument.api.responses


def test_prints_are_out_before_the_answer(tmp_path: Path) -> None:
    """What the handler printed is written by the end of the invocation, whole lines at once."""
    code = """
import sys
def handler(event, context):
    print("line"); print("no end", end=""); sys.stderr.write("error")
    context.log("logged ")
    return 1
"""
    outcome = run(tmp_path, code, [event()])

    assert ("line\nno endlogged ", "error") == (outcome.out, outcome.err)


def test_logging(tmp_path: Path) -> None:
    """The root logger writes AWS's text format, with the request id, as soon as it is imported."""
    code = """
import logging
logging.getLogger().warning("at import")
def handler(event, context):
    logging.getLogger("mine").error("in handler")
"""
    outcome = run(tmp_path, code, [event()])

    first, second = outcome.out.splitlines()
    assert first.startswith("[WARNING]\t")
    assert first.endswith("Z\t\tat import")
    assert second.endswith("Z\tr1\tin handler")


def test_lazy_logging_in_json(tmp_path: Path) -> None:
    """Also when the function imports logging late, records have the configured form."""
    code = """
def handler(event, context):
    import logging
    logging.getLogger().info("info", extra={"order": 5})
"""
    outcome = run(
        tmp_path, code, [event()], AWS_LAMBDA_LOG_FORMAT="JSON", AWS_LAMBDA_LOG_LEVEL="INFO"
    )

    fields = json.loads(outcome.out)
    assert ("info", 5, "r1", "INFO") == (
        fields["message"],
        fields["order"],
        fields["requestId"],
        fields["level"],
    )


def test_frames(tmp_path: Path) -> None:
    """With AWS's descriptor each record is a frame there, and children do not inherit its name."""
    code = """
import logging, os
def handler(event, context):
    logging.warning("a\\nb")
    context.log(str("_LAMBDA_TELEMETRY_LOG_FD" in os.environ))
    raise ValueError("no")
"""
    reader, writer = os.pipe()
    outcome = run(tmp_path, code, [event()], _LAMBDA_TELEMETRY_LOG_FD=str(writer))
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        data = file.read()

    frames = []
    while data:
        kind, length = struct.unpack(">II", data[:8])
        frames.append((kind, data[16 : 16 + length].decode()))
        data = data[16 + length :]
    assert [0xA55A0003, 0xA55A0003, 0xA55A0017] == [kind for kind, _ in frames]
    assert frames[0][1].endswith("\ta\nb")
    assert "False" == frames[1][1]
    assert frames[2][1].startswith("[ERROR] ValueError: no\nTraceback")
    assert "" == outcome.out


def test_memory_of_the_collector(tmp_path: Path) -> None:
    """The garbage collector is on again after init, with the thresholds of the process."""
    code = """
import gc
def handler(event, context):
    return [gc.isenabled(), gc.get_threshold()[0], gc.get_freeze_count() > 0]
"""
    outcome = run(tmp_path, code, [event()])

    assert [True, gc.get_threshold()[0], True] == json.loads(outcome.api.responses[0])


@pytest.mark.parametrize(
    ("at_import", "at_first", "expected"),
    [
        ("gc.freeze()", "pass", [True, True]),
        ("pass", "gc.unfreeze()", [True, False]),
        ("pass", "gc.disable()", [False, True]),
        ("gc.disable()", "gc.enable()", [True, True]),
        ("gc.disable()", "gc.freeze()", [False, True]),
    ],
)
def test_the_collector_is_the_functions_after_init(
    at_import: str, at_first: str, expected: list[bool], tmp_path: Path
) -> None:
    """What a handler does about the collector and its frozen objects stays as it left it."""
    code = f"""
import gc
{at_import}
def handler(event, context):
    if event == 1:
        {at_first}
    return [gc.isenabled(), gc.get_freeze_count() > 0]
"""
    outcome = run(tmp_path, code, [event(b"1"), event(b"2")])

    assert [expected, expected] == [json.loads(each) for each in outcome.api.responses]


@pytest.mark.parametrize(
    ("choice", "enabled", "threshold"),
    [
        ("gc.disable()", False, None),
        ("gc.set_threshold(5000)", True, 5000),
        ("gc.set_threshold(0)", True, 0),
    ],
)
def test_functions_own_choice_of_the_collector(
    choice: str, enabled: bool, threshold: int | None, tmp_path: Path
) -> None:
    """What a function chose for the garbage collector while it was imported stays."""
    code = f"import gc\n{choice}\ndef handler(e, c): return [gc.isenabled(), gc.get_threshold()[0]]"

    outcome = run(tmp_path, code, [event()])

    found_enabled, found_threshold = json.loads(outcome.api.responses[0])
    assert enabled == found_enabled
    assert threshold is None or threshold == found_threshold


def test_handler_that_breaks_the_import_system(tmp_path: Path) -> None:
    """A function may replace the finders; its log records still have AWS's form."""
    code = """
import sys
sys.meta_path = [f for f in sys.meta_path if "lambdascope" not in type(f).__module__]
import logging
def handler(event, context):
    logging.getLogger().warning("kept")
"""
    outcome = run(tmp_path, code, [event()])

    assert outcome.out.endswith("\tr1\tkept\n")


def test_replaced_environment(tmp_path: Path) -> None:
    """A function may put a dict in the place of os.environ; SDKs find the trace header there."""
    code = """
import os
os.environ = dict(os.environ)
def handler(event, context): return os.environ.get("_X_AMZN_TRACE_ID")
"""
    outcome = run(tmp_path, code, [event(Lambda_Runtime_Trace_Id=TRACE), event()])

    assert [f'"{TRACE}"'.encode(), b"null"] == outcome.api.responses


def test_contextvars_and_threads(tmp_path: Path) -> None:
    """Threads that a handler starts log with the id of the invocation."""
    code = """
import logging
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
def handler(event, context):
    pool.submit(logging.getLogger().warning, "in thread").result()
"""
    outcome = run(tmp_path, code, [event(request_id="r1"), event(request_id="r2")])

    assert ["r1", "r2"] == [line.split("\t")[2] for line in outcome.out.splitlines()]
    assert (0, "") == (outcome.status, outcome.err)
