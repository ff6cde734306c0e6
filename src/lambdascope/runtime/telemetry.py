"""What the loop tells about an invocation, on its way to the extension.

Everything in here runs after the response, except `began`. A fault in it is a fault of ours: it is
said once, counted, and the function goes on without spans.
"""

from __future__ import annotations

from lambdascope.otlp.names import FAAS_TRIGGER_OTHER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.runtime.faults import ErrorReport
    from lambdascope.runtime.handoff import Handoff
    from lambdascope.runtime.import_times import ImportTimes
    from lambdascope.runtime.logs import Logs
    from lambdascope.runtime.phases import Phases
    from lambdascope.wire.runtime_api import Invocation


class InvokeTimes:
    """What the loop notes of one invocation. Times are monotonic ns, remaining times ms."""

    __slots__ = (
        "invocation",
        "received_ns",
        "remaining_end_ms",
        "remaining_start_ms",
        "reported_ns",
        "response_size",
        "returned_ns",
        "status_code",
        "trigger",
    )

    def __init__(self, invocation: Invocation, received_ns: int) -> None:
        self.invocation = invocation
        self.received_ns = received_ns
        self.returned_ns = 0
        self.reported_ns = 0
        self.remaining_start_ms = 0
        self.remaining_end_ms = 0
        self.response_size = 0
        self.status_code = 0
        self.trigger = FAAS_TRIGGER_OTHER


class Telemetry:
    """Spans of one environment.

    `make_phases` is called after the first response, because its modules are not needed before; it
    is None when telemetry is switched off.
    """

    def __init__(
        self,
        make_phases: Callable[[], Phases] | None,
        handoff: Handoff,
        logs: Logs,
        imports: ImportTimes | None = None,
    ) -> None:
        self._make_phases = make_phases
        self._made: Phases | None = None
        self._handoff = handoff
        self._logs = logs
        self._imports = imports
        self._open: InvokeTimes | None = None
        self.faults = 0

    def began(self, times: InvokeTimes) -> None:
        """An invocation was received."""
        self._open = times

    def ended(self, times: InvokeTimes, error: ErrorReport | None) -> None:
        """It has been reported: make its spans and hand them over."""
        self._open = None
        if self._imports is not None:
            # Lazy imports end up in the first invocation; after it they are not worth the hook.
            self._imports.remove()
            self._imports = None
        if self._make_phases is None or not self._handoff.present:
            self._say_done(times)
            return
        try:
            body, count = self._phases().finished(times, error)
            self._handoff.send(body, times.invocation.request_id, count)
        except Exception as fault:  # noqa: BLE001 - telemetry may be lost, an invocation may not
            self._fault(fault)
            self._say_done(times)

    def init_failed(self, error: ErrorReport) -> None:
        """Init failed; its spans are all there will be."""
        if self._make_phases is None or not self._handoff.present:
            return
        try:
            body, count = self._phases().init_failed(error)
            self._handoff.send(body, "", count)
        except Exception as fault:  # noqa: BLE001 - the init error itself has been posted already
            self._fault(fault)
        self._handoff.finish()

    def terminated(self) -> None:
        """SIGTERM: hand over the invocation that is still running, and what is unanswered."""
        times, self._open = self._open, None
        try:
            if times is not None and self._make_phases is not None and self._handoff.present:
                left_ms = times.invocation.deadline_ms - _wall_ms()
                kind = "timeout" if left_ms <= 0 else "terminated"
                body, count = self._phases().cut_short(times, kind, "ended by the platform")
                self._handoff.send(body, times.invocation.request_id, count)
        except Exception as fault:  # noqa: BLE001 - the process ends now in any case
            self._fault(fault)
        self._handoff.finish()

    def close(self) -> None:
        """The process ends; wait for the last answer within its budget."""
        self._handoff.finish()

    def _phases(self) -> Phases:
        if self._made is None:
            assert self._make_phases is not None  # noqa: S101 - the caller asked
            self._made = self._make_phases()
        return self._made

    def _say_done(self, times: InvokeTimes) -> None:
        """No spans, but the extension still waits for the end of the invocation."""
        if self._handoff.present:
            self._handoff.send(b"", times.invocation.request_id, 0)

    def _fault(self, fault: Exception) -> None:
        self.faults += 1
        if self.faults == 1:
            self._logs.say(
                f"telemetry of this invocation is lost: {type(fault).__name__}: {fault} "
                "(a fault of lambdascope; the function is not affected)"
            )


def _wall_ms() -> int:
    from time import time_ns

    return time_ns() // 1_000_000
