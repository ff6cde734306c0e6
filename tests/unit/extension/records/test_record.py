"""Records of the Telemetry API, read to the last field, whatever is missing or wrong in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope_extension.records.record import parse_time, read_record
from unit.extension.records.platform_kit import HEADER, INIT, at_ns, done, item, report, start
from unit.otlp.official import patient

TRACING = {"spanId": "89abcdef01234567", "type": "X-Amzn-Trace-Id", "value": HEADER}
EVERY_TYPE = [
    *INIT,
    start(tenantId="t", tracing=TRACING),
    done(errorType="Runtime.ExitError", status="error", tracing=TRACING, tenantId="t"),
    report(errorType="Runtime.ExitError", status="error", tracing=TRACING),
    item(
        "platform.restoreStart",
        functionName="shop",
        functionVersion="3",
        instanceId="s",
        instanceMaxMemory=1,
        runtimeVersion="python:3.13.v1",
        runtimeVersionArn="arn",
    ),
    item("platform.restoreRuntimeDone", status="failure", errorType="X", spans=[], tracing=TRACING),
    item("platform.restoreReport", status="success", metrics={"durationMs": 1}, spans=[]),
    item(
        "platform.report",
        requestId="r",
        status="success",
        metrics={
            "durationMs": 1,
            "billedDurationMs": 2,
            "memorySizeMB": 3,
            "maxMemoryUsedMB": 4,
            "restoreDurationMs": 5,
            "billedRestoreDurationMs": 6,
        },
    ),
    item("platform.extension", name="x", state="LaunchError", events=[], errorType="TooMany"),
    item("platform.logsDropped", reason="slow", droppedRecords=12, droppedBytes=3400),
    item("platform.end", requestId="r"),
    item("platform.logsSubscription", name="x", state="Subscribed", types=["function"]),
    {"type": "platform.fault", "time": "2026-01-01T00:00:00.000Z", "record": "RequestId: r Error"},
]


@pytest.mark.parametrize("one", EVERY_TYPE, ids=lambda one: one["type"])
def test_every_type_is_read_to_the_last_field(one: dict[str, Any]) -> None:
    """Of no known record anything is unknown, and its time, metrics and spans are all there."""
    record = read_record(one)

    fields = one["record"] if isinstance(one["record"], dict) else {}
    assert [] == record.unknown
    assert one["type"] == record.kind
    assert record.time_ns >= at_ns(0)
    assert fields.get("metrics", {}) == record.metrics
    assert [span["name"] for span in fields.get("spans", [])] == [span[0] for span in record.spans]
    assert fields.get("requestId", "") == record.request_id
    assert (fields.get("status", ""), fields.get("errorType", "")) == (
        record.status,
        record.error_type,
    )
    assert (HEADER if "tracing" in fields else "") == record.trace


def test_what_the_schema_does_not_have_is_named() -> None:
    """New types, fields and metrics are found, so that they can be counted."""
    assert [""] == read_record(item("platform.brandNew", a=1)).unknown
    assert ["newField"] == read_record(start(newField=1)).unknown
    assert ["newMetric"] == read_record(report(metrics={"newMetric": 1.5})).unknown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=8,
)
FIELD_NAMES = ["requestId", "status", "errorType", "metrics", "spans", "tracing", "instanceId"]


@patient
@given(
    kind=st.sampled_from([one["type"] for one in EVERY_TYPE]) | st.text(),
    time=JSON,
    record=JSON | st.dictionaries(st.sampled_from(FIELD_NAMES), JSON),
)
def test_no_value_makes_a_record_unreadable(kind: str, time: object, record: object) -> None:
    """Whatever JSON has in the place of a field, reading does not raise."""
    found = read_record({"type": kind, "time": time, "record": record})

    assert isinstance(found.request_id, str)
    assert all(isinstance(value, (int, float)) for value in found.metrics.values())


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("2026-01-01T00:00:00.100Z", at_ns(100)),
        ("2026-01-01T00:00:00.100200300Z", at_ns(100) + 200_300),
        ("2026-01-01T00:00:00,5Z", at_ns(500)),
        ("2026-01-01T00:00:00:521Z", at_ns(521)),
        ("2026-01-01T00:00:00Z", at_ns(0)),
        ("2026-01-01T00:00:00", at_ns(0)),
        ("2026-01-01T02:00:00.000+02:00", at_ns(0)),
        ("2025-12-31T22:30:00.000-0130", at_ns(0)),
        ("", 0),
        ("yesterday", 0),
        ("2026-13-01T00:00:00.000Z", 0),
        ("1969-01-01T00:00:00.000Z", 0),
        ("2026-01-01T00:00:00.000+x", 0),
    ],
)
def test_times(text: str, nanoseconds: int) -> None:
    """Any fraction and zone is read; what is no time is 0."""
    assert nanoseconds == parse_time(text)


@patient
@given(
    moment=st.datetimes(min_value=datetime(1970, 1, 2), max_value=datetime(2500, 1, 1)),  # noqa: DTZ001
    minutes=st.integers(-720, 720),
)
def test_times_are_those_of_the_standard_library(moment: datetime, minutes: int) -> None:
    """Every day of the calendar and every zone is counted as `datetime` counts it."""
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))

    since = zoned - datetime(1970, 1, 1, tzinfo=UTC)
    microseconds = since // timedelta(microseconds=1)
    assert microseconds * 1000 == parse_time(zoned.isoformat(timespec="microseconds"))
