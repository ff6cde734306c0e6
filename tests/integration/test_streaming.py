"""Streamed responses from real processes, through the emulator, to real clients."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from emulator_kit import Stage, wait_dead
from streaming_kit import GATED, PRELUDE_TYPE, STREAMING, Gate, completion, serving

if TYPE_CHECKING:
    from lambdascope.emulator.stream import ResponseStream

# Does what the event's "do" says, or the query's for a request to the function URL.
MODES = f"""{STREAMING}
def take():
    # Refused while the server has not noticed yet that a response was broken off.
    while (answer := call("GET", RUNTIME + "invocation/next"))[0] != 200:
        pass
    return answer[1]["lambda-runtime-aws-request-id"], answer[2]

while True:
    request_id, body = take()
    event = json.loads(body)
    do = event.get("do") or event.get("rawPath", "/")[1:]
    if do == "plain":
        respond(request_id, b'[1, 2]')
        continue
    if do == "raise":
        fail(request_id, b'{{"errorType": "ValueError", "errorMessage": "no"}}')
        continue
    if do == "prelude":
        stream = Stream(request_id, "{PRELUDE_TYPE}")
        stream.send(b'{{"statusCode": 418, "headers": {{"X-Tea": "pot"}}, ')
        stream.send(b'"cookies": ["a=1", "b=2"]}}\\0\\0\\0')
        stream.send(b'\\0\\0\\0\\0\\0short')
        stream.send(b' and stout')
    elif do == "no-prelude-end":
        stream = Stream(request_id, "{PRELUDE_TYPE}")
        stream.send(b'{{"statusCode": 418}}')
    elif do == "no-content":
        stream = Stream(request_id, "{PRELUDE_TYPE}")
        stream.send(b'{{"statusCode": 204}}' + bytes(8))
    else:
        stream = Stream(request_id)
        if do != "empty":
            stream.send(b"abc")
            stream.send(b"def")
    if do == "late-error":
        say("status", stream.fail("Function.Late", b'{{"errorType": "Late"}}'))
        continue
    if do == "cut":
        stream.sock.close()
        continue
    if do == "exit":
        os._exit(3)
    if do == "hang":
        block()
    say("status", stream.end())
"""


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
    with serving(tmp_path, MODES, timeout_ms=1500) as served:
        stage = served.stage
        reader = served.get(f"/{do}")
        assert (200, b"abcdef") == (reader.status, reader.broken_rest())
        events = served.invoke_streaming(
            json.dumps({"do": do}).encode(), X_Amz_Log_Type="Tail"
        ).events()
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


def test_a_buffered_caller_gets_the_whole_of_a_stream_up_to_six_megabytes(tmp_path: Path) -> None:
    """More is Function.ResponseSizeTooLarge, told as soon as it is known."""
    script = f"""{STREAMING}
while True:
    request_id, headers, body = next_event()
    stream = Stream(request_id)
    size = int(body)
    try:
        while size > 0:
            stream.send(bytes(min(size, 65536)))
            size -= 65536
        say("status", stream.end())
    except OSError:
        say("refused")
"""
    limit = 6 * 1024 * 1024 + 100
    with serving(tmp_path, script, timeout_ms=20_000) as served:
        record = served.stage.invoke(str(limit).encode())
        assert (limit, "success", False) == (len(record.answer), record.status, record.streamed)
        # The last one has no end that a caller could wait for.
        for size in (limit + 1, 10**12):
            record = served.stage.invoke(str(size).encode())
            assert "Function.ResponseSizeTooLarge" == record.error_type
            assert f"({limit} bytes)" in json.loads(record.answer)["errorMessage"]


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


def test_bandwidth_is_limited_when_asked_for(tmp_path: Path) -> None:
    """After 6 MiB at full speed, 4 MiB at 16 MiB/s take a quarter of a second."""
    script = f"""{STREAMING}
while True:
    request_id, headers, body = next_event()
    stream = Stream(request_id)
    for _ in range(160):
        stream.send(bytes(65536))
    stream.end()
"""
    with serving(tmp_path, script, stream_bytes_per_s=16 * 1024 * 1024) as served:
        assert 10 * 1024 * 1024 == len(served.get().rest())
        served.stage.lines.wait_for("REPORT")
        (record,) = served.stage.environment.records
        assert record.report is not None
        assert 240 <= record.report.duration_ms


# An emulator in a process of its own, whose memory can be measured.
EMULATOR = """
import sys
from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment
from lambdascope.emulator.function_url import FunctionUrl
environment = ExecutionEnvironment(FunctionConfig(
    handler="app.handler", task_root=sys.argv[1], runtime=(sys.executable, "-S", "runtime.py"),
    own_extension=False, timeout_ms=60000))
site = FunctionUrl(environment)
site.start()
print(site.url, flush=True)
sys.stdin.read()
environment.shutdown()
record = environment.records[-1]
print(record.status, record.error_type)
"""


def test_two_hundred_megabytes_pass_in_constant_memory(tmp_path: Path) -> None:
    """The limit itself passes; a byte more is refused with 413; memory does not grow with it."""
    script = f"""{STREAMING}
while True:
    request_id, headers, body = next_event()
    size = int(json.loads(body)["rawPath"][1:])
    stream = Stream(request_id)
    while size > 0:
        stream.send(bytes(min(size, 65536)))
        size -= 65536
    stream.end()
"""
    Stage(tmp_path, script)
    limit = 200 * 1024 * 1024
    with subprocess.Popen(
        [sys.executable, "-c", EMULATOR, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert (200, 1000) == fetch(f"{url}1000")
        before = peak_kilobytes(process.pid)
        assert (200, limit) == fetch(f"{url}{limit}")
        grown = peak_kilobytes(process.pid) - before
        assert grown < 16 * 1024, f"{grown} kB more"
        assert (200, limit) == fetch(f"{url}{limit + 1}", broken=True)
        said, _ = process.communicate(timeout=20)
    assert "error Function.ResponseSizeTooLarge\n" == said


def fetch(url: str, *, broken: bool = False) -> tuple[int, int]:
    """Status and size of what curl got."""
    done = subprocess.run(
        ["curl", "-sN", "-o", os.devnull, "-w", "%{http_code} %{size_download}", url],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert broken == (done.returncode == 18), done.stderr
    status, size = done.stdout.split()
    return int(status), int(size)


def peak_kilobytes(pid: int) -> int:
    """The most memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))


def test_the_limit_is_told_to_the_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """413, and it may go on; the caller has what was within the limit."""
    monkeypatch.setattr("lambdascope.wire.names.MAX_STREAM_BYTES", 5)
    script = f"""{STREAMING}
while True:
    request_id, headers, body = next_event()
    stream = Stream(request_id)
    stream.send(b"abcdefgh")
    say("status", stream.status())
"""
    with serving(tmp_path, script) as served:
        assert b"abcde" == served.get().broken_rest()
        assert "413" == served.stage.lines.wait_for("status")
        events = served.invoke_streaming().events()
        assert ("PayloadChunk", b"abcde") == events[0]
        assert "Function.ResponseSizeTooLarge" == completion(events)["ErrorCode"]
