"""The Telemetry API with real processes: what an extension gets, in which order, and when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from emulator_kit import ECHO, Stage
from telemetry_listener import LISTENER
from telemetry_shapes import SHAPES, shape

if TYPE_CHECKING:
    from pathlib import Path

PRINTS = ECHO.replace("    respond(", '    say("working")\n    respond(')


def received(stage: Stage) -> list[dict[str, Any]]:
    """The telemetry that the extension has printed so far."""
    lines = stage.lines.texts("extension")
    return [json.loads(line.removeprefix("got ")) for line in lines if line.startswith("got ")]


def kinds(stage: Stage) -> list[str]:
    """The types of `received`."""
    return [item["type"] for item in received(stage)]


def test_an_extension_gets_the_story_of_two_invocations(tmp_path: Path) -> None:
    """Init is replayed, every event has the recorded shape, and a report comes late.

    The report of the first invocation comes with the second, that of the second at shutdown.
    """
    with Stage(tmp_path, PRINTS, listener=LISTENER).ready() as stage:
        assert stage.lines.wait_for("subscribed") == '200 "OK"'
        first = stage.invoke()
        stage.frozen()
        assert "platform.report" not in kinds(stage)
        second = stage.invoke()
        stage.environment.shutdown()
    items = received(stage)
    assert [item["type"] for item in items] == [
        "platform.initStart",
        "platform.telemetrySubscription",
        "platform.initRuntimeDone",
        "platform.extension",
        "platform.initReport",
        "platform.start",
        "function",
        "platform.runtimeDone",
        "platform.report",
        "platform.start",
        "function",
        "platform.runtimeDone",
        "platform.report",
    ]
    assert [item["record"] for item in items if item["type"] == "function"] == ["working\n"] * 2
    for item in items[:-1]:
        if item["type"] != "function":
            assert shape(SHAPES[item["type"]]) == shape(item["record"]), item["type"]
    # A warm invocation has no init to report.
    warm = SHAPES["platform.report"]
    del (metrics := dict(warm["metrics"]))["initDurationMs"]
    assert shape({**warm, "metrics": metrics}) == shape(items[-1]["record"])
    reports = [item["record"]["requestId"] for item in items if "report" in item["type"]]
    assert [first.request_id, second.request_id] == reports
    assert sorted(item["time"] for item in items) == [item["time"] for item in items]


def test_after_a_timeout_everything_begins_again(tmp_path: Path) -> None:
    """The timeout is reported within the shutdown; the next generation subscribes anew."""
    script = PRINTS.replace("    respond(", "    body == b'\"hang\"' and block()\n    respond(")
    stage = Stage(tmp_path, script, listener=LISTENER).configure(timeout_ms=700)
    with stage.ready():
        late = stage.invoke(b'"hang"')
        assert late.status == "timeout"
        stage.lines.wait_for("event SHUTDOWN timeout")
        before = len(received(stage))
        again = stage.invoke()
        assert again.status == "success"
        stage.environment.shutdown()
    first, second = received(stage)[:before], received(stage)[before:]
    done = {i["type"]: i["record"] for i in first if i["record"] and "requestId" in i["record"]}
    for kind in ("platform.runtimeDone", "platform.report"):
        assert (done[kind]["requestId"], done[kind]["status"]) == (late.request_id, "timeout")
    assert second[0]["type"] == "platform.initStart"
    assert second[0]["record"]["phase"] == "invoke"
    assert second[1]["type"] == "platform.telemetrySubscription"
    assert {i["record"]["requestId"] for i in second if "requestId" in i["record"]} == {
        again.request_id
    }


def test_an_extension_is_told_that_there_is_no_telemetry(tmp_path: Path) -> None:
    """As under AWS's emulator: 202 in its words, nothing is delivered, the invocation is well."""
    stage = Stage(tmp_path, PRINTS, listener=LISTENER).configure(telemetry="unsupported")
    with stage.ready():
        answer = stage.lines.wait_for("subscribed")
        assert answer == (
            '202 {"errorMessage":"Telemetry API is not supported",'
            '"errorType":"Telemetry.NotSupported"}'
        )
        assert stage.invoke().status == "success"
        stage.environment.shutdown()
    assert received(stage) == []


def test_json_lines_arrive_as_objects(tmp_path: Path) -> None:
    """With the JSON log format a line that is an object arrives as that object."""
    script = ECHO.replace("    respond(", '    say(\'{"level": "INFO"}\')\n    respond(')
    stage = Stage(tmp_path, script, listener=LISTENER).configure(log_format="JSON")
    with stage.ready():
        stage.invoke()
        stage.environment.shutdown()
    assert [{"level": "INFO"}] == [i["record"] for i in received(stage) if i["type"] == "function"]


def test_a_subscription_after_init_is_refused(tmp_path: Path) -> None:
    """403 once the first event may be handed out."""
    script = """
from raw import *
me = register(os.path.basename(sys.argv[0]), "INVOKE")
next_extension_event(me)
body = {
    "schemaVersion": "2025-01-29",
    "types": ["platform"],
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243"},
}
status, _, answer = call("PUT", "/2022-07-01/telemetry", json.dumps(body).encode(),
    Lambda_Extension_Identifier=me)
say("late", status, json.loads(answer)["errorType"])
next_extension_event(me)
"""
    with Stage(tmp_path, late=script).ready() as stage:
        stage.invoke()
        assert stage.lines.wait_for("late") == "403 Telemetry.SubscriptionClosed"
