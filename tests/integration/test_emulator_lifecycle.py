"""The good life of an execution environment, with real processes: init, invoke, freeze, end."""

from __future__ import annotations

import json
import os
import re
import sys
from typing import TYPE_CHECKING

from emulator_kit import WITNESS, Stage, is_alive
from lambdascope.emulator import proc

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.emulator.records import Phase


def names_of(phases: list[Phase]) -> list[str]:
    """The names of phases in order."""
    return [phase.name for phase in phases]


def test_an_event_is_answered_and_reported(tmp_path: Path) -> None:
    """A cold invocation has its init as first phase, and the figures of both add up in the bill."""
    with Stage(tmp_path).ready() as stage:
        record = stage.invoke(b'{"a": 1}')
        assert b'{"a": 1}' == record.answer
        assert ("success", None, True) == (record.status, record.function_error, record.cold)
        expected = ["init", "runtime init", "invoke", "runtime overhead"]
        assert expected == names_of(record.phases)
        report = record.report
        assert report is not None
        assert report.init_duration_ms is not None
        total = report.duration_ms + report.init_duration_ms
        assert total <= report.billed_duration_ms < total + 1
        warm = stage.invoke()
        assert not warm.cold
        assert warm.report is not None
        assert warm.report.init_duration_ms is None


def test_phases_follow_each_other_without_gaps(tmp_path: Path) -> None:
    """Each phase of an invocation begins where the one before ended, on one clock."""
    with Stage(tmp_path, witness=WITNESS).ready() as stage:
        record = stage.invoke()
        invoke, overhead, extensions = record.phases[-3:]
        expected = ["invoke", "runtime overhead", "extension overhead"]
        assert expected == names_of(record.phases[-3:])
        assert record.handed_out_ns == invoke.start_ns
        assert invoke.end_ns == overhead.start_ns
        assert overhead.end_ns == extensions.start_ns
        assert record.response_ns is not None
        assert invoke.start_ns <= record.response_ns <= invoke.end_ns
        init, extension_init, runtime_init = record.phases[:3]
        assert ("extension init", "witness") == (extension_init.name, extension_init.who)
        # The runtime is started when the extension has registered.
        assert init.start_ns <= extension_init.start_ns < runtime_init.start_ns <= init.end_ns


def test_platform_lines_are_those_of_lambda(tmp_path: Path) -> None:
    """START, END and REPORT enclose the function's lines and carry the invocation's id."""
    script = """
from raw import *
say("importing")
while True:
    request_id, headers, body = next_event()
    print("out", end="\\n", flush=True)
    print("err", file=sys.stderr, flush=True)
    respond(request_id, body)
"""
    with Stage(tmp_path, script).ready() as stage:
        record = stage.invoke()
        identifier = record.request_id
        texts = [line.text for line in record.logs]
        assert texts[0].startswith("INIT_START Runtime Version: ")
        assert ["importing", f"START RequestId: {identifier} Version: $LATEST", "out", "err"] == (
            texts[1:5]
        )
        assert f"END RequestId: {identifier}" == texts[5]
        pattern = (
            rf"REPORT RequestId: {identifier}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
            r"Memory Size: 128 MB\tMax Memory Used: \d+ MB\tInit Duration: \d+\.\d\d ms"
        )
        assert re.fullmatch(pattern, texts[6])
        ids = [line.request_id for line in record.logs]
        assert [None, None, *[identifier] * 5] == ids
        sources = [line.source for line in record.logs]
        assert ["platform", "function", "platform", "function", "function"] == sources[:5]


def test_every_header_of_next_is_there(tmp_path: Path) -> None:
    """What the caller gave arrives in Lambda's headers; the trace header and the nonce always."""
    script = """
from raw import *
while True:
    request_id, headers, body = next_event()
    respond(request_id, json.dumps(headers).encode())
"""
    with Stage(tmp_path, script).configure(timeout_ms=900).ready() as stage:
        record = stage.invoke(
            b"{}",
            client_context='{"custom": {}}',
            cognito_identity='{"cognitoIdentityId": "x"}',
            tenant_id="blue",
            qualifier="live",
            trace_header="Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=a:1",
            request_id="chosen",
        )
        headers = json.loads(record.answer)
        assert "chosen" == headers["lambda-runtime-aws-request-id"]
        assert '{"custom": {}}' == headers["lambda-runtime-client-context"]
        assert '{"cognitoIdentityId": "x"}' == headers["lambda-runtime-cognito-identity"]
        assert "blue" == headers["lambda-runtime-aws-tenant-id"]
        arn = "arn:aws:lambda:us-east-1:123456789012:function:function:live"
        assert arn == headers["lambda-runtime-invoked-function-arn"]
        trace = headers["lambda-runtime-trace-id"]
        root = "Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=a:1;"
        assert re.fullmatch(re.escape(root) + r"Parent=[0-9a-f]{16};Sampled=0", trace)
        deadline_ms = int(headers["lambda-runtime-deadline-ms"])
        assert record.handed_out_ns // 1_000_000 + 900 == deadline_ms == record.deadline_ms
        plain = json.loads(stage.invoke().answer)
        assert headers["lambda-runtime-invocation-id"] != plain["lambda-runtime-invocation-id"]
        assert "lambda-runtime-client-context" not in plain
        pattern = r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0"
        assert re.fullmatch(pattern, plain["lambda-runtime-trace-id"])


def test_everybody_gets_the_event_and_the_end(tmp_path: Path) -> None:
    """An extension sees the same invocation as the runtime, and SHUTDOWN with its reason."""
    with Stage(tmp_path, witness=WITNESS).ready() as stage:
        record = stage.invoke()
        event = json.loads(stage.lines.wait_for("event"))
        expected = {
            "eventType": "INVOKE",
            "deadlineMs": record.deadline_ms,
            "requestId": record.request_id,
            "invokedFunctionArn": record.invoked_function_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": record.trace_header},
        }
        assert expected == event
        stage.environment.shutdown()
        shutdown = json.loads(stage.lines.wait_for("event", count=2))
        assert ("SHUTDOWN", "spindown") == (shutdown["eventType"], shutdown["shutdownReason"])
        phase = record.phases[-1]
        assert ("shutdown", "spindown") == (phase.name, phase.status)
        assert phase.start_ns // 1_000_000 + 2000 == shutdown["deadlineMs"]


def test_the_caller_does_not_wait_for_extensions(tmp_path: Path) -> None:
    """The answer is there when the runtime has given it; the invocation ends with the extension."""
    slow = """
from raw import *
me = register("slow", "INVOKE")
next_extension_event(me)
say("working")
open(os.environ["GATE"]).read()
next_extension_event(me)
"""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    variables = {"GATE": str(gate)}
    with Stage(tmp_path, slow=slow).configure(variables=variables).ready() as stage:
        call = stage.invoke_beside()
        assert call.answered.wait(10)
        stage.lines.wait_for("working")
        assert call.running
        assert stage.environment.records[-1].report is None
        gate.write_text("go")
        record = call.over()
        assert "extension overhead" == record.phases[-1].name
        assert record.report is not None
        assert record.phases[-1].duration_ms < record.report.duration_ms


def test_processes_are_stopped_between_invocations(tmp_path: Path) -> None:
    """Runtime, extension and what they started are in state T until the next event arrives."""
    script = """
from raw import *
import subprocess
child = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"])
session = subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"],
                           start_new_session=True)
say("children", child.pid, session.pid)
while True:
    request_id, headers, body = next_event()
    respond(request_id, body)
"""
    with Stage(tmp_path, script, witness=WITNESS).ready().frozen() as stage:
        children = [int(pid) for pid in stage.lines.wait_for("children").split()]
        pids = [stage.pid(), stage.pid("witness"), *children]
        assert ["T"] * 4 == [proc.state_of(pid) for pid in pids]
        for _ in range(3):
            assert b'"hello"' == stage.invoke().answer
            stage.frozen()
            assert ["T"] * 4 == [proc.state_of(pid) for pid in pids]
        stage.environment.shutdown()
        assert [False] * 4 == [is_alive(pid) for pid in pids]


def test_without_freeze_they_run_on(tmp_path: Path) -> None:
    """With freeze switched off, code goes on between invocations."""
    script = """
from raw import *
import threading
request_id, headers, body = next_event()
respond(request_id, body)
threading.Timer(0.05, say, ["still here"]).start()
next_event()
"""
    with Stage(tmp_path, script).configure(freeze=False).ready() as stage:
        stage.invoke()
        stage.lines.wait_for("still here")
        assert not stage.environment.wait_frozen(0)


def test_invocations_queue(tmp_path: Path) -> None:
    """An environment runs one invocation at a time; a second caller waits for its turn."""
    script = """
from raw import *
while True:
    request_id, headers, body = next_event()
    say("begin", body.decode())
    if body == b"1":
        open(os.environ["GATE"]).read()
    respond(request_id, body)
    say("end", body.decode())
"""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with Stage(tmp_path, script).configure(variables={"GATE": str(gate)}).ready() as stage:
        first = stage.invoke_beside(b"1")
        stage.lines.wait_for("begin")
        others = [stage.invoke_beside(b"2"), stage.invoke_beside(b"2")]
        gate.write_text("go")
        assert [b"1", b"2", b"2"] == [call.over().answer for call in (first, *others)]
        order = stage.lines.texts("function")
        assert ["begin 1", "end 1", "begin 2", "end 2", "begin 2", "end 2"] == order


def test_awslambdaric_runs_here(tmp_path: Path, peer_python: Path) -> None:
    """AWS's own client finds everything it needs: handler, context, environment."""
    tmp_path.joinpath("app.py").write_text(
        "import os\n"
        "def handler(event, context):\n"
        "    return [event, context.function_name, context.memory_limit_in_mb,\n"
        "            context.client_context.custom['k'], os.environ['_X_AMZN_TRACE_ID'],\n"
        "            os.environ['LAMBDA_TASK_ROOT'], context.get_remaining_time_in_millis() > 0]\n"
    )
    runtime = (str(peer_python), "-m", "awslambdaric", "{handler}")
    stage = Stage(tmp_path).configure(runtime=runtime, function_name="f", memory_mb=256)
    with stage.ready() as stage:
        record = stage.invoke(b'{"x": 1}', client_context='{"custom": {"k": "v"}}')
        expected = [{"x": 1}, "f", "256", "v", record.trace_header, str(tmp_path), True]
        assert expected == json.loads(record.answer)


def test_json_log_format_writes_events(tmp_path: Path) -> None:
    """With the JSON log format, the platform's lines are its events."""
    with Stage(tmp_path).configure(log_format="JSON").ready() as stage:
        record = stage.invoke()
        events = [json.loads(text) for text in stage.lines.texts("platform")]
        kinds = ["platform.initStart", "platform.start", "platform.report"]
        assert kinds == [event["type"] for event in events]
        assert record.request_id == events[-1]["record"]["requestId"]


def test_memory_is_that_of_all_processes(tmp_path: Path) -> None:
    """The report has the true peak, also of memory that was given back and of child processes."""
    script = """
from raw import *
import subprocess
while True:
    request_id, headers, body = next_event()
    block = bytearray(40_000_000)
    code = "b = bytearray(60_000_000); print('x', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-S", "-c", code], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE)
    child.stdout.read(1)
    from time import monotonic
    end = monotonic() + 0.15
    while monotonic() < end:
        pass
    child.communicate(b"\\n")
    del block
    respond(request_id, body)
"""
    with Stage(tmp_path, script).configure(memory_mb=512).ready() as stage:
        report = stage.invoke().report
        assert report is not None
        assert 100 <= report.max_memory_used_mb < 160


def test_the_environment_starts_itself(tmp_path: Path) -> None:
    """An invocation starts an environment that nobody started; after the end there is none."""
    with Stage(tmp_path) as stage:
        assert b'"hello"' == stage.invoke().answer
        stage.environment.shutdown()
        assert "EnvironmentClosed" == type(stage.invoke_beside().failed()).__name__
        stage.environment.shutdown()


def test_a_command_line_gets_the_handler(tmp_path: Path) -> None:
    """In a foreign runtime's command line {handler} is replaced, also inside of a word."""
    script = """
from raw import *
while True:
    request_id, headers, body = next_event()
    respond(request_id, json.dumps(sys.argv[1:]).encode())
"""
    runtime = (sys.executable, "-S", "runtime.py", "{handler}", "--on={handler}")
    with Stage(tmp_path, script).configure(runtime=runtime).ready() as stage:
        assert ["app.handler", "--on=app.handler"] == json.loads(stage.invoke().answer)
