"""The dashboards ask for what the code emits, and have the form that each vendor documents."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from lambdascope.otlp import names as otel
from lambdascope.otlp.metric_model import GAUGE, HISTOGRAM, SUM
from lambdascope_extension.records.aggregate import INSTRUMENTS
from unit.extension.records.platform_kit import (
    HEADER,
    INIT,
    REQUEST_ID,
    Kit,
    attributes,
    done,
    handed_over_spans,
    item,
    report,
    start,
)

ROOT = Path(__file__).parents[2]
FILES = {
    name: ROOT / "dashboards" / f"{name}.json" for name in ("grafana", "datadog", "cloudwatch")
}
_UNITS = {"s": "_seconds", "By": "_bytes"}
_PARTS = {SUM: "_total", HISTOGRAM: "_bucket", GAUGE: ""}
# AWS Lambda developer guide, "Types of metrics for Lambda functions".
_OF_LAMBDA = {"Invocations", "Errors", "Throttles", "Duration", "PostRuntimeExtensionsDuration"}
# Amazon CloudWatch user guide, "Dashboard body structure and syntax" and "CloudWatch statistics
# definitions".
_VIEWS = {"timeSeries", "bar", "pie", "table", "singleValue", "gauge"}
_STATISTICS = re.compile(r"Sum|Average|Minimum|Maximum|SampleCount|p\d\d?(\.\d+)?")


def load(name: str) -> dict[str, Any]:
    """A committed dashboard."""
    found: dict[str, Any] = json.loads(FILES[name].read_text())
    return found


def grafana_targets() -> list[dict[str, Any]]:
    """Every query of Grafana's dashboard."""
    return [one for panel in load("grafana")["panels"] for one in panel.get("targets", ())]


def datadog_queries() -> list[dict[str, Any]]:
    """Every query of Datadog's dashboard."""
    groups = [group["definition"]["widgets"] for group in load("datadog")["widgets"]]
    return [
        query
        for widgets in groups
        for widget in widgets
        for request in widget["definition"]["requests"]
        for query in request["queries"]
    ]


def cloudwatch_widgets(kind: str) -> list[dict[str, Any]]:
    """The properties of CloudWatch's widgets of that type."""
    return [one["properties"] for one in load("cloudwatch")["widgets"] if one["type"] == kind]


def asked_of_cloudwatch() -> set[tuple[str, str]]:
    """Namespace and name of each metric."""
    found = set()
    for metric in [one for widget in cloudwatch_widgets("metric") for one in widget["metrics"]]:
        if isinstance(metric[0], dict):
            where = re.search(r"\{([^,]+),[^}]*\} MetricName=\"([^\"]+)\"", metric[0]["expression"])
            assert where is not None, metric
            found.add((where[1], where[2]))
        else:
            found.add((metric[0], metric[1]))
    return found


@pytest.fixture(scope="module")
def emitted() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """The attributes of metrics and of spans by name, of a life in which all goes wrong once."""
    kit = Kit()
    kit.handed_over.remember(REQUEST_ID, handed_over_spans(**{"error.type": "ValueError"}))
    tracing = {"type": "X-Amzn-Trace-Id", "value": HEADER}
    kit.take(*INIT, start(), done(), report(), item("platform.new"))
    late = {"request_id": "r2", "status": "timeout", "tracing": tracing}
    kit.take(start("r2"), done(**late), report(**late))
    kit.take(start("r3", tracing=tracing), done("r3"), report("r3"))
    dropped = {"reason": "slow", "droppedRecords": 2, "droppedBytes": 30}
    kit.take(item("platform.logsDropped", **dropped))
    kit.buffer.ledger.accept("traces", 3)
    kit.buffer.ledger.export("traces", 1)
    kit.buffer.ledger.drop("traces", 1, "full")
    kit.buffer.ledger.refuse("malformed")
    kit.meter.on_begin(1.0)
    kit.meter.on_end(2.0)
    kit.meter.on_next(2.1, is_busy=False)
    made = kit.finish()
    metrics = {}
    for name, metric in made.metrics.items():
        points = getattr(metric, metric.WhichOneof("data")).data_points
        metrics[name] = {key for point in points for key in attributes(point)}
    spans: dict[str, set[str]] = {}
    for span in made.spans:
        spans.setdefault(span.name, set()).update(attributes(span))
    return metrics, spans


def test_the_files_are_what_the_generator_makes() -> None:
    """Whoever changes a name or a panel runs the generator."""
    command = [sys.executable, "-m", "dashboards.generate", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50)
    assert (0, "") == (result.returncode, result.stderr)


def test_every_instrument_is_emitted(emitted: tuple[dict[str, set[str]], object]) -> None:
    """The life that the other tests compare with has every metric that the extension knows."""
    assert set(INSTRUMENTS) == set(emitted[0])


def test_grafana_asks_for_all_metrics_and_no_others() -> None:
    """Each name in PromQL is that of one of our metrics, in the form that fits its kind."""
    expressions = [one["expr"] for one in grafana_targets() if "expr" in one]
    asked = {name for text in expressions for name in re.findall(r"\b(\w+)\{\$service=~", text)}

    assert {
        name.replace(".", "_") + _UNITS.get(unit, "") + _PARTS[kind]
        for name, (kind, unit, _, _) in INSTRUMENTS.items()
    } == asked


def test_datadog_asks_for_all_metrics_and_no_others() -> None:
    """Counts are read as counts, and percentiles only of histograms."""
    queries = [one["query"] for one in datadog_queries() if one["data_source"] == "metrics"]
    asked = set()
    for query in queries:
        found = re.fullmatch(
            r"(\w+):([\w.]+)\{\$service\}( by \{[\w.,]+\})?(\.as_count\(\))?", query
        )
        assert found is not None, query
        kind = INSTRUMENTS[found[2]][0]
        asked.add(found[2])
        assert (kind == HISTOGRAM) == bool(re.fullmatch(r"p\d\d", found[1])), query
        assert (kind == SUM) == (found[4] is not None), query

    assert set(INSTRUMENTS) == asked


def test_cloudwatch_asks_for_all_metrics_and_no_others() -> None:
    """Ours under our namespace, and beside them those that Lambda documents."""
    asked = asked_of_cloudwatch()

    assert {"lambdascope", "AWS/Lambda"} == {namespace for namespace, _ in asked}
    assert set(INSTRUMENTS) == {name for namespace, name in asked if namespace == "lambdascope"}
    assert {name for namespace, name in asked if namespace == "AWS/Lambda"} == _OF_LAMBDA


def test_metrics_are_grouped_by_what_their_points_have(
    emitted: tuple[dict[str, set[str]], object],
) -> None:
    """No panel asks for an attribute that the metric never has."""
    metrics = emitted[0]
    grouped = []
    for query in datadog_queries():
        found = re.search(r":([\w.]+)\{.*\} by \{(.+)\}", query.get("query", ""))
        grouped += [(found[1], key) for key in found[2].split(",")] if found else []
    for metric in [one for widget in cloudwatch_widgets("metric") for one in widget["metrics"]]:
        if isinstance(metric[0], dict):
            name = re.search(r'MetricName="([^"]+)"', metric[0]["expression"])
            keys = re.findall(r',"([^"]+)"', metric[0]["expression"])
            assert name is not None
            assert keys[0] == otel.FAAS_NAME  # of the resource
            grouped += [(name[1], key) for key in keys[1:]]
    plain = {name.replace(".", "_"): name for name in INSTRUMENTS}
    for one in grafana_targets():
        found = re.search(r"by \(([^)]+)\) \((?:rate\()?(\w+?)(?:_total)?\{", one.get("expr", ""))
        if found and found[1] != "le":
            keys = found[1].split(", ")
            known = {key.replace(".", "_"): key for key in metrics[plain[found[2]]]}
            grouped += [(plain[found[2]], known.get(key, key)) for key in keys]

    assert [] == [(name, key) for name, key in grouped if key not in metrics[name]]
    assert len(grouped) > 20


def test_spans_are_asked_for_what_they_have(
    emitted: tuple[object, dict[str, set[str]]],
) -> None:
    """Each attribute that a panel reads off a span is on the span of that name."""
    asked = []
    for one in grafana_targets():
        found = re.search(r'name = "([^"]+)" \} \| \w+\(span\.([\w.]+)\)', one.get("query", ""))
        asked += [(found[1], found[2])] if found else []
    for query in datadog_queries():
        if query["data_source"] == "spans":
            name = re.search(r'resource_name:"([^"]+)"', query["search"]["query"])
            assert name is not None
            asked.append((name[1], query["compute"]["metric"].removeprefix("@")))
    for widget in cloudwatch_widgets("log"):
        (name, *_) = re.findall(r"'(platform \w+)'", widget["query"])
        keys = re.findall(r"`attributes\.([^`]+)`", widget["query"])
        asked += [(name, key) for key in keys]
        assert keys, widget

    spans = emitted[1]
    assert [] == [(name, key) for name, key in asked if key not in spans[name]]
    assert 3 * 5 <= len(asked)


def test_what_is_billed_is_on_every_dashboard() -> None:
    """Duration, memory and size as the platform charges them."""
    wanted = {
        otel.LAMBDASCOPE_PLATFORM_BILLED_DURATION_MS,
        otel.LAMBDASCOPE_PLATFORM_MAX_MEMORY_USED,
        otel.FAAS_MAX_MEMORY,
    }
    for path in FILES.values():
        assert [] == [name for name in wanted if name not in path.read_text()], path


def test_grafana_form() -> None:
    """Panels have ids and places of their own and only ask sources that the dashboard declares."""
    dashboard = load("grafana")
    panels = dashboard["panels"]
    variables = {one["name"] for one in dashboard["templating"]["list"]}

    assert len(panels) == len({panel["id"] for panel in panels})
    check_places([panel["gridPos"] for panel in panels], "w", "h")
    for panel in panels:
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(references) == len(set(references)), panel["title"]
    sources = {one["datasource"]["uid"] for one in grafana_targets()}
    assert {"${prometheus}", "${tempo}"} == sources
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard)))
    assert {"__rate_interval", "__all"} == {name for name in used if name not in variables}


def test_cloudwatch_form() -> None:
    """The rules that AWS's page about the body has for widgets, metrics and variables."""
    body = load("cloudwatch")
    widgets = body["widgets"]
    assert 0 < len(widgets) <= 500
    check_places(widgets, "width", "height")
    for widget in widgets:
        required = {"metric": {"metrics", "region"}, "log": {"query", "region"}}
        own = widget["properties"]
        assert required.get(widget["type"], {"markdown"}) <= set(own)
        assert own.get("view", "timeSeries") in _VIEWS
    for own in cloudwatch_widgets("metric"):
        assert 0 < len(own["metrics"]) <= 500
        assert own["period"] % 60 == 0
        options = [one[-1] for one in own["metrics"] if isinstance(one[-1], dict)]
        statistics = [own["stat"], *(one["stat"] for one in options if "stat" in one)]
        assert [] == [one for one in statistics if not _STATISTICS.fullmatch(one)]
        plain = [one for one in own["metrics"] if isinstance(one[0], str)]
        # Namespace, name, and dimensions in pairs.
        assert [] == [one for one in plain if len([x for x in one if isinstance(x, str)]) % 2]
        for one in own["metrics"]:
            if isinstance(one[0], dict):
                assert re.fullmatch(r"SEARCH\('[^']+', '\w+', 60\)", one[0]["expression"])
    for variable in body["variables"]:
        assert variable["type"] in variable
        assert {"id", "inputType"} <= set(variable)
        if variable["inputType"] == "select":
            assert {"search", "populateFrom"} <= set(variable)
    function = body["variables"][0]["pattern"]
    texts = [json.dumps(one) for one in widgets if one["type"] != "text"]
    assert [] == [text for text in texts if function not in text]


def test_datadog_form() -> None:
    """Formulas name queries of their own request, and only declared variables are used."""
    dashboard = load("datadog")
    assert ("ordered", "auto") == (dashboard["layout_type"], dashboard["reflow_type"])
    assert ["service"] == [one["name"] for one in dashboard["template_variables"]]
    assert {"service"} == set(re.findall(r"\$(\w+)", json.dumps(dashboard)))
    for group in dashboard["widgets"]:
        assert "group" == group["definition"]["type"]
        for widget in group["definition"]["widgets"]:
            for request in widget["definition"]["requests"]:
                known = [query["name"] for query in request["queries"]]
                used = [re.findall(r"query\d+", one["formula"]) for one in request["formulas"]]
                assert [[name] for name in known] == used


def check_places(places: list[dict[str, Any]], width: str, height: str) -> None:
    """Everything is within 24 columns, and nothing lies over another."""
    for one in places:
        assert 0 <= one["x"]
        assert one["x"] + one[width] <= 24
    for a, b in combinations(places, 2):
        beside = a["x"] + a[width] <= b["x"] or b["x"] + b[width] <= a["x"]
        assert beside or a["y"] + a[height] <= b["y"] or b["y"] + b[height] <= a["y"], (a, b)
