"""Grafana's form of the dashboard: PromQL for metrics, TraceQL for what only spans have.

Names are those of OpenTelemetry's translation for Prometheus ("Prometheus and OpenMetrics
compatibility"): dots become underscores, the unit follows, and counters end with `_total`.
Source of the fields: Grafana documentation, "Dashboard JSON model".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboards import panels
from lambdascope.otlp import names
from lambdascope_extension.records.aggregate import INSTRUMENTS

if TYPE_CHECKING:
    from dashboards.panels import Panel, Series, SpanValue

_PROMETHEUS = {"type": "prometheus", "uid": "${prometheus}"}
_TEMPO = {"type": "tempo", "uid": "${tempo}"}
_UNITS = {
    panels.SECONDS: "s",
    panels.MILLISECONDS: "ms",
    panels.BYTES: "bytes",
    panels.NUMBER: "short",
    panels.PER_MINUTE: "cpm",
    panels.CORES: "short",
}
_SUFFIXES = {"s": "_seconds", "By": "_bytes"}
# Prometheus and Mimir have service.name as job, other stores under its own name.
_FUNCTION = '$service=~"$function"'
_WIDTH, _HEIGHT = 12, 8
_COLUMNS = 24


def dashboard() -> dict[str, Any]:
    """The whole dashboard, as Grafana imports it."""
    return {
        "uid": "lambdascope-functions",
        "title": panels.TITLE,
        "description": panels.DESCRIPTION,
        "tags": ["lambdascope", "aws-lambda"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": _panels(),
    }


def metric_name(name: str, suffix: str = "") -> str:
    """The name of one of our metrics in Prometheus; `suffix` for a histogram's parts."""
    unit = _SUFFIXES.get(INSTRUMENTS[name][1], "")
    return plain(name) + unit + suffix


def plain(name: str) -> str:
    """A metric's or an attribute's name without what Prometheus does not take."""
    return name.replace(".", "_")


def _variables() -> list[dict[str, Any]]:
    service_name = plain(names.SERVICE_NAME)
    function = f"label_values({metric_name(names.FAAS_INVOCATIONS, '_total')}, $service)"
    return [
        {"name": "prometheus", "label": "Metrics", "type": "datasource", "query": "prometheus"},
        {"name": "tempo", "label": "Traces", "type": "datasource", "query": "tempo"},
        {
            "name": "service",
            "label": "Label of the service",
            "type": "custom",
            "query": f"job,{service_name}",
            "options": [
                {"text": "job", "value": "job", "selected": True},
                {"text": service_name, "value": service_name, "selected": False},
            ],
            "current": {"selected": True, "text": "job", "value": "job"},
        },
        {
            "name": "function",
            "label": "Function",
            "type": "query",
            "datasource": _PROMETHEUS,
            "query": {"query": function, "refId": "function"},
            "refresh": 2,
            "sort": 1,
            "includeAll": True,
            "multi": True,
            "allValue": ".+",
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        },
    ]


def _panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    y = 0
    for row in panels.ROWS:
        where = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
        found.append(
            {"id": len(found) + 1, "type": "row", "title": row.title, "gridPos": where}
            | {"collapsed": False, "panels": []}
        )
        y += 1
        for number, panel in enumerate(row.panels):
            x = number * _WIDTH % _COLUMNS
            place = {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT}
            found.append({"id": len(found) + 1, **_panel(panel), "gridPos": place})
            y += _HEIGHT if x or number == len(row.panels) - 1 else 0
    return found


def _panel(panel: Panel) -> dict[str, Any]:
    targets = [_target(one, chr(ord("A") + n)) for n, one in enumerate(panel.series)]
    sources = {one["datasource"]["type"]: one["datasource"] for one in targets}
    mixed = {"type": "datasource", "uid": "-- Mixed --"}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": mixed if len(sources) > 1 else targets[0]["datasource"],
        "targets": targets,
        "fieldConfig": {
            "defaults": {
                "unit": _UNITS[panel.unit],
                "min": 0,
                "custom": {
                    "drawStyle": "line",
                    "fillOpacity": 20 if panel.is_stacked else 0,
                    "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
                },
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _target(one: Series, ref: str) -> dict[str, Any]:
    if isinstance(one, panels.SpanValue):
        return {
            "refId": ref,
            "datasource": _TEMPO,
            "queryType": "traceql",
            "metricsQueryType": "range",
            "query": _traceql(one),
            "filters": [],
        }
    return {
        "refId": ref,
        "datasource": _PROMETHEUS,
        "editorMode": "code",
        "range": True,
        "expr": _promql(one),
        "legendFormat": _legend(one),
    }


def _traceql(one: SpanValue) -> str:
    where = f'{{ resource.service.name =~ "$function" && name = "{one.span}" }}'
    if one.function.startswith("p"):
        return f"{where} | quantile_over_time(span.{one.attribute}, .{one.function[1:]})"
    return f"{where} | {one.function}_over_time(span.{one.attribute})"


def _promql(one: panels.Count | panels.Quantile | panels.Level) -> str:
    if isinstance(one, panels.Quantile):
        bucket = metric_name(one.metric, "_bucket")
        rate = f"sum by (le) (rate({bucket}{{{_FUNCTION}}}[$__rate_interval]))"
        return f"histogram_quantile({one.share}, {rate})"
    by = f" by ({', '.join(plain(name) for name in one.by)})" if one.by else ""
    if isinstance(one, panels.Level):
        function = "max" if one.is_greatest else "sum"
        return f"{function}{by} ({metric_name(one.metric)}{{{_FUNCTION}}})"
    rate = f"sum{by} (rate({metric_name(one.metric, '_total')}{{{_FUNCTION}}}[$__rate_interval]))"
    # Of time a second of each second is one core; all else is easier to read by the minute.
    return rate if INSTRUMENTS[one.metric][1] == "s" else f"60 * {rate}"


def _legend(one: panels.Count | panels.Quantile | panels.Level) -> str:
    by = () if isinstance(one, panels.Quantile) else one.by
    return one.label or " ".join(f"{{{{{plain(name)}}}}}" for name in by)
