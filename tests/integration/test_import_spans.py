"""What a cold start imports, as spans behind a real collector: in threads, lazily, failing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from observed import one, running

if TYPE_CHECKING:
    from pathlib import Path

    from collector import Collector
    from otlp_recorder import Item

pytestmark = pytest.mark.collector

# Long enough for a span: imports under 1 ms have none.
SLOW = "import time\ntime.sleep(0.005)\n"
APP = """
    import threading

    together = [threading.Thread(target=__import__, args=(name,)) for name in ("left", "right")]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()

    def handler(event, context):
        import importlib

        importlib.import_module("late")
        try:
            import broken
        except ZeroDivisionError:
            pass
        worker = threading.Thread(target=__import__, args=("aside",))
        worker.start()
        worker.join()
"""


def _spans(tmp_path: Path, collector: Collector) -> list[Item]:
    for name in ("left_inner", "right_inner", "late_inner", "aside"):
        (tmp_path / f"{name}.py").write_text(SLOW)
    for name in ("left", "right", "late"):
        (tmp_path / f"{name}.py").write_text(f"{SLOW}import {name}_inner\n")
    (tmp_path / "broken.py").write_text(f"{SLOW}1 / 0\n")
    with running(tmp_path, APP, endpoint=collector.http_endpoint) as function:
        function.invoke()
        function.invoke()
        function.shutdown()
    return collector.wait_for_spans(16)


def test_each_import_is_where_it_was_caused(collector: Collector, tmp_path: Path) -> None:
    """Under the loading of the handler, each thread apart; lazy ones under the first invocation."""
    spans = _spans(tmp_path, collector)
    by_id = {span["spanId"]: span["name"] for span in spans}
    ours = ("left", "right", "late", "broken", "aside")
    imports = {
        span["name"].removeprefix("import "): span
        for span in spans
        if span["name"].startswith(tuple(f"import {name}" for name in ours))
    }

    assert {
        "left": "load handler",
        "left_inner": "import left",
        "right": "load handler",
        "right_inner": "import right",
        "late": "shop",
        "late_inner": "import late",
        "broken": "shop",
        "aside": "shop",
    } == {name: by_id[span["parentSpanId"]] for name, span in imports.items()}
    first = min(
        (s for s in spans if s["name"] == "shop"), key=lambda s: int(s["startTimeUnixNano"])
    )
    assert {first["spanId"]} == {
        imports[name]["parentSpanId"] for name in ("late", "broken", "aside")
    }
    assert one(spans, "init shop")["traceId"] == imports["left"]["traceId"]
    for span in imports.values():
        own, total = (span["attributes"][f"lambdascope.import.{k}_ms"] for k in ("self", "total"))
        assert 0 <= own <= total
