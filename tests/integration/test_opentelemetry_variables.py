"""The variables of OpenTelemetry, one by one: honoured, or refused with one clear line.

Those with tests of their own are left out: samplers, span limits, propagators, temporality, the
interval of metrics, Python logging, instrumentors, and what the extension reads.
"""

from __future__ import annotations

import collections
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from observed import named, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from collector import Collector
    from otlp_recorder import Item

pytestmark = pytest.mark.collector

ALL_SIGNALS = """
    from opentelemetry import baggage, metrics, trace
    from opentelemetry._logs import SeverityNumber, get_logger

    tracer = trace.get_tracer("orders", "1.2")
    taken = metrics.get_meter("orders").create_counter("orders.taken")
    sizes = metrics.get_meter("orders").create_histogram("orders.size")
    logger = get_logger("orders")

    def handler(event, context):
        with tracer.start_as_current_span("outer", attributes={"note": "x" * 40}):
            taken.add(2)
            sizes.record(17.5)
            logger.emit(
                body="taken", severity_number=SeverityNumber.INFO,
                attributes={"note": "y" * 40, "order": 17},
            )
"""
REFUSED = {
    "OTEL_LOG_LEVEL": "debug",
    "OTEL_CONFIG_FILE": "/tmp/otel.yaml",
    "OTEL_ENTITIES": "service{service.name=shop}",
    "OTEL_BSP_MAX_QUEUE_SIZE": "17",
    "OTEL_BLRP_SCHEDULE_DELAY": "17",
    "OTEL_METRIC_EXPORT_TIMEOUT": "17",
    "OTEL_METRIC_EXPORT_INTERVAL": "often",
    "OTEL_METRICS_EXEMPLAR_FILTER": "sometimes",
    "OTEL_METRICS_EXPORTER": "prometheus",
    "OTEL_LOGS_EXPORTER": "otlp/stdout",
    "OTEL_TRACES_EXPORTER": "zipkin",
    "OTEL_TRACES_SAMPLER": "xray",
    "OTEL_PROPAGATORS": "tracecontext,ottrace",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "gamma",
    "OTEL_SPAN_LINK_COUNT_LIMIT": "many",
    "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "few",
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process",
    "OTEL_PYTHON_ID_GENERATOR": "xray",
    "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
    "OTEL_INSTRUMENTATION_AWS_LAMBDA_FLUSH_TIMEOUT": "17",
    "OTEL_AWS_LAMBDA_FAST_START": "true",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER": "mine",
    "OTEL_SERVICE_NAMES": "shop",
}


READ_BY_BOTH = (
    "OTEL_METRIC_EXPORT_INTERVAL",
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
)


class Seen(NamedTuple):
    """What arrived behind the collector."""

    spans: list[Item]
    metrics: dict[str, Item]
    logs: list[Item]

    def span(self, name: str) -> Item:
        """The span of that name."""
        return named(self.spans, name)[0]


def observe(
    tmp_path: Path, collector: Collector, *, counts: tuple[int, int, int], **variables: str
) -> tuple[Seen, list[str]]:
    """What a function with these variables sent, how many of each at least; and what was said."""
    with running(
        tmp_path,
        ALL_SIGNALS,
        endpoint=collector.http_endpoint,
        variables=variables | {"LAMBDASCOPE_PLATFORM": "none"},
    ) as function:
        assert b"null" == function.invoke().answer
        function.shutdown()
        lines = function.lines.texts()
        # The SDK has something to say about what it cuts, too.
        said = [x for x in lines if x.startswith("lambdascope: ") or "sampler" in x.lower()]
    spans, metrics, logs = counts
    found = collector.wait_for_metrics(metrics)
    seen = Seen(
        collector.wait_for_spans(spans),
        {metric["name"]: metric for metric in found if metric["name"].startswith("orders.")},
        collector.wait_for_log_records(logs),
    )
    return seen, said


def test_refused(collector: Collector, tmp_path: Path) -> None:
    """Each has exactly one line of the runtime that begins with its name, and one of the extension
    where that reads it too; nothing is lost by it."""
    seen, said = observe(tmp_path, collector, counts=(4, 2, 1), **REFUSED)

    about = collections.Counter(
        line.removeprefix("lambdascope: ").split("=")[0].split()[0].rstrip(":") for line in said
    )
    assert about == collections.Counter([*REFUSED, *READ_BY_BOTH]), said
    assert {"orders.taken", "orders.size"} == set(seen.metrics)
    assert 1 == len(seen.logs)
    assert seen.span("shop")["spanId"] == seen.span("outer")["parentSpanId"]


def _resource(item: Item, name: str) -> Any:
    return item["resource"][name]


def _histogram(seen: Seen) -> list[str]:
    return [
        kind
        for kind in ("histogram", "exponentialHistogram")
        if kind in seen.metrics["orders.size"]
    ]


def _exemplars(seen: Seen) -> int:
    (point,) = seen.metrics["orders.taken"]["sum"]["dataPoints"]
    return len(point.get("exemplars", []))


ALL = (4, 2, 1)
HONOURED: dict[str, tuple[dict[str, str], tuple[int, int, int], Callable[[Seen], Any], Any]] = {
    "disabled": (
        {"OTEL_SDK_DISABLED": "true"},
        (0, 0, 0),
        lambda seen: [len(each) for each in seen],
        [0, 0, 0],
    ),
    "no spans": (
        {"OTEL_TRACES_EXPORTER": "none"},
        (0, 2, 1),
        lambda seen: [len(each) for each in seen],
        [0, 2, 1],
    ),
    "no metrics": (
        {"OTEL_METRICS_EXPORTER": "none"},
        (4, 0, 1),
        lambda seen: (len(seen.metrics), len(seen.logs)),
        (0, 1),
    ),
    "no logs": (
        {"OTEL_LOGS_EXPORTER": "none"},
        (4, 2, 0),
        lambda seen: (len(seen.metrics), len(seen.logs)),
        (2, 0),
    ),
    "empty is like none": (
        {"OTEL_SDK_DISABLED": "", "OTEL_TRACES_EXPORTER": "", "OTEL_BSP_SCHEDULE_DELAY": ""},
        ALL,
        lambda seen: (len(seen.metrics), len(seen.logs)),
        (2, 1),
    ),
    "histograms": (
        {
            "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
                "base2_exponential_bucket_histogram"
            )
        },
        ALL,
        _histogram,
        ["exponentialHistogram"],
    ),
    "histograms by default": ({}, ALL, _histogram, ["histogram"]),
    "exemplars": ({}, ALL, _exemplars, 1),
    "no exemplars": ({"OTEL_METRICS_EXEMPLAR_FILTER": "always_off"}, ALL, _exemplars, 0),
    "log records": (
        {
            "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT": "1",
            "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3",
        },
        ALL,
        lambda seen: (len(seen.logs[0]["attributes"]), seen.logs[0]["droppedAttributesCount"]),
        (1, 1),
    ),
    "lengths": (
        {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "5"},
        ALL,
        lambda seen: (
            seen.span("outer")["attributes"]["note"],
            seen.logs[0]["attributes"]["note"],
            seen.span("shop")["attributes"]["faas.trigger"],
        ),
        ("xxxxx", "yyyyy", "other"),
    ),
    "the SDK's own providers": (
        {
            "OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider",
            "OTEL_PYTHON_METER_PROVIDER": "sdk_meter_provider",
            "OTEL_PYTHON_LOGGER_PROVIDER": "sdk_logger_provider",
        },
        ALL,
        lambda seen: (len(named(seen.spans, "outer")), len(seen.metrics), len(seen.logs)),
        (1, 2, 1),
    ),
    "the context": (
        {"OTEL_PYTHON_CONTEXT": "contextvars_context"},
        ALL,
        lambda seen: seen.span("shop")["spanId"] == seen.span("outer")["parentSpanId"],
        True,
    ),
}


@pytest.mark.parametrize(
    ("variables", "counts", "look", "expected"), HONOURED.values(), ids=HONOURED
)
def test_honoured(
    collector: Collector,
    tmp_path: Path,
    variables: dict[str, str],
    counts: tuple[int, int, int],
    look: Callable[[Seen], Any],
    expected: Any,
) -> None:
    """What the variables ask for is what arrives, and nothing is said."""
    seen, said = observe(tmp_path, collector, counts=counts, **variables)

    assert expected == look(seen), json.dumps([seen.metrics, seen.logs])
    assert [] == said


@pytest.mark.parametrize("ratio", ["2", "-1", "half"])
def test_a_ratio_that_is_none(collector: Collector, tmp_path: Path, ratio: str) -> None:
    """It is said once, and all spans are recorded, though the SDK cannot be made with it."""
    variables = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio}
    seen, (line,) = observe(tmp_path, collector, counts=ALL, **variables)

    assert f"OTEL_TRACES_SAMPLER_ARG={ratio!r} is no number from 0 to 1" in line
    assert seen.span("shop")["spanId"] == seen.span("outer")["parentSpanId"]


def test_an_endpoint_for_one_signal(collector: Collector, tmp_path: Path) -> None:
    """Without the extension a signal with an endpoint is exported, and only that."""
    variables = {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{collector.http_endpoint}/v1/metrics",
        "OTEL_RESOURCE_ATTRIBUTES": "team=a%20b",
        "OTEL_SERVICE_NAME": "books",
    }
    with running(
        tmp_path, ALL_SIGNALS, endpoint=None, own_extension=False, variables=variables
    ) as function:
        function.invoke()
        function.shutdown()
        said = [text for text in function.lines.texts() if text.startswith("lambdascope: ")]

    assert {"orders.taken", "orders.size"} == {m["name"] for m in collector.wait_for_metrics(2)}
    assert ([], []) == (collector.wait_for_spans(0), collector.wait_for_log_records(0))
    assert [] == said
