"""The real extension process at a reset and at its end, while the collector takes nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from extension_fakes import EXECUTABLE, ExtensionProcess, FakePlatform, Sender
from fake_collector import ENDPOINT, Answer, FakeCollector, span_names, traces
from lambdascope.cli.main import run
from lambdascope.otlp.lines import parse_line
from lambdascope.wire import names

if TYPE_CHECKING:
    from pathlib import Path

DEAD = "http://127.0.0.1:1"


def end(folder: Path, endpoint: str, reason: str) -> ExtensionProcess:
    """An extension whose only invocation fails and that is told to shut down for `reason`."""
    with (
        FakePlatform() as platform,
        ExtensionProcess(platform, folder, {ENDPOINT: endpoint}) as extension,
    ):
        platform.wait_next(1)
        sender = extension.runtime()
        platform.invoke("r1", limit_s=3)
        assert 200 == sender.post(names.TRACES_PATH, traces("root", error=True))[0].status
        assert 200 == sender.post(names.TRACES_PATH, traces("other"))[0].status
        sender.close()
        platform.shut_down(reason, limit_s=2)
        assert 0 == extension.wait_exit(4)
    return extension


@pytest.mark.parametrize("reason", ["timeout", "failure"])
def test_reset_is_survived(tmp_path: Path, reason: str) -> None:
    """After a reset the next processes of the sandbox export what was left, the failure first."""
    before = end(tmp_path, DEAD, reason)
    assert "2 spans accepted, 0 exported, 2 dropped (spooled 2), 0 held" in before.lines[-1]
    with (
        FakeCollector() as collector,
        FakePlatform() as platform,
        ExtensionProcess(platform, tmp_path, {ENDPOINT: collector.endpoint}) as after,
    ):
        platform.wait_next(1)
        sender = after.runtime()
        platform.invoke("r2")
        assert 200 == sender.hand_over("r2", "new")
        platform.wait_next(2)
        assert ["root", "other", "new"] == collector.spans
        assert "root" in span_names(collector.requests[0].body)
        platform.shut_down()
        sender.close()
        assert (0, []) == (after.wait_exit(), after.lines)
    folder = after.handoff_file.parent
    assert [] == [one.name for one in folder.iterdir() if "spool" in one.name]


def test_retry_after_a_reset_is_recognisable(tmp_path: Path) -> None:
    """A batch that was on its way before the reset has the same id after it."""
    with FakeCollector(*[Answer(503)] * 9) as collector:
        end(tmp_path, collector.endpoint, "timeout")
        ids = {one.batch_id for one in collector.requests}
        collector.plan(Answer(200))
        refused = len(collector.requests)
        with (
            FakePlatform() as platform,
            ExtensionProcess(platform, tmp_path, {ENDPOINT: collector.endpoint}) as after,
        ):
            platform.wait_next(1)
            platform.shut_down(limit_s=2)
            assert 0 == after.wait_exit(4)
        assert ids == {one.batch_id for one in collector.requests[refused:]}


def test_end_of_the_environment_leaves_lines(tmp_path: Path) -> None:
    """At a spindown what is left goes to standard output, from where `replay` sends it on."""
    with FakePlatform() as platform:
        process = subprocess.Popen(
            [sys.executable, "-IS", str(EXECUTABLE)],
            env={
                names.ENV_RUNTIME_API: platform.address,
                names.ENV_OTLP_PORT: "0",
                names.ENV_HANDOFF_FILE: str(tmp_path / "own" / "handoff"),
                ENDPOINT: DEAD,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        platform.wait_next(1)
        port = int((tmp_path / "own" / "handoff").read_text().split()[0].rpartition(":")[2])
        sender = Sender(port)
        assert 200 == sender.post(names.TRACES_PATH, traces("a", "b"))[0].status
        platform.shut_down(limit_s=2)
        sender.close()
        out, err = process.communicate(timeout=10)
    lines = [parse_line(line) for line in out.splitlines()]
    assert [["a", "b"]] == [span_names(line.body) for line in lines if line is not None]
    assert "2 dropped (stdout 2)" in err
    (tmp_path / "export.log").write_text(f"START\n{out}END\n")
    with FakeCollector() as collector:
        assert 0 == run(["replay", str(tmp_path / "export.log"), "--endpoint", collector.endpoint])
    assert ["a", "b"] == collector.spans
    assert [line.id for line in lines if line is not None] == [
        one.batch_id for one in collector.requests
    ]
    assert [] == [one.name for one in (tmp_path / "own").iterdir() if "spool" in one.name]


@pytest.mark.parametrize(("reason", "attempts"), [("spindown", 3), ("timeout", 2)])
def test_attempts_by_reason(tmp_path: Path, reason: str, attempts: int) -> None:
    """At a spindown a busy collector is asked again inside the budget, at a reset not."""
    with FakeCollector(Answer(503), Answer(503)) as collector:
        end(tmp_path, collector.endpoint, reason)
        assert attempts == len([one for one in collector.requests if "root" in one.spans])
