"""Which spans belong to which invocation, and who is whose child.

The sink hands over all spans of an execution environment in one heap: the runtime's own, the
user's, and those of foreign SDKs that know no Lambda. Pure functions; they change no span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdascope.otlp import names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lambdascope.emulator.records import InvocationRecord
    from lambdascope.otlp.model import Span

_OF_PLATFORM = (names.SPAN_PLATFORM_INIT, names.SPAN_PLATFORM_REPORT, names.SPAN_PLATFORM_RESTORE)


def spans_by_invocation(
    records: Sequence[InvocationRecord], spans: Iterable[Span]
) -> list[list[Span]]:
    """The spans of each record, in the order of the records, each sorted by start.

    A trace belongs to the invocation that one of its spans names (faas.invocation_id). A trace
    that names none belongs to the invocation during which its spans began. A span that arrived
    more than once is there once: senders try again what a collector did not take. What the
    extension makes of the platform's records is left out: the emulator's own figures are shown.
    """
    once = {(span.trace_id, span.span_id): span for span in spans if not _is_of_platform(span)}
    heap = sorted(once.values(), key=lambda span: span.start_ns)
    index_by_request = {record.request_id: index for index, record in enumerate(records)}
    index_by_trace: dict[bytes, int] = {}
    for span in heap:
        request_id = span.attributes.get(names.FAAS_INVOCATION_ID)
        if isinstance(request_id, str) and request_id in index_by_request:
            index_by_trace.setdefault(span.trace_id, index_by_request[request_id])
    found: list[list[Span]] = [[] for _ in records]
    for span in heap:
        index = index_by_trace.get(span.trace_id)
        if index is None:
            index = _index_at(records, span.start_ns)
        if found:
            found[index].append(span)
    return found


def _is_of_platform(span: Span) -> bool:
    return span.name in _OF_PLATFORM and names.LAMBDASCOPE_PLATFORM_STATUS in span.attributes


def began_ns(record: InvocationRecord) -> int:
    """When the invocation's story begins: with its init, or with its event."""
    starts = [phase.start_ns for phase in record.phases]
    return min([*starts, record.handed_out_ns]) if record.handed_out_ns else min(starts, default=0)


def _index_at(records: Sequence[InvocationRecord], time_ns: int) -> int:
    index = 0
    for candidate, record in enumerate(records):
        if began_ns(record) <= time_ns:
            index = candidate
    return index


class SpanTree:
    """The spans of one invocation. `init`, `restore`, `handler` and `report` are the runtime's own,
    if any.

    `own_package` is the top-level name of the function's own code.
    """

    def __init__(self, spans: Sequence[Span], *, own_package: str) -> None:
        self.own_package = own_package
        self._children: dict[bytes, list[Span]] = {}
        known = {span.span_id for span in spans}
        self.init = _last(spans, _is_init)
        self.restore = _last(spans, _is_restore)
        self.handler = _last(spans, _is_handler)
        self.report = _last(spans, _is_report)
        roots = (self.init, self.restore, self.handler, self.report)
        own = {id(span) for span in roots if span is not None}
        self.orphans: list[Span] = []
        for span in spans:
            if id(span) in own:
                continue
            if span.parent_span_id in known:
                self._children.setdefault(span.parent_span_id, []).append(span)
            elif not _is_init(span) and not _is_restore(span):
                self.orphans.append(span)

    def children(self, span: Span) -> list[Span]:
        """The spans directly under `span`, sorted by start."""
        return self._children.get(span.span_id, [])

    def size(self, span: Span) -> int:
        """How many spans hang under `span`, itself included."""
        return 1 + sum(self.size(child) for child in self.children(span))


def is_import(span: Span) -> bool:
    """Whether the span is one of the runtime's import spans."""
    return names.LAMBDASCOPE_IMPORT_MODULE in span.attributes


def _is_init(span: Span) -> bool:
    return names.LAMBDASCOPE_INIT_TYPE in span.attributes and not _is_restore(span)


def _is_restore(span: Span) -> bool:
    """Init and restore have the same attributes."""
    return names.LAMBDASCOPE_INIT_TYPE in span.attributes and span.name.startswith(
        names.SPAN_RESTORE_FUNCTION_PREFIX
    )


def _is_handler(span: Span) -> bool:
    return names.FAAS_INVOCATION_ID in span.attributes and not _is_report(span)


def _is_report(span: Span) -> bool:
    return names.LAMBDASCOPE_RESPONSE_MODE in span.attributes


def _last(spans: Sequence[Span], test: object) -> Span | None:
    found = None
    for span in spans:
        if callable(test) and test(span):
            found = span
    return found
