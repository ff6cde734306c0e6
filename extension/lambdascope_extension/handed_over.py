"""The first bytes of what the runtime hands over for each invocation, by request id.

The intake notes them and does nothing else, because that is on the invocation's path; the
platform's records, which come later, are joined to a trace with them. Bounded by entries and bytes.
"""

from __future__ import annotations

MAX_ENTRIES = 128
# Resource, scope and the invocation's span take about 2 kB; its events come last.
PREFIX_BYTES = 4096
_MAX_BODIES = 4


class HandedOver:
    """`bodies` are (first bytes, whole size); `is_fed`: there is a runtime that hands over.

    `unrecorded` are the invocations that the runtime's sampler left out.
    """

    __slots__ = ("bodies", "is_fed", "unrecorded")

    def __init__(self) -> None:
        self.is_fed = False
        self.bodies: dict[str, list[tuple[bytes, int]]] = {}
        self.unrecorded: dict[str, None] = {}

    def leave_out(self, request_id: str) -> None:
        """An invocation is over and has no spans."""
        self.unrecorded[request_id] = None
        if len(self.unrecorded) > MAX_ENTRIES:
            del self.unrecorded[next(iter(self.unrecorded))]

    def remember(self, request_id: str, body: bytes) -> None:
        """Spans of an invocation have come."""
        self.is_fed = True
        self.overhear(request_id, body)

    def overhear(self, request_id: str, body: bytes) -> None:
        """The same from a sender that may never send any for another invocation."""
        bodies = self.bodies.get(request_id)
        if bodies is None:
            bodies = self.bodies[request_id] = []
            if len(self.bodies) > MAX_ENTRIES:
                del self.bodies[next(iter(self.bodies))]
        if len(bodies) < _MAX_BODIES:
            bodies.append((body[:PREFIX_BYTES], len(body)))
