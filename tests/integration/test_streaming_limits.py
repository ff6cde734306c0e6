"""How long, how fast and how large a streamed response may be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from emulator_kit import Stage
from streaming_kit import (
    STREAMING,
    completion,
    serving,
)

if TYPE_CHECKING:
    import pytest


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
# Waits for the end of the one before it, whose client has its answer already.
environment.invoke(b'{"rawPath": "/1"}')
environment.shutdown()
record = environment.records[-2]
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
