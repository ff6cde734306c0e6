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

from differential_kit import EVENT, HERE, REQUEST_ID, TRACE, assert_agree
from emulator_kit import ECHO, Lines, Stage
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import (
    EnvironmentBusy,
    EnvironmentClosed,
    ExecutionEnvironment,
)
from lambdascope.emulator.invoke import InvokeEndpoint
from lambdascope.emulator.managed_logbook import request_id_in
from lambdascope.wire import names
from telemetry_listener import LISTENER
from telemetry_shapes import SHAPES, shape

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.emulator.records import InvocationRecord

CONCURRENCY = 16
LIMIT_S = 20.0
MANAGED: dict[str, Any] = {"init_type": names.INIT_MANAGED_INSTANCES}

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

# A runtime of several workers, each with the ordinary loop. `take` is what a worker does.
WORKERS = """
from raw import *
import threading
COUNT = int(os.environ["AWS_LAMBDA_MAX_CONCURRENCY"])
def work():
    while True:
        request_id, headers, body = next_event()
        take(request_id, headers, json.loads(body))
def run():
    threads = [threading.Thread(target=work) for _ in range(COUNT)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


class Managed:
    """A function of ours, or of another runtime, in this mode."""

    def __init__(self, folder: Path, code: str, **settings: Any) -> None:
        (folder / "app.py").write_text(code)
        self.lines = Lines()
        chosen: dict[str, Any] = {
            "handler": "app.handler",
            "task_root": str(folder),
            "own_extension": False,
            "timeout_ms": 10_000,
            "max_concurrency": CONCURRENCY,
            **MANAGED,
            **settings,
        }
        self.environment = ExecutionEnvironment(FunctionConfig(**chosen), on_log=self.lines)

    def __enter__(self) -> Managed:
        return self

    def __exit__(self, *_: object) -> None:
        self.environment.shutdown()

    def many(self, total: int) -> list[InvocationRecord]:
        """`total` invocations by as many threads as may run at a time."""
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            return list(pool.map(self._one, range(total)))

    def _one(self, number: int) -> InvocationRecord:
        return self.environment.invoke(json.dumps({"n": number}).encode())


def workers(folder: Path, take: str, *, concurrency: int, timeout_ms: int, **more: Any) -> Stage:
    """A stage whose runtime is made of `WORKERS`."""
    script = f"{WORKERS}\n{take}\nrun()\n"
    return Stage(folder, script, **more).configure(
        **MANAGED, max_concurrency=concurrency, timeout_ms=timeout_ms
    )


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


# Event "late" is answered when the file `now` has been made, any other at once.
LATE = """
def take(request_id, headers, event):
    if event == "late":
        with open("go") as pipe: pipe.read()
        say("late", respond(request_id, Lambda_Runtime_Invocation_Id=headers[
            "lambda-runtime-invocation-id"])[::2])
    else:
        say("answer", respond(request_id)[0])
        say("again", respond(request_id)[0], "unknown", respond("nobody")[0])
"""


def test_a_deadline_ends_its_invocation_only(tmp_path: Path) -> None:
    """The caller gets Sandbox.Timedout, the process lives on, and the late answer gets 410."""
    stage = workers(tmp_path, LATE, concurrency=2, timeout_ms=400)
    os.mkfifo(tmp_path / "go")
    with stage.ready():
        pid = stage.pid()
        late = stage.invoke(b'"late"')
        beside = stage.invoke(b'"other"')
        (tmp_path / "go").write_text("go")
        said = stage.lines.wait_for("late")
        assert pid == stage.pid()
    assert ("timeout", "Sandbox.Timedout") == (late.status, late.error_type)
    message = f"RequestId: {late.request_id} Error: Task timed out after 0.40 seconds"
    assert message == json.loads(late.answer)["errorMessage"]
    assert "success" == beside.status
    assert "(410" in said
    assert "InvokeTimeout" in said
    assert late.report is not None
    assert 400.0 == late.report.duration_ms


def test_a_second_and_an_unknown_response_are_refused(tmp_path: Path) -> None:
    """Each invocation is answered once; a request id that nobody knows gets 400."""
    with workers(tmp_path, LATE, concurrency=2, timeout_ms=5000).ready() as stage:
        stage.invoke()
        assert "202" == stage.lines.wait_for("answer")
        assert "400 unknown 400" == stage.lines.wait_for("again")


def test_a_caller_that_nobody_is_free_for_is_refused(tmp_path: Path) -> None:
    """It waits as long as the function's timeout, then it is told Runtime.Unavailable."""
    stage = workers(tmp_path, LATE, concurrency=1, timeout_ms=300)
    os.mkfifo(tmp_path / "go")
    with stage.ready():
        assert "timeout" == stage.invoke(b'"late"').status
        with pytest.raises(EnvironmentBusy, match=r"Runtime\.Unavailable"):
            stage.invoke()
        (tmp_path / "go").write_text("go")
        stage.lines.wait_for("late")
        assert "success" == stage.invoke().status


def test_more_polls_than_the_concurrency_are_refused(tmp_path: Path) -> None:
    """The third request for the next event of a function with two at a time gets 500."""
    script = """
from raw import *
import threading
def poll():
    status, _, body = call("GET", RUNTIME + "invocation/next")
    say("polled", status, body.decode())
for _ in range(3): threading.Thread(target=poll).start()
"""
    stage = Stage(tmp_path, script).configure(**MANAGED, max_concurrency=2)
    with stage.ready():
        said = stage.lines.wait_for("polled")
    assert said.startswith("500 ")
    assert "TooManyIdleRuntimes" in said


def test_a_crash_ends_all_under_way_and_the_environment_starts_anew(tmp_path: Path) -> None:
    """Every caller of the dead runtime gets Runtime.ExitError; the next ones find a new one."""
    code = """
import os, threading
barrier = threading.Barrier(4)
def handler(event, context):
    if event["n"] < 4 and barrier.wait(15) == 0: os._exit(7)
    if event["n"] < 4: threading.Event().wait()
    return os.getpid()
"""
    with Managed(tmp_path, code, max_concurrency=4) as function:
        dead = function.many(4)
        after = function.environment.invoke(b'{"n": 4}')
    for record in dead:
        assert ("crash", "Runtime.ExitError") == (record.status, record.error_type)
        assert "exit status 7" in json.loads(record.answer)["errorMessage"]
    assert "success" == after.status
    assert after.cold


def test_a_failed_init_is_the_answer(tmp_path: Path) -> None:
    """Callers that wait for init get its error, and the next caller another try."""
    with Managed(tmp_path, "raise ValueError('no')") as function:
        first, second = (function.environment.invoke(b"{}") for _ in range(2))
    for record in (first, second):
        assert "init_error" == record.status
        assert {"errorType": "ValueError", "errorMessage": "no"}.items() <= json.loads(
            record.answer
        ).items()


def test_shutdown_ends_what_is_under_way(tmp_path: Path) -> None:
    """The runtime gets SIGTERM even without extensions, and no caller is left waiting."""
    take = """
def leave(*_):
    say("terminated")
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
def take(request_id, headers, event):
    say("taken")
    threading.Event().wait()
threading.Thread(target=run, daemon=True).start()
block()
"""
    stage = workers(tmp_path, take, concurrency=1, timeout_ms=20_000)
    with stage.ready():
        under_way = stage.invoke_beside()
        stage.lines.wait_for("taken")
        queued = stage.invoke_beside()
        stage.environment.shutdown()
        assert "Sandbox.Failure" == under_way.over().error_type
        assert isinstance(queued.failed(), EnvironmentClosed)
    assert ["terminated"] == stage.lines.texts("function")[-1:]


# An extension that tells what it is refused, and every event that it gets.
REFUSED = """
from raw import *
name = os.path.basename(sys.argv[0])
body = json.dumps({"events": ["INVOKE", "SHUTDOWN"]}).encode()
status, _, answer = call("POST", EXTENSION + "register", body, Lambda_Extension_Name=name)
say("refused", status, json.loads(answer)["errorType"])
body = json.dumps({"events": ["INVOKE"]}).encode()
status, _, answer = call("POST", EXTENSION + "register", body, Lambda_Extension_Name="inner")
say("inner", status, json.loads(answer)["errorType"])
me = register(name, "SHUTDOWN")
while True:
    event = next_extension_event(me)
    say("event", event["eventType"], event.get("shutdownReason"))
    if event["eventType"] == "SHUTDOWN": sys.exit(0)
"""


def test_extensions_get_shutdown_only(tmp_path: Path) -> None:
    """INVOKE is refused to both kinds of extension, and no invocation is announced to them."""
    stage = Stage(tmp_path, ECHO, outer=REFUSED).configure(**MANAGED, max_concurrency=1)
    with stage.ready():
        for _ in range(3):
            stage.invoke()
        stage.environment.shutdown()
    expected = [
        "refused 403 Extension.InvalidEventType",
        "inner 403 Extension.InvalidEventType",
        "event SHUTDOWN spindown",
    ]
    assert expected == stage.lines.texts("extension")


def test_an_extension_that_ends_is_the_end_of_the_environment(tmp_path: Path) -> None:
    """The callers of the moment get Extension.Crash, the next one a new environment."""
    dies = """
from raw import *
me = register(os.path.basename(sys.argv[0]), "SHUTDOWN")
import threading
def leave():
    next_extension_event(me)
    os._exit(0)
threading.Thread(target=leave, daemon=True).start()
if not os.path.exists(os.environ["MARK"]):
    with open(os.environ["MARK"], "w"): pass
    with open(os.environ["GO"]) as pipe: pipe.read()
    os._exit(3)
block()
"""
    take = """
def take(request_id, headers, event):
    if event == "wait":
        say("taken")
        threading.Event().wait()
    respond(request_id)
"""
    go = tmp_path / "go"
    stage = workers(tmp_path, take, concurrency=1, timeout_ms=20_000, dies=dies)
    os.mkfifo(go)
    stage.configure(variables={"MARK": str(tmp_path / "mark"), "GO": str(go)})
    with stage.ready():
        under_way = stage.invoke_beside(b'"wait"')
        stage.lines.wait_for("taken")
        go.write_text("go")
        assert "Extension.Crash" == under_way.over().error_type
        assert "success" == stage.invoke().status


def test_telemetry_has_the_recorded_shapes(tmp_path: Path) -> None:
    """No runtimeDone; a report with the duration alone, spans, and errors of handlers as errors."""
    listener = LISTENER.replace('"INVOKE", "SHUTDOWN")', '"SHUTDOWN")').replace(
        'seen.count("platform.report") == invoked', 'seen.count("platform.report") == 2'
    )
    take = """
def take(request_id, headers, event):
    if event == "fail": fail(request_id, b'{"errorType": "ValueError"}')
    else: respond(request_id)
"""
    stage = workers(tmp_path, take, concurrency=2, timeout_ms=5000, listener=listener)
    with stage.ready():
        good, bad = stage.invoke(), stage.invoke(b'"fail"')
        stage.environment.shutdown()
    lines = stage.lines.texts("extension")
    got = [json.loads(x.removeprefix("got ")) for x in lines if x.startswith("got ")]
    platform = [item for item in got if item["type"].startswith("platform.")]
    kinds = [item["type"] for item in platform]
    init = ["platform.initStart", "platform.telemetrySubscription", "platform.initRuntimeDone"]
    init += ["platform.extension", "platform.initReport"]
    assert init + ["platform.start", "platform.report"] * 2 == kinds
    for item in platform[:6]:
        expected = SHAPES[item["type"]]
        if item["type"] == "platform.extension":
            expected = expected | {"events": ["SHUTDOWN"]}
        assert shape(expected) == shape(item["record"]), item
    inits = [x["record"] for x in platform if "initializationType" in x["record"]]
    assert {"lambda-managed-instances"} == {record["initializationType"] for record in inits}
    reports = [item["record"] for item in platform if item["type"] == "platform.report"]
    spans = [{"name": "x", "start": "2026-01-01T00:00:00.000Z", "durationMs": 0.5}] * 2
    recorded = {"requestId": "r", "status": "success", "metrics": {"durationMs": 0.8}}
    assert shape(recorded | {"spans": spans}) == shape(reports[0])
    assert shape(recorded | {"spans": spans, "errorType": "x"}) == shape(reports[1])
    assert ["responseLatency", "responseDuration"] == [x["name"] for x in reports[0]["spans"]]
    assert (good.request_id, "success") == (reports[0]["requestId"], reports[0]["status"])
    assert (bad.request_id, "error", "Runtime.Unknown") == (
        reports[1]["requestId"],
        reports[1]["status"],
        reports[1]["errorType"],
    )


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


HANDLERS = [
    "app.echo",
    "app.nothing",
    "app.text",
    "app.numbers",
    "app.not_a_number",
    "app.raw_bytes",
    "app.inner_bytes",
    "app.named_tuple",
    "app.keys",
    "app.bad_key",
    "app.a_set",
    "app.deep",
    "app.too_large",
    "app.raises",
    "app.raises_chained",
    "app.text_forms",
    "app.missing",
    "raises_at_import.handler",
]


def run(handler: str, runtime: tuple[str, ...]) -> InvocationRecord:
    """One invocation of a handler of the differential suite, in this mode."""
    config = FunctionConfig(
        handler=handler,
        task_root=str(HERE),
        runtime=runtime,
        timeout_ms=10_000,
        own_extension=False,
        max_concurrency=2,
        **MANAGED,
    )
    environment = ExecutionEnvironment(config)
    try:
        return environment.invoke(EVENT, request_id=REQUEST_ID, trace_header=TRACE)
    finally:
        environment.shutdown()


@pytest.mark.peers
@pytest.mark.parametrize("handler", HANDLERS)
def test_handlers_answer_alike(handler: str, peer_python: Path) -> None:
    """Under AWS's client and ours, with the table of wanted differences."""
    theirs = run(handler, (str(peer_python), "-m", "awslambdaric", "{handler}"))
    assert_agree(handler, run(handler, ()), theirs)


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


def test_lines_are_found_by_the_usual_names_of_the_request_id() -> None:
    """At the top of the object or in the platform's record; other lines belong to nobody."""
    assert "r" == request_id_in('{"requestId": "r", "message": "m"}')
    assert "r" == request_id_in('{"function_request_id": "r"}')
    assert "r" == request_id_in('{"type": "platform.start", "record": {"requestId": "r"}}')
    for line in ("requestId r", '{"requestId": 1}', "{", '{"a": {"requestId": "r"}}'):
        assert request_id_in(line) is None
