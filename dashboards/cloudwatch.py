"""CloudWatch's form of the dashboard: Lambda's own metrics, ours as the collector's `awsemf`
exporter writes them, and spans of Transaction Search.

A histogram of ours with fixed bounds has no percentiles there: they come from Lambda's metrics and
from spans. Source of the fields: Amazon CloudWatch user guide, "Dashboard body structure and
syntax".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboards import panels
from lambdascope.otlp import names

if TYPE_CHECKING:
    from dashboards.panels import Panel, Series

NAMESPACE = "lambdascope"
LAMBDA_NAMESPACE = "AWS/Lambda"
FUNCTION = "the-function"
REGION = "us-east-1"
SPANS = "aws/spans"
# What Lambda itself counts (developer guide, "Types of metrics for Lambda functions"), in ms.
LAMBDA_METRICS = ("Invocations", "Errors", "Throttles", "Duration", "PostRuntimeExtensionsDuration")
_SHARES = ("p50", "p95", "p99")
_WIDTH, _HEIGHT = 12, 6
_COLUMNS = 24
_PERIOD_S = 60
# A percentile of a span's attribute, for the histograms of which CloudWatch has none.
_BY_SPANS = {
    names.FAAS_INIT_DURATION: (
        f"name in ['{names.SPAN_PLATFORM_INIT}', '{names.SPAN_PLATFORM_RESTORE}']",
        names.LAMBDASCOPE_PLATFORM_DURATION_MS,
    ),
    names.FAAS_INVOKE_DURATION: (
        f"name = '{names.SPAN_PLATFORM_REPORT}'",
        names.LAMBDASCOPE_PLATFORM_RUNTIME_DURATION_MS,
    ),
}


def dashboard() -> dict[str, Any]:
    """The body that `put-dashboard` takes."""
    widgets: list[dict[str, Any]] = []
    y = 0
    for title, row in (("Lambda's own metrics", _own()), *_rows()):
        text = {"markdown": f"## {title}"}
        where = {"x": 0, "y": y, "width": _COLUMNS, "height": 1}
        widgets.append({"type": "text", **where, "properties": text})
        y += 1
        for number, one in enumerate(row):
            x = number * _WIDTH % _COLUMNS
            widgets.append({"x": x, "y": y, "width": _WIDTH, "height": _HEIGHT, **one})
            y += _HEIGHT if x or number == len(row) - 1 else 0
    return {
        "start": "-PT6H",
        "periodOverride": "inherit",
        "variables": _variables(),
        "widgets": widgets,
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {
            "type": "pattern",
            "pattern": FUNCTION,
            "inputType": "select",
            "id": "function",
            "label": "Function",
            "visible": True,
            "defaultValue": "__FIRST",
            "search": f'{{{LAMBDA_NAMESPACE},FunctionName}} MetricName="Invocations"',
            "populateFrom": "FunctionName",
        },
        {
            "type": "property",
            "property": "region",
            "inputType": "input",
            "id": "region",
            "label": "Region",
            "visible": True,
            "defaultValue": REGION,
        },
    ]


def _own() -> list[dict[str, Any]]:
    about = ("FunctionName", FUNCTION)
    counts: list[Any] = [[LAMBDA_NAMESPACE, name, *about] for name in LAMBDA_METRICS[:3]]
    found = [_metrics("Invocations, errors and throttles", counts, stat="Sum", label="per minute")]
    for name in LAMBDA_METRICS[3:]:
        shares: list[Any] = [
            [LAMBDA_NAMESPACE, name, *about, {"stat": share, "label": share}] for share in _SHARES
        ]
        found.append(_metrics(name, shares, stat="p99", label="ms"))
    return found


def _rows() -> list[tuple[str, list[dict[str, Any]]]]:
    return [
        (row.title, [one for panel in row.panels for one in _widgets(panel)]) for row in panels.ROWS
    ]


def _widgets(panel: Panel) -> list[dict[str, Any]]:
    """A widget is either about metrics or about logs, so a panel may become two."""
    quantile = next((one for one in panel.series if isinstance(one, panels.Quantile)), None)
    spans = [one for one in panel.series if isinstance(one, panels.SpanValue)]
    found = []
    if len(spans) < len(panel.series):
        found.append(_metric_widget(panel))
    if spans:
        found.append(_span_widget(panel.title, spans))
    elif quantile is not None and quantile.metric in _BY_SPANS:
        found.append(_percentiles(panel.title, *_BY_SPANS[quantile.metric]))
    return found


def _metric_widget(panel: Panel) -> dict[str, Any]:
    metrics: list[Any] = []
    for one in panel.series:
        found = _metric(one)
        if found and found not in metrics:
            metrics.append(found)
    return _metrics(panel.title, metrics, stat="Sum", label=panel.unit, is_stacked=panel.is_stacked)


def _metric(one: Series) -> list[Any]:
    if isinstance(one, panels.SpanValue):
        return []
    by = () if isinstance(one, panels.Quantile) else one.by
    stat = "Sum"
    if isinstance(one, panels.Quantile):
        stat = "Average"
    elif isinstance(one, panels.Level):
        stat = "Maximum" if one.is_greatest else "Average"
    if by:
        dimensions = ",".join(f'"{name}"' for name in (names.FAAS_NAME, *by))
        search = f'{{{NAMESPACE},{dimensions}}} MetricName="{one.metric}" "{FUNCTION}"'
        return [{"expression": f"SEARCH('{search}', '{stat}', {_PERIOD_S})", "label": ""}]
    # Of a histogram with fixed bounds only sum, count and extremes are known.
    label = "average" if isinstance(one, panels.Quantile) else one.label
    return [NAMESPACE, one.metric, names.FAAS_NAME, FUNCTION, {"stat": stat, "label": label}]


def _metrics(
    title: str, metrics: list[Any], *, stat: str, label: str, is_stacked: bool = False
) -> dict[str, Any]:
    return {
        "type": "metric",
        "properties": {
            "title": title,
            "region": REGION,
            "view": "timeSeries",
            "stacked": is_stacked,
            "stat": stat,
            "period": _PERIOD_S,
            "yAxis": {"left": {"min": 0, "label": label, "showUnits": False}},
            "metrics": metrics,
        },
    }


def _span_widget(title: str, spans: list[panels.SpanValue]) -> dict[str, Any]:
    columns = ", ".join(
        f"{one.function}({_field(one.attribute)}) as {one.label.replace(', ', '_')}"
        for one in spans
    )
    return _logs(f"{title}, by spans", f"name = '{spans[0].span}'", columns)


def _percentiles(title: str, where: str, attribute: str) -> dict[str, Any]:
    columns = ", ".join(f"pct({_field(attribute)}, {share[1:]}) as {share}" for share in _SHARES)
    return _logs(f"{title}, by spans (ms)", where, columns)


def _field(attribute: str) -> str:
    return f"`attributes.{attribute}`"


def _logs(title: str, where: str, columns: str) -> dict[str, Any]:
    query = (
        f"SOURCE '{SPANS}' | filter {where} and `resource.attributes.{names.FAAS_NAME}` = "
        f"'{FUNCTION}' | stats {columns} by bin(5m)"
    )
    properties = {"title": title, "region": REGION, "view": "timeSeries", "query": query}
    return {"type": "log", "properties": properties}
