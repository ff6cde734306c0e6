"""After a reset what failed leaves first, whatever the collector has time for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from observed import running
from otlp_recorder import OtlpRecorder

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
import os
import time

def handler(event, context):
    if event == "sleep":
        time.sleep(60)
    if event == "die":
        os._exit(3)
"""


@pytest.mark.parametrize(
    ("event", "expected"), [(b'"sleep"', "timeout"), (b'"die"', "Runtime.ExitError")]
)
def test_what_failed_leaves_first(tmp_path: Path, event: bytes, expected: str) -> None:
    """Of all that waits at a reset, the span of the invocation that caused it is in front."""
    with (
        OtlpRecorder() as recorder,
        running(tmp_path, SOURCE, endpoint=recorder.endpoint, timeout_ms=2000) as function,
    ):
        function.invoke(b"1")  # leaves at its own end
        before = {span["spanId"] for span in recorder.wait_for_spans(1)}
        for _ in range(20):
            function.invoke(b"1")
        function.invoke(event)
        function.shutdown()
        spans = [one for one in recorder.wait_for_spans(42) if one["spanId"] not in before]
    assert (expected, "shop") == (spans[0]["attributes"].get("error.type"), spans[0]["name"])
