"""Batches that no platform would send: whatever is in them, the collector goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.otlp import names
from lambdascope.wire.names import ENV_LOGS
from lambdascope_extension.records.invocations import MAX_OPEN, MAX_SETTLED
from unit.extension.records.platform_kit import (
    INIT,
    REQUEST_ID,
    Kit,
    at,
    done,
    handed_over_spans,
    report,
    start,
)
from unit.otlp.official import patient

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "requestId",
        "status",
        "errorType",
        "metrics",
        "spans",
        "tracing",
        "instanceId",
        "instanceMaxMemory",
        "initializationType",
        "droppedRecords",
        "reason",
    ]
)
METRICS = st.dictionaries(
    st.sampled_from(["durationMs", "maxMemoryUsedMB", "initDurationMs", "billedDurationMs"]), JSON
)
SPANS = st.lists(
    st.dictionaries(st.sampled_from(["name", "start", "durationMs"]), JSON), max_size=3
)
KINDS = st.sampled_from(
    [
        "platform.initStart",
        "platform.initReport",
        "platform.restoreReport",
        "platform.start",
        "platform.runtimeDone",
        "platform.report",
        "platform.logsDropped",
        "function",
        "extension",
    ]
)
ITEMS = JSON | st.fixed_dictionaries(
    {
        "type": KINDS | JSON,
        "time": st.just(at(5)) | JSON,
        "record": JSON
        | st.dictionaries(FIELDS, st.just(REQUEST_ID) | METRICS | SPANS | JSON, max_size=6),
    }
)


@patient
@given(batches=st.lists(st.lists(ITEMS, max_size=5), max_size=4), is_fed=st.booleans())
def test_any_json_is_survived(batches: list[list[Any]], *, is_fed: bool) -> None:
    """Any JSON at all gives bodies that the official package reads, and a balanced ledger."""
    kit = Kit(**{ENV_LOGS: "otlp,extension"})
    if is_fed:
        kit.handed_over.remember(REQUEST_ID, handed_over_spans())
    for batch in batches:
        kit.collector.take(json.dumps(batch).encode("utf-8", "replace"), 1.0)
    made = kit.finish()

    assert made.metrics
    for account in kit.buffer.ledger.accounts.values():
        assert account.accepted == account.exported + sum(account.dropped.values()) + account.held


@patient
@given(body=st.binary(max_size=60))
def test_any_bytes_are_survived(body: bytes) -> None:
    """What is no JSON array is counted as such."""
    kit = Kit()
    kit.collector.take(body, 1.0)

    assert kit.finish().values(names.LAMBDASCOPE_TELEMETRY_PROBLEMS) == {("not_a_batch",): 1}


@pytest.mark.parametrize("depth", [1_000, 100_000])
def test_deep_nesting_is_survived(depth: int) -> None:
    """JSON that is nested deeper than Python goes is no batch."""
    kit = Kit()
    kit.collector.take(b"[" * depth + b"]" * depth, 1.0)

    assert kit.finish().metrics


def test_memory_is_flat_over_many_invocations() -> None:
    """After thousands of invocations no more is kept than the bounds say."""
    kit = Kit()
    kit.take(*INIT)
    for number in range(3_000):
        name = f"r{number}"
        kit.handed_over.remember(name, handed_over_spans(name))
        kit.take(start(name), done(name), report(name))
        if number % 100 == 0:
            kit.collector.collect(float(number))
            kit.made()
    invocations = kit.collector._invocations

    assert 0 == len(invocations._open)
    assert MAX_SETTLED >= len(invocations._settled)
    assert MAX_OPEN >= len(kit.handed_over.bodies)
    assert [] == invocations.spans
