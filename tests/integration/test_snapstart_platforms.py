"""SnapStart with the emulator and with AWS's in the place of the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from observed import named, one, running, times
from otlp_recorder import OtlpRecorder
from rie_environment import ABSENT, RieEnvironment
from snapstart_kit import AFTER, BEFORE, PLAIN

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("snapshot_restore_py", reason="snapshot_restore_py is not installed here")


EMULATED = """
    import snapshot_restore_py as snapshots
    snapshots.register_before_snapshot(print, "before")
    snapshots.register_after_restore(print, "after")
    def handler(event, context):
        print("handler")
        return event
"""


def test_under_the_emulator(tmp_path: Path) -> None:
    """Stopped and restored: hooks run, and the spans reach a backend by the extension."""
    with (
        OtlpRecorder() as recorder,
        running(tmp_path, EMULATED, endpoint=recorder.endpoint, init_type="snap-start") as function,
    ):
        record = function.invoke(b'{"a": 1}')
        function.shutdown()
        spans = recorder.wait_for_spans(4)
        printed = function.lines.texts("function")

    restore, invoke = one(spans, "restore shop"), one(spans, "shop")
    assert b'{"a": 1}' == record.answer
    assert ["before", "after", "handler"] == printed
    assert restore["traceId"] in [link["traceId"] for link in invoke["links"]]
    assert times(one(spans, "init shop"))[1] <= times(restore)[0]
    assert 1 == len(named(spans, "after restore builtins.print"))


@pytest.mark.parametrize(
    ("kind", "error_type"), [("before_snapshot", BEFORE), ("after_restore", AFTER)]
)
def test_failures_under_the_emulator(kind: str, error_type: str, tmp_path: Path) -> None:
    """The emulator, whose states are those of AWS's server, takes both reports."""
    code = f"""
    import snapshot_restore_py as snapshots
    snapshots.register_{kind}(lambda: 1 / 0)
    def handler(event, context): return event
    """
    with running(tmp_path, code, endpoint=None, init_type="snap-start") as function:
        record = function.invoke(b"{}")

    assert error_type == record.error_type
    assert b"division by zero" in record.answer


@pytest.mark.rie
def test_aws_emulator_knows_no_snapshots(rie: Path, tmp_path: Path) -> None:
    """AWS's emulator has no restore/next: it is told, and takes, what went wrong."""
    task = tmp_path / "task"
    task.mkdir()
    (task / "app.py").write_text(PLAIN)
    variables = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
    with RieEnvironment(rie, tmp_path, extension=ABSENT, variables=variables) as environment:
        answer = environment.invoke({})

    assert BEFORE == answer.body["errorType"]
    assert "answered 404 to restore/next" in answer.body["errorMessage"]
