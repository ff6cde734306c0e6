"""What the loop tells about invocations, on its way to the extension: nothing may fail or wait."""

from __future__ import annotations

import sys

import pytest

from lambdascope.runtime import telemetry as telemetry_module
from lambdascope.runtime.faults import ErrorReport
from lambdascope.runtime.handoff import BUDGET_S
from lambdascope.runtime.logs import Logs
from lambdascope.runtime.telemetry import InvokeTimes, Telemetry
from unit.runtime.kit import make_config, make_invocation, make_times


class _Handoff:
    """A fake: keeps what would be sent."""

    budget_s = BUDGET_S

    def __init__(self, *, present: bool = True) -> None:
        self.present = present
        self.sent: list[tuple[bytes, str, int]] = []
        self.budgets: list[float] = []
        self.finished = 0
        # How many spans each send loses.
        self.drops = 0
        self.dropped_spans = 0

    def send(self, body: bytes, request_id: str, spans: int, *, budget_s: float = 9.0) -> None:
        self.sent.append((body, request_id, spans))
        self.budgets.append(budget_s)
        self.dropped_spans += self.drops

    def finish(self) -> None:
        self.finished += 1


class _Phases:
    """A fake: a word for each body; raises when it is told to."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.made = 0

    def __call__(self) -> _Phases:
        self.made += 1
        return self

    def finished(self, times: InvokeTimes, error: ErrorReport | None) -> tuple[bytes, int]:
        if self.broken:
            raise RuntimeError("a bug of ours")
        return (b"failed" if error else b"fine"), 2

    def cut_short(self, times: InvokeTimes, kind: str, message: str) -> tuple[bytes, int]:
        if self.broken:
            raise RuntimeError("a bug of ours")
        return kind.encode(), 1

    def init_failed(self, error: ErrorReport) -> tuple[bytes, int]:
        if self.broken:
            raise RuntimeError("a bug of ours")
        return b"init", 3


class _Imports:
    removed = 0

    def remove(self) -> None:
        self.removed += 1


def _telemetry(
    handoff: _Handoff, phases: _Phases | None, imports: _Imports | None = None
) -> Telemetry:
    logs = Logs(json_format=False, level="", frame_fd=None)
    return Telemetry(make_config(), phases, handoff, logs, imports)


def test_each_invocation_is_handed_over() -> None:
    """Every invocation gives one send with its spans; phases are made once, at the first."""
    handoff, phases = _Handoff(), _Phases()
    telemetry = _telemetry(handoff, phases)
    times = make_times()

    telemetry.began(times)
    assert 0 == phases.made
    telemetry.ended(times, None)
    telemetry.ended(times, ErrorReport(ValueError(), "r"))

    request_id = times.invocation.request_id
    assert [(b"fine", request_id, 2), (b"failed", request_id, 2)] == handoff.sent
    assert 1 == phases.made


def test_without_extension() -> None:
    """Where nobody takes them no spans are made, and their modules are not loaded."""
    handoff, phases = _Handoff(present=False), _Phases()
    telemetry = _telemetry(handoff, phases)

    telemetry.ended(make_times(), None)
    telemetry.init_failed(ErrorReport(ValueError(), ""))
    telemetry.terminated()

    assert ([], 0) == (handoff.sent, phases.made)


def test_switched_off() -> None:
    """With telemetry off the extension still learns that the invocation is over."""
    handoff = _Handoff()
    telemetry = _telemetry(handoff, None)
    times = make_times()

    telemetry.ended(times, None)
    telemetry.began(times)
    telemetry.init_failed(ErrorReport(ValueError(), ""))
    telemetry.terminated()

    assert [(b"", times.invocation.request_id, 0)] == handoff.sent


def test_fault_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """A bug in the making of spans is said once and counted, and the end is still signalled."""
    handoff = _Handoff()
    telemetry = _telemetry(handoff, _Phases(broken=True))
    times = make_times()

    telemetry.ended(times, None)
    telemetry.ended(times, None)
    telemetry.init_failed(ErrorReport(ValueError(), ""))
    telemetry.began(times)
    telemetry.terminated()

    assert [(b"", times.invocation.request_id, 0)] * 2 == handoff.sent
    assert 4 == telemetry.faults
    assert (
        "lambdascope: telemetry of this invocation is lost: RuntimeError: a bug of ours "
        "(a fault of lambdascope; the function is not affected)\n"
    ) == capsys.readouterr().err


def test_import_hook_is_removed_after_the_first_invocation() -> None:
    """Imports are timed until the first invocation has been reported, with and without handoff."""
    for present in (True, False):
        imports = _Imports()
        telemetry = _telemetry(_Handoff(present=present), _Phases(), imports)
        telemetry.began(make_times())
        assert 0 == imports.removed

        telemetry.ended(make_times(), None)
        telemetry.ended(make_times(), None)

        assert 1 == imports.removed


@pytest.mark.parametrize(("in_ms", "kind"), [(5000, b"terminated"), (-1, b"timeout")])
def test_terminated_while_running(in_ms: int, kind: bytes) -> None:
    """SIGTERM hands the open invocation over; after the deadline it was the timeout."""
    handoff = _Handoff()
    telemetry = _telemetry(handoff, _Phases())
    times = make_times(make_invocation(in_ms=in_ms))
    telemetry.began(times)

    telemetry.terminated()
    telemetry.terminated()

    assert [(kind, times.invocation.request_id, 1)] == handoff.sent
    assert 2 == handoff.finished


def test_deadline_is_monotonic(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of the wall clock does not turn an end into a timeout."""
    handoff = _Handoff()
    telemetry = _telemetry(handoff, _Phases())
    telemetry.began(make_times(make_invocation(in_ms=5000)))
    monkeypatch.setattr(telemetry_module, "time_ns", lambda: 2**62)

    telemetry.terminated()

    assert b"terminated" == handoff.sent[0][0]


def test_terminated_while_idle() -> None:
    """SIGTERM between invocations only waits for the last answer."""
    handoff = _Handoff()
    telemetry = _telemetry(handoff, _Phases())
    times = make_times()
    telemetry.began(times)
    telemetry.ended(times, None)

    telemetry.terminated()

    assert (1, 1) == (len(handoff.sent), handoff.finished)


def test_init_failed() -> None:
    """The spans of a failed init are handed over, without an invocation."""
    handoff = _Handoff()

    _telemetry(handoff, _Phases()).init_failed(ErrorReport(ValueError(), ""))

    assert [(b"init", "", 3)] == handoff.sent
    assert 1 == handoff.finished


@pytest.mark.parametrize(
    ("in_ms", "least_s", "most_s"),
    [(10_000, BUDGET_S, BUDGET_S), (200, 0.05, 0.1), (0, 0.001, 0.01), (-5000, 0.001, 0.01)],
)
def test_budget_follows_the_deadline(in_ms: int, least_s: float, most_s: float) -> None:
    """Near the deadline no more than half of what is left is waited."""
    handoff = _Handoff()

    _telemetry(handoff, _Phases()).ended(make_times(make_invocation(in_ms=in_ms)), None)

    assert least_s <= handoff.budgets[0] <= most_s


class _Flight:
    """A fake of the flight recorder: what it was told, in words."""

    def __init__(self, *, is_complete: bool = True, has_own_spans: bool = False) -> None:
        self.is_complete = is_complete
        self.has_own_spans = has_own_spans
        self.has_stacks = False
        self.told: list[str] = []

    def stacks(self, text: str) -> None:
        self.has_stacks = True
        self.told.append("stacks" if __file__ in text else text)

    def forget_ended(self) -> None:
        self.told.append("ended spans forgotten")

    def cut_short(self, cause: str) -> None:
        self.told.append(cause)

    def ended(self) -> None:
        self.told.append("ended")

    def erase(self) -> None:
        self.told.append("erased")


class _PhasesThatNote(_Phases):
    def note_open(self, times: InvokeTimes, flight: _Flight) -> None:
        flight.told.append("open")


def _recorded(
    handoff: _Handoff, flight: _Flight, in_ms: int = 5000
) -> tuple[Telemetry, InvokeTimes]:
    """Telemetry with a flight recorder, in the middle of an invocation."""
    telemetry = _telemetry(handoff, _PhasesThatNote())
    times = make_times(make_invocation(in_ms=in_ms))
    telemetry.flight = times.flight = flight  # type: ignore[assignment]  # its shape
    telemetry.began(times)
    return telemetry, times


@pytest.mark.parametrize(("in_ms", "kind"), [(5000, "terminated"), (-1, "timeout")])
def test_terminated_with_a_flight_recorder(in_ms: int, kind: str) -> None:
    """SIGTERM leaves the open invocation to the extension, and hands nothing over a second time."""
    handoff, flight = _Handoff(), _Flight()
    telemetry, _ = _recorded(handoff, flight, in_ms)

    telemetry.terminated()
    telemetry.terminated()

    assert ["stacks", "open", kind] == flight.told[-3:]
    assert [] == handoff.sent


def test_terminated_with_full_notes() -> None:
    """Where not even what is open has room in the notes, the runtime hands over all itself."""
    handoff, flight = _Handoff(), _Flight(is_complete=False)
    telemetry, times = _recorded(handoff, flight)

    telemetry.terminated()

    assert [(b"terminated", times.invocation.request_id, 1)] == handoff.sent
    assert ["ended spans forgotten"] == flight.told


def test_near_the_end() -> None:
    """Near the deadline the stacks are noted, once, and only while the handler runs."""
    handoff, flight = _Handoff(), _Flight()
    telemetry, times = _recorded(handoff, flight)

    telemetry.near_end(sys._getframe())
    telemetry.near_end(sys._getframe())
    assert ["stacks"] == flight.told
    flight.has_stacks = False
    times.returned_ns = 1
    telemetry.near_end(sys._getframe())
    assert ["stacks"] == flight.told


@pytest.mark.parametrize(("dropped", "told"), [(0, "ended"), (2, "erased")])
def test_end_that_was_not_told(dropped: int, told: str) -> None:
    """Notes of an invocation whose end could not be handed over are no evidence of its death."""
    handoff, flight = _Handoff(), _Flight()
    telemetry, times = _recorded(handoff, flight)
    handoff.drops = dropped

    telemetry.ended(times, None)

    assert [told] == flight.told
