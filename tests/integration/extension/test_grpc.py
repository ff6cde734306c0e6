"""The real extension process and a real collector's gRPC port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from collector import Collector
from fake_collector import ENDPOINT
from observed import PATIENT_MS, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from extension_fakes import Function

GRPC = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
ECHO = """
    def handler(event, context):
        return event
"""


@pytest.mark.collector
@pytest.mark.parametrize("compression", ["", "gzip"])
def test_spans_and_metrics_reach_a_collector(
    collector_binary: Path, tmp_path: Path, compression: str
) -> None:
    """All signals of an environment arrive over gRPC, and nothing is said."""
    variables = {**GRPC, "LAMBDASCOPE_HOLD_BUDGET_MS": PATIENT_MS}
    if compression:
        variables["OTEL_EXPORTER_OTLP_COMPRESSION"] = compression
    with Collector(collector_binary, tmp_path) as collector:
        with running(
            tmp_path, ECHO, endpoint=collector.grpc_endpoint, variables=variables
        ) as function:
            function.invoke(b"{}")
            function.shutdown()

        assert "shop" in {span["name"] for span in collector.wait_for_spans(3)}
        assert "faas.invocations" in {one["name"] for one in collector.wait_for_metrics(3)}
    assert [] == [line for line in function.lines.texts() if "lambdascope: " in line]


def test_http_receiver(start: Callable[..., Function]) -> None:
    """What is no gRPC receiver is said once, with what to do; nothing gets lost silently."""
    function = start(**GRPC)
    function.invoke("a")
    line = function.extension.wait_line("failed: UNAVAILABLE")
    last = function.shut_down()

    assert "usually at 4317" in line
    assert "traces: 1 spans accepted, 0 exported" in last


def test_nobody_listens(start: Callable[..., Function]) -> None:
    """A dead gRPC collector costs a line, and the function goes on."""
    function = start(**GRPC, **{ENDPOINT: "http://127.0.0.1:9"})
    function.invoke("a")

    assert "kept for another try" in function.extension.wait_line("failed: UNAVAILABLE")
    function.shut_down()
