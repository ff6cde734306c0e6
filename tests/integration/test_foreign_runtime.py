"""AWS's own Python client with our extension beside it: no handoff, no signal from the runtime.

The extension takes what a stock OpenTelemetry SDK sends, and knows the end of an invocation from
the platform's telemetry or not at all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import stock_sdk
from free_ports import free_ports
from lambdascope.emulator.config import (
    TELEMETRY_MISSING,
    TELEMETRY_ON,
    TELEMETRY_UNSUPPORTED,
)
from observed import PATIENT_MS, running, site_packages

if TYPE_CHECKING:
    from collector import Collector
    from lambdascope.emulator.records import InvocationRecord

pytestmark = pytest.mark.peers

APP = """
    def handler(event, context):
        if event == "raise":
            raise ValueError("no such order")
        return {"event": event, "request_id": context.aws_request_id}
"""


@pytest.fixture
def foreign(peer_python: Path) -> dict[str, Any]:
    """Settings of a function under AWS's client, with our extension on a known port."""
    (port,) = free_ports(1)
    return {
        "runtime": (str(peer_python), "-m", "awslambdaric", "{handler}"),
        "variables": {
            "LAMBDASCOPE_OTLP_PORT": str(port),
            "LAMBDASCOPE_HOLD_BUDGET_MS": PATIENT_MS,
            "PYTHONPATH": site_packages(),
        },
    }


def overhead_ms(record: InvocationRecord) -> float:
    """How long the extension was back later than the runtime."""
    (phase,) = [phase for phase in record.phases if phase.name == "extension overhead"]
    return phase.duration_ms


@pytest.mark.parametrize("telemetry", [TELEMETRY_ON, TELEMETRY_UNSUPPORTED, TELEMETRY_MISSING])
def test_invocations_are_not_affected(
    foreign: dict[str, Any], tmp_path: Path, telemetry: str
) -> None:
    """Answers are those of the function, and nothing waits for what will not come."""
    with running(tmp_path, APP, endpoint=None, telemetry=telemetry, **foreign) as function:
        records = [function.invoke(json.dumps(event).encode()) for event in (1, "raise", 2)]
    first, failed, last = records

    for record, event in ((first, 1), (last, 2)):
        assert {"event": event, "request_id": record.request_id} == json.loads(record.answer)
        assert "success" == record.status
    assert "ValueError" == json.loads(failed.answer)["errorType"]
    # Whoever waits for an end that nobody tells is back shortly before the timeout of 20 s.
    assert [] == [overhead for r in records if (overhead := overhead_ms(r)) > 5000]


@pytest.mark.parametrize("telemetry", [TELEMETRY_UNSUPPORTED, TELEMETRY_MISSING])
def test_a_refused_subscription_raises_no_hopes(
    foreign: dict[str, Any], tmp_path: Path, telemetry: str
) -> None:
    """With 202 or 404 there will be no records: not even the first invocation waits for them."""
    overheads = []
    for _ in range(3):  # the machine may be busy, but hardly each time at the same moment
        with running(tmp_path, APP, endpoint=None, telemetry=telemetry, **foreign) as function:
            overheads.append(overhead_ms(function.invoke()))
    # An extension that subscribed in vain waits 100 ms for the first batch.
    assert min(overheads) < 50


def test_without_telemetry_the_extension_waits_for_nobody(
    foreign: dict[str, Any], tmp_path: Path, collector: Collector
) -> None:
    """It is back before the handler; what came meanwhile leaves beside the next invocation."""
    source = Path(stock_sdk.__file__).read_text()
    foreign["telemetry"] = TELEMETRY_UNSUPPORTED
    with running(tmp_path, source, endpoint=collector.http_endpoint, **foreign) as function:
        first = function.invoke(b'"send"')
        assert (b'"send"', 0.0) == (first.answer, overhead_ms(first))
        assert [] == collector.recorder.bodies
        assert b'"again"' == function.invoke(b'"again"').answer
        check_items(collector)  # from now on the environment is frozen


def test_with_telemetry_an_invocation_is_flushed_at_its_end(
    foreign: dict[str, Any], tmp_path: Path, collector: Collector
) -> None:
    """The platform's runtimeDone is the end: then everything leaves before the next invocation."""
    source = Path(stock_sdk.__file__).read_text()
    with running(tmp_path, source, endpoint=collector.http_endpoint, **foreign) as function:
        record = function.invoke(b'"send"')
        check_items(collector)  # from now on the environment is frozen
    assert b'"send"' == record.answer
    assert overhead_ms(record) > 0


def check_items(collector: Collector) -> None:
    """What stock_sdk.py sends has arrived once."""
    assert ["pack"] == [span["name"] for span in collector.wait_for_spans(1)]
    assert ["orders"] == [metric["name"] for metric in collector.wait_for_metrics(1)]
    assert ["order 17 is late"] == [r["body"] for r in collector.wait_for_log_records(1)]
