"""Functions with an OpenTelemetry of their own, old, new or a part of one, beside a layer's.

The interpreter runs without its site-packages: what is imported is the function's or the layer's.
The layer has our package, and beside it the folder of packages.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import lambdascope
from lambdascope.wire.names import PACKAGES_FOLDER
from observed import named, one, running

if TYPE_CHECKING:
    from collector import Collector

pytestmark = [pytest.mark.collector, pytest.mark.versions]

OLD, NEW = "1.30.0", "1.45.2"
USES_ALL = """
    import importlib.util, sys
    importlib.util.find_spec("opentelemetry")  # as some libraries look whether it is there
    from opentelemetry import metrics, trace
    from opentelemetry._logs import LogRecord, SeverityNumber, get_logger

    tracer = trace.get_tracer("orders", "1.2")
    taken = metrics.get_meter("orders").create_counter("orders.taken")

    def handler(event, context):
        with tracer.start_as_current_span("outer", attributes={"order": 17}) as span:
            span.add_event("looked")
            taken.add(2)
            record = LogRecord(body="taken", severity_number=SeverityNumber.INFO, timestamp=17)
            get_logger("orders").emit(record)
        trace.get_current_span().set_attribute("customer", 7)
        import opentelemetry.version
        places = {
            module.__file__.partition("/opentelemetry/")[0]
            for name, module in list(sys.modules.items())
            if name.startswith("opentelemetry.") and getattr(module, "__file__", None)
        }
        return [opentelemetry.version.__version__, sorted(places)]
"""
USES_NONE = """
    import sys

    def handler(event, context):
        return [name for name in sys.modules if "opentelemetry" in name or "otel.packages" in name]
"""


class Case(NamedTuple):
    """What the function and the layer have; the version that is used, and whose `places` it is."""

    theirs: str
    ours: str
    used: str
    places: tuple[str, ...]
    recorded: bool = True
    said: str = ""


FOLDERS = ("task", f"layer/{PACKAGES_FOLDER}")
THEIRS, OURS = FOLDERS[:1], FOLDERS[1:]
NEITHER_MIXED = "opentelemetry-api 1.45.2 is there without its SDK, and 1.30.0, which lambdascope"
CASES = {
    "a set that is older": Case(f"sdk-{OLD}", f"sdk-{NEW}", OLD, THEIRS),
    "a set that is newer": Case(f"sdk-{NEW}", f"sdk-{OLD}", NEW, THEIRS),
    "a set that is the same": Case(f"sdk-{NEW}", f"sdk-{NEW}", NEW, THEIRS),
    "nothing": Case("", f"sdk-{NEW}", NEW, OURS),
    "an old API alone": Case(
        f"api-{OLD}", f"sdk-{NEW}", NEW, OURS, said="opentelemetry-api 1.30.0 in "
    ),
    "the same API alone": Case(f"api-{NEW}", f"sdk-{NEW}", NEW, FOLDERS[::-1]),
    "a new API alone": Case(
        f"api-{NEW}", f"sdk-{OLD}", NEW, THEIRS, recorded=False, said=NEITHER_MIXED
    ),
    "an API without a layer": Case(
        f"api-{OLD}", "", OLD, THEIRS, recorded=False, said="add opentelemetry-sdk==1.30.0"
    ),
}


def settings(folder: Path, versions: Path, theirs: str, ours: str) -> dict[str, Any]:
    """The settings of a function in `folder`/task with these sets."""
    layer, task = folder / "layer", folder / "task"
    layer.mkdir()
    task.mkdir()
    (layer / "lambdascope").symlink_to(Path(lambdascope.__file__).parent)
    if ours:
        (layer / PACKAGES_FOLDER).symlink_to(versions / ours)
    for entry in (versions / theirs).iterdir() if theirs else ():
        (task / entry.name).symlink_to(entry)
    return {
        "runtime": (sys.executable, "-S", "-m", "lambdascope", "{handler}"),
        "variables": {"PYTHONPATH": str(layer)},
    }


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_sets_are_never_mixed(
    collector: Collector, tmp_path: Path, otel_versions: Path, case: Case
) -> None:
    """All modules are of one version, from where they should be; all signals arrive, or one line
    says what is missing."""
    chosen = settings(tmp_path, otel_versions, case.theirs, case.ours)
    with running(
        tmp_path / "task", USES_ALL, endpoint=collector.http_endpoint, **chosen
    ) as function:
        used, places = json.loads(function.invoke().answer)
        function.shutdown()
        said = [text for text in function.lines.texts() if case.said and case.said in text]
        complaints = [text for text in function.lines.texts() if text.startswith("lambdascope: ")]
    spans = collector.wait_for_spans(3)

    assert case.used == used
    assert sorted(str(tmp_path / place) for place in case.places) == places
    assert bool(said) == bool(case.said)
    assert set(said) == set(complaints) or not case.recorded
    invoke, outers = one(spans, "shop"), named(spans, "outer")
    assert case.recorded == bool(outers) == ("customer" in invoke["attributes"])
    if case.recorded:
        assert invoke["spanId"] == outers[0]["parentSpanId"]
        assert (17, "looked") == (outers[0]["attributes"]["order"], outers[0]["events"][0]["name"])
        assert "orders.taken" in {metric["name"] for metric in collector.wait_for_metrics(1)}
        assert ["taken"] == [record["body"] for record in collector.wait_for_log_records(1)]


def test_untouched_costs_nothing(collector: Collector, tmp_path: Path, otel_versions: Path) -> None:
    """A function that does not use OpenTelemetry has nothing looked for, also beside a layer."""
    chosen = settings(tmp_path, otel_versions, "", f"sdk-{NEW}")
    with running(
        tmp_path / "task", USES_NONE, endpoint=collector.http_endpoint, **chosen
    ) as function:
        answers = [json.loads(function.invoke().answer) for _ in range(2)]

    assert [[], []] == answers
