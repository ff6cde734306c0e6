"""The extension process with a platform that has telemetry."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from extension_fakes import ExtensionProcess, FakePlatform, Function
from fake_collector import ENDPOINT
from lambdascope.otlp import names as otel
from lambdascope.wire import names
from unit.extension.records.platform_kit import done, handed_over_spans, report, start

if TYPE_CHECKING:
    from pathlib import Path

    from fake_collector import FakeCollector

TRACING = {
    "type": "X-Amzn-Trace-Id",
    "value": "Root=1-0123abcd-0123456789abcdef01234567;Parent=89abcdef01234567;Sampled=1",
}


def test_the_newest_schema_is_asked_for_first(tmp_path: Path) -> None:
    """A platform that does not know it is asked for the older ones, down to the first."""
    with FakePlatform(telemetry=(400, 400, 200)) as platform, ExtensionProcess(platform, tmp_path):
        platform.wait_next(1)

        assert list(reversed(names.TELEMETRY_SCHEMA_VERSIONS)) == [
            one["schemaVersion"] for one in platform.subscriptions
        ]
        assert [["platform"]] * 3 == [one["types"] for one in platform.subscriptions]


def test_a_platform_without_telemetry_is_asked_once(tmp_path: Path) -> None:
    """202 and 404 are no reason to try another schema."""
    for status in (202, 404, 403, 500):
        with (
            FakePlatform(telemetry=status) as platform,
            ExtensionProcess(platform, tmp_path / str(status)),
        ):
            platform.wait_next(1)

            assert 1 == len(platform.subscriptions)


def test_records_become_metrics_and_spans(collector: FakeCollector, tmp_path: Path) -> None:
    """What the platform says of a foreign function's invocation arrives at the collector."""
    variables = {ENDPOINT: collector.endpoint, names.ENV_LOGS: "otlp"}
    with (
        FakePlatform(telemetry=200) as platform,
        ExtensionProcess(platform, tmp_path, variables) as extension,
    ):
        platform.wait_next(1)
        assert ["platform", "function"] == platform.subscriptions[0]["types"]
        platform.invoke("r1")
        record: dict[str, Any] = {"requestId": "r1", "status": "success", "tracing": TRACING}
        done = {**record, "metrics": {"durationMs": 13.0}}
        assert 200 == platform.send_records(("platform.runtimeDone", done))
        platform.wait_next(2)
        platform.shut_down()
        report = {**record, "metrics": {"durationMs": 20.0, "maxMemoryUsedMB": 40}}
        assert 200 == platform.send_records(("platform.report", report))
        assert 0 == extension.wait_exit()

    assert [otel.SPAN_PLATFORM_REPORT] == collector.spans
    found = metrics(collector)
    assert {otel.FAAS_INVOKE_DURATION, otel.FAAS_INVOCATIONS, otel.FAAS_MEM_USAGE} <= found
    assert otel.LAMBDASCOPE_EXTENSION_MEMORY_USAGE in found
    assert [] == extension.lines


def test_a_missing_last_report_does_not_hold_the_end(
    collector: FakeCollector, tmp_path: Path
) -> None:
    """Where it never comes, what is known leaves all the same."""
    with (
        FakePlatform(telemetry=200) as platform,
        ExtensionProcess(platform, tmp_path, {ENDPOINT: collector.endpoint}) as extension,
    ):
        function = Function(platform, extension)
        done = {"requestId": "r1", "status": "timeout", "metrics": {"durationMs": 13.0}}
        assert 200 == platform.send_records(("platform.runtimeDone", done))
        function.invoke("r1")
        function.shut_down()

    assert ["r1"] == collector.spans
    assert otel.FAAS_TIMEOUTS in metrics(collector)


@pytest.mark.parametrize("seed", range(3))
def test_records_late_doubled_torn_and_missing(
    seed: int, collector: FakeCollector, tmp_path: Path
) -> None:
    """Whatever the platform does with its records, each invocation that it tells of has one span in
    its trace and is counted once."""
    draw = random.Random(seed)
    told = []
    with (
        FakePlatform(telemetry=200) as platform,
        ExtensionProcess(platform, tmp_path, {ENDPOINT: collector.endpoint}) as extension,
    ):
        function = Function(platform, extension)
        waiting: list[tuple[str, dict[str, Any]]] = []
        for number in range(60):
            request_id = f"r{number}"
            platform.invoke(request_id)
            headers = ((names.HANDOFF_REQUEST_ID, request_id), (names.HANDOFF_DONE, "2"))
            body = handed_over_spans(request_id)
            assert 200 == function.runtime.post(names.TRACES_PATH, body, headers)[0].status
            platform.wait_next(number + 2)
            mine = [
                (one["type"], one["record"])
                for one in (start(request_id), done(request_id), report(request_id))
                if draw.random() < 0.9
            ]
            if any(kind != "platform.start" for kind, _ in mine):
                told.append(request_id)
            waiting += mine + [one for one in mine if draw.random() < 0.2]
            draw.shuffle(waiting)
            count = draw.randrange(len(waiting) + 1)
            assert 200 == platform.send_records(*waiting[:count])
            del waiting[:count]
        platform.send_records(*waiting)
        function.runtime.close()
        platform.shut_down()
        assert 0 == extension.wait_exit()

    assert len(told) == collector.spans.count(otel.SPAN_PLATFORM_REPORT)
    assert 120 == len(collector.spans) - len(told)
    assert len(told) == total(collector, otel.FAAS_INVOCATIONS)
    assert [] == extension.lines


def total(collector: FakeCollector, name: str) -> int:
    """The sum of all points of a counter that arrived."""
    bodies = [one.body for one in collector.accepted if one.path == names.METRICS_PATH]
    return sum(
        point.as_int
        for body in bodies
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.sum.data_points
    )


def metrics(collector: FakeCollector) -> set[str]:
    """The names of all metrics that arrived, by the official decoder."""
    bodies = [one.body for one in collector.accepted if one.path == names.METRICS_PATH]
    return {
        metric.name
        for body in bodies
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
