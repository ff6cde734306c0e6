"""Times of the SDK's spans, moved to the clock of the invocation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lambdascope.otlp.model import Event, Span
from lambdascope.runtime.otel import convert

if TYPE_CHECKING:
    from collections.abc import Callable

MS = 1_000_000


def readings(*values: int) -> Callable[[], int]:
    """A clock with these readings."""
    left = list(values)
    return lambda: left.pop(0)


@pytest.mark.parametrize(
    ("monotonic", "wall", "shift"),
    [
        ((100, 200), 1150, 0),
        ((100, 200), 1150 + 900, 0),
        ((100, 200), 1150 + 5 * MS, 50 - 5 * MS),
        ((100, 200), 1150 - 5 * MS, 5 * MS - 50),
        ((100, 100 + 50 * MS), 1100 + 40 * MS, 0),
        ((100, 100 + 50 * MS), 1100 + 60 * MS, -10 * MS),
    ],
)
def test_what_is_to_be_added(
    monkeypatch: pytest.MonkeyPatch, monotonic: tuple[int, int], wall: int, shift: int
) -> None:
    """Only a difference that no pause between the readings can explain is one."""
    monkeypatch.setattr(convert, "monotonic_ns", readings(*monotonic))
    monkeypatch.setattr(convert, "time_ns", readings(wall))

    assert shift == convert.shift_ns(1000)


def test_a_span_with_a_step_inside() -> None:
    """Each end has its own correction; an event has the one that puts it into the span."""
    events = [Event(name=str(at), time_ns=at) for at in (12, 1015)]
    ids = {"trace_id": b"t" * 16, "span_id": b"s" * 8}
    span = Span(name="x", **ids, start_ns=10, end_ns=1020, events=events)
    convert.shifted(span, 0, -1000)

    assert [10, 12, 15, 20] == [span.start_ns, *(each.time_ns for each in events), span.end_ns]


def test_an_open_span() -> None:
    """What has no end gets none."""
    span = Span(name="x", trace_id=b"t" * 16, span_id=b"s" * 8, start_ns=10)

    assert (17, 0) == (convert.shifted(span, 7, 9).start_ns, span.end_ns)
