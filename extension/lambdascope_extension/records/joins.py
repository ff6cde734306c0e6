"""From a request id to the place of its invocation in a trace.

Only when a record of the platform asks are the first bytes of what the runtime handed over walked,
without decoding what is around the span. The runtime puts the invocation's span first. Bounded by
entries. Source of the field numbers: trace.proto, common.proto.
"""

from __future__ import annotations

from itertools import islice

from lambdascope.otlp import names
from lambdascope.otlp.protobuf import BYTE
from lambdascope.otlp.walk import WIRE_LENGTH, WIRE_VARINT, iter_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from lambdascope_extension.handed_over import HandedOver

MAX_FOUND = 256
_MAX_SPANS = 64
# An SDK keeps 128 attributes by default.
_MAX_SPAN_FIELDS = 2000


def _key(name: str) -> bytes:
    """What an attribute with this key begins with, up to the length of its value."""
    return b"\x0a" + BYTE[len(name)] + name.encode() + b"\x12"


INVOCATION_ID = _key(names.FAAS_INVOCATION_ID)
_TRIGGER = _key(names.FAAS_TRIGGER)
_ERROR_TYPE = _key(names.ERROR_TYPE)


class Joined:
    """Ids of an invocation's span (16 and 8 bytes), and what it says of trigger and failure."""

    __slots__ = ("error_type", "span_id", "trace_id", "trigger")

    def __init__(
        self, trace_id: bytes, span_id: bytes, *, trigger: str = "", error_type: str = ""
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.trigger = trigger
        self.error_type = error_type


class Joins:
    """Reads what `handed` has of an invocation, once."""

    __slots__ = ("_found", "_handed")

    def __init__(self, handed: HandedOver) -> None:
        self._handed = handed
        self._found: dict[str, Joined] = {}

    @property
    def is_fed(self) -> bool:
        """Whether a runtime hands spans over with request ids, so that it is worth waiting."""
        return self._handed.is_fed

    @property
    def has_unclaimed(self) -> bool:
        """Whether spans of an invocation have come that no record has asked for."""
        return any(self._handed.bodies.values())

    def is_unrecorded(self, request_id: str) -> bool:
        """Whether the runtime has left the invocation out, so that spans of it would be orphans."""
        return request_id in self._handed.unrecorded

    def find(self, request_id: str) -> Joined | None:
        """Where the invocation is; None while nothing is known."""
        found = self._found.get(request_id)
        if found is None:
            for body, size in self._handed.bodies.get(request_id, ()):
                found = find_invocation(body, size, request_id)
                if found is not None:
                    self._found[request_id] = found
                    self._handed.bodies[request_id] = []
                    if len(self._found) > MAX_FOUND:
                        del self._found[next(iter(self._found))]
                    break
        return found


def find_invocation(body: bytes, size: int, request_id: str) -> Joined | None:
    """The invocation's span among those of a request of `size` bytes that `body` begins.

    It is the one with the request's id that is not internal; failing that, the parent of one that
    is.
    """
    wanted = request_id.encode("utf-8", "replace")
    parent: Joined | None = None
    for start, end in _spans(body, size):
        span = SpanHead(body, start, end)
        if span.request_id != wanted or len(span.trace_id) != 16:
            continue
        if span.kind != names.KIND_INTERNAL and len(span.span_id) == 8:
            return span.joined(span.span_id)
        if parent is None and len(span.parent) == 8:
            parent = span.joined(span.parent)
    return parent


class SpanHead:
    """What is read of a span, as far as its bytes are there."""

    __slots__ = ("error_type", "kind", "parent", "request_id", "span_id", "trace_id", "trigger")

    def __init__(self, body: bytes, start: int, end: int) -> None:
        self.trace_id = self.span_id = self.parent = self.request_id = b""
        self.trigger = self.error_type = b""
        self.kind = 0
        try:
            fields = islice(iter_fields(body, start, end), _MAX_SPAN_FIELDS)
            for number, wire_type, first, last in fields:
                if wire_type == WIRE_LENGTH:
                    self._read(number, body[first:last])
                elif number == 6 and wire_type == WIRE_VARINT:
                    self.kind = body[first]
        except (ValueError, IndexError):
            pass  # cut off, here or where the bytes were made: what came before counts

    def _read(self, number: int, value: bytes) -> None:
        if number == 9:
            if value.startswith(INVOCATION_ID):
                self.request_id = _text(value, len(INVOCATION_ID))
            elif value.startswith(_TRIGGER):
                self.trigger = _text(value, len(_TRIGGER))
            elif value.startswith(_ERROR_TYPE):
                self.error_type = _text(value, len(_ERROR_TYPE))
        elif number == 1:
            self.trace_id = value
        elif number == 2:
            self.span_id = value
        elif number == 4:
            self.parent = value

    def joined(self, span_id: bytes) -> Joined:
        """The place of an invocation whose span has that id."""
        return Joined(
            self.trace_id,
            span_id,
            trigger=self.trigger.decode("utf-8", "replace"),
            error_type=self.error_type.decode("utf-8", "replace"),
        )


def _spans(body: bytes, size: int) -> Iterator[tuple[int, int]]:
    """The borders of the first spans; ends where the bytes are cut off or no such request."""
    count = 0
    try:
        for number, _, start, end in iter_fields(body, 0, size):
            for scope, _, first, last in iter_fields(body, start, end) if number == 1 else ():
                for item, _, begin, stop in iter_fields(body, first, last) if scope == 2 else ():
                    if item == 2:
                        yield begin, stop
                        count += 1
                        if count >= _MAX_SPANS:
                            return
    except ValueError:
        return


def _text(value: bytes, position: int) -> bytes:
    """The string of an AnyValue whose length is at `position`; b"" for another type."""
    for _, _, start, end in iter_fields(value, position - 1):
        for number, wire_type, first, last in iter_fields(value, start, end):
            if number == 1 and wire_type == WIRE_LENGTH:
                return value[first:last]
    return b""
