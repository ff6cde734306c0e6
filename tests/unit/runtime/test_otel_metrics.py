"""Measurements before the SDK's metrics are loaded; each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"

SET_UP = """
import json, sys
sys.path.insert(0, SOURCE)
from opentelemetry import metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from lambdascope.runtime.config import RuntimeConfig
from lambdascope.runtime.otel.metrics import Metrics
from lambdascope.runtime.otel.settings import MetricSettings
config = RuntimeConfig.from_env({"AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9"}, ["", "app.handler"])
said = []
ours = Metrics(config, MetricSettings({}, said.append), said.append)
meter = metrics.get_meter("orders")
def is_loaded():
    return "opentelemetry.sdk.metrics" in sys.modules
def collected():
    request = ExportMetricsServiceRequest.FromString(ours.due(at_once=True)[1])
    found = []
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    value = point.sum if metric.HasField("histogram") else point.as_int
                    found.append([metric.name, value, [a.value.string_value
                                  for a in point.attributes]])
    return sorted(found)
"""


def _run(code: str) -> object:
    """Run `code` after SET_UP and return the JSON value of its variable `result`."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"SOURCE = {str(SOURCE)!r}\n{SET_UP}{code}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "" == done.stderr
    return json.loads(done.stdout)


def test_held_until_they_are_asked_for() -> None:
    """A measurement of each kind of instrument loads nothing, and arrives once."""
    loaded, first, second = _run(
        """
instruments = [meter.create_counter("counter").add, meter.create_up_down_counter("updown").add,
               meter.create_histogram("histogram").record, meter.create_gauge("gauge").set]
for measure in instruments:
    measure(2, {"a": "b"})
    measure(amount=3, attributes={"a": "b"})
loaded, first = is_loaded(), collected()
for measure in instruments:
    measure(1, {"a": "b"})
print(json.dumps([loaded, first, collected()]))
"""
    )

    assert loaded is False
    assert [["counter", 5], ["gauge", 3], ["histogram", 5], ["updown", 5]] == [
        one[:2] for one in first
    ]
    assert {"b"} == {one[2][0] for one in first}
    assert [["counter", 1], ["gauge", 1], ["histogram", 1], ["updown", 6]] == [
        one[:2] for one in second
    ]


def test_attributes_are_those_of_the_moment() -> None:
    """What the function does with its dictionary afterwards changes nothing."""
    found = _run(
        """
counter, attributes = meter.create_counter("counter"), {"kind": "one"}
counter.add(1, attributes)
attributes["kind"] = "two"
counter.add(2, attributes=attributes)
attributes.clear()
print(json.dumps(collected()))
"""
    )

    assert [["counter", 1, ["one"]], ["counter", 2, ["two"]]] == found


def test_too_many_are_not_held() -> None:
    """A loop that measures without end fills no memory: the SDK takes over."""
    before, after, found = _run(
        """
counter = meter.create_counter("counter")
for _ in range(1000):
    counter.add(1)
before = is_loaded()
for _ in range(500):
    counter.add(1)
print(json.dumps([before, is_loaded(), collected()]))
"""
    )

    assert [False, True] == [before, after]
    assert [["counter", 1500, []]] == found


def test_a_provider_of_the_functions_own_gets_them() -> None:
    """What was measured before the function set its provider is the provider's."""
    values, body = _run(
        """
counter = meter.create_counter("counter")
counter.add(1)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
reader = InMemoryMetricReader()
metrics.set_meter_provider(MeterProvider([reader]))
counter.add(2)
body = ours.due(at_once=True)[1]
data = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data
print(json.dumps([[point.value for point in data.data_points], body.decode()]))
"""
    )

    assert [[3], ""] == [values, body]


def test_one_that_the_sdk_does_not_take_is_said() -> None:
    """A measurement with arguments that are none is told, and the others are kept."""
    found, said = _run(
        """
counter = meter.create_counter("counter")
counter.add(1)
counter.add()
counter.add(2)
print(json.dumps([collected(), said]))
"""
    )

    assert [["counter", 3, []]] == found
    assert 1 == len(said)
    assert said[0].startswith("a measurement is lost: TypeError: ")


def test_the_span_of_the_moment_is_the_one_of_its_exemplar() -> None:
    """A measurement is taken in with the context that it was made in."""
    seen, expected = _run(
        """
from opentelemetry import trace
context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))
with trace.use_span(trace.NonRecordingSpan(context)):
    meter.create_counter("counter").add(1)
ours.load()
data = ours._reader._reader.get_metrics_data().resource_metrics[0].scope_metrics[0]
(exemplar,) = data.metrics[0].data.data_points[0].exemplars
print(json.dumps([[exemplar.trace_id, exemplar.span_id], [0xABC, 0xDEF]]))
"""
    )

    assert expected == seen
