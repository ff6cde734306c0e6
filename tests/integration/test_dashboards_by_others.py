"""What others make of the dashboards: Grafana's own types, a parser of PromQL, Datadog's client."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.foreign

FOLDER = Path(__file__).parents[2] / "dashboards"
GRAFANA = FOLDER / "grafana.json"
# Reads a dashboard, and prints the places that Datadog's models have no type for.
DATADOG = """
import json, sys
from datadog_api_client.configuration import Configuration
from datadog_api_client.model_utils import ModelSimple, validate_and_convert_types
from datadog_api_client.v1.model.dashboard import Dashboard

def unknown(value, path):
    if getattr(value, "_unparsed", False):
        yield path
    if getattr(value, "_composed_instances", None):
        value = value.get_oneof_instance()
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from unknown(item, f"{path}/{number}")
    elif not isinstance(value, ModelSimple):
        for key, item in getattr(value, "_data_store", {}).items():
            if key not in value.attribute_map:
                yield f"{path}/{key}"
            yield from unknown(item, f"{path}/{key}")

document = json.load(sys.stdin)
made = validate_and_convert_types(document, (Dashboard,), ["d"], True, True, Configuration())
print(json.dumps(list(unknown(made, ""))))
"""
PROMQL = """
import json, sys
import promql_parser

for text in json.load(sys.stdin):
    promql_parser.parse(text)
"""


def given(python: Path, program: str, document: object) -> str:
    """What a program prints for a document; AssertionError with what it said when it fails."""
    command = [str(python), "-c", program]
    text = json.dumps(document)
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=50)
    assert 0 == done.returncode, done.stderr
    return done.stdout


def compiled(node_modules: Path, folder: Path, dashboard: str) -> str:
    """What TypeScript says of a Grafana dashboard as a value of Grafana's type."""
    (folder / "node_modules").symlink_to(node_modules)
    source = folder / "dashboard.ts"
    head = "import type { Dashboard } from '@grafana/schema';\nexport const d: Dashboard = "
    source.write_text(head + dashboard)
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext"]
    command = ["node", str(node_modules / "typescript" / "bin" / "tsc"), *options]
    done = subprocess.run(
        [*command, "--moduleResolution", "bundler", source.name],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
    )
    return done.stdout + done.stderr


def test_grafana_types(node_modules: Path, tmp_path: Path) -> None:
    """The dashboard has the type that Grafana's own package gives dashboards."""
    assert "" == compiled(node_modules, tmp_path, GRAFANA.read_text())


@pytest.mark.parametrize(
    ("good", "bad"),
    [('"refresh": "1m"', '"refresh": 60'), ('"gridPos": {', '"gridPos": "top", "grid": {')],
)
def test_grafana_types_refuse(node_modules: Path, tmp_path: Path, good: str, bad: str) -> None:
    """The check can fail: another type in one place is found."""
    text = GRAFANA.read_text().replace(good, bad, 1)
    assert "error TS2322" in compiled(node_modules, tmp_path, text)


def test_promql(foreign_python: Path) -> None:
    """Every query of metrics parses, and its functions get what they take."""
    panels = json.loads(GRAFANA.read_text())["panels"]
    texts = [
        target["expr"].replace("$__rate_interval", "5m").replace("$service=", "job=")
        for panel in panels
        for target in panel.get("targets", ())
        if "expr" in target
    ]
    assert len(texts) > 25
    given(foreign_python, PROMQL, texts)
    with pytest.raises(AssertionError, match="expected"):
        given(foreign_python, PROMQL, [re.sub(r"\[5m\]", "", texts[0])])


def test_datadog_models(foreign_python: Path) -> None:
    """Datadog's API client knows every field, type and value, and finds a wrong one."""
    dashboard: dict[str, Any] = json.loads((FOLDER / "datadog.json").read_text())
    assert [] == json.loads(given(foreign_python, DATADOG, dashboard))

    widget = dashboard["widgets"][0]["definition"]["widgets"][0]["definition"]
    good = json.dumps(widget)
    widget["requests"][0]["display_type"] = "stripes"
    assert json.loads(given(foreign_python, DATADOG, dashboard))
    widget.update(json.loads(good), titel="a field that is none")
    (place,) = json.loads(given(foreign_python, DATADOG, dashboard))
    assert place.endswith("/titel")
