"""When an invocation counts as over, for every source of the news and for none."""

from __future__ import annotations

from lambdascope_extension.end_tracker import FIRST_BATCH_S, GRACE_AFTER_DONE_S, EndTracker

LIMIT = 102.8


def tracker(*, hello: bool = True, subscribed: bool = False, wanted: bool = True) -> EndTracker:
    """A tracker in the middle of invocation "r", which began at 100."""
    ends = EndTracker(subscribed=subscribed)
    if hello:
        ends.on_hello()
    ends.begin("r", 100.0, LIMIT, wanted=wanted)
    return ends


def test_done_with_all_spans_ends() -> None:
    """The runtime's done signal ends the invocation when the spans that it announced are here."""
    ends = tracker()
    assert not ends.is_over(101.0)
    ends.on_spans("r", 2)
    assert not ends.is_over(101.0)
    ends.on_done("r", 2, 101.0)
    assert ends.is_over(101.0)


def test_announced_spans_are_waited_for_briefly() -> None:
    """Spans that are announced and missing get a grace and no more."""
    ends = tracker()
    ends.on_done("r", 2, 101.0)
    ends.on_spans("r", 1)
    assert not ends.is_over(101.01)
    assert 101.0 + GRACE_AFTER_DONE_S == ends.wake_at()
    assert ends.is_over(101.0 + GRACE_AFTER_DONE_S)


def test_news_may_come_before_the_event() -> None:
    """A handler can be faster than the platform's event for the extension."""
    ends = EndTracker(subscribed=False)
    ends.on_spans("r", 1)
    ends.on_done("r", 1, 99.9)
    ends.begin("r", 100.0, LIMIT, wanted=True)
    assert ends.is_over(100.0)


def test_news_of_other_invocations_do_not_count() -> None:
    """The end of an earlier invocation, heard late, does not end this one."""
    ends = tracker()
    ends.on_done("before", 0, 100.1)
    ends.on_runtime_done("before")
    assert not ends.is_over(101.0)


def test_runtime_that_ends_ends_the_invocation() -> None:
    """When the runtime's connection closes, nobody will say done."""
    ends = tracker()
    ends.on_runtime_gone()
    assert ends.is_over(100.1)
    assert (False, True) == (ends.runtime_is_present, ends.runtime_was_present)


def test_deadline_reserve_ends_the_waiting() -> None:
    """Without any news the waiting ends at the limit."""
    ends = tracker()
    assert LIMIT == ends.wake_at()
    assert [False, True] == [ends.is_over(LIMIT - 0.01), ends.is_over(LIMIT)]


def test_silent_runtime_is_not_waited_for_twice() -> None:
    """A runtime that let an invocation pass without a word costs no second one its whole time."""
    ends = tracker()
    assert ends.is_over(LIMIT)
    ends.begin("next", 200.0, 202.8, wanted=True)
    assert ends.is_over(200.0)
    ends.on_done("next", 0, 200.1)
    ends.begin("third", 300.0, 302.8, wanted=True)
    assert not ends.is_over(300.0)


def test_nobody_known_means_over_at_once() -> None:
    """With neither our runtime nor telemetry there is nothing to wait for."""
    ends = tracker(hello=False)
    assert not ends.ends_are_known
    assert ends.is_over(100.0)


def test_first_telemetry_is_hoped_for_once() -> None:
    """A subscription alone is trusted for a moment; if nothing comes, never again."""
    ends = tracker(hello=False, subscribed=True)
    assert 100.0 + FIRST_BATCH_S == ends.wake_at()
    assert not ends.is_over(100.05)
    assert ends.is_over(100.0 + FIRST_BATCH_S)
    ends.begin("next", 200.0, 202.8, wanted=True)
    assert ends.is_over(200.0)


def test_runtime_done_record_ends() -> None:
    """With telemetry and a foreign runtime the platform's record ends the invocation."""
    ends = tracker(hello=False, subscribed=True)
    ends.on_telemetry()
    assert not ends.is_over(101.0)
    ends.on_runtime_done("r")
    assert ends.is_over(101.0)


def test_late_record_is_not_waited_for_without_need() -> None:
    """The record comes 25 ms late: who would not flush at the end does not wait for it."""
    ends = tracker(hello=False, subscribed=True, wanted=False)
    ends.on_telemetry()
    assert ends.is_over(100.0)


def test_record_is_looked_for_before_it_is_parsed() -> None:
    """Only a batch that holds the id of the current invocation is worth parsing."""
    ends = tracker()
    assert [True, False] == [ends.is_current(b'{"requestId":"r"}'), ends.is_current(b"{}")]


def test_a_record_that_never_comes_is_waited_for_once() -> None:
    """Batches that come afterwards do not make it wait again, unless they tell in time."""
    ends = tracker(hello=False)
    ends.on_telemetry()
    assert not ends.is_over(LIMIT - 0.1)
    assert ends.is_over(LIMIT)
    ends.on_telemetry()
    ends.begin("s", 200.0, 203.0, wanted=True)
    assert ends.is_over(200.0)
    ends.begin("t", 300.0, 303.0, wanted=True)
    ends.on_runtime_done("t")
    ends.begin("u", 400.0, 403.0, wanted=True)

    assert not ends.is_over(400.0)


def test_many_records_of_others_do_not_push_out_the_current_one() -> None:
    """A batch tells the ends of all the invocations before, beside the current one's begin."""
    ends = tracker()
    for number in range(100):
        ends.on_runtime_done(f"earlier {number}")
    ends.on_spans("r", 1)
    assert ends.has_spans("r")
    ends.on_done("r", 1, 101.0)

    assert ends.is_over(101.0)
    assert ends.is_done("r")


def test_memory_is_bounded() -> None:
    """Signals for ids that never become invocations are forgotten."""
    ends = tracker()
    for number in range(1000):
        ends.on_spans(f"id-{number}", 1)
    ends.begin("id-0", 200.0, 202.8, wanted=True)
    ends.on_done("id-0", 1, 201.0)
    assert not ends.is_over(201.0)  # its early span was forgotten
    ends.on_spans("id-0", 1)
    assert ends.is_over(201.0)
