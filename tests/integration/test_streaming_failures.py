"""Streamed responses that fail, and clients that do: what each side is told."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from emulator_kit import WITNESS, wait_dead
from streaming_kit import (
    MODES,
    STREAMING,
    Gate,
    completion,
    decode_events,
    serving,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("path", ["/raise", "/no-prelude-end"])
def test_failures_before_the_first_byte_are_502(tmp_path: Path, path: str) -> None:
    """The words are Lambda's; what went wrong is in the log."""
    with serving(tmp_path, MODES) as served:
        reader = served.get(path)
        assert (502, b"Internal Server Error") == (reader.status, reader.rest())
        assert "application/json" == reader.headers["content-type"]
        assert served.stage.environment.records[-1].request_id == reader.headers["x-amzn-RequestId"]


@pytest.mark.parametrize(
    ("do", "error_type", "status"),
    [
        ("late-error", "Function.Late", "error"),
        ("cut", "Runtime.TruncatedResponse", "error"),
        ("exit", "Runtime.ExitError", "crash"),
        ("hang", "Sandbox.Timedout", "timeout"),
    ],
)
def test_failures_in_the_middle_are_seen_by_every_caller(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], do: str, error_type: str, status: str
) -> None:
    """HTTP clients get a broken body, InvokeWithResponseStream the error's code, records all."""
    gate = Gate(tmp_path)
    with serving(tmp_path, MODES, timeout_ms=1500) as served:
        stage = served.stage
        reader = served.get(f"/{do}")
        assert (200, b"abcdef") == (reader.status, reader.until(b"def"))
        if do != "hang":
            gate.open()
        assert b"" == reader.broken_rest()
        reader = served.invoke_streaming(json.dumps({"do": do}).encode(), X_Amz_Log_Type="Tail")
        begun = reader.until(b"def")
        if do != "hang":
            gate.open()
        events = list(decode_events(begun + reader.rest()))
        assert b"abcdef" == b"".join(p for kind, p in events if kind == "PayloadChunk")
        end = completion(events)
        codes = {"error": "Unhandled", "crash": "Runtime.TruncatedResponse"}
        code = error_type if do in ("cut", "hang") else codes[status]
        assert code == end["ErrorCode"]
        assert ("errorType" in json.loads(end["ErrorDetails"])) is True
        tail = base64.b64decode(end["LogResult"]).decode().splitlines()
        assert any(line.startswith("REPORT RequestId: ") for line in tail)
        for record in stage.environment.records:
            assert (status, error_type) == (record.status, record.error_type)
            assert record.streamed
    assert "GET /" + do + ": the streamed response broke off" in capfd.readouterr().err


def test_a_client_that_leaves_does_not_stop_the_function(tmp_path: Path) -> None:
    """It runs to its end, is billed to its end, and its response is a success."""
    gate = Gate(tmp_path)
    script = f"""{STREAMING}
request_id, headers, body = next_event()
stream = Stream(request_id)
stream.send(b"one")
wait_for_the_test()
for _ in range(200):
    stream.send(bytes(65536))
say("status", stream.end())
next_event()
"""
    with serving(tmp_path, script) as served:
        reader = served.get()
        assert b"one" == reader.some()
        reader.leave()
        gate.open()
        assert "202" == served.stage.lines.wait_for("status")
        served.stage.lines.wait_for("REPORT")
        record = served.stage.environment.records[-1]
        assert ("success", None) == (record.status, record.function_error)


def test_a_client_that_reads_nothing_does_not_outlive_the_timeout(tmp_path: Path) -> None:
    """The runtime waits for it until the deadline, and not longer; the next one is served."""
    script = f"""{STREAMING}
while True:
    request_id, headers, body = next_event()
    stream = Stream(request_id)
    if json.loads(body)["rawPath"] == "/short":
        stream.send(b"short")
        stream.end()
        continue
    while True:
        stream.send(bytes(65536))
"""
    with serving(tmp_path, script, timeout_ms=1000) as served:
        idle = served.get()
        pid = served.stage.pid()
        wait_dead(pid)
        served.stage.lines.wait_for("REPORT")
        assert "timeout" == served.stage.environment.records[-1].status
        assert b"short" == served.get("/short").rest()
        idle.leave()


def test_the_deadline_closes_the_runtimes_connection(tmp_path: Path) -> None:
    """A runtime that is given time for its shutdown sees that nobody takes its response."""
    script = f"""{STREAMING}
signal.signal(signal.SIGTERM, signal.SIG_IGN)
request_id, headers, body = next_event()
stream = Stream(request_id)
stream.send(b"one")
say("answered", stream.status())
block()
"""
    with serving(tmp_path, script, timeout_ms=500, extension=WITNESS) as served:
        assert b"one" == served.get().broken_rest()
        assert "0" == served.stage.lines.wait_for("answered")
