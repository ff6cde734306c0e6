"""The platform's records of each invocation and init, in any order, put together once.

Records come late, twice, out of order or never: an invocation is settled when its report is there
and its place in a trace is known, or when it has waited long enough; then it is counted and has its
span, once. What comes for it later is counted as odd. The collector feeds it batch by batch and
takes spans and metrics out. It reads no clock, and waits for nothing by time.
"""

from __future__ import annotations

from posix import urandom

from lambdascope.otlp import names
from lambdascope.wire.names import INIT_ON_DEMAND
from lambdascope.wire.trace_header import parse_trace_header
from lambdascope_extension.records import record as kinds
from lambdascope_extension.records.joins import Joined
from lambdascope_extension.records.spans import PROACTIVE_NS, phase_span, report_span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.otlp.model import Span
    from lambdascope_extension.records.aggregate import Aggregates, Attributes
    from lambdascope_extension.records.joins import Joins
    from lambdascope_extension.records.record import PlatformRecord

MAX_OPEN = 128
MAX_SETTLED = 128
# After so many reports of later invocations nobody will say any more where one belongs.
_PATIENCE = 16
_MAX_PHASES = 16
_MB = 1024 * 1024
_PHASES = {
    kinds.INIT_START: (names.SPAN_PLATFORM_INIT, 0),
    kinds.INIT_RUNTIME_DONE: (names.SPAN_PLATFORM_INIT, 1),
    kinds.INIT_REPORT: (names.SPAN_PLATFORM_INIT, 2),
    kinds.RESTORE_START: (names.SPAN_PLATFORM_RESTORE, 0),
    kinds.RESTORE_RUNTIME_DONE: (names.SPAN_PLATFORM_RESTORE, 1),
    kinds.RESTORE_REPORT: (names.SPAN_PLATFORM_RESTORE, 2),
}
_CALLS = {kinds.START: 0, kinds.RUNTIME_DONE: 1, kinds.REPORT: 2}


class _Records:
    """Up to three records of one thing: how it began, how the runtime ended, how all ended.

    `called_ns` and `joined` are, for an init, when the invocation after it began and its place;
    `unrecorded`: the runtime's sampler left that one out.
    """

    __slots__ = ("all", "called_ns", "joined", "name", "unrecorded", "waited")

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.all: list[PlatformRecord | None] = [None, None, None]
        self.waited = 0
        self.called_ns = 0
        self.joined: Joined | None = None
        self.unrecorded = False

    @property
    def start(self) -> PlatformRecord | None:
        return self.all[0]

    @property
    def done(self) -> PlatformRecord | None:
        return self.all[1]

    @property
    def report(self) -> PlatformRecord | None:
        return self.all[2]

    @property
    def has_failed(self) -> bool:
        return any(end is not None and end.failed for end in (self.done, self.report))

    @property
    def last(self) -> PlatformRecord:
        return next(one for one in reversed(self.all) if one is not None)


class Invocations:
    """`spans` gets the spans that are ready. `with_spans`: whether any are to be made."""

    __slots__ = (
        "_counts",
        "_ended",
        "_joins",
        "_latest",
        "_open",
        "_phases",
        "_seen",
        "_settled",
        "_with_spans",
        "spans",
    )

    def __init__(self, joins: Joins, counts: Aggregates, *, with_spans: bool) -> None:
        self.spans: list[Span] = []
        self._joins = joins
        self._counts = counts
        self._with_spans = with_spans
        self._open: dict[str, _Records] = {}
        self._latest = ""
        self._settled: dict[str, bool] = {}
        self._seen: dict[tuple[str, int], bool] = {}
        self._ended: dict[str, int] = {}
        # Inits and restores that are not complete or have no invocation, oldest first.
        self._phases: list[_Records] = []

    @property
    def waits_for_report(self) -> bool:
        """Whether the platform has not said all about some invocation, or none has come yet."""
        uncalled = any(not phase.called_ns for phase in self._phases)
        return bool(self._open) or uncalled or self._joins.has_unclaimed

    @property
    def settled(self) -> bool:
        """Whether any invocation has been counted."""
        return bool(self._settled)

    def running(self) -> str:
        """The request id of the only invocation that has begun and not ended; of the latest one if
        none is running, whose lines may come after its end. "" where there are several."""
        found = [key for key, one in self._open.items() if one.done is None and one.report is None]
        if found:
            return found[0] if len(found) == 1 else ""
        return self._latest

    def take(self, record: PlatformRecord) -> None:
        """One record of an invocation, an init or a restore; others are ignored."""
        phase = _PHASES.get(record.kind)
        if phase is not None:
            self._take_phase(record, *phase)
            return
        place = _CALLS.get(record.kind)
        if place is None:
            return
        request_id = record.request_id
        known = self._open.get(request_id)
        if not request_id or request_id in self._settled or (known and known.all[place]):
            reason = "no_request_id" if not request_id else "repeated_or_late"
            self._counts.add(names.LAMBDASCOPE_TELEMETRY_PROBLEMS, 1, _because(reason))
            return
        if known is None:
            self._latest = request_id
            known = self._open[request_id] = _Records()
            if len(self._open) > MAX_OPEN:
                self._make_room()
        known.all[place] = record

    def _make_room(self) -> None:
        """Settle the oldest; of one that has only begun there is nothing to tell yet."""
        request_id, oldest = next(iter(self._open.items()))
        if oldest.done is None and oldest.report is None:
            del self._open[request_id]
        else:
            self._settle(request_id)

    def settle(self, *, everything: bool = False) -> None:
        """Settle what can be settled; to be called after each batch. `everything`: no more comes,
        what is not complete is settled as it is."""
        reported = [key for key, one in self._open.items() if everything or one.report is not None]
        for request_id in reported:
            one = self._open[request_id]
            one.waited += 1
            is_known = (
                not self._joins.is_fed
                or self._joins.is_unrecorded(request_id)
                or self._joins.find(request_id) is not None
            )
            if everything or is_known or one.waited > _PATIENCE:
                self._settle(request_id)
        for phase in list(self._phases):
            if everything or (phase.called_ns and phase.report):
                self._phases.remove(phase)
                self._end_phase(phase)

    def _take_phase(self, record: PlatformRecord, name: str, place: int) -> None:
        key = (record.kind, record.time_ns)
        # What belongs to an init that has been told already cannot be added to it.
        if key in self._seen or record.time_ns <= self._ended.get(name, -1):
            self._counts.add(names.LAMBDASCOPE_TELEMETRY_PROBLEMS, 1, _because("repeated_or_late"))
            return
        self._seen[key] = True
        if len(self._seen) > MAX_SETTLED:
            del self._seen[next(iter(self._seen))]
        # After a reset there is another init; records of the first may still come.
        newest_first = [one for one in reversed(self._phases) if one.name == name]
        phase = next((one for one in newest_first if _fits(one, record, place)), None)
        if phase is None:
            phase = _Records(name)
            self._phases.append(phase)
            if len(self._phases) > _MAX_PHASES:
                self._end_phase(self._phases.pop(0))
        phase.all[place] = record
        self._phases.sort(key=_last_ns)

    def _settle(self, request_id: str) -> None:
        one = self._open.pop(request_id)
        self._settled[request_id] = True
        if len(self._settled) > MAX_SETTLED:
            del self._settled[next(iter(self._settled))]
        one.unrecorded = self._joins.is_unrecorded(request_id)
        joined = None if one.unrecorded else self._joins.find(request_id) or _from_header(one)
        is_cold = self._call(one, joined)
        self._count(one, joined, is_cold=is_cold)
        if not self._with_spans or one.unrecorded or (one.done is None and one.report is None):
            return
        if joined is None and one.has_failed and not self._joins.is_fed:
            # A stock SDK in a process that is gone: there is no more than this to find.
            joined = Joined(urandom(16), b"")
        if joined is not None:
            self.spans.append(report_span(joined, one.start, one.done, one.report))
        else:
            # A trace of its own would be one that nobody looks for.
            self._counts.add(names.LAMBDASCOPE_TELEMETRY_PROBLEMS, 1, _because("no_trace"))

    def _call(self, one: _Records, joined: Joined | None) -> bool:
        """Put the inits that came before to this invocation; whether it waited for one."""
        began_ns = (one.start or one.last).time_ns
        is_cold = False
        before = [phase for phase in self._phases if phase.last.time_ns <= one.last.time_ns]
        newest = {phase.name: phase for phase in before}
        for phase in before:
            if phase.called_ns:
                continue
            phase.called_ns = began_ns
            if newest[phase.name] is not phase and not phase.has_failed:
                # It was ready for an invocation that processes before these ones have had.
                phase.unrecorded = True
                self._counts.add(names.LAMBDASCOPE_TELEMETRY_PROBLEMS, 1, _because("no_trace"))
                continue
            phase.joined, phase.unrecorded = joined, one.unrecorded
            init_type = phase.last.text("initializationType") or INIT_ON_DEMAND
            is_waited_for = phase.name == names.SPAN_PLATFORM_RESTORE or init_type == INIT_ON_DEMAND
            if is_waited_for and began_ns - phase.last.time_ns < PROACTIVE_NS:
                is_cold = True
        return is_cold

    def _end_phase(self, phase: _Records) -> None:
        times = [one.time_ns for one in phase.all if one is not None]
        self._ended[phase.name] = max(times)
        milliseconds = phase.last.metrics.get("durationMs")
        if milliseconds is not None:
            self._counts.record(names.FAAS_INIT_DURATION, milliseconds / 1000)
        if self._with_spans and not phase.unrecorded:
            start, done, report = phase.all
            records = (start, done, report)
            span = phase_span(phase.name, phase.joined, records, called_ns=phase.called_ns)
            self.spans.append(span)

    def _count(self, one: _Records, joined: Joined | None, *, is_cold: bool) -> None:
        counts = self._counts
        attributes: Attributes = ()
        ids = None
        if joined is not None:
            attributes = ((names.FAAS_TRIGGER, joined.trigger),) if joined.trigger else ()
            ids = (joined.trace_id, joined.span_id)
        last = one.last
        # The runtime's duration is the function's own; the report's has the extensions' in it.
        for record in (one.done, one.report):
            if record is not None and "durationMs" in record.metrics:
                seconds = record.metrics["durationMs"] / 1000
                counts.record(
                    names.FAAS_INVOKE_DURATION, seconds, attributes, ids=ids, time_ns=last.time_ns
                )
                break
        self._count_outcome(one, joined, attributes)
        metrics = one.report.metrics if one.report is not None else {}
        if "maxMemoryUsedMB" in metrics:
            counts.record(names.FAAS_MEM_USAGE, metrics["maxMemoryUsedMB"] * _MB, attributes)
        if is_cold or "initDurationMs" in metrics or "restoreDurationMs" in metrics:
            counts.add(names.FAAS_COLDSTARTS, 1, attributes)
        for name, _, milliseconds in last.spans:
            if name == "extensionOverhead":
                counts.record(names.LAMBDASCOPE_EXTENSION_OVERHEAD, milliseconds / 1000)

    def _count_outcome(self, one: _Records, joined: Joined | None, attributes: Attributes) -> None:
        """A failure that the handler raised is a success to the platform; the span knows it."""
        failed = next((end for end in (one.done, one.report) if end and end.failed), None)
        if failed is not None and failed.status == "timeout":
            self._counts.add(names.FAAS_TIMEOUTS, 1, attributes)
            return
        error_type = joined.error_type if joined is not None else ""
        if failed is not None:
            error_type = error_type or failed.error_type or failed.status
        if error_type:
            self._counts.add(names.FAAS_ERRORS, 1, (*attributes, (names.ERROR_TYPE, error_type)))
        elif one.done is not None or one.report is not None:
            self._counts.add(names.FAAS_INVOCATIONS, 1, attributes)


def _fits(phase: _Records, record: PlatformRecord, place: int) -> bool:
    """Whether a record is the missing one of a phase, by the order of their times."""
    if phase.all[place] is not None:
        return False
    later = [one.time_ns for one in phase.all[place + 1 :] if one is not None]
    earlier = [one.time_ns for one in phase.all[:place] if one is not None]
    return max(earlier, default=0) <= record.time_ns <= min(later, default=record.time_ns)


def _last_ns(phase: _Records) -> int:
    return phase.last.time_ns


def _because(reason: str) -> Attributes:
    return ((names.LAMBDASCOPE_REASON, reason),)


def _from_header(one: _Records) -> Joined | None:
    """The place in X-Ray's trace, for runtimes that hand nothing over; those that take their parent
    from the header have their spans there."""
    for record in one.all:
        header = parse_trace_header(record.trace) if record is not None and record.trace else None
        if header is not None and header.trace_id and header.parent_id:
            return Joined(bytes.fromhex(header.trace_id), bytes.fromhex(header.parent_id))
    return None
