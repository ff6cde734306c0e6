"""The loop in one process: what it posts, and what SIGTERM may interrupt."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from lambdascope.runtime.api import RuntimeApiError
from lambdascope.runtime.faults import Fault
from lambdascope.runtime.logs import Logs
from lambdascope.runtime.loop import Loop, check_size
from lambdascope.runtime.termination import Terminated, Termination
from lambdascope.wire import names
from unit.runtime.kit import make_config, make_invocation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lambdascope.runtime.telemetry import InvokeTimes
    from lambdascope.wire.runtime_api import Invocation, InvocationError, InvocationResponse


class _Api:
    """A fake: hands out events, then says that the environment ends; keeps what is posted."""

    def __init__(self, *events: Invocation) -> None:
        self._events = list(events)
        self.posted: list[InvocationResponse | InvocationError] = []
        self.before_next: Callable[[], object] = lambda: None
        self.after_post: Callable[[], object] = lambda: None
        self.refuse: RuntimeApiError | None = None

    def next(self) -> Invocation:
        self.before_next()
        if not self._events:
            raise RuntimeApiError("no more")
        return self._events.pop(0)

    def post(self, message: InvocationResponse | InvocationError) -> tuple[int, str]:
        if self.refuse is not None:
            raise self.refuse
        self.posted.append(message)
        self.after_post()
        return names.ACCEPTED, ""


class _Telemetry:
    """A fake: keeps the times of what has ended."""

    def __init__(self) -> None:
        self.open = 0
        self.ended_times: list[InvokeTimes] = []
        self.events: list[object] = []
        self.during: Callable[[], object] = lambda: None
        self.terminations = 0

    def began(self, times: InvokeTimes) -> None:
        self.open += 1

    def started(self, times: InvokeTimes, event: object, context: object) -> None:
        self.events.append(event)

    def ended(self, times: InvokeTimes, error: object) -> None:
        self.during()
        self.ended_times.append(times)

    def terminated(self) -> None:
        self.terminations += 1


class _World:
    """A loop with fakes around it."""

    def __init__(self, handler: Callable[..., object], *events: Invocation) -> None:
        self.api = _Api(*(events or (make_invocation(),)))
        self.telemetry = _Telemetry()
        self.termination = Termination(self.telemetry.terminated)
        self.loop = Loop(
            make_config(),
            handler,
            api=self.api,
            logs=Logs(json_format=False, level="", frame_fd=None),
            telemetry=self.telemetry,
            termination=self.termination,
        )


@pytest.fixture(autouse=True)
def _sigterm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_success() -> None:
    """An event goes through the handler and its result is posted, with times in order."""
    world = _World(lambda event, context: {"got": event}, make_invocation(b'{"a": 1}'))

    assert 1 == world.loop.run()

    (response,) = world.api.posted
    assert (b'{"got": {"a": 1}}', "application/json") == (response.body, response.content_type)
    (times,) = world.telemetry.ended_times
    assert times.received_ns <= times.entered_ns <= times.returned_ns <= times.reported_ns
    assert (len(response.body), names.ACCEPTED) == (times.response_size, times.status_code)


def test_sigterm_while_waiting() -> None:
    """SIGTERM interrupts the wait for an event."""
    world = _World(lambda event, context: None)
    world.termination.install()
    world.api.before_next = _terminate

    with pytest.raises(Terminated):
        world.loop.run()

    assert 1 == world.telemetry.terminations
    assert 0 == world.telemetry.open


def test_sigterm_in_the_handler() -> None:
    """SIGTERM interrupts the handler, after the open invocation was handed over."""
    world = _World(lambda event, context: _terminate())
    world.termination.install()

    with pytest.raises(Terminated):
        world.loop.run()

    assert 1 == world.telemetry.terminations
    assert [] == world.api.posted


def test_sigterm_that_the_handler_swallows() -> None:
    """A handler that catches everything is not asked for another event."""

    def handler(event: object, context: object) -> str:
        try:
            _terminate()
        except BaseException:  # noqa: BLE001 - what users do
            return "swallowed"
        return "not interrupted"

    world = _World(handler, make_invocation(), make_invocation())
    world.termination.install()

    with pytest.raises(Terminated):
        world.loop.run()

    assert [b'"swallowed"'] == [response.body for response in world.api.posted]
    assert 1 == world.telemetry.terminations


def test_sigterm_in_telemetry() -> None:
    """While telemetry is at work SIGTERM is only noted; the loop ends before the next event."""
    world = _World(lambda event, context: 1, make_invocation(), make_invocation())
    world.termination.install()
    steps: list[str] = []
    world.telemetry.during = lambda: (_terminate(), steps.append("went on"))

    with pytest.raises(Terminated):
        world.loop.run()

    assert ["went on"] == steps
    assert 1 == len(world.telemetry.ended_times)
    assert 0 == world.telemetry.terminations


def test_sigterm_while_posting() -> None:
    """A post is never cut in the middle, and its spans are handed over."""
    world = _World(lambda event, context: 1, make_invocation(), make_invocation())
    world.termination.install()
    world.api.after_post = _terminate

    with pytest.raises(Terminated):
        world.loop.run()

    assert (1, 1) == (len(world.api.posted), len(world.telemetry.ended_times))


def test_sigterm_twice() -> None:
    """A second SIGTERM while the first is being acted on does nothing."""
    world = _World(lambda event, context: _terminate())
    world.termination.install()
    real = world.telemetry.terminated
    world.termination._flush = lambda: (_terminate(), real())

    with pytest.raises(Terminated):
        world.loop.run()

    assert 1 == world.telemetry.terminations


def test_terminated_ends_a_process_quietly() -> None:
    """Terminated is a SystemExit: asyncio and threads let it pass, and it has no traceback."""
    assert issubclass(Terminated, SystemExit)
    assert Terminated().code is None


def test_spans_of_an_answer_that_was_refused() -> None:
    """When the Runtime API fails at the post, the invocation's spans are still handed over."""
    world = _World(lambda event, context: 1)
    world.api.refuse = RuntimeApiError("answered 500", status=500)

    assert 1 == world.loop.run()

    (times,) = world.telemetry.ended_times
    assert 500 == times.status_code
    assert times.reported_ns


def test_error_before_the_handler() -> None:
    """An event that is no JSON never reaches the handler."""
    called: list[object] = []
    world = _World(lambda event, context: called.append(event), make_invocation(b"{"))

    world.loop.run()

    assert names.FAULT_UNMARSHAL == world.api.posted[0].error_type
    assert [] == called
    assert 0 == world.telemetry.ended_times[0].entered_ns
    assert world.telemetry.ended_times[0].returned_ns


@pytest.mark.parametrize("extra", [0, 1])
def test_size_limit(extra: int) -> None:
    """6 291 556 bytes are the most that is posted; beyond it the platform's words are used."""
    body = bytes(names.MAX_PAYLOAD_BYTES + extra)
    if not extra:
        check_size(body)
        return

    with pytest.raises(Fault, match=r"6291557 bytes.*6291556 bytes") as caught:
        check_size(body)

    assert names.FAULT_RESPONSE_SIZE == caught.value.error_type
