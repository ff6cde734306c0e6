"""What the loop tells about an invocation, on its way to the extension.

Everything in here runs after the response, except `began` and `started`. A fault in it is a fault
of ours: it is said once, counted, and the function goes on without spans.
"""

from __future__ import annotations

import sys
from time import monotonic_ns, time_ns

from lambdascope.otlp.names import FAAS_TRIGGER_OTHER, FLAG_SAMPLED
from lambdascope.runtime.triggers import DIRECT, shape_of, trigger_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import ClassVar, Protocol

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.context import LambdaContext
    from lambdascope.runtime.event_source import EventSource
    from lambdascope.runtime.faults import ErrorReport
    from lambdascope.runtime.flight import FlightRecorder
    from lambdascope.runtime.handoff import Handoff
    from lambdascope.runtime.import_times import ImportTimes
    from lambdascope.runtime.logs import Logs
    from lambdascope.runtime.otel.bridge import Bridge
    from lambdascope.runtime.otel.direct_export import DirectExport
    from lambdascope.runtime.otel.invoke_span import InvokeSpan
    from lambdascope.runtime.phases import Phases
    from lambdascope.runtime.senders import Senders
    from lambdascope.runtime.streaming import ResponseStream
    from lambdascope.runtime.trace_parent import TraceParent
    from lambdascope.wire.runtime_api import Invocation

    class Source(Protocol):
        """Gives metrics or logs that are due."""

        def __call__(self, *, at_once: bool) -> tuple[str, bytes, int]:
            """The path, an OTLP body, which may be empty, and how many items it has."""
            ...


# Enough for a peer that is alive to take a body.
_LEAST_BUDGET_S = 0.005


class InvokeTimes:
    """What the loop notes of one invocation. All times are monotonic ns, 0 when not reached yet.

    `deadline_ns` is what the wall clock said on receipt; a later step of it changes nothing.
    `entered_ns` and `returned_ns` are the handler's. `stream` is its streamed answer and `after`
    what it wants to be run after the response, if there is any. `trace` is its place in a trace;
    None without telemetry, or before the event is known. `span` is what the function sees of it
    through OpenTelemetry. `flight` takes what must survive this process, where there is an
    extension.
    """

    __slots__ = (
        "after",
        "deadline_ns",
        "entered_ns",
        "flight",
        "invocation",
        "received_ns",
        "reported_ns",
        "response_size",
        "returned_ns",
        "source",
        "span",
        "status_code",
        "stream",
        "trace",
        "trigger",
    )

    def __init__(self, invocation: Invocation, received_ns: int) -> None:
        self.invocation = invocation
        self.received_ns = received_ns
        self.deadline_ns = monotonic_ns() + invocation.deadline_ms * 1_000_000 - time_ns()
        self.entered_ns = 0
        self.returned_ns = 0
        self.reported_ns = 0
        self.response_size = 0
        self.status_code = 0
        self.stream: ResponseStream | None = None
        self.after: list[tuple[Callable[..., object], tuple[object, ...]]] | None = None
        self.trigger = FAAS_TRIGGER_OTHER
        self.trace: TraceParent | None = None
        self.source: EventSource | None = None
        self.span: InvokeSpan | None = None
        self.flight: FlightRecorder | None = None

    @property
    def offset_ns(self) -> int:
        """Added to monotonic times it gives Unix times, as the wall clock was on receipt."""
        return self.invocation.deadline_ms * 1_000_000 - self.deadline_ns


class Telemetry:
    """Spans of one environment.

    `bridge` is there once the function has imported OpenTelemetry, `sources` are its metrics and
    logs: one for the process.
    `make_phases` is called after the first response, because its modules are not needed before; it
    is None when telemetry is switched off. `flight` is set where there is an extension. `is_left`:
    at the end of the environment spans are in the flight file, which are not to be sent as well.
    """

    bridge: Bridge | None = None
    is_left: ClassVar[bool] = False
    flight: FlightRecorder | None = None
    sources: ClassVar[list[Source]] = []

    def __init__(
        self,
        config: RuntimeConfig,
        make_phases: Callable[[], Phases] | None,
        handoff: Handoff | DirectExport,
        logs: Logs,
        imports: ImportTimes | None = None,
    ) -> None:
        self._config = config
        self._make_phases = make_phases
        self._made: Phases | None = None
        # The place of the next invocation, made while nobody waits; not before the first one, which
        # may be that of many restored snapshots.
        self._place: TraceParent | None = None
        # Loaded with the first invocation.
        self._make_place: type[TraceParent] | None = None
        self._handoff: Handoff | DirectExport = handoff
        self._logs = logs
        self._imports = imports
        self._open: InvokeTimes | None = None
        self.faults = 0

    def export_directly(self, export: DirectExport) -> None:
        """There is no extension to hand anything over to."""
        self._handoff = export

    def began(self, times: InvokeTimes) -> None:
        """An invocation was received."""
        self._open = times

    def started(self, times: InvokeTimes, event: object, context: LambdaContext) -> None:
        """Its event is known: find its place in a trace, before the handler runs."""
        if self._make_phases is None:
            return
        try:
            shape = shape_of(event)
            senders = None
            if shape != DIRECT or context.client_context is not None:
                senders = self._senders(times, shape, event, context)
            place = times.trace = self._place or self._new_place()
            self._place = None
            place.find(times.invocation.trace_id, self._config.xray_policy, senders)
            sampler = self._config.sampler
            # Without one nothing is left out: a caller that does not record switches nothing off.
            if sampler is not None and not sampler(place):
                place.flags &= ~FLAG_SAMPLED
            flight = self.flight
            if flight is not None and place.flags & FLAG_SAMPLED:
                times.flight = flight
                flight.began(times, place)
            if self.bridge is not None:
                self.bridge.enter(times)
        except Exception as fault:  # noqa: BLE001 - telemetry may be lost, an invocation may not
            self._fault(fault)

    def _new_place(self) -> TraceParent:
        make_place = self._make_place
        if make_place is None:
            from lambdascope.runtime.trace_parent import TraceParent

            make_place = self._make_place = TraceParent
        return make_place()

    def _senders(
        self, times: InvokeTimes, shape: str, event: object, context: LambdaContext
    ) -> Senders:
        from lambdascope.runtime.senders import Senders

        if shape != DIRECT:
            from lambdascope.runtime.event_source import capture

            times.trigger = trigger_of(shape)
            times.source = capture(shape, event, self._config)
        return Senders(self._config, context, times.source)

    def enter(self, times: InvokeTimes) -> None:
        """What runs now in this context is the invocation's."""
        if self.bridge is not None and times.trace is not None:
            self.bridge.enter(times)

    def leave(self, times: InvokeTimes) -> None:
        """It is not any more."""
        if self.bridge is not None:
            self.bridge.leave(times)

    def ended(self, times: InvokeTimes, error: ErrorReport | None) -> None:
        """It has been reported: make its spans and hand them over."""
        self._open = None
        if self._imports is not None:
            # Lazy imports end up in the first invocation; after it they are not worth the hook.
            self._imports.remove()
            self._imports = None
        if not self._handoff.present:
            return
        body, count = b"", 0
        try:
            if self._make_phases is not None:
                body, count = self._phases().finished(times, error)
            if self.bridge is not None:
                self.bridge.flush((times.deadline_ns - monotonic_ns()) / 1e9)
                body, count = self._with_own(body, count)
        except Exception as fault:  # noqa: BLE001 - telemetry may be lost, an invocation may not
            self._fault(fault)
        self._place = self._new_place()
        if self.sources:
            self._send_signals(at_once=False)
        # Also without spans: the extension waits for the end of the invocation.
        self._send(times, body, count)

    def init_failed(self, error: ErrorReport) -> None:
        """Init failed; its spans are all there will be."""
        if self._make_phases is not None and self._handoff.present:
            try:
                body, count = self._phases().init_failed(error)
                self._send_signals(at_once=True)
                self._handoff.send(body, "", count)
            except Exception as fault:  # noqa: BLE001 - the init error itself has been posted
                self._fault(fault)
        self._finish()

    def terminated(self) -> None:
        """SIGTERM: hand over the invocation that is still running, and what is unanswered."""
        self._send_signals(at_once=True)
        self.hand_over_open()
        self._finish()

    def hand_over_open(self) -> None:
        """Hand over the invocation whose handler has not returned, if there is one."""
        times, self._open = self._open, None
        try:
            if times is not None and self._make_phases is not None and self._handoff.present:
                # The platform ends an invocation at its deadline and not before, unless it fails.
                kind = "timeout" if monotonic_ns() >= times.deadline_ns else "terminated"
                if times.flight is not None and self._note_cause(times, times.flight, kind):
                    return
                body, count = self._phases().cut_short(times, kind, "ended by the platform")
                body, count = self._with_own(body, count)
                self._handoff.send(body, times.invocation.request_id, count)
        except Exception as fault:  # noqa: BLE001 - the process ends now in any case
            self._fault(fault)

    def near_end(self, frame: FrameType | None) -> None:
        """The deadline is near: note what is running, and no more: it may still come to its end.

        Called in a signal handler; `frame` is what it interrupted.
        """
        times = self._open
        if times is None or times.flight is None or times.returned_ns:
            return
        try:
            self._note_stacks(times.flight, frame)
        except Exception as fault:  # noqa: BLE001 - as everywhere here
            self._fault(fault)

    def _note_stacks(self, flight: FlightRecorder, frame: FrameType | None) -> None:
        if flight.is_complete and not flight.has_stacks:
            from lambdascope.runtime.stacks import stack_text

            flight.stacks(stack_text(frame))

    def _note_cause(self, times: InvokeTimes, flight: FlightRecorder, kind: str) -> bool:
        """Leave the invocation to the extension, which closes what is open; whether it can."""
        is_sent = not flight.has_own_spans or not flight.is_complete
        if is_sent:
            flight.forget_ended()
        if not flight.is_complete:
            return False
        self._note_stacks(flight, _interrupted())
        self._phases().note_open(times, flight)
        flight.cut_short(kind)
        if is_sent:
            body, count = self._with_own(b"", 0)
            if count:
                self._handoff.send(body, "", count)
        else:
            Telemetry.is_left = True
        return True

    def close(self) -> None:
        """The process ends; wait for the last answer within its budget."""
        self._send_signals(at_once=True)
        self._finish()

    def _finish(self) -> None:
        """Hand over spans that have ended since the last response; wait for the last answer."""
        try:
            if self._handoff.present and not self.is_left:
                body, count = self._with_own(b"", 0)
                if count:
                    self._handoff.send(body, "", count)
        except Exception as fault:  # noqa: BLE001 - the process ends now in any case
            self._fault(fault)
        self._handoff.finish()

    def _phases(self) -> Phases:
        if self._made is None:
            assert self._make_phases is not None  # noqa: S101 - the caller asked
            self._made = self._make_phases()
        return self._made

    def _send_signals(self, *, at_once: bool) -> None:
        for source in self.sources:
            try:
                path, body, _ = source(at_once=at_once)
                if body:
                    self._handoff.send_signal(path, body)
            except Exception as fault:  # noqa: BLE001 - telemetry may be lost, an invocation may not
                self._fault(fault)

    def _with_own(self, body: bytes, count: int) -> tuple[bytes, int]:
        """Join the function's own spans: requests may be concatenated (proto3, repeated field)."""
        if self.bridge is None:
            return body, count
        more, spans = self.bridge.take()
        return body + more, count + spans

    def _send(self, times: InvokeTimes, body: bytes, count: int) -> None:
        # Half of what is left: running past the deadline would fail an answered invocation.
        left_s = (times.deadline_ns - monotonic_ns()) / 2e9
        budget_s = self._handoff.budget_s
        if left_s < budget_s:
            budget_s = max(_LEAST_BUDGET_S, left_s)
        flight = self.flight
        dropped = self._handoff.dropped_spans if flight is not None else 0
        self._handoff.send(body, times.invocation.request_id, count, budget_s=budget_s)
        if flight is None:
            return
        if self._handoff.present and self._handoff.dropped_spans == dropped:
            flight.ended()
        else:
            flight.erase()

    def _fault(self, fault: Exception) -> None:
        self.faults += 1
        if self.faults == 1:
            self._logs.say(
                f"telemetry of this invocation is lost: {type(fault).__name__}: {fault} "
                "(a fault of lambdascope; the function is not affected)"
            )


def _interrupted() -> FrameType | None:
    """What the signal handler above has interrupted; without one, what is running."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "_on_signal":
        frame = frame.f_back
    return frame.f_back if frame is not None else sys._getframe()
