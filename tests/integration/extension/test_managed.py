"""The extension on managed instances: many invocations at a time, and no events of them."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from extension_fakes import ExtensionProcess, FakePlatform
from fake_collector import ENDPOINT, Answer, FakeCollector, traces
from integration.test_platform_records import Story
from lambdascope.otlp import names as otel
from lambdascope.wire import names
from managed_kit import MANAGED
from observed import running
from unit.extension.records.platform_kit import attributes, handed_over_spans

if TYPE_CHECKING:
    from pathlib import Path

HANDLER = """
    def handler(event, context):
        if event["n"] % 10 == 3:
            raise KeyError(event["n"])
        return event["n"]
"""
COUNT = 100
AT_A_TIME = 8
ALONE = {
    names.ENV_INIT_TYPE: names.INIT_MANAGED_INSTANCES,
    names.ENV_FLUSH: "continuous,300",
}


def many(folder: Path, collector: FakeCollector, **variables: str) -> tuple[list[str], Story]:
    """Invocations, several at a time, and the end; the ids of those that failed, what arrived."""
    settings: dict[str, Any] = {**MANAGED, "max_concurrency": AT_A_TIME, "variables": variables}
    with running(folder, HANDLER, endpoint=collector.endpoint, **settings) as function:
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            events = [json.dumps({"n": number}).encode() for number in range(COUNT)]
            records = list(pool.map(function.invoke, events))
        function.shutdown()
    return [one.request_id for one in records if one.error_type], Story(collector)


def invocations(story: Story) -> dict[str, Any]:
    """The spans of invocations, by request id, each once."""
    found = [one for one in story.spans if one.kind == otel.KIND_SERVER]
    by_id = {str(attributes(one)[otel.FAAS_INVOCATION_ID]): one for one in found}
    assert len(found) == len(by_id)
    return by_id


def test_every_invocation_arrives_once(collector: FakeCollector, tmp_path: Path) -> None:
    """By request id, whatever else runs; and every failure is told in the metrics."""
    failed, story = many(tmp_path, collector)

    found = invocations(story)
    assert COUNT == len(found)
    assert COUNT // 10 == len(failed)
    assert set(failed) == {
        key for key, one in found.items() if one.status.code == otel.STATUS_ERROR
    }
    errors = sum(value for key, value in story.sums.items() if key[0] == otel.FAAS_ERRORS)
    good = sum(value for key, value in story.sums.items() if key[0] == otel.FAAS_INVOCATIONS)
    assert (len(failed), COUNT - len(failed)) == (errors, good)


def test_sampling_goes_by_invocation(collector: FakeCollector, tmp_path: Path) -> None:
    """Of a ratio of 0 all failures are left and no others but the cold start; none is in part."""
    failed, story = many(
        tmp_path, collector, **{names.ENV_SAMPLE: "0", names.ENV_SAMPLE_SLOW: "off"}
    )

    found = invocations(story)
    reasons = Counter(
        str(attributes(one).get(otel.LAMBDASCOPE_SAMPLING_REASON)) for one in found.values()
    )
    assert set(failed) <= set(found)
    assert len(failed) == reasons.pop("error")
    assert {"cold_start"} >= set(reasons)
    ids = {one.span_id for one in story.spans}
    inner = [one for one in story.spans if one.parent_span_id and one.kind != otel.KIND_SERVER]
    assert ids >= {one.parent_span_id for one in inner}
    good = sum(value for key, value in story.sums.items() if key[0] == otel.FAAS_INVOCATIONS)
    assert COUNT - len(failed) == good


@pytest.mark.parametrize("status", [200, 503])
def test_done_signals_of_many_invocations_at_a_time(tmp_path: Path, status: int) -> None:
    """Bodies and done signals of a hundred invocations that overlap are counted right, whether the
    collector takes them or not, and nothing waits for SHUTDOWN."""
    with (
        FakeCollector(Answer(status)) as collector,
        FakePlatform() as platform,
        ExtensionProcess(platform, tmp_path, {ENDPOINT: collector.endpoint, **ALONE}) as extension,
    ):
        platform.wait_next(1)
        sender = extension.runtime()
        ids = [f"r{number}" for number in range(100)]
        for request_id in ids:
            headers = ((names.HANDOFF_REQUEST_ID, request_id),)
            early = traces(f"early {request_id}")
            assert 200 == sender.post(names.TRACES_PATH, early, headers)[0].status
        collector.wait_requests(1)
        for request_id in ids:
            headers = ((names.HANDOFF_REQUEST_ID, request_id), (names.HANDOFF_DONE, "3"))
            body = handed_over_spans(request_id)
            assert 200 == sender.post(names.TRACES_PATH, body, headers)[0].status
        sender.close()
        platform.shut_down()
        assert 0 == extension.wait_exit()
    assert [] == [line for line in extension.lines if "not everything got through" in line]
    assert 300 == len(collector.spans)
    assert set(Counter(collector.spans).values()) <= {1, 100}
