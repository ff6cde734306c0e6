"""What an environment remembers of its past."""

from __future__ import annotations

from lambdascope.emulator.life import MAX_RECORD_BYTES, MAX_RECORDS, forget_old
from lambdascope.emulator.records import InvocationRecord


def record(number: int, size: int = 0) -> InvocationRecord:
    """A record with an event of that size."""
    return InvocationRecord(
        request_id=str(number),
        number=number,
        cold=False,
        event=b"x" * size,
        deadline_ms=0,
        trace_header="",
        invoked_function_arn="",
    )


def test_the_oldest_records_are_forgotten() -> None:
    """Their number is bounded."""
    records = [record(number) for number in range(MAX_RECORDS + 3)]
    forget_old(records)
    assert MAX_RECORDS == len(records)
    assert 3 == records[0].number


def test_large_records_push_out_more() -> None:
    """Their size is bounded as well, but the last one stays."""
    size = MAX_RECORD_BYTES // 2
    records = [record(1, size), record(2, size), record(3, size)]
    forget_old(records)
    assert [2, 3] == [kept.number for kept in records]
    records.append(record(4, 3 * size))
    forget_old(records)
    assert [4] == [kept.number for kept in records]
