"""What must not be found anywhere: keys of the collector, the handoff's token, scrubbed values."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from extension_fakes import EXECUTABLE, ExtensionProcess, FakePlatform, Sender
from fake_collector import ENDPOINT, Answer, FakeCollector
from lambdascope.otlp.lines import parse_line
from lambdascope.wire import names

KEY = "the-key-of-the-collector"
PASSWORD = "the-password-in-a-span"
USER = "the-user-of-the-url"


def body() -> bytes:
    """A failed span with a secret attribute."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(name="root", trace_id=b"1" * 16)
    span.attributes.append(KeyValue(key="db.password", value={"string_value": PASSWORD}))
    span.status.code = 2
    return request.SerializeToString()


def variables(endpoint: str) -> dict[str, str]:
    """A collector that wants a key, and a user in its URL."""
    return {
        ENDPOINT: endpoint.replace("//", f"//{USER}:{KEY}@"),
        names.ENV_OTLP_HEADERS: f"x-api-key={KEY}",
    }


def secrets(extension: ExtensionProcess) -> list[str]:
    """All that is secret, as text."""
    with contextlib.suppress(FileNotFoundError):
        return [KEY, PASSWORD, USER, extension.rendezvous()[1]]
    return [KEY, PASSWORD, USER]


@pytest.mark.parametrize("status", [401, 503])
@pytest.mark.parametrize("reason", [names.SHUTDOWN_SPINDOWN, names.SHUTDOWN_TIMEOUT])
def test_no_secret_in_lines_arguments_or_files(tmp_path: Path, reason: str, status: int) -> None:
    """Neither while a collector refuses, nor in what is left for later at the end, whichever way it
    goes; only the handoff file, which is the owner's alone, has the token."""
    with (
        FakeCollector(*[Answer(status, body=KEY.encode())] * 9) as collector,
        FakePlatform() as platform,
        ExtensionProcess(platform, tmp_path, variables(collector.endpoint)) as extension,
    ):
        platform.wait_next(1)
        sender = extension.runtime()
        hidden = secrets(extension)
        assert 0o600 == extension.handoff_file.stat().st_mode & 0o777
        assert 0o700 == extension.handoff_file.parent.stat().st_mode & 0o777
        platform.invoke("r1", limit_s=3)
        headers = ((names.HANDOFF_REQUEST_ID, "r1"), (names.HANDOFF_DONE, "1"))
        assert 200 == sender.post(names.TRACES_PATH, body(), headers)[0].status
        collector.wait_requests(1)
        places = [Path(f"/proc/{extension.pid}/cmdline"), Path(f"/proc/{extension.pid}/comm")]
        shown = [place.read_bytes() for place in places]
        sender.close()
        platform.shut_down(reason, limit_s=2)
        assert 0 == extension.wait_exit(4)
    files = [one for one in tmp_path.rglob("*") if one.is_file() and one != extension.handoff_file]
    spooled = [one for one in files if one.name.startswith("spool")]
    is_left = status == 503 and reason == names.SHUTDOWN_TIMEOUT
    assert is_left == bool(spooled)
    shown += [one.read_bytes() for one in files]
    shown += [line.encode() for line in extension.lines]
    for place in [extension.handoff_file] * extension.handoff_file.exists():
        shown.append(place.read_bytes().replace(hidden.pop().encode(), b""))
    assert extension.lines
    for text in hidden:
        assert not [one for one in shown if text.encode() in one]
    received = b"".join(one.body for one in collector.requests)
    assert b"[scrubbed]" in received
    assert PASSWORD.encode() not in received


def test_no_secret_on_standard_output(tmp_path: Path) -> None:
    """What is printed at the end because nothing could be sent is scrubbed."""
    with FakePlatform() as platform:
        environ = {
            **variables("http://127.0.0.1:1"),
            names.ENV_RUNTIME_API: platform.address,
            names.ENV_OTLP_PORT: "0",
            names.ENV_HANDOFF_FILE: str(tmp_path / "own" / "handoff"),
        }
        process = subprocess.Popen(
            [sys.executable, "-IS", str(EXECUTABLE)],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            platform.wait_next(1)
            port = int((tmp_path / "own" / "handoff").read_text().split()[0].rpartition(":")[2])
            sender = Sender(port)
            platform.invoke("r1")
            assert 200 == sender.post(names.TRACES_PATH, body())[0].status
            sender.close()
            platform.shut_down(limit_s=2)
            output, _ = process.communicate(timeout=10)
        finally:
            process.kill()
            process.wait()
    lines = [parse_line(line) for line in output.decode().splitlines()]
    (left,) = [line.body for line in lines if line is not None]
    assert b"[scrubbed]" in left
    for text in (KEY, PASSWORD, USER):
        assert text.encode() not in output + left
