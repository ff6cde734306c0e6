"""What the extension holds and sends: an accepted body, and the batch that carries several.

The intake makes messages, the buffer batches. Bodies of one signal are merged by appending their
protobuf bytes, which is legal because the only field of every OTLP request is repeated; JSON bodies
stay alone. A batch remembers the borders, so that it can be cut in two again. It knows no queue.
"""

from __future__ import annotations

import posix

from lambdascope.otlp.walk import count_spans
from lambdascope.wire.names import CONTENT_TYPE_JSON, CONTENT_TYPE_PROTOBUF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope_extension.sampling_groups import Loose

# The two content types by the names that files and lines of a log have for them.
KINDS = {"protobuf": CONTENT_TYPE_PROTOBUF, "json": CONTENT_TYPE_JSON}
FORMS = {kind: form for form, kind in KINDS.items()}
_ID_BYTES = 16


class Message:
    """One accepted body. `items` is what the ledger counts for it, `received` is monotonic.

    `urgent`: it tells of an invocation that failed, goes first and is given up last. `request_id`
    is that of the invocation that our runtime handed it over for, "" for others. `scrub_fault`:
    None before it was searched for secrets, then why it could not be. `loose` is what a sampler has
    found in it beforehand.
    """

    __slots__ = (
        "body",
        "items",
        "kind",
        "loose",
        "received",
        "request_id",
        "scrub_fault",
        "signal",
        "urgent",
    )

    def __init__(
        self,
        *,
        signal: str,
        kind: str,
        body: bytes,
        items: int,
        received: float,
        urgent: bool = False,
    ) -> None:
        self.request_id = ""
        self.scrub_fault: str | None = None
        self.loose: Loose | None = None
        self.signal = signal
        self.kind = kind
        self.body = body
        self.items = items
        self.received = received
        self.urgent = urgent

    def copy(self) -> Message:
        """Another one with the same content."""
        other = Message(
            signal=self.signal,
            kind=self.kind,
            body=self.body,
            items=self.items,
            received=self.received,
            urgent=self.urgent,
        )
        other.request_id, other.scrub_fault = self.request_id, self.scrub_fault
        return other


class Batch:
    """What one request to the collector carries, with an id that stays the same when it is
    repeated. `received` is that of its oldest message, `parts` are its messages' sizes and items.
    `was_sent`: the collector may know it.
    """

    __slots__ = (
        "body",
        "id",
        "items",
        "kind",
        "parts",
        "received",
        "signal",
        "urgent",
        "was_sent",
    )

    def __init__(self, messages: list[Message]) -> None:
        first = messages[0]
        self.id = posix.urandom(_ID_BYTES).hex()
        self.signal = first.signal
        self.kind = first.kind
        self.received = first.received
        self.urgent = first.urgent
        self.was_sent = False
        self.parts = [(len(message.body), message.items) for message in messages]
        self.items = sum(message.items for message in messages)
        self.body = b"".join([message.body for message in messages])

    def halves(self) -> list[Batch]:
        """Two batches that together are this one, with ids of their own; [] when there are none.

        Cut between messages, or in a message on the borders of its resources, scopes or items.
        """
        bodies = self._between_messages() if len(self.parts) > 1 else self._in_message()
        return [Batch(messages) for messages in bodies]

    def _between_messages(self) -> list[list[Message]]:
        messages, start = [], 0
        for size, items in self.parts:
            messages.append(self._message(self.body[start : start + size], items))
            start += size
        size = count = 0
        while count < len(messages) - 1 and (not count or size * 2 < len(self.body)):
            size += self.parts[count][0]
            count += 1
        return [messages[:count], messages[count:]]

    def _in_message(self) -> list[list[Message]]:
        from lambdascope.otlp.split import halves, json_halves  # hardly ever needed

        is_json = self.kind == CONTENT_TYPE_JSON
        try:
            both = json_halves(self.body) if is_json else halves(self.body)
            # JSON is counted in items for traces alone: halves of the others could not be told
            # apart.
            if both is None or (is_json and self.signal != "traces"):
                return []
            first = both[0].count(b'"startTimeUnixNano":') if is_json else count_spans(both[0])
        except ValueError:
            return []
        first = min(first, self.items)
        return [[self._message(both[0], first)], [self._message(both[1], self.items - first)]]

    def _message(self, body: bytes, items: int) -> Message:
        return Message(
            signal=self.signal,
            kind=self.kind,
            body=body,
            items=items,
            received=self.received,
            urgent=self.urgent,
        )
