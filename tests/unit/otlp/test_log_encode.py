"""Log records, held equal to the official encoder byte for byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from lambdascope.otlp import names
from lambdascope.otlp.log_model import LogRecord
from unit.otlp.official import SPAN_ID, START_NS, TRACE_ID, patient
from unit.otlp.official_metrics import log_encoder, official_logs

CASES = {
    "text": LogRecord(
        time_ns=START_NS,
        observed_ns=START_NS + 5,
        body="größer",
        severity_number=names.SEVERITY_ERROR,
        severity_text="ERROR",
        trace_id=TRACE_ID,
        span_id=SPAN_ID,
        flags=names.FLAG_SAMPLED,
        attributes={"faas.invocation_id": "r1", "nested": {"a": [1, None]}},
    ),
    "structured": LogRecord(time_ns=START_NS, body={"data": {"n": 12.5}, "ok": True, "no": None}),
    "event": LogRecord(time_ns=1, body="x", event_name="faas.invocation.exception"),
    "empty text": LogRecord(time_ns=START_NS, body=""),
    "no trace": LogRecord(time_ns=START_NS, body=["a", 1, b"b"]),
}


@pytest.mark.parametrize("case", CASES)
def test_bytes_are_the_official_ones(case: str) -> None:
    """Our bytes are those that the official package makes of the same record."""
    assert official_logs([CASES[case]]).SerializeToString() == log_encoder().encode([CASES[case]])


def test_many_records_share_one_resource_and_scope() -> None:
    """All records of a call are in one ResourceLogs and one ScopeLogs, in order."""
    records = list(CASES.values())

    assert official_logs(records).SerializeToString() == log_encoder().encode(records)


def test_records_that_are_encoded_one_by_one_are_the_same() -> None:
    """`record` and `wrap` together give what `encode` gives."""
    records = list(CASES.values())
    encoder = log_encoder()

    assert encoder.encode(records) == encoder.wrap([encoder.record(one) for one in records])


def test_no_records_give_an_empty_request() -> None:
    """Without records there is nothing to say about the resource either."""
    assert log_encoder().encode([]) == b""


def test_what_the_official_encoder_cannot_hold() -> None:
    """A count of dropped attributes, a body of None and odd text make a readable message."""
    body = log_encoder().encode(
        [LogRecord(time_ns=-1, body=None, severity_text="\udc80", dropped_attributes=3)]
    )

    message = ExportLogsServiceRequest.FromString(body)
    (record,) = message.resource_logs[0].scope_logs[0].log_records
    assert not record.HasField("body")
    assert (record.time_unix_nano, record.severity_text) == (0, "?")
    assert record.dropped_attributes_count == 3


VALUES = st.recursive(
    st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats() | st.text() | st.binary(),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=10,
)
TIMES = st.integers(0, (1 << 64) - 1)
RECORDS = st.builds(
    lambda **fields: LogRecord(**fields),
    time_ns=TIMES,
    observed_ns=TIMES.filter(bool),
    body=VALUES,
    severity_number=st.integers(0, 24),
    severity_text=st.text(),
    event_name=st.text(),
    attributes=st.dictionaries(st.text(min_size=1), VALUES, max_size=4),
    trace_id=st.binary(min_size=16, max_size=16).filter(any),
    span_id=st.binary(min_size=8, max_size=8).filter(any),
    flags=st.integers(0, 255),
)


@patient
@given(records=st.lists(RECORDS, max_size=3))
def test_any_records_are_written_as_officially(records: list[LogRecord]) -> None:
    """For any records that the official encoder takes, our bytes are the same as its bytes."""
    assert official_logs(records).SerializeToString() == log_encoder().encode(records)
