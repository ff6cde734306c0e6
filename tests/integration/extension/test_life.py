"""The real extension process from register to exit, against a scripted platform and collector."""

from __future__ import annotations

import signal
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from extension_fakes import ExtensionProcess, FakePlatform
from fake_collector import ENDPOINT, LIMIT_S, Answer, FakeCollector, traces
from lambdascope.wire import names

if TYPE_CHECKING:
    from pathlib import Path


def test_life(
    platform: FakePlatform, collector: FakeCollector, extension: ExtensionProcess
) -> None:
    """From register to exit every span arrives, and nothing is said because nothing is wrong."""
    registered = platform.wait_registered()
    assert ("lambdascope", {"events": ["INVOKE", "SHUTDOWN"]}) == (
        registered[names.EXTENSION_NAME.lower()],
        registered["body"],
    )
    sender = extension.runtime()
    for number in range(1, 8):
        platform.invoke(f"r{number}")
        assert 200 == sender.hand_over(f"r{number}", f"a{number}", f"b{number}")
        platform.wait_next(number + 1)
        # The first is exported at its end; none of those that come close behind it is held.
        assert 2 == len(collector.spans)
    sender.close()
    platform.shut_down()
    assert 0 == extension.wait_exit()
    assert [f"{name}{number}" for number in range(1, 8) for name in "ab"] == collector.spans
    assert ([], False) == (extension.lines, extension.handoff_file.exists())


def test_rendezvous_is_private_and_there_before_register(tmp_path: Path) -> None:
    """The file stands before the runtime can start, for this user alone."""
    with (
        FakePlatform(register=((200, b"{}"),)) as platform,
        ExtensionProcess(platform, tmp_path) as extension,
    ):
        platform.wait_registered()
        file = extension.handoff_file
        assert (0o600, 0o700) == (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777)
        assert extension.pid == int(file.read_text().split()[2])
        port, _ = extension.rendezvous()
        socket.create_connection(("127.0.0.1", port), LIMIT_S).close()


def test_all_signals_and_forms(
    platform: FakePlatform, collector: FakeCollector, extension: ExtensionProcess
) -> None:
    """Any sender may post any signal without a token; protobuf is merged, JSON goes alone."""
    sender = extension.anybody()
    json_type = names.CONTENT_TYPE_JSON
    for _ in range(2):
        assert 200 == sender.post(names.TRACES_PATH, traces("a"))[0].status
        assert 200 == sender.post(names.METRICS_PATH, traces("m"))[0].status
        head, body = sender.post(names.LOGS_SIGNAL_PATH, b'{"x":1}', content_type=json_type)
        assert (200, b"{}", json_type) == (head.status, body, head.headers["content-type"])
    platform.invoke("r1")
    platform.wait_next(2)
    platform.shut_down()
    extension.wait_exit()
    sent = sorted((one.path, one.headers["content-type"], one.body) for one in collector.requests)
    assert [
        (names.LOGS_SIGNAL_PATH, json_type, b'{"x":1}'),
        (names.LOGS_SIGNAL_PATH, json_type, b'{"x":1}'),
        (names.METRICS_PATH, names.CONTENT_TYPE_PROTOBUF, traces("m") * 2),
        (names.TRACES_PATH, names.CONTENT_TYPE_PROTOBUF, traces("a") * 2),
    ] == sent


def test_stock_sender_is_not_waited_for(
    platform: FakePlatform, collector: FakeCollector, extension: ExtensionProcess
) -> None:
    """With neither our runtime nor telemetry next is asked for at once; data leaves later."""
    platform.invoke("r1", limit_s=60)
    platform.wait_next(2)
    sender = extension.anybody()
    assert 200 == sender.post(names.TRACES_PATH, traces("a"))[0].status
    platform.invoke("r2", limit_s=60)
    collector.wait_requests(1)
    platform.wait_next(3)
    assert ["a"] == collector.spans


def test_end_is_told_by_telemetry(collector: FakeCollector, tmp_path: Path) -> None:
    """With a foreign runtime the platform's runtimeDone ends the invocation."""
    with (
        FakePlatform(telemetry=200) as platform,
        ExtensionProcess(platform, tmp_path, {ENDPOINT: collector.endpoint}) as extension,
    ):
        platform.wait_next(1)
        assert {
            "schemaVersion": "2025-01-29",
            "types": ["platform"],
            "buffering": {"maxItems": 1000, "maxBytes": 262144, "timeoutMs": 25},
        } == {
            key: value for key, value in platform.subscriptions[0].items() if key != "destination"
        }
        assert 200 == platform.send_records(("platform.initStart", {}))
        platform.invoke("r1", limit_s=60)
        sender = extension.anybody()
        assert 200 == sender.post(names.TRACES_PATH, traces("a"))[0].status
        assert 200 == platform.send_records(("platform.start", {"requestId": "r1"}))
        assert 1 == len(platform.asked_at)
        assert 200 == platform.send_records(("platform.runtimeDone", {"requestId": "r1"}))
        platform.wait_next(2)
        assert ["a"] == collector.spans


def test_telemetry_that_never_comes(tmp_path: Path) -> None:
    """A subscription that is accepted and never served costs a moment once, and then nothing."""
    with FakePlatform(telemetry=200) as platform, ExtensionProcess(platform, tmp_path):
        platform.wait_next(1)
        for number in range(1, 4):
            sent = platform.invoke(f"r{number}", limit_s=60)
            assert platform.wait_next(number + 1) - sent < 5


@pytest.mark.parametrize("status", [202, 400, 403, 404, 500])
def test_telemetry_that_is_refused(status: int, collector: FakeCollector, tmp_path: Path) -> None:
    """Without telemetry the extension lives, silently."""
    with (
        FakePlatform(telemetry=status) as platform,
        ExtensionProcess(platform, tmp_path, {ENDPOINT: collector.endpoint}) as extension,
    ):
        platform.wait_next(1)
        sender = extension.runtime()
        platform.invoke("r1")
        sender.hand_over("r1", "a")
        platform.wait_next(2)
        assert (["a"], []) == (collector.spans, extension.lines)


def test_runtime_that_dies_is_not_waited_for(
    platform: FakePlatform, extension: ExtensionProcess
) -> None:
    """When the runtime's connection closes in the middle of an invocation, its end has come."""
    sender = extension.runtime()
    platform.invoke("r1", limit_s=60)
    sender.close()
    platform.wait_next(2)


def test_silent_runtime_is_waited_for_until_the_reserve(
    platform: FakePlatform, extension: ExtensionProcess
) -> None:
    """Without a word from the runtime, next is asked for 200 ms before the deadline."""
    sender = extension.runtime()
    sent = platform.invoke("r1", limit_s=1.0)
    waited = platform.wait_next(2) - sent
    assert 0.7 < waited < 1.0
    sender.close()


def test_late_data_at_shutdown(
    platform: FakePlatform, collector: FakeCollector, extension: ExtensionProcess
) -> None:
    """What the runtime sends on its own SIGTERM, after SHUTDOWN, still arrives."""
    sender = extension.runtime()
    platform.shut_down(limit_s=8)
    assert 200 == sender.hand_over("r1", "late")
    sender.close()
    assert 0 == extension.wait_exit()
    assert ["late"] == collector.spans


@pytest.mark.parametrize("reason", ["spindown", "TIMEOUT", "failure", "SandboxTerminated"])
def test_shutdown_for_any_reason(
    platform: FakePlatform, extension: ExtensionProcess, reason: str
) -> None:
    """Every reason ends with code 0, long before the budget when there is nothing to do."""
    sent = platform.shut_down(reason)
    assert 0 == extension.wait_exit(2)
    assert sent > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("phase", ["next", "running"])
def test_signals(
    platform: FakePlatform,
    collector: FakeCollector,
    extension: ExtensionProcess,
    number: signal.Signals,
    phase: str,
) -> None:
    """SIGTERM and SIGINT are a shutdown, in any phase: export, then code 0."""
    sender = extension.runtime()
    if phase == "running":
        platform.invoke("r1", limit_s=60)
    assert 200 == sender.post(names.TRACES_PATH, traces("a"))[0].status
    extension.signal(number)
    sender.close()
    assert 0 == extension.wait_exit()
    assert (["a"], []) == (collector.spans, extension.lines)


def test_shutdown_while_an_export_hangs(
    platform: FakePlatform, collector: FakeCollector, extension: ExtensionProcess
) -> None:
    """SHUTDOWN right after a cut export: it ends within the budget, and the rest is counted."""
    never = threading.Event()
    collector.plan(*[Answer(hold=never)] * 3)
    sender = extension.runtime()
    platform.invoke("r1", limit_s=3)
    sender.hand_over("r1", "a")
    collector.wait_requests(1)
    platform.wait_next(2)
    sender.close()
    platform.shut_down(limit_s=1.0)
    assert 0 == extension.wait_exit(2)
    never.set()
    assert "traces: 1 spans accepted, 0 exported, 1 dropped (stdout 1)" in extension.lines[-1]


def test_frozen_in_next(platform: FakePlatform, collector: FakeCollector, tmp_path: Path) -> None:
    """Frozen and thawed in next, the extension goes on with the same connections."""
    variables = {ENDPOINT: collector.endpoint, names.ENV_FLUSH: "end"}
    with ExtensionProcess(platform, tmp_path, variables) as extension:
        platform.wait_next(1)
        sender = extension.runtime()
        for number in range(1, 4):
            platform.wait_next(number)
            extension.signal(signal.SIGSTOP)
            sent = threading.Thread(target=sender.hand_over, args=(f"r{number}", f"a{number}"))
            sent.start()
            platform.invoke(f"r{number}")
            extension.signal(signal.SIGCONT)
            sent.join(LIMIT_S)
            platform.wait_next(number + 1)
        assert ["a1", "a2", "a3"] == collector.spans
