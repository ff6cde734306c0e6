"""What became of every span: compares what handlers made with what the collector has.

A span is identified by its id. Each that a handler made has to be with the collector once, in what
the collector refused for good, or in a line of the log; otherwise it has to be counted by a ledger.
Where the answer to a batch was lost the collector has it twice, which its batch id shows.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.otlp.lines import parse_line
from lambdascope.otlp.names import FAAS_INVOCATION_ID
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.collector import Request
    from chaos.life import Life

_FINAL = (400, 401, 403, 413)
# Reasons of which it can be checked which spans they were.
_SHOWN = ("rejected", "stdout", "spooled", *(f"status_{status}" for status in _FINAL))


class Span:
    """A span at the collector; `invocation` is the request id where it is that of an invocation."""

    __slots__ = ("id", "invocation", "name", "trace_id")

    def __init__(self, trace_id: bytes, id: bytes, name: str, invocation: str) -> None:
        self.trace_id = trace_id
        self.id = id
        self.name = name
        self.invocation = invocation


def spans_of(body: bytes) -> list[Span]:
    """The spans in a request, by the official decoder, in their order."""
    request = ExportTraceServiceRequest.FromString(body)
    found = []
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                ids = [a.value.string_value for a in span.attributes if a.key == FAAS_INVOCATION_ID]
                is_invoke = span.kind == span.SPAN_KIND_SERVER
                invocation = ids[0] if ids and is_invoke else ""
                found.append(Span(span.trace_id, span.span_id, span.name, invocation))
    return found


class Verdict:
    """The sums over the lives of one site. `faults` says what is wrong, [] when nothing is."""

    def __init__(self) -> None:
        self.invocations = 0
        self.spans = 0
        self.exported = 0
        self.repeated = 0
        self.doubtful = 0
        self.replayed = 0
        self.lost = 0
        # Lines with what could not be exported, and the spans in them.
        self.log: list[str] = []
        self._logged: Counter[bytes] = Counter()
        self._batches: dict[bytes, str] = {}
        self.dropped: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.faults: list[str] = []

    def add(self, life: Life, requests: Sequence[Request]) -> None:
        """A life that is over, and what the collector got in it."""
        taken: dict[str, list[Span]] = {}
        gone: dict[bytes, str] = {}
        kinds: dict[bytes, Span] = {}
        expected: Counter[str] = Counter()
        last = {one.batch_id: one for one in requests}
        for one in requests:
            self.requests[one.fault] += 1
            if one.path != names.TRACES_PATH:
                continue
            spans = spans_of(one.body)
            kinds |= {span.id: span for span in spans}
            if one.taken:
                if one.batch_id in taken:
                    self.repeated += len(spans)
                    continue
                kept = len(spans) - one.rejected
                taken[one.batch_id] = spans[:kept]
                gone |= {span.id: "rejected" for span in spans[kept:]}
                self._batches |= {span.id: one.batch_id for span in spans[:kept]}
                expected["rejected"] += one.rejected
            elif one.status in _FINAL and last[one.batch_id] is one:
                gone |= {span.id: f"status_{one.status}" for span in spans}
                expected[f"status_{one.status}"] += len(spans)
        for text in life.lines:
            line = parse_line(text)
            if line is not None and line.signal == "traces":
                spans = spans_of(line.body)
                self.log.append(text)
                self._logged.update(span.id for span in spans)
                kinds |= {span.id: span for span in spans}
                gone |= {span.id: "stdout" for span in spans}
                expected["stdout"] += len(spans)
        for body in life.spooled:
            spans = spans_of(body)
            kinds |= {span.id: span for span in spans}
            gone |= {span.id: "spooled" for span in spans}
            expected["spooled"] += len(spans)
        self._compare(life, taken=taken, gone=gone, kinds=kinds, expected=expected)

    def add_replayed(self, requests: Sequence[Request]) -> None:
        """What `lambdascope replay` has sent of the lines in `log`."""
        replayed = [(span.id, one.batch_id) for one in requests for span in spans_of(one.body)]
        if Counter(span for span, _ in replayed) != self._logged:
            self.faults.append(f"{len(replayed)} spans replayed of {self._logged.total()}")
        again = [span for span, batch in replayed if self._batches.get(span, batch) != batch]
        if again:
            self.faults.append(f"{len(again)} spans replayed that arrived in another batch")
        self.replayed = len(self._logged.keys() - self._batches.keys())

    def _compare(
        self,
        life: Life,
        *,
        taken: dict[str, list[Span]],
        gone: dict[bytes, str],
        kinds: dict[bytes, Span],
        expected: Counter[str],
    ) -> None:
        arrived = Counter(span.id for spans in taken.values() for span in spans)
        made, began = life.made()
        safe = arrived.keys() | gone.keys()
        names_known = Counter(kinds[one].name for one in safe)
        invoked = Counter(kinds[one].invocation for one in safe if kinds[one].invocation)
        missing = (made - names_known.keys()) | (began - invoked.keys())
        # What was refused and has not come again, and that no handler wrote down.
        refused = [span for one, span in kinds.items() if one not in safe]
        others = [span.name for span in refused if not {span.name, span.invocation} & missing]
        lost_spans = sorted([*missing, *others])
        dropped: Counter[str] = Counter()
        for ledger in life.ledgers():
            lost = {k.removeprefix("dropped "): n for k, n in ledger.items() if "dropped" in k}
            dropped.update(lost)
            if ledger["accepted"] != ledger["exported"] + sum(lost.values()) + ledger["held"]:
                self._fault(life, f"a ledger is out of balance: {ledger}")
        dropped["not handed over"] += life.not_handed_over()
        # What a spool has had meanwhile was accepted again, and is where it went to then.
        accepted = sum(ledger["accepted"] for ledger in life.ledgers()) - dropped["spooled"]
        dropped["spooled"] = expected["spooled"]
        counted = sum(n for reason, n in dropped.items() if reason not in _SHOWN)
        twice = [kinds[one].name for one, count in arrived.items() if count > 1]
        if twice:
            self._fault(life, f"arrived in two batches: {twice[:5]} and {len(twice)} in all")
        same = [n for n, count in names_known.items() if n in life.possible and count > 1]
        same += [n for n, count in invoked.items() if count > 1]
        in_traces = Counter((kinds[one].trace_id, kinds[one].name) for one in safe)
        same += [name for (_, name), count in in_traces.items() if count > 1]
        if same:
            self._fault(life, f"more than one span for {same[:5]}, {len(same)} in all")
        if len(lost_spans) > counted:
            self.lost += len(lost_spans) - counted
            self._fault(
                life,
                f"{len(lost_spans)} lost, {counted} counted ({dict(dropped)}): {lost_spans[:5]}",
            )
        for reason in _SHOWN:
            if dropped[reason] != expected[reason]:
                self._fault(
                    life,
                    f"{reason}: {dropped[reason]} counted, {expected[reason]} at the collector",
                )
        nowhere = accepted + dropped["spooled"] - len(safe)
        handed_over = len(lost_spans) - dropped["not handed over"]
        if len(life.ledgers()) == life.generations and not handed_over <= nowhere <= counted:
            said = f"{accepted} accepted, {len(safe)} spans known, {counted} counted"
            self._fault(life, f"{said}, {handed_over} lost")
        self.invocations += life.invocations
        self.spans += len(safe) + len(lost_spans)
        self.exported += len(arrived)
        self.doubtful += len(arrived.keys() & gone.keys())
        self.dropped += dropped

    def _fault(self, life: Life, text: str) -> None:
        self.faults.append(f"{life.name}: {text}")
