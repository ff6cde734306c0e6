"""The flight recorder: notes of the running invocation that survive the death of this process.

At its start each invocation is announced with one pwrite; open and finished spans of the function,
stacks and causes are added in the same way (see wire/flight.py for the layout). The extension reads
the notes only of an invocation that had no end, closes what was open and says why. Loaded only
where there is an extension; nothing in here raises, and nothing waits.

For the span processor of an SDK: `times.flight` of the current invocation is a FlightRecorder or
None; call `span_started` and `span_ended` with the encoded Span.
"""

from __future__ import annotations

import os
from _thread import RLock
from os import pwrite

from lambdascope.wire import flight as layout
from lambdascope.wire.flight import END, HEAD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.otlp.model import Link
    from lambdascope.runtime.flight_file import FlightFile
    from lambdascope.runtime.telemetry import InvokeTimes
    from lambdascope.runtime.trace_parent import TraceParent

_ROOM = layout.SLOT_BYTES - layout.RESERVE_BYTES
# The end of that is not for finished spans, so that what is open always has room.
_OPEN_BYTES = 16_384
_LIMITS = {
    layout.OPEN: _ROOM,
    layout.LEFT: _ROOM,
    layout.CLOSED: _ROOM - _OPEN_BYTES,
    layout.STACKS: layout.SLOT_BYTES,
    layout.CAUSE: layout.SLOT_BYTES,
}
_MAX_SCOPE = 65_535
_OF_SPANS = (layout.OPEN, layout.CLOSED, layout.LEFT)
_NO_SPAN = bytes(8)
# Of the announcement, without the number of links.
_FIXED = layout.HEAD_BYTES - 1
_NO_LINKS = b"\0"


class FlightRecorder:
    """Writes one slot: the invocation that runs there. Threads and signal handlers may share it.

    `erases`: its invocations are taken back when they are over, because the extension remembers
    the latest few ends only, and with several at a time this one may not be among them.
    """

    __slots__ = (
        "_at",
        "_erases",
        "_file",
        "_kept",
        "_lock",
        "_lost",
        "_missed",
        "_number",
        "_start",
        "has_own_spans",
        "has_stacks",
    )

    def __init__(self, file: FlightFile, slot: int, *, erases: bool = False) -> None:
        self._file = file
        self._start = layout.SLOTS_AT + slot * layout.SLOT_BYTES
        self._erases = erases
        self._lock = RLock()
        self._number = layout.END
        # Where the next frame goes; 0 when there is no invocation.
        self._at = 0
        # Spans that had no room, and their number.
        self._missed: set[bytes] = set()
        self._lost = 0
        # Where the slot ended when it was last tidied.
        self._kept = 0
        # Whether the function's own spans come here, and whether stacks have.
        self.has_own_spans = False
        self.has_stacks = False

    @property
    def is_complete(self) -> bool:
        """Whether an invocation has been announced, and everything of it has had room."""
        return self._at > 0 and self._file.fd >= 0 and not self._lost

    def began(self, times: InvokeTimes, trace: TraceParent) -> None:
        """Announce an invocation: what its span is made of when nobody else can make it.

        Before every handler: bytes are put together in few steps, and written in one.
        """
        file = self._file
        if file.fd < 0:
            return
        invocation = times.invocation
        links = _links(trace.links) if trace.is_read and trace.links else _NO_LINKS
        encoded = _texts(file.pid, times, trace)
        number = trace.span_id[:4]
        data = b"".join(
            (
                (_FIXED + len(links) + len(encoded)).to_bytes(4, "little"),
                HEAD,
                trace.trace_id,
                trace.span_id,
                trace.parent_span_id or _NO_SPAN,
                # Start, deadline, flags and whether it is cold, as one number.
                (
                    times.received_ns
                    + invocation.deadline_ms * 1_000_000
                    - times.deadline_ns  # see InvokeTimes.offset_ns
                    + (invocation.deadline_ms << 64)
                    + (trace.flags << 128)
                    + (file.is_cold << 160)
                ).to_bytes(21, "little"),
                links,
                encoded,
                number,
                END,
            )
        )
        if file.is_cold:
            data = file.with_init(data, times, number)
        with self._lock:
            self._number = number
            if self._lost:
                self._missed.clear()
                self._lost = 0
            self._kept = self._start
            self.has_own_spans = self.has_stacks = False
            start = self._start
            # No platform sends headers that long.
            if len(data) < _ROOM and self._put(data, start):
                self._at = start + len(data) - 4
            else:
                self._at = 0

    def span_started(self, encoded_span: bytes, span_id: bytes, scope: bytes = b"") -> None:
        """A span began. `encoded_span` is trace.proto's Span as far as it is known, `scope` the
        encoded field ScopeSpans.scope, with tag and length, or empty for the runtime's own.
        Later calls with the same id replace it."""
        self._add_span(layout.OPEN, encoded_span, span_id, scope)

    def span_ended(self, encoded_span: bytes, span_id: bytes, scope: bytes = b"") -> None:
        """A span ended and is not handed over yet; arguments as in `span_started`."""
        self._add_span(layout.CLOSED, encoded_span, span_id, scope)

    def span_left(self, span_id: bytes) -> None:
        """A span was handed over before the end of the invocation: it needs no care any more."""
        self._append(layout.LEFT, span_id)

    def cut_short(self, cause: str) -> None:
        """The runtime is being ended; `cause` is the error.type unless the platform tells it."""
        self._append(layout.CAUSE, cause.encode())

    def stacks(self, text: str) -> None:
        """What is running now, shortly before the end; called in signal handlers.

        Not written where the handler has interrupted a write, which is to go on.
        """
        if not self._lock._is_owned():  # type: ignore[attr-defined]  # not in the stubs
            self.has_stacks = True
            room = layout.RESERVE_BYTES - 1024
            self._append(layout.STACKS, text.encode("utf-8", "replace")[:room])

    def forget_ended(self) -> None:
        """Finished spans of the function's are handed over in another way, all of them."""
        if self._at and self._file.fd >= 0:
            with self._lock:
                self._tidy(keeps_ended=False)
                self._missed.clear()
                self._lost = 0
                self.has_own_spans = False

    def ended(self) -> None:
        """The end has been told to the extension."""
        self._file.is_cold = False
        if self._erases:
            self.erase()
        else:
            self._at = 0

    def erase(self) -> None:
        """The invocation is over, but the extension may not know it."""
        self._at = 0
        self._file.is_cold = False
        if self._file.fd >= 0:
            with self._lock:
                self._put(layout.END, self._start)

    def _add_span(self, kind: bytes, encoded_span: bytes, span_id: bytes, scope: bytes) -> None:
        scope_size = len(scope)
        size = 10 + scope_size + len(encoded_span)
        if scope_size:
            self.has_own_spans = True
        # In a forked process the lock may be held by a thread that is not there.
        if self._file.fd < 0 or len(span_id) != 8 or scope_size > _MAX_SCOPE:
            return
        payload = (span_id, scope_size.to_bytes(2, "little"), scope, encoded_span)
        with self._lock:
            at = self._at
            if not at or self._lost or at - self._start + size + 80 > _LIMITS[kind]:
                self._append(kind, b"".join(payload))
                return
            # Most of the function's spans come here, twice each: all in one go.
            head = size.to_bytes(4, "little")
            if self._put(b"".join((head, kind, *payload, self._number, layout.END)), at):
                self._at = at + size + layout.FRAME_BYTES

    def _append(self, kind: bytes, payload: bytes) -> None:
        if self._file.fd < 0:
            return
        with self._lock:
            if not self._at:
                return
            if not self._fits(kind, payload) and self._at - self._kept > _OPEN_BYTES // 2:
                self._tidy()
            if not self._fits(kind, payload):
                if kind not in _OF_SPANS:
                    return
                self._missed.add(payload[:8])
                # It is not open, at least.
                kind, payload = layout.LEFT, payload[:8]
            elif kind == layout.CLOSED:
                self._missed.discard(payload[:8])
            self._lost = len(self._missed)
            at = self._at
            if not at or not self._fits(kind, payload):
                return
            data = layout.frame(kind, payload, self._number)
            lost = b""
            if self._lost:
                # Written again behind each frame.
                lost = layout.frame(layout.LOST, str(self._lost).encode(), self._number)
            if self._put(b"".join((data, lost, END)), at):
                self._at = at + len(data)

    def _fits(self, kind: bytes, payload: bytes) -> bool:
        # With what tells of losses, and the end.
        return self._at - self._start + len(payload) + 80 <= _LIMITS[kind]

    def _tidy(self, *, keeps_ended: bool = True) -> None:
        """Leave out what has been replaced: the openings of spans that have ended, above all."""
        from lambdascope.runtime.flight_room import tidied

        try:
            slot = os.pread(self._file.fd, self._at - self._start, self._start)
        except OSError:
            return
        data = tidied(slot, self._number, keeps_ended=keeps_ended)
        if self._put(data + END, self._start):
            self._at = self._kept = self._start + len(data)

    def _put(self, data: bytes, position: int) -> bool:
        file = self._file
        try:
            if pwrite(file.fd, data, position) == len(data):
                return True
            raise OSError("the disk is full")
        except OSError as error:
            self._at = 0
            if file.fd >= 0:
                file.give_up("cannot be written", error)
            return False


def _texts(pid: str, times: InvokeTimes, trace: TraceParent) -> bytes:
    """All that is text, in the order of the layout."""
    invocation = times.invocation
    if not trace.is_read:
        place = f"\0{invocation.tenant_id or ''}\0\0\0\0{trace.header or ''}"
    else:
        place = (
            f"{trace.xray_trace_id}\0{invocation.tenant_id or ''}\0{trace.trace_state}"
            f"\0{trace.source}\0{trace.reason}\0"
        )
    texts = (
        f"{pid}\0{invocation.request_id}\0{times.trigger}"
        f"\0{invocation.invoked_function_arn}\0{place}"
    )
    try:
        return texts.encode()
    except UnicodeEncodeError:
        return texts.encode("utf-8", "replace")


def _links(links: list[Link]) -> bytes:
    """How many, and the links."""
    taken = links[: layout.MAX_LINKS]
    chunks = [bytes((len(taken),))]
    for link in taken:
        chunks += link.trace_id, link.span_id, link.flags.to_bytes(4, "little")
    return b"".join(chunks)
