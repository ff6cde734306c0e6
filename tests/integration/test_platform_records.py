"""What the platform says of invocations, joined to the traces that our runtime made of them.

Real processes under our emulator; read back with the official package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fake_collector import FakeCollector
from lambdascope.emulator.records import TIMED_OUT
from lambdascope.otlp import names as otel
from lambdascope.wire import names
from observed import PATIENT_MS, running
from unit.extension.records.platform_kit import attributes, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HANDLER = """
    import logging

    def handler(event, context):
        print("plain")
        logging.getLogger("shop").warning("careful")
        if event == "fail":
            raise KeyError("x")
        if event == "hang":
            while True:
                pass
        return event
"""


@pytest.fixture
def collector() -> Iterator[FakeCollector]:
    """A collector that takes everything."""
    with FakeCollector() as made:
        yield made


class Story:
    """Everything that arrived."""

    def __init__(self, collector: FakeCollector) -> None:
        self.spans: list[Any] = []
        self.logs: list[Any] = []
        self.sums: dict[tuple[str, ...], float] = {}
        self.counts: dict[str, int] = {}
        self.bodies = [request.body for request in collector.accepted]
        for request in collector.accepted:
            if request.path == names.TRACES_PATH:
                for traces in ExportTraceServiceRequest.FromString(request.body).resource_spans:
                    self.spans += [span for scope in traces.scope_spans for span in scope.spans]
            elif request.path == names.LOGS_SIGNAL_PATH:
                for logs in ExportLogsServiceRequest.FromString(request.body).resource_logs:
                    self.logs += [one for scope in logs.scope_logs for one in scope.log_records]
            else:
                message = ExportMetricsServiceRequest.FromString(request.body)
                for resource in message.resource_metrics:
                    for scope in resource.scope_metrics:
                        for metric in scope.metrics:
                            self._add(metric)

    def _add(self, metric: Any) -> None:
        for point in metric.sum.data_points:
            key = (metric.name, *[one.value.string_value for one in point.attributes])
            value = getattr(point, point.WhichOneof("value"))
            self.sums[key] = self.sums.get(key, 0) + value
        for point in metric.histogram.data_points:
            self.counts[metric.name] = self.counts.get(metric.name, 0) + point.count

    def by_request(self, name: str) -> dict[str, Any]:
        """The spans of a name, each with its invocation's id."""
        found = {
            attributes(one)["faas.invocation_id"]: one for one in self.spans if one.name == name
        }
        assert len(found) == len([one for one in self.spans if one.name == name])
        return found


def run(folder: Path, collector: FakeCollector, *events: bytes, **settings: Any) -> Any:
    """Invoke with each event and shut down; the emulator's records, and what arrived."""
    variables = {names.ENV_HOLD_BUDGET: PATIENT_MS, **settings.pop("variables", {})}
    with running(
        folder, HANDLER, endpoint=collector.endpoint, variables=variables, **settings
    ) as function:
        records = [function.invoke(event) for event in events]
        function.shutdown()
    story = Story(collector)
    # Every record that the emulator sends is one of the schema, and comes once.
    assert [] == [key for key in story.sums if key[0] == otel.LAMBDASCOPE_TELEMETRY_PROBLEMS]
    return records, story


def test_reports_join_their_invocations(collector: FakeCollector, tmp_path: Path) -> None:
    """Each invocation has one report of the platform under its span, with what was billed, and is
    counted once."""
    events = [b'"ok"', b'"fail"', *[b'"ok"'] * 6]
    records, story = run(tmp_path, collector, *events)

    invokes = story.by_request("shop")
    reports = story.by_request(otel.SPAN_PLATFORM_REPORT)
    assert [one.request_id for one in records] == list(invokes)
    assert set(invokes) == set(reports)
    for record in records:
        report, invoke = reports[record.request_id], invokes[record.request_id]
        assert (invoke.trace_id, invoke.span_id) == (report.trace_id, report.parent_span_id)
        said = attributes(report)
        assert (
            record.report.billed_duration_ms == said[otel.LAMBDASCOPE_PLATFORM_BILLED_DURATION_MS]
        )
        assert 512 * 1024 * 1024 == said[otel.FAAS_MAX_MEMORY]
        assert 0 < said[otel.LAMBDASCOPE_PLATFORM_MAX_MEMORY_USED] <= 512 * 1024 * 1024
        assert otel.LAMBDASCOPE_PLATFORM_EXTENSION_OVERHEAD_MS in said
    (init,) = [one for one in story.spans if one.name == otel.SPAN_PLATFORM_INIT]
    assert invokes[records[0].request_id].span_id == init.parent_span_id
    assert 7 == story.sums[otel.FAAS_INVOCATIONS, "other"]
    assert 1 == story.sums[otel.FAAS_ERRORS, "other", "KeyError"]
    assert 1 == story.sums[otel.FAAS_COLDSTARTS, "other"]
    assert 8 == story.counts[otel.FAAS_INVOKE_DURATION] == story.counts[otel.FAAS_MEM_USAGE]
    assert 1 == story.counts[otel.FAAS_INIT_DURATION]
    assert story.sums[otel.LAMBDASCOPE_EXTENSION_CPU_TIME,] > 0


def test_a_timeout_is_counted_and_joined(collector: FakeCollector, tmp_path: Path) -> None:
    """Of an invocation that was killed the platform's word stands under the span that the extension
    closed, and it is a time-out and no error."""
    records, story = run(tmp_path, collector, b'"ok"', b'"hang"', timeout_ms=1500)

    assert TIMED_OUT == records[1].status
    dead = records[1].request_id
    invoke, report = (story.by_request(name)[dead] for name in ("shop", otel.SPAN_PLATFORM_REPORT))
    assert (invoke.trace_id, invoke.span_id) == (report.trace_id, report.parent_span_id)
    assert "timeout" == attributes(report)[otel.LAMBDASCOPE_PLATFORM_STATUS]
    assert otel.STATUS_ERROR == report.status.code
    assert 1 == story.sums[otel.FAAS_TIMEOUTS, "other"]
    assert 1 == story.sums[otel.FAAS_INVOCATIONS, "other"]


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_log_lines_stand_under_their_invocation(
    log_format: str, collector: FakeCollector, tmp_path: Path
) -> None:
    """Lines of both log formats arrive once each, with the ids of the invocation's span."""
    variables = {names.ENV_LOGS: "otlp"}
    records, story = run(
        tmp_path, collector, b'"ok"', b'"ok"', variables=variables, log_format=log_format
    )

    invokes = story.by_request("shop")
    for record in records:
        span = invokes[record.request_id]
        mine = [
            (plain(one.body), one.severity_text)
            for one in story.logs
            if (one.trace_id, one.span_id) == (span.trace_id, span.span_id)
        ]
        assert [("careful", "WARNING"), ("plain", "")] == sorted(mine)
    assert 4 == len(story.logs)


def test_nothing_is_made_when_it_is_turned_off(collector: FakeCollector, tmp_path: Path) -> None:
    """With LAMBDASCOPE_PLATFORM=none only what the runtime made arrives."""
    _, story = run(tmp_path, collector, b'"ok"', variables={names.ENV_PLATFORM: "none"})

    assert [] == [one for one in story.spans if one.name.startswith("platform")]
    assert ({}, []) == (story.sums, story.logs)


def test_managed_instances(collector: FakeCollector, tmp_path: Path) -> None:
    """Where invocations run side by side, each has its report, and the init a trace of its own."""
    records, story = run(
        tmp_path,
        collector,
        *[b'"ok"'] * 3,
        init_type=names.INIT_MANAGED_INSTANCES,
        max_concurrency=4,
        variables={names.ENV_LOGS: "otlp"},
    )

    invokes = story.by_request("shop")
    reports = story.by_request(otel.SPAN_PLATFORM_REPORT)
    assert {one.request_id for one in records} == set(invokes) == set(reports)
    assert {invokes[key].span_id for key in invokes} == {
        one.parent_span_id for one in reports.values()
    }
    (init,) = [one for one in story.spans if one.name == otel.SPAN_PLATFORM_INIT]
    assert b"" == init.parent_span_id
    assert init.links[0].span_id in {one.span_id for one in invokes.values()}
    assert (3, 3) == (
        story.sums[otel.FAAS_INVOCATIONS, "other"],
        story.counts[otel.FAAS_INVOKE_DURATION],
    )
    assert (otel.FAAS_COLDSTARTS, "other") not in story.sums
    careful = [one for one in story.logs if plain(one.body) == "careful"]
    assert {one.span_id for one in invokes.values()} == {one.span_id for one in careful}


def test_a_restored_snapshot(collector: FakeCollector, tmp_path: Path) -> None:
    """SnapStart's restore is a span that is linked to the first invocation, and a cold start."""
    records, story = run(
        tmp_path, collector, b'"ok"', b'"ok"', init_type=names.INIT_SNAP_START, version="1"
    )

    first = story.by_request("shop")[records[0].request_id]
    (restore,) = [one for one in story.spans if one.name == otel.SPAN_PLATFORM_RESTORE]
    assert first.span_id == restore.links[0].span_id
    assert 1 == story.sums[otel.FAAS_COLDSTARTS, "other"]
    report = story.by_request(otel.SPAN_PLATFORM_REPORT)[records[0].request_id]
    assert attributes(report)[otel.LAMBDASCOPE_PLATFORM_RESTORE_DURATION_MS] > 0


def test_an_invocation_that_the_runtime_left_out_has_no_spans(
    collector: FakeCollector, tmp_path: Path
) -> None:
    """The platform's spans of it would be orphans; it is counted all the same."""
    _, story = run(tmp_path, collector, b"1", b"2", variables={"OTEL_TRACES_SAMPLER": "always_off"})

    assert [] == story.spans
    assert 2 == sum(value for key, value in story.sums.items() if key[0] == otel.FAAS_INVOCATIONS)
    assert 1 == story.sums[(otel.FAAS_COLDSTARTS,)]
