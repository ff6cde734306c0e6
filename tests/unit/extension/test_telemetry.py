"""The receiver of the Telemetry API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from lambdascope_extension.end_tracker import EndTracker
from lambdascope_extension.telemetry import TelemetryReceiver, finished_invocations, sandbox_address
from unit.extension.loopback import Loopback, request, status

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = [
    {"type": "platform.start", "record": {"requestId": "r1"}},
    {"type": "platform.runtimeDone", "record": {"requestId": "r1", "status": "success"}},
    {"type": "platform.runtimeDone", "record": {"requestId": "r2"}},
    {"type": "platform.report", "record": {"requestId": "r3"}},
    {"type": "platform.runtimeDone"},
    {"type": "platform.runtimeDone", "record": "text"},
    "text",
]


def test_finished_invocations() -> None:
    """The request ids of runtimeDone records are found among all that may stand in a batch."""
    assert ["r1", "r2"] == finished_invocations(json.dumps(RECORDS).encode())


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"[", b"\xff"])
def test_batches_that_are_none(body: bytes) -> None:
    """What is no batch finishes nothing."""
    assert [] == finished_invocations(body)


def test_receiver() -> None:
    """Every batch on the secret path is answered with 200; its runtimeDone ends the invocation."""
    loopback = Loopback(lambda head, body, connection: b"")
    receiver = TelemetryReceiver(loopback.reactor, "127.0.0.1")
    assert receiver.uri.startswith("http://sandbox.localdomain:")
    path = "/" + receiver.uri.rpartition("/")[2]
    loopback.server.handle = receiver.server.handle
    ends = EndTracker(subscribed=True)
    client = loopback.connect()
    assert 200 == status(loopback.exchange(client, request(path, b"[]")))
    receiver.feed(ends)
    ends.begin("r1", 0.0, 1e12, wanted=True)
    assert 404 == status(loopback.exchange(client, request("/guess", json.dumps(RECORDS).encode())))
    assert not ends.telemetry_is_alive
    assert 200 == status(loopback.exchange(client, request(path, b"garbage")))
    assert not ends.is_over(1.0)
    assert 200 == status(loopback.exchange(client, request(path, json.dumps(RECORDS).encode())))
    assert ends.is_over(1.0)
    assert 200 == status(loopback.exchange(client, request("/", b"[]")))
    receiver.server.stop()
    loopback.close()


@pytest.mark.parametrize(
    ("hosts", "address"),
    [
        ("127.0.0.1 localhost\n169.254.76.1\tsandbox.localdomain sandbox # x\n", "169.254.76.1"),
        ("::1 sandbox.localdomain\n169.254.1.1 sandbox.localdomain\n", "169.254.1.1"),
        ("127.0.0.1 localhost # sandbox.localdomain\n\n", "127.0.0.1"),
    ],
)
def test_sandbox_address(tmp_path: Path, hosts: str, address: str) -> None:
    """The listener is bound where the platform's name for us points to, or else to loopback."""
    (tmp_path / "hosts").write_text(hosts)
    assert address == sandbox_address("127.0.0.1", str(tmp_path / "hosts"))


def test_sandbox_address_without_hosts() -> None:
    """Without a hosts file and on an emulator the address is loopback."""
    assert "127.0.0.1" == sandbox_address("localhost", "/nonexistent")
