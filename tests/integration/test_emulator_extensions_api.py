"""The Extensions API on the wire, the telemetry beside it, and what extensions get to see."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from emulator_kit import WITNESS, Stage

if TYPE_CHECKING:
    from pathlib import Path


def test_every_wrong_request_is_403_with_its_type(tmp_path: Path) -> None:
    """Registration and identification fail with the error types of AWS's server."""
    probe = """
from raw import *
def ask(body, **headers):
    status, _, answer = call("POST", EXTENSION + "register", body, **headers)
    return [status, json.loads(answer)["errorType"]]
def get(**headers):
    status, _, answer = call("GET", EXTENSION + "event/next", **headers)
    return [status, json.loads(answer)["errorType"]]
def error(kind, **headers):
    status, _, answer = call("POST", EXTENSION + kind + "/error", **headers)
    return [status, json.loads(answer)["errorType"]]
name = {"Lambda_Extension_Name": "probe"}
good = b'{"events": ["INVOKE"]}'
def subscribe(**headers):
    status, _, answer = call("PUT", "/2022-07-01/telemetry", b"{}", **headers)
    return [status, json.loads(answer)["errorType"]]
unknown = {"Lambda_Extension_Identifier": "3f0b2c0e-0000-4000-8000-000000000000"}
seen = [
    subscribe(),
    subscribe(**unknown),
    ask(good),
    ask(b"", **name),
    ask(b"[1]", **name),
    ask(b'{"events": 1}', **name),
    ask(b'{"events": [], "configurationKeys": ["x"]}', **name),
    ask(b'{"events": ["RESTORE"]}', **name),
    ask(b'{"events": ["SHUTDOWN"]}', Lambda_Extension_Name="internal"),
    get(),
    get(Lambda_Extension_Identifier="x"),
    get(**unknown),
]
me = register("probe", "INVOKE")
seen.append(ask(good, **name))
seen.append(error("init", Lambda_Extension_Identifier=me))
say("seen", json.dumps(seen))
while True:
    next_extension_event(me)
"""
    with Stage(tmp_path, probe=probe).ready() as stage:
        expected = [
            "Extension.MissingExtensionIdentifier",
            "Extension.UnknownExtensionIdentifier",
            "Extension.InvalidExtensionName",
            "InvalidRequestFormat",
            "InvalidRequestFormat",
            "InvalidRequestFormat",
            "InvalidRequestFormat",
            "Extension.InvalidEventType",
            "Extension.InvalidEventType",
            "Extension.MissingExtensionIdentifier",
            "Extension.InvalidExtensionIdentifier",
            "Extension.UnknownExtensionIdentifier",
            "Extension.InvalidExtensionState",
            "Extension.MissingHeader",
        ]
        assert [[403, kind] for kind in expected] == json.loads(stage.lines.wait_for("seen"))
        assert "success" == stage.invoke().status


def test_register_answers_with_the_function(tmp_path: Path) -> None:
    """Name, version and handler always, the account only for the feature."""
    asking = """
from raw import *
status, headers, body = call("POST", EXTENSION + "register", b"{}",
    Lambda_Extension_Name="asking", Lambda_Extension_Accept_Feature="other, accountId")
say("answer", body.decode())
next_extension_event(headers["lambda-extension-identifier"])
"""
    plain = """
from raw import *
status, headers, body = call("POST", EXTENSION + "register", b"{}", Lambda_Extension_Name="plain")
say("plain", body.decode())
next_extension_event(headers["lambda-extension-identifier"])
"""
    with Stage(tmp_path, asking=asking, plain=plain).ready() as stage:
        function = {"functionName": "function", "functionVersion": "$LATEST"}
        function["handler"] = "app.handler"
        assert function == json.loads(stage.lines.wait_for("plain"))
        function["accountId"] = "123456789012"
        assert function == json.loads(stage.lines.wait_for("answer"))


def test_an_internal_extension_gets_invoke(tmp_path: Path) -> None:
    """A thread of the runtime may register until the first next; then SIGTERM comes at the end."""
    script = """
from raw import *
import threading
def on_term(number, frame):
    say("terminated")
    sys.exit(0)
signal.signal(signal.SIGTERM, on_term)
me = register("inside", "INVOKE")
again = call("POST", EXTENSION + "register", b"{}", Lambda_Extension_Name="inside")
say("again", json.loads(again[2])["errorType"])
def watch():
    while True:
        say("event", next_extension_event(me)["eventType"])
threading.Thread(target=watch, daemon=True).start()
late = False
while True:
    request_id, headers, body = next_event()
    if not late:
        late = call("POST", EXTENSION + "register", b"{}", Lambda_Extension_Name="late")
        say("late", json.loads(late[2])["errorType"])
    respond(request_id, body)
"""
    with Stage(tmp_path, script).ready() as stage:
        stage.invoke()
        assert "Extension.InvalidExtensionState" == stage.lines.wait_for("again")
        assert "Extension.RegistrationClosed" == stage.lines.wait_for("late")
        assert "INVOKE" == stage.lines.wait_for("event")
        stage.environment.shutdown()
        stage.lines.wait_for("terminated")


def test_without_an_extension_the_runtime_is_killed_at_once(tmp_path: Path) -> None:
    """SIGTERM is only for runtimes beside an extension."""
    script = """
from raw import *
signal.signal(signal.SIGTERM, lambda *_: say("terminated"))
while True:
    request_id, headers, body = next_event()
    respond(request_id, body)
"""
    with Stage(tmp_path, script).ready() as stage:
        stage.invoke()
        stage.environment.shutdown()
        assert stage.environment.records[0].phases[-1].duration_ms < 400
        assert "terminated" not in stage.lines.texts()


def test_the_runtime_starts_when_all_have_registered(tmp_path: Path) -> None:
    """An extension that takes its time to register holds the runtime back; next does not."""
    slow = """
from raw import *
open(os.environ["GATE"]).read()
say("registering")
me = register("slow", "INVOKE")
while True:
    next_extension_event(me)
"""
    runtime = """
from raw import *
say("runtime")
while True:
    request_id, headers, body = next_event()
    respond(request_id, body)
"""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    stage = Stage(tmp_path, runtime, witness=WITNESS, slow=slow)
    with stage.configure(variables={"GATE": str(gate)}) as stage:
        stage.environment.start()
        gate.write_text("go")
        stage.ready()
        order = [text for text in stage.lines.texts() if text in ("registering", "runtime")]
        assert ["registering", "runtime"] == order


def test_extensions_see_their_part_of_the_environment(tmp_path: Path) -> None:
    """The user's variables and the function's, but not the runtime's own; a runtime sees all."""
    show = """
from raw import *
me = register("show", "INVOKE")
say("extension", json.dumps(dict(os.environ)))
while True:
    next_extension_event(me)
"""
    runtime = """
from raw import *
say("runtime", json.dumps(dict(os.environ)))
while True:
    request_id, headers, body = next_event()
    respond(request_id, body)
"""
    variables = {"MINE": "1", "_SECRET": "2", "AWS_REGION": "mars"}
    stage = Stage(tmp_path, runtime, show=show).configure(variables=variables)
    with stage.ready() as stage:
        extension = json.loads(stage.lines.wait_for("extension"))
        function = json.loads(stage.lines.wait_for("runtime"))
        for name in ("MINE", "AWS_REGION", "AWS_LAMBDA_FUNCTION_NAME", "AWS_ACCESS_KEY_ID"):
            assert function[name] == extension[name]
        assert ("1", "us-east-1") == (function["MINE"], function["AWS_REGION"])
        assert "_SECRET" not in function
        hidden = {"_HANDLER", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"}
        hidden |= {"AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME"}
        assert hidden <= function.keys()
        assert not hidden & extension.keys()


# Subscribes to everything and prints each event that arrives, until SHUTDOWN and a bit after.
SUBSCRIBER = """
from raw import *
import threading
server = socket.create_server(("127.0.0.1", 0))
def receive():
    while True:
        connection, _ = server.accept()
        threading.Thread(target=serve, args=(connection,), daemon=True).start()
def serve(connection):
    data = b""
    while piece := connection.recv(65536):
        data += piece
        while b"\\r\\n\\r\\n" in data:
            head, _, rest = data.partition(b"\\r\\n\\r\\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\\r\\n")[0])
            if len(rest) < length:
                break
            for event in json.loads(rest[:length]):
                say("telemetry", json.dumps(event))
            data = rest[length:]
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
threading.Thread(target=receive, daemon=True).start()
me = register("subscriber", "INVOKE", "SHUTDOWN")
body = json.dumps({"schemaVersion": "2025-01-29", "types": ["platform", "function"],
    "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
    "destination": {"protocol": "HTTP",
                    "URI": f"http://sandbox.localdomain:{server.getsockname()[1]}"}})
answer = call("PUT", "/2022-07-01/telemetry", body.encode(), Lambda_Extension_Identifier=me)
say("subscribed", answer[0], answer[2].decode())
import time
while True:
    event = next_extension_event(me)
    if event["eventType"] == "SHUTDOWN":
        break
    time.sleep(0.1)
wait = threading.Event()
wait.wait(0.2)
sys.exit(0)
"""


def test_platform_events_have_the_recorded_shapes(tmp_path: Path) -> None:
    """Two invocations and a shutdown give the events that Lambda gave, in their order and form."""
    with Stage(tmp_path, subscriber=SUBSCRIBER).ready() as stage:
        assert '200 "OK"' == stage.lines.wait_for("subscribed")
        first = stage.invoke(b'"first"')
        second = stage.invoke(b'"second"')
        stage.environment.shutdown()
        events = [
            json.loads(text.removeprefix("telemetry "))
            for text in stage.lines.texts("extension")
            if text.startswith("telemetry")
        ]
        kinds = [event["type"].removeprefix("platform.") for event in events]
        begin = ["initStart", "telemetrySubscription", "initRuntimeDone", "extension", "initReport"]
        turn = ["start", "runtimeDone"]
        # The report of an invocation comes with the next one, or at shutdown.
        assert [*begin, *turn, "report", *turn, "report"] == kinds
        records = dict(zip(kinds, (event["record"] for event in events), strict=True))
        assert {
            "initializationType": "on-demand",
            "phase": "init",
            "status": "success",
        } == records["initRuntimeDone"]
        start = records["initStart"]
        assert 128 * 1024 * 1024 == start["instanceMaxMemory"]
        expected = {"functionName", "functionVersion", "initializationType", "instanceId", "phase"}
        assert expected | {"instanceMaxMemory", "runtimeVersion", "runtimeVersionArn"} == set(start)
        assert {
            "name": "subscriber",
            "state": "Ready",
            "events": ["INVOKE", "SHUTDOWN"],
        } == records["extension"]
        done = records["runtimeDone"]
        assert second.request_id == done["requestId"]
        assert ["responseLatency", "responseDuration", "runtimeOverhead"] == [
            span["name"] for span in done["spans"]
        ]
        assert len(second.answer) == done["metrics"]["producedBytes"]
        report = records["report"]
        assert {"requestId", "status", "metrics", "spans"} == set(report)
        assert ["extensionOverhead"] == [span["name"] for span in report["spans"]]
        assert report["spans"][0]["durationMs"] > 50
        assert {
            "durationMs",
            "billedDurationMs",
            "memorySizeMB",
            "maxMemoryUsedMB",
        } == set(report["metrics"])
        cold = events[kinds.index("report")]["record"]
        assert first.request_id == cold["requestId"]
        assert "initDurationMs" in cold["metrics"]
