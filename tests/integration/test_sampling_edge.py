"""Sampling at the edge and scrubbing, with our runtime under our emulator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fake_collector import FakeCollector
from integration.test_platform_records import Story
from lambdascope.otlp import names as otel
from lambdascope.wire import names
from observed import PATIENT_MS, running
from unit.extension.records.platform_kit import attributes

if TYPE_CHECKING:
    from pathlib import Path

HANDLER = """
    import os, sys

    def handler(event, context):
        if event == "fail":
            raise KeyError("x")
        if event == "die":
            os._exit(1)
        return event
"""
SECRET = "very-secret-value"


def run(folder: Path, *events: bytes, **variables: str) -> tuple[list[str], Story]:
    """Invoke with each event and shut down; the request ids, and what arrived."""
    variables[names.ENV_HOLD_BUDGET] = PATIENT_MS
    with FakeCollector() as collector:
        with running(folder, HANDLER, endpoint=collector.endpoint, variables=variables) as function:
            ids = [function.invoke(event).request_id for event in events]
            function.shutdown()
        return ids, Story(collector)


def reasons(story: Story) -> dict[str, str]:
    """Why invocations were kept, by request id."""
    return {
        str(about[otel.FAAS_INVOCATION_ID]): str(about[otel.LAMBDASCOPE_SAMPLING_REASON])
        for span in story.spans
        if otel.LAMBDASCOPE_SAMPLING_REASON in (about := attributes(span))
    }


def total(story: Story, name: str, *values: str) -> float:
    """The sum of a counter's points, of those with these values."""
    return sum(
        count for key, count in story.sums.items() if key[0] == name and set(values) <= set(key)
    )


def test_only_what_matters_leaves_and_all_is_counted(tmp_path: Path) -> None:
    """Of a ratio of 0 the cold start, the failure and the death are left, each with the platform's
    spans; the metrics are those of all, and what was dropped is in the ledger."""
    events = (b'"1"', b'"2"', b'"fail"', b'"3"', b'"die"')
    variables = {names.ENV_SAMPLE: "0", names.ENV_SAMPLE_SLOW: "off"}
    ids, story = run(tmp_path, *events, **variables)

    kept = [ids[0], ids[2], ids[4]]
    assert dict(zip(kept, ["cold_start", "error", "error"], strict=True)) == reasons(story)
    assert set(kept) == set(story.by_request(otel.SPAN_PLATFORM_REPORT))
    traces = {one.trace_id for one in story.spans if one.kind == otel.KIND_SERVER}
    assert {one.trace_id for one in story.spans} == traces
    assert 3 == total(story, otel.FAAS_INVOCATIONS)
    assert 2 == total(story, otel.FAAS_ERRORS)
    # Two invocations and the platform's span of each.
    assert 4 <= total(story, otel.LAMBDASCOPE_EXTENSION_DROPPED, "traces", "sampled")


def test_secrets_in_the_resource_do_not_leave(tmp_path: Path) -> None:
    """Whatever part of a request they are in, of whichever signal."""
    _, story = run(
        tmp_path, b'"1"', **{names.ENV_RESOURCE_ATTRIBUTES: f"db.password={SECRET},team=a"}
    )
    assert story.spans
    assert SECRET.encode() not in b"".join(story.bodies)
    assert b"[scrubbed]" in b"".join(story.bodies)
