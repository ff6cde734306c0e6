"""AWS's own clients at the invoke endpoint, with AWS's own Python client as the runtime behind it.

boto3 and the aws command run in processes of their own, from the environment that
`scripts/install-peers` made; nothing of lambdascope is on their side.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import requests

from emulator_kit import Stage
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment
from lambdascope.emulator.invoke import InvokeEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARN = "arn:aws:lambda:us-east-1:123456789012:function:shop"
HANDLER = """
import json, os, sys

def handler(event, context):
    print("handling", json.dumps(event))
    if event.get("fail"):
        raise ValueError("no such order")
    if event.get("exit"):
        os._exit(3)
    custom = context.client_context.custom if context.client_context else None
    return {
        "event": event,
        "request_id": context.aws_request_id,
        "arn": context.invoked_function_arn,
        "trace": os.environ["_X_AMZN_TRACE_ID"],
        "custom": custom,
        "tenant": getattr(context, "tenant_id", None),
    }
"""
# Reads a list of invocations from standard input, makes them one after the other with boto3, and
# writes what came of each.
CLIENT = """
import base64, json, sys
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

client = boto3.client(
    "lambda", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="x",
    aws_secret_access_key="x", config=Config(retries={"total_max_attempts": 1}, read_timeout=30))
found = []
for arguments in json.load(sys.stdin):
    size = arguments.pop("size", None)
    if size is not None:
        arguments["Payload"] = '"' + "x" * (size - 2) + '"'
    try:
        answer = client.invoke(**arguments)
    except ClientError as error:
        meta = error.response["ResponseMetadata"]
        found.append({
            "class": type(error).__name__, "code": error.response["Error"]["Code"],
            "message": error.response["Error"]["Message"], "status": meta["HTTPStatusCode"]})
    else:
        answer["Payload"] = answer["Payload"].read().decode()
        answer["RequestId"] = answer.pop("ResponseMetadata")["RequestId"]
        found.append(answer)
json.dump(found, sys.stdout)
"""


def variables() -> dict[str, str]:
    """An environment in which AWS's clients ask nobody for credentials."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return kept | {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_MAX_ATTEMPTS": "1",
    }


@pytest.fixture
def url(tmp_path: Path, peer_python: Path) -> Iterator[str]:
    """An endpoint whose function runs under awslambdaric."""
    tmp_path.joinpath("app.py").write_text(HANDLER)
    config = FunctionConfig(
        handler="app.handler",
        task_root=str(tmp_path),
        function_name="shop",
        runtime=(str(peer_python), "-m", "awslambdaric", "{handler}"),
        own_extension=False,
        timeout_ms=10_000,
        memory_mb=512,
    )
    environment = ExecutionEnvironment(config)
    endpoint = InvokeEndpoint(environment)
    endpoint.start()
    environment.start()
    try:
        yield endpoint.url
    finally:
        endpoint.close()
        environment.shutdown()


def boto3_calls(python: Path, url: str, *calls: dict[str, Any]) -> list[dict[str, Any]]:
    """What boto3's `invoke` gave for each of `calls`."""
    done = subprocess.run(
        [python, "-I", "-c", CLIENT, url],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        timeout=50,
        env=variables(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.peers
def test_boto3_invokes_the_function(url: str, peer_python: Path) -> None:
    """Payload, version, request id, log tail and client context are as against Lambda."""
    context = base64.b64encode(b'{"custom": {"k": "v"}}').decode()
    plain, with_all, by_arn = boto3_calls(
        peer_python,
        url,
        {"FunctionName": "shop"},
        {
            "FunctionName": "shop",
            "Payload": '{"order": 17}',
            "LogType": "Tail",
            "ClientContext": context,
            "Qualifier": "live",
            "TenantId": "blue",
        },
        {"FunctionName": f"{ARN}:3", "Payload": "{}"},
    )
    assert (plain["StatusCode"], plain["ExecutedVersion"]) == (200, "$LATEST")
    answer = json.loads(plain["Payload"])
    assert (answer["event"], answer["request_id"]) == ({}, plain["RequestId"])
    assert answer["arn"] == ARN
    assert "FunctionError" not in plain
    assert "LogResult" not in plain

    answer = json.loads(with_all["Payload"])
    assert answer["event"] == {"order": 17}
    assert (answer["custom"], answer["tenant"]) == ({"k": "v"}, "blue")
    assert answer["arn"] == f"{ARN}:live"
    lines = base64.b64decode(with_all["LogResult"]).decode().splitlines()
    identifier = with_all["RequestId"]
    assert lines[0] == f"START RequestId: {identifier} Version: $LATEST"
    assert lines[1] == 'handling {"order": 17}'
    assert lines[2] == f"END RequestId: {identifier}"
    assert lines[3].startswith(f"REPORT RequestId: {identifier}\tDuration: ")

    assert json.loads(by_arn["Payload"])["arn"] == f"{ARN}:3"


@pytest.mark.peers
def test_boto3_sees_a_function_error(url: str, peer_python: Path) -> None:
    """A raised exception and a process that exits are both Unhandled, with AWS's error bodies."""
    raised, exited, again = boto3_calls(
        peer_python,
        url,
        {"FunctionName": "shop", "Payload": '{"fail": true}'},
        {"FunctionName": "shop", "Payload": '{"exit": true}', "LogType": "Tail"},
        {"FunctionName": "shop", "Payload": "{}"},
    )
    assert (raised["StatusCode"], raised["FunctionError"]) == (200, "Unhandled")
    error = json.loads(raised["Payload"])
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "no such order")
    assert (exited["StatusCode"], exited["FunctionError"]) == (200, "Unhandled")
    assert json.loads(exited["Payload"]) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: {exited['RequestId']} "
        "Error: Runtime exited with error: exit status 3",
    }
    assert (
        "Status: error\tError Type: Runtime.ExitError"
        in (base64.b64decode(exited["LogResult"]).decode().splitlines()[-1])
    )
    assert json.loads(again["Payload"])["event"] == {}


@pytest.mark.peers
def test_boto3_makes_its_exception_classes_of_refusals(url: str, peer_python: Path) -> None:
    """Each refusal is the class that code written for Lambda catches, with a readable message."""
    shop = {"FunctionName": "shop"}
    found = boto3_calls(
        peer_python,
        url,
        {"FunctionName": "other"},
        {**shop, "Payload": "{'a': 1}"},
        {**shop, "ClientContext": "!"},
        {**shop, "InvocationType": "Later"},
        {**shop, "size": 6 * 1024 * 1024 + 1},
        {**shop, "size": 1024 * 1024 + 1, "InvocationType": "Event"},
    )
    assert [(one["status"], one["class"]) for one in found] == [
        (404, "ResourceNotFoundException"),
        (400, "InvalidRequestContentException"),
        (400, "InvalidRequestContentException"),
        (400, "InvalidParameterValueException"),
        # Not in boto3's model, as on Lambda: a ClientError with this code.
        (413, "ClientError"),
        (413, "ClientError"),
    ]
    assert {one["code"] for one in found[4:]} == {"RequestEntityTooLargeException"}
    words = [
        "runs the function shop",
        "parse payload into json",
        "Base64",
        "invocationType",
        "smaller than 6291456 bytes",
        "too large for the Event invocation type",
    ]
    assert [text in one["message"] for text, one in zip(words, found, strict=True)] == [True] * 6


@pytest.mark.peers
def test_boto3_queues_events_and_makes_dry_runs(url: str, peer_python: Path) -> None:
    """202 and 204; the next synchronous invocation comes after the queued one or before it."""
    queued, dry, asked = boto3_calls(
        peer_python,
        url,
        {"FunctionName": "shop", "InvocationType": "Event", "Payload": '{"queued": 1}'},
        {"FunctionName": "shop", "InvocationType": "DryRun"},
        {"FunctionName": "shop", "Payload": "{}"},
    )
    assert (queued["StatusCode"], queued["Payload"]) == (202, "")
    assert (dry["StatusCode"], dry["Payload"]) == (204, "")
    assert asked["StatusCode"] == 200


@pytest.mark.peers
def test_the_aws_command_invokes_the_function(url: str, aws_command: Path, tmp_path: Path) -> None:
    """The answer in a file, the rest as JSON on standard output, status 0."""
    out = tmp_path / "out.json"
    done = aws(
        aws_command,
        url,
        *("--function-name", "shop", "--payload", '{"name":"x"}', "--log-type", "Tail"),
        *("--qualifier", "3", "--client-context", "e30=", str(out)),
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["StatusCode"], said["ExecutedVersion"]) == (200, "$LATEST")
    assert 'handling {"name": "x"}' in base64.b64decode(said["LogResult"]).decode()
    answer = json.loads(out.read_text())
    assert (answer["event"], answer["arn"]) == ({"name": "x"}, f"{ARN}:3")


@pytest.mark.peers
def test_the_aws_command_shows_a_function_error(
    url: str, aws_command: Path, tmp_path: Path
) -> None:
    """Status 0 of the command, Unhandled in what it says, the error in the file."""
    out = tmp_path / "out.json"
    done = aws(aws_command, url, "--function-name", "shop", "--payload", '{"fail":true}', str(out))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["FunctionError"] == "Unhandled"
    assert json.loads(out.read_text())["errorType"] == "ValueError"


@pytest.mark.peers
def test_the_aws_command_shows_a_refusal(url: str, aws_command: Path, tmp_path: Path) -> None:
    """Another function's name ends with the error and the name that would work."""
    out = tmp_path / "out.json"
    done = aws(aws_command, url, "--function-name", "other", str(out))
    assert done.returncode != 0
    assert "(ResourceNotFoundException) when calling the Invoke operation" in done.stderr
    assert "this emulator runs the function shop" in done.stderr


def aws(command: Path, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`aws lambda invoke` at the endpoint."""
    return subprocess.run(
        [command, "lambda", "invoke", "--endpoint-url", url, *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        env=variables(),
        check=False,
    )


def test_an_answer_does_not_wait_for_an_extension(tmp_path: Path) -> None:
    """With a real environment: the caller is served while the extension still holds the end."""
    holds = """
from raw import *
me = register(os.path.basename(sys.argv[0]), "INVOKE", "SHUTDOWN")
next_extension_event(me)
# Blocks until the test opens the other end.
open(os.path.join(os.path.dirname(sys.argv[0]), "pipe")).close()
say("released")
while next_extension_event(me)["eventType"] != "SHUTDOWN":
    pass
"""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with Stage(tmp_path, holds=holds).ready() as stage:
        endpoint = InvokeEndpoint(stage.environment)
        endpoint.start()
        try:
            target = f"{endpoint.url}/2015-03-31/functions/function/invocations"
            answer = requests.post(target, b'{"a": 1}', timeout=20)
            assert (answer.status_code, answer.content) == (200, b'{"a": 1}')
            assert "released" not in stage.lines.texts("extension")
            assert stage.environment.records[-1].report is None
            pipe.open("w").close()
            # The next one queues behind the end of the first.
            headers = {"X-Amz-Log-Type": "Tail"}
            again = requests.post(target, b"[2]", headers=headers, timeout=20)
            assert again.content == b"[2]"
            tail = base64.b64decode(again.headers["X-Amz-Log-Result"]).decode()
            assert tail.splitlines()[-1].startswith("REPORT RequestId: ")
            assert stage.environment.records[0].report is not None
        finally:
            endpoint.close()
