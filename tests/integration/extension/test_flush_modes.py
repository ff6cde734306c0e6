"""The real extension process under each flush setting, and in invocations that run long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fake_collector import FakeCollector, span_names, traces
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_fakes import Function

    Start = Callable[..., Function]


def test_end_mode(start: Start, collector: FakeCollector) -> None:
    """`end`: every invocation's spans have arrived before next is asked for."""
    function = start(**{names.ENV_FLUSH: "end"})
    for number in range(1, 12):
        function.invoke()
        assert number == len(collector.requests)
    assert "" == function.shut_down()


def test_periodic_mode(start: Start, collector: FakeCollector) -> None:
    """`periodic`: within an interval nothing is exported, and all of it at the end."""
    function = start(**{names.ENV_FLUSH: "periodic,600000"})
    for _ in range(12):
        function.invoke()
    assert [] == collector.requests
    assert "" == function.shut_down()
    assert 12 == len(collector.spans)


def test_wrong_setting_is_said(start: Start) -> None:
    """A setting that is not known is named in a line, and adaptive is taken."""
    function = start(**{names.ENV_FLUSH: "sometimes"})
    assert "sometimes" in function.extension.wait_line(names.ENV_FLUSH)
    function.invoke()
    function.shut_down()


def test_flush_before_the_timeout(start: Start, collector: FakeCollector) -> None:
    """An invocation that may not come to its end is flushed before its deadline."""
    function = start()
    function.platform.invoke("long", limit_s=2.5)
    sender = function.extension.anybody()
    assert 200 == sender.post(names.TRACES_PATH, traces("early"))[0].status
    collector.wait_requests(1)
    assert ["early"] == collector.spans
    assert 1 == len(function.platform.asked_at)
    function.shut_down()


def test_failures_leave_first(start: Start, collector: FakeCollector) -> None:
    """What tells of a failed invocation is in the first request, also after more of the others."""
    function = start(**{names.ENV_FLUSH: "continuous,600000"})
    for number in range(5):
        function.invoke(f"good{number}")
    function.platform.invoke("bad")
    function.runtime.post(names.TRACES_PATH, traces("failed", error=True))
    assert 200 == function.runtime.hand_over("bad", "root")
    function.platform.wait_next(7)
    function.shut_down()
    assert ["failed"] == span_names(collector.requests[0].body)
    assert {"failed", "root", *(f"good{number}" for number in range(5))} == set(collector.spans)
