"""Spans, events and links as plain records with slots.

The runtime makes them, the encoder reads them. They hold what the OpenTelemetry protocol's
trace.proto holds, in the types that cost least to make: ids are raw bytes, times are whole
nanoseconds since the epoch. They must not know the clock, how ids are made, or how they are sent.
Nothing is checked here, because they are made on the path of every invocation; the encoder copes
with odd values.
"""

from __future__ import annotations

from lambdascope.otlp.names import FLAGS_LOCAL, KIND_INTERNAL, STATUS_UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    # Any object at all may be a value: otlp/attributes.py says how each type is written.
    Attributes: TypeAlias = dict[str, object]


class Record:
    """Equality and text of a record, by its slots."""

    __slots__: tuple[str, ...] = ()

    def _values(self) -> list[object]:
        return [getattr(self, name) for name in self.__slots__]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record) or type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]  # records change until they are encoded

    def __repr__(self) -> str:
        pairs = zip(self.__slots__, self._values(), strict=True)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in pairs)})"


class Event(Record):
    """Something that happened at one moment of a span (trace.proto: Span.Event)."""

    __slots__ = ("attributes", "dropped_attributes", "name", "time_ns")

    def __init__(
        self,
        *,
        name: str,
        time_ns: int,
        attributes: Attributes | None = None,
        dropped_attributes: int = 0,
    ) -> None:
        self.name = name
        self.time_ns = time_ns
        self.attributes: Attributes = {} if attributes is None else attributes
        self.dropped_attributes = dropped_attributes


class Link(Record):
    """A span of this or another trace that a span belongs with (trace.proto: Span.Link).

    ``trace_id`` is 16 bytes and ``span_id`` 8; ``flags`` are the linked span's, see names.py.
    """

    __slots__ = ("attributes", "dropped_attributes", "flags", "span_id", "trace_id", "trace_state")

    def __init__(
        self,
        *,
        trace_id: bytes,
        span_id: bytes,
        trace_state: str = "",
        attributes: Attributes | None = None,
        flags: int = FLAGS_LOCAL,
        dropped_attributes: int = 0,
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.trace_state = trace_state
        self.attributes: Attributes = {} if attributes is None else attributes
        self.flags = flags
        self.dropped_attributes = dropped_attributes


class Span(Record):
    """One timed piece of work (trace.proto: Span).

    ``trace_id`` is 16 bytes, ``span_id`` 8 bytes, ``parent_span_id`` 8 bytes or empty for a root.
    ``flags`` are the W3C trace flags and what is known about the parent, see names.py; a span
    whose parent is in another process takes FLAGS_REMOTE. Every field may be set again until it
    is encoded. ``encoded`` holds attributes that are bytes already (TraceEncoder.attributes), for
    those that are the same in every span; they are written in front of the others.
    """

    __slots__ = (
        "attributes",
        "dropped_attributes",
        "dropped_events",
        "dropped_links",
        "encoded",
        "end_ns",
        "events",
        "flags",
        "kind",
        "links",
        "name",
        "parent_span_id",
        "span_id",
        "start_ns",
        "status_code",
        "status_message",
        "trace_id",
        "trace_state",
    )

    def __init__(  # noqa: PLR0913 - one keyword for each field of the protocol's message
        self,
        *,
        name: str,
        trace_id: bytes,
        span_id: bytes,
        parent_span_id: bytes = b"",
        kind: int = KIND_INTERNAL,
        start_ns: int = 0,
        end_ns: int = 0,
        attributes: Attributes | None = None,
        events: list[Event] | None = None,
        links: list[Link] | None = None,
        status_code: int = STATUS_UNSET,
        status_message: str = "",
        flags: int = FLAGS_LOCAL,
        trace_state: str = "",
        dropped_attributes: int = 0,
        dropped_events: int = 0,
        dropped_links: int = 0,
        encoded: bytes = b"",
    ) -> None:
        self.name = name
        self.trace_id = trace_id
        self.span_id = span_id
        self.parent_span_id = parent_span_id
        self.kind = kind
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.attributes: Attributes = {} if attributes is None else attributes
        self.events: list[Event] = [] if events is None else events
        self.links: list[Link] = [] if links is None else links
        self.status_code = status_code
        self.status_message = status_message
        self.flags = flags
        self.trace_state = trace_state
        self.dropped_attributes = dropped_attributes
        self.dropped_events = dropped_events
        self.dropped_links = dropped_links
        self.encoded = encoded
