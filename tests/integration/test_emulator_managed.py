"""Several invocations at a time in our own emulator, as on Lambda Managed Instances."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from lambdascope.emulator.invoke import InvokeEndpoint
from managed_kit import CONCURRENCY, Managed

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.emulator.environment import ExecutionEnvironment
    from lambdascope.emulator.records import InvocationRecord

LIMIT_S = 20.0

SYNC = """
import logging
log = logging.getLogger()
log.setLevel("INFO")
def handler(event, context):
    print("printed", event["n"])
    log.info("logged %s", event["n"])
    return [event["n"], context.aws_request_id]
"""
ASYNC = """
import asyncio, logging
log = logging.getLogger()
log.setLevel("INFO")
async def handler(event, context):
    print("printed", event["n"])
    await asyncio.sleep(0)
    log.info("logged %s", event["n"])
    return [event["n"], context.aws_request_id]
"""
LOGS_ONLY = SYNC.replace('    print("printed", event["n"])\n', "")


def function_messages(record: InvocationRecord) -> list[str]:
    """The messages of the function's own lines after init."""
    lines = [json.loads(x.text) for x in record.logs if x.source == "function" and x.request_id]
    return [line["message"] for line in lines]


@pytest.mark.parametrize("code", [SYNC, ASYNC], ids=["threads", "tasks"])
def test_two_thousand_invocations_are_neither_lost_nor_mixed(tmp_path: Path, code: str) -> None:
    """Each caller has the answer to its own event, and each record the lines of its own."""
    with Managed(tmp_path, code) as function:
        found = function.many(2000)
    assert 2000 == len({record.request_id for record in found})
    for number, record in enumerate(found):
        assert [number, record.request_id] == json.loads(record.answer), record
        assert [f"printed {number}", f"logged {number}"] == function_messages(record)
        assert {record.request_id} == {line.request_id for line in record.logs if line.request_id}
    assert 1 == sum(record.cold for record in found)


@pytest.mark.peers
def test_awslambdaric_serves_in_this_mode(tmp_path: Path, peer_python: Path) -> None:
    """AWS's client, with its process for each invocation at a time."""
    runtime = (str(peer_python), "-m", "awslambdaric", "{handler}")
    with Managed(tmp_path, LOGS_ONLY, runtime=runtime) as function:
        found = function.many(300)
    for number, record in enumerate(found):
        assert [number, record.request_id] == json.loads(record.answer), record
        assert [f"logged {number}"] == function_messages(record)


def test_invocations_run_at_the_same_time(tmp_path: Path) -> None:
    """As many as the concurrency says: each waits for the others."""
    code = """
import threading
barrier = threading.Barrier(16)
def handler(event, context): return barrier.wait(15)
"""
    with Managed(tmp_path, code) as function:
        found = function.many(CONCURRENCY)
    assert list(range(CONCURRENCY)) == sorted(json.loads(record.answer) for record in found)


def test_the_runtime_is_told_how_it_runs(tmp_path: Path) -> None:
    """The two variables of the mode, and JSON as the log format."""
    code = """
import os
NAMES = "MAX_CONCURRENCY", "INITIALIZATION_TYPE", "LOG_FORMAT", "FUNCTION_MEMORY_SIZE"
def handler(event, context): return [os.environ["AWS_LAMBDA_" + name] for name in NAMES]
"""
    with Managed(tmp_path, code, max_concurrency=3) as function:
        record = function.environment.invoke(b"{}")
    expected = ["3", "lambda-managed-instances", "JSON", "2048"]
    assert expected == json.loads(record.answer)


PARALLEL = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
import boto3
from botocore.config import Config
client = boto3.client(
    "lambda", endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id="x",
    aws_secret_access_key="x", config=Config(max_pool_connections=8, read_timeout=30))
def one(number):
    answer = client.invoke(FunctionName="function", Payload=json.dumps({"n": number}))
    return json.load(answer["Payload"]), answer["ResponseMetadata"]["RequestId"]
with ThreadPoolExecutor(8) as pool:
    json.dump(list(pool.map(one, range(64))), sys.stdout)
"""


@pytest.mark.peers
def test_boto3_invokes_in_parallel(tmp_path: Path, peer_python: Path) -> None:
    """Eight at a time through the invoke endpoint; they really overlap."""
    code = """
import threading
barrier = threading.Barrier(8)
def handler(event, context):
    if event["n"] < 8: barrier.wait(15)
    return [event["n"], context.aws_request_id]
"""
    with Managed(tmp_path, code) as function:
        endpoint = InvokeEndpoint(function.environment)
        endpoint.start()
        try:
            done = subprocess.run(
                [peer_python, "-I", "-c", PARALLEL, endpoint.url],
                capture_output=True,
                text=True,
                timeout=50,
                env={"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true"},
                check=False,
            )
        finally:
            endpoint.close()
    assert 0 == done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert list(range(64)) == [value[0] for value, _ in found]
    assert [request_id for _, request_id in found] == [value[1] for value, _ in found]


def test_a_streamed_response_reaches_its_caller(tmp_path: Path) -> None:
    """Streams work here as well: first byte, rest, end, for several at a time."""
    code = """
def handler(event, context):
    yield f"{event['n']}:"
    yield "x" * 1000
"""
    got: dict[int, bytes] = {}
    readers: list[threading.Thread] = []

    def call(environment: ExecutionEnvironment, number: int) -> None:
        def read(_: InvocationRecord, stream: Any) -> None:
            def run() -> None:
                got[number] = b"".join(stream.pieces())

            readers.append(threading.Thread(target=run))
            readers[-1].start()

        environment.invoke(json.dumps({"n": number}).encode(), on_stream=read)

    with Managed(tmp_path, code, max_concurrency=4) as function:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: call(function.environment, number), range(40)))
        for reader in readers:
            reader.join(LIMIT_S)
    assert {n: f"{n}:".encode() + b"x" * 1000 for n in range(40)} == got


def test_the_command_line_runs_several_at_a_time(tmp_path: Path) -> None:
    """`--concurrency` of `invoke`: all answers, from one environment."""
    (tmp_path / "app.py").write_text(
        "import threading\nbarrier = threading.Barrier(3)\n"
        "def handler(event, context): return barrier.wait(15)\n"
    )
    argv = ["invoke", "app.handler", "-n", "3", "--concurrency", "3", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "lambdascope.cli.main", *argv, "--timeout", "20"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    assert ["0", "1", "2"] == sorted(done.stdout.split())
