"""boto3's invoke_with_response_stream at the emulator, and our own runtime's streams through it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from streaming_kit import STREAMING, Gate, completion, serving

if TYPE_CHECKING:
    from pathlib import Path

# Invokes with each of the payloads given on standard input, and writes every event as it comes.
CLIENT = """
import base64, json, sys
import boto3
from botocore.config import Config
client = boto3.client(
    "lambda", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="x",
    aws_secret_access_key="x", config=Config(retries={"total_max_attempts": 1}, read_timeout=30))
def say(found):
    print(json.dumps(found, default=lambda data: data.decode()), flush=True)
for line in sys.stdin:
    answer = client.invoke_with_response_stream(FunctionName="function", **json.loads(line))
    say([answer["StatusCode"], answer["ExecutedVersion"], answer["ResponseStreamContentType"]])
    for event in answer["EventStream"]:
        say(event)
"""
SCRIPT = f"""{STREAMING}
while True:
    request_id, headers, body = next_event()
    stream = Stream(request_id)
    stream.send(b"one")
    wait_for_the_test()
    say("second chunk")
    stream.send(b"two")
    if body == b'"fail"':
        stream.fail("Function.Late", b'{{"errorType": "Late"}}')
    else:
        stream.end()
"""


@pytest.mark.peers
def test_boto3_reads_a_stream_as_it_comes(tmp_path: Path, peer_python: Path) -> None:
    """The first event is there before the second is made; log tail and error at the end."""
    gate = Gate(tmp_path)
    with serving(tmp_path, SCRIPT) as served:
        command = [peer_python, "-I", "-c", CLIENT, served.invoke.url]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as client:
            assert client.stdin is not None
            assert client.stdout is not None

            def ask(**arguments: str) -> None:
                assert client.stdin is not None
                client.stdin.write(json.dumps(arguments) + "\n")
                client.stdin.flush()

            def told() -> Any:
                assert client.stdout is not None
                return json.loads(client.stdout.readline())

            ask(Payload="{}", LogType="Tail", Qualifier="live")
            assert [200, "$LATEST", "application/vnd.amazon.eventstream"] == told()
            assert {"PayloadChunk": {"Payload": "one"}} == told()
            assert "second chunk" not in served.stage.lines.texts()
            gate.open()
            assert {"PayloadChunk": {"Payload": "two"}} == told()
            end = told()["InvokeComplete"]
            assert ["LogResult"] == list(end)
            tail = base64.b64decode(end["LogResult"]).decode()
            assert tail.splitlines()[-1].startswith("REPORT RequestId: ")
            record = served.stage.environment.records[-1]
            assert record.invoked_function_arn.endswith(":function:live")

            ask(Payload='"fail"')
            assert [200, "$LATEST", "application/vnd.amazon.eventstream"] == told()
            assert {"PayloadChunk": {"Payload": "one"}} == told()
            gate.open()
            assert {"PayloadChunk": {"Payload": "two"}} == told()
            assert {
                "InvokeComplete": {
                    "ErrorCode": "Unhandled",
                    "ErrorDetails": '{"errorType": "Late"}',
                }
            } == told()
            client.stdin.close()
        assert 0 == client.returncode


OWN = """
from lambdascope.runtime.streaming import HttpPrelude

def handler(event, context):
    path = event["rawPath"]
    if path == "/buffered":
        return {"statusCode": 202, "body": event["requestContext"]["http"]["method"]}
    return stream(path)

def stream(path):
    if path == "/early":
        raise ValueError("before the first byte")
    yield HttpPrelude(201, {"X-Own": "yes"}, ["a=1"])
    yield "one"
    if path == "/late":
        raise ValueError("after the first byte")
    open("gate").close()
    print("second chunk")
    yield b"two"
"""


def test_our_runtime_streams_through_the_function_url(tmp_path: Path) -> None:
    """A generator's first item is out before its second is made; errors early and late."""
    gate = Gate(tmp_path)
    tmp_path.joinpath("app.py").write_text(OWN)
    own = (sys.executable, "-m", "lambdascope", "{handler}")
    with serving(tmp_path, "", runtime=own, timeout_ms=10_000) as served:
        reader = served.get("/both")
        assert (201, "yes", "a=1") == (
            reader.status,
            reader.headers["X-Own"],
            reader.headers["Set-Cookie"],
        )
        assert b"one" == reader.some()
        assert "second chunk" not in served.stage.lines.texts()
        gate.open()
        assert b"two" == reader.rest()

        reader = served.get("/late")
        assert (201, b"one") == (reader.status, reader.broken_rest())
        event = b'{"rawPath": "/late"}'
        end = completion(served.invoke_streaming(event).events())
        details = json.loads(end["ErrorDetails"])
        assert ("Unhandled", "ValueError", "after the first byte") == (
            end["ErrorCode"],
            details["errorType"],
            details["errorMessage"],
        )
        assert 502 == served.get("/early").status
        reader = served.get("/buffered", method="DELETE")
        assert (202, b"DELETE") == (reader.status, reader.rest())
        served.stage.lines.wait_for("REPORT", count=5)
        statuses = [record.status for record in served.stage.environment.records]
        assert ["success", "error", "error", "error", "success"] == statuses
