"""Datadog's form of the dashboard: metrics under our names, spans by their attributes.

Delta counters arrive as counts and histograms as distributions. Source of the fields: Datadog API
reference, "Dashboards", and its pages about widgets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboards import panels
from lambdascope_extension.records.aggregate import INSTRUMENTS

if TYPE_CHECKING:
    from dashboards.panels import Panel, Row, Series, SpanValue

_AGGREGATIONS = {"sum": "sum", "max": "max", "p99": "pc99"}


def dashboard() -> dict[str, Any]:
    """The whole dashboard, as the API and the import in the page take it."""
    return {
        "title": panels.TITLE,
        "description": panels.DESCRIPTION,
        "layout_type": "ordered",
        "reflow_type": "auto",
        "template_variables": [
            {"name": "service", "prefix": "service", "available_values": [], "defaults": ["*"]}
        ],
        "widgets": [_group(row) for row in panels.ROWS],
    }


def _group(row: Row) -> dict[str, Any]:
    return {
        "definition": {
            "type": "group",
            "layout_type": "ordered",
            "title": row.title,
            "widgets": [{"definition": _timeseries(panel)} for panel in row.panels],
        }
    }


def _timeseries(panel: Panel) -> dict[str, Any]:
    queries = [_query(one, f"query{n}") for n, one in enumerate(panel.series, 1)]
    formulas = [_formula(one, f"query{n}") for n, one in enumerate(panel.series, 1)]
    return {
        "type": "timeseries",
        "title": f"{panel.title} ({panel.unit})",
        "show_legend": True,
        "legend_layout": "auto",
        "requests": [
            {
                "response_format": "timeseries",
                "display_type": "bars" if panel.is_stacked else "line",
                "queries": queries,
                "formulas": formulas,
            }
        ],
    }


def _formula(one: Series, name: str) -> dict[str, Any]:
    formula = {"formula": name}
    if isinstance(one, panels.Count):
        # A count is per interval, whose length depends on the time that is shown.
        is_time = INSTRUMENTS[one.metric][1] == "s"
        formula["formula"] = f"per_second({name})" if is_time else f"per_minute({name})"
    return formula | ({"alias": one.label} if one.label else {})


def _query(one: Series, name: str) -> dict[str, Any]:
    if isinstance(one, panels.SpanValue):
        return _span_query(one, name)
    return {"name": name, "data_source": "metrics", "query": _metric_query(one)}


def _span_query(one: SpanValue, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "data_source": "spans",
        "indexes": ["*"],
        "search": {"query": f'$service resource_name:"{one.span}"'},
        "compute": {
            "aggregation": _AGGREGATIONS[one.function],
            "metric": f"@{one.attribute}",
        },
        "group_by": [],
    }


def _metric_query(one: panels.Count | panels.Quantile | panels.Level) -> str:
    if isinstance(one, panels.Quantile):
        return f"p{round(one.share * 100)}:{one.metric}{{$service}}"
    by = f" by {{{','.join(one.by)}}}" if one.by else ""
    if isinstance(one, panels.Level):
        function = "max" if one.is_greatest else "sum"
        return f"{function}:{one.metric}{{$service}}{by}"
    return f"sum:{one.metric}{{$service}}{by}.as_count()"
