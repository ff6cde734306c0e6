"""Streamed responses from real processes, through the emulator, to real clients."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from emulator_kit import Stage
from streaming_kit import (
    GATED,
    MODES,
    STREAMING,
    Gate,
    completion,
    serving,
)

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.emulator.stream import ResponseStream


@pytest.mark.parametrize("way", ["function url", "invoke"])
def test_the_first_byte_is_out_before_the_second_chunk_is_made(tmp_path: Path, way: str) -> None:
    """The client has the first chunk while the runtime still waits to make the second."""
    gate = Gate(tmp_path)
    with serving(tmp_path, GATED) as served:
        reader = served.get() if way == "function url" else served.invoke_streaming()
        assert b"one" in reader.some()
        assert "second chunk" not in served.stage.lines.texts()
        record = served.stage.environment.records[-1]
        assert (True, None) == (record.streamed, record.report)
        assert record.response_ns is not None
        gate.open()
        assert b"two" in reader.rest()
        assert "202" == served.stage.lines.wait_for("status")


def test_curl_shows_pieces_as_they_come(tmp_path: Path) -> None:
    """`curl -N` prints the first piece while the second is not made."""
    curl = shutil.which("curl")
    assert curl is not None, "this test needs curl"
    gate = Gate(tmp_path)
    with serving(tmp_path, GATED) as served:
        command = [curl, "-sN", "--max-time", "20", served.site.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert b"one" == os.read(process.stdout.fileno(), 100)
            assert "second chunk" not in served.stage.lines.texts()
            gate.open()
            assert b"two" == process.stdout.read()
        assert 0 == process.returncode


def test_the_figures_of_a_streamed_response(tmp_path: Path) -> None:
    """Latency ends with the first byte, duration with the last; the bytes are counted."""
    witness = """
from raw import *
import http.server
class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for event in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            if event["type"] == "platform.runtimeDone":
                say("done", json.dumps(event["record"]))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *words):
        pass
sink = http.server.HTTPServer(("127.0.0.1", 0), Sink)
import threading
threading.Thread(target=sink.serve_forever, daemon=True).start()
me = register("witness", "INVOKE", "SHUTDOWN")
body = {"schemaVersion": "2022-12-13", "types": ["platform"],
        "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
        "destination": {"protocol": "HTTP", "URI": f"http://sandbox:{sink.server_port}"}}
call("PUT", "/2022-07-01/telemetry", json.dumps(body).encode(), Lambda_Extension_Identifier=me)
while next_extension_event(me)["eventType"] != "SHUTDOWN":
    pass
"""
    gate = Gate(tmp_path)
    # Not frozen, so that telemetry is delivered when it is there.
    with Stage(tmp_path, GATED, witness=witness).configure(freeze=False).ready() as stage:
        streams: list[ResponseStream] = []
        begun = threading.Event()

        def on_stream(_: object, stream: ResponseStream) -> None:
            streams.append(stream)
            begun.set()

        beside = stage.invoke_beside(on_stream=on_stream)
        assert begun.wait(10)
        pieces = streams[0].pieces()
        assert b"one" == next(pieces)
        gate.open()
        assert b"two" == b"".join(pieces)
        record = beside.over()
        assert (b"onetwo", "success", "") == (record.answer, record.status, streams[0].error_type)
        fields = json.loads(stage.lines.wait_for("done"))
        assert 6 == fields["metrics"]["producedBytes"]
        spans = {span["name"]: span["durationMs"] for span in fields["spans"]}
        assert ["responseLatency", "responseDuration", "runtimeOverhead"] == list(spans)
        assert record.response_ns is not None
        latency = (record.response_ns - record.handed_out_ns) / 1e6
        assert pytest.approx(latency, abs=0.001) == spans["responseLatency"]
        assert pytest.approx(fields["metrics"]["durationMs"], abs=0.01) == sum(spans.values())


def test_a_prelude_makes_the_head(tmp_path: Path) -> None:
    """Status, headers and cookies come from it, in however many pieces it arrives."""
    with serving(tmp_path, MODES) as served:
        reader = served.get("/prelude")
        assert (418, "pot") == (reader.status, reader.headers["X-Tea"])
        assert ["a=1", "b=2"] == reader.headers.get_all("set-cookie")
        assert "application/octet-stream" == reader.headers["content-type"]
        assert b"short and stout" == reader.rest()
        assert (204, b"") == ((reader := served.get("/no-content")).status, reader.rest())


def test_streamed_answers_without_a_prelude_are_200(tmp_path: Path) -> None:
    """The content type is the runtime's; buffered and empty answers work at the same URL."""
    with serving(tmp_path, MODES) as served:
        reader = served.get("/stream")
        assert (200, "text/plain") == (reader.status, reader.headers["content-type"])
        assert b"abcdef" == reader.rest()
        reader = served.get("/plain")
        assert (200, "application/json") == (reader.status, reader.headers["content-type"])
        assert b"[1, 2]" == reader.rest()
        reader = served.get("/stream", method="HEAD")
        assert (200, b"") == (reader.status, reader.rest())


def test_two_clients_are_served_one_after_the_other(tmp_path: Path) -> None:
    """Each gets its own answer whole; one environment runs one invocation at a time."""
    script = f"""{STREAMING}
while True:
    request_id, headers, body = next_event()
    stream = Stream(request_id)
    for _ in range(100):
        stream.send(json.loads(body)["rawPath"].encode())
    stream.end()
"""
    with serving(tmp_path, script) as served:
        found: dict[str, bytes] = {}

        def read(path: str) -> None:
            found[path] = served.get(path).rest()

        threads = [threading.Thread(target=read, args=(f"/{n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert {f"/{n}": b"/%d" % n * 100 for n in range(6)} == found


def test_an_empty_stream_is_an_empty_answer(tmp_path: Path) -> None:
    """No payload, and a proper end."""
    with serving(tmp_path, MODES) as served:
        events = served.invoke_streaming(b'{"do": "empty"}').events()
        assert [("InvokeComplete", b"{}")] == events


def test_invoke_with_response_stream_takes_buffered_answers(tmp_path: Path) -> None:
    """One chunk with the whole answer; an error of the function is in the completion."""
    with serving(tmp_path, MODES) as served:
        events = served.invoke_streaming(b'{"do": "plain"}').events()
        assert [("PayloadChunk", b"[1, 2]"), ("InvokeComplete", b"{}")] == events
        events = served.invoke_streaming(b'{"do": "raise"}').events()
        end = completion(events)
        assert (1, "Unhandled") == (len(events), end["ErrorCode"])
        assert "ValueError" == json.loads(end["ErrorDetails"])["errorType"]
