"""The OTLP/HTTP receiver: decides what to answer to a request and puts its body into the buffer.

Any process of the execution environment may send; only our runtime has the token that a header of
ours needs. Every answer is given as soon as the body is in memory, long before it is exported. What
the runtime says about an invocation goes to the end tracker.
"""

from __future__ import annotations

from _operator import _compare_digest
from time import monotonic

from lambdascope.otlp.names import FAAS_INVOCATION_ID
from lambdascope.wire import handoff_post, names
from lambdascope.wire.http1 import encode_response
from lambdascope_extension.batch import Message
from lambdascope_extension.bodies import (
    BadBody,
    content_kind,
    count_items,
    decoded,
    status_body,
    tells_of_failure,
)
from lambdascope_extension.server import MAX_BODY_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope.wire.http1 import Head
    from lambdascope_extension.body_worker import BodyWorker
    from lambdascope_extension.buffer import Buffer
    from lambdascope_extension.connections import ClientConnection
    from lambdascope_extension.end_tracker import EndTracker
    from lambdascope_extension.handed_over import HandedOver

_SIGNALS = {
    names.TRACES_PATH: "traces",
    names.METRICS_PATH: "metrics",
    names.LOGS_SIGNAL_PATH: "logs",
}
_TOKEN = names.HANDOFF_TOKEN.lower()
_REQUEST_ID = names.HANDOFF_REQUEST_ID.lower()
_DONE = names.HANDOFF_DONE.lower()
# An empty Export<Signal>ServiceResponse, in either form.
_PROTOBUF = (("Content-Type", names.CONTENT_TYPE_PROTOBUF),)
_JSON = (("Content-Type", names.CONTENT_TYPE_JSON),)
_ACCEPTED = {
    names.CONTENT_TYPE_PROTOBUF: encode_response(names.OK, _PROTOBUF),
    names.CONTENT_TYPE_JSON: encode_response(names.OK, _JSON, b"{}"),
}
_HELLO = encode_response(names.OK, ())
_INVOCATION_ID = FAAS_INVOCATION_ID.encode()
_REASONS = {401: "wrong_token", 413: "too_large", 415: "content_type", 503: "buffer_full"}
_RETRY_AFTER = ("Retry-After", "5")
# A foreign body up to this is looked at in a ms; the runtime should not wait for a larger one.
_SMALL_BYTES = 8192


class Intake:
    """`handed_over`, where it is set, is told what the runtime hands over for each invocation.

    `drop_reasons` names the signals that have no destination, and why.

    `say` gets one line for the first refusal of each kind. `on_done` is called after a done signal
    and before the answer to it: the invocation goes on being billed until next is asked for.

    With a `worker`, large bodies of others are looked at beside the main thread, and `answer` is
    called when that is done.
    """

    def __init__(
        self,
        buffer: Buffer,
        ends: EndTracker,
        *,
        token: str,
        drop_reasons: Mapping[str, str],
        say: Callable[[str], None],
        worker: BodyWorker | None = None,
    ) -> None:
        self.on_done: Callable[[], None] = lambda: None
        self.handed_over: HandedOver | None = None
        # Told before `on_done`: all spans of an invocation have come.
        self.on_handed_over: Callable[[str], None] | None = None
        self.answer: Callable[[ClientConnection, bytes], None] = lambda connection, data: None
        self._working_bytes = 0
        self._buffer = buffer
        self._ends = ends
        self._token = token.encode()
        self._drop_reasons = drop_reasons
        self._say = say
        self._worker = worker
        # Of the posts that our runtime sends, the bytes before the request id.
        self._usual = b""

    def shortcut(self, data: bytes, connection: ClientConnection) -> bytes | None:
        """The response to the usual post of our runtime; None for any other bytes."""
        usual = handoff_post.parse(data, self._usual) if self._usual else None
        if usual is None:
            return None
        request_id, spans, body = usual
        if not body or "traces" in self._drop_reasons or self._ends.has_spans(request_id):
            return None
        message = _message("traces", names.CONTENT_TYPE_PROTOBUF, body, spans)
        message.request_id = request_id
        if not self._buffer.put(message):
            return None
        self._on_spans(request_id, spans, body)
        self._on_done(request_id, spans)
        return _ACCEPTED[names.CONTENT_TYPE_PROTOBUF]

    def handle(self, head: Head, body: bytes, connection: ClientConnection) -> bytes | None:
        """The response to one whole request; None if `answer` gets it later."""
        kind = ""
        is_trusted = self._is_trusted(head)
        try:
            path = self._checked_path(head, is_trusted=is_trusted)
            if path == names.HELLO_PATH:
                connection.is_runtime = True
                self._usual = handoff_post.prefix(
                    head.headers.get("host", ""), self._token.decode()
                )
                self._ends.on_hello()
                if self.handed_over is not None:
                    self.handed_over.is_fed = True
                return _HELLO
            kind = content_kind(head.headers.get("content-type", ""))
            announced = self._announced(head) if is_trusted else None
            if self._worker is not None and not is_trusted and _is_large(head, body):
                self._work(self._worker, _SIGNALS[path], kind, head, body, connection)
                return None
            items = self._accept(self._checked(_SIGNALS[path], kind, head, body, announced))
            answer = _ACCEPTED[kind]
        except BadBody as refusal:
            items = 0
            answer = self._refusal(head, refusal, kind)
        if is_trusted:
            connection.is_runtime = True
            self._on_signals(head, items, body)
        return answer

    def drop_everything(self, reason: str) -> None:
        """From now on, take bodies only to count them as dropped for `reason`."""
        self._drop_reasons = dict.fromkeys(_SIGNALS.values(), reason)
        self._worker = None

    def on_refused(self, head: Head | None, status: int, text: str) -> None:
        """A request was refused before its end; what its head says of the invocation counts."""
        self._count_refusal(head, status, text)
        if head is not None and self._is_trusted(head):
            self._on_signals(head, 0, b"")

    def _is_trusted(self, head: Head) -> bool:
        token = head.headers.get(_TOKEN)
        return token is not None and _compare_digest(token.encode("utf-8", "replace"), self._token)

    def _checked_path(self, head: Head, *, is_trusted: bool) -> str:
        """The path. Raises BadBody when it is not one of ours or not for this sender."""
        path = head.target.partition("?")[0]
        if not is_trusted and (
            path == names.HELLO_PATH
            or any(name.startswith(names.HANDOFF_HEADER_PREFIX) for name in head.headers)
        ):
            raise BadBody(401, f"missing or wrong {names.HANDOFF_TOKEN}")
        if path not in _SIGNALS and path != names.HELLO_PATH:
            raise BadBody(404, f"nothing is served at {path[:60]!r}, try {names.TRACES_PATH}")
        if head.method != "POST":
            raise BadBody(405, f"{head.method} {path}: only POST is served")
        return path

    def _announced(self, head: Head) -> int | None:
        """The number of spans in the body, where our runtime says it: all that the invocation has.

        It spares counting them. None when there is more than this one post, or no number.
        """
        done = head.headers.get(_DONE, "")
        if not (done.isascii() and done.isdigit()) or len(done) > 9:
            return None
        return None if self._ends.has_spans(head.headers.get(_REQUEST_ID, "")) else int(done)

    def _work(
        self,
        worker: BodyWorker,
        signal: str,
        kind: str,
        head: Head,
        body: bytes,
        connection: ClientConnection,
    ) -> None:
        """Look at a body in the worker, and answer then. Raises BadBody (503) if many wait."""
        size = len(body)
        if self._working_bytes and self._working_bytes + size > MAX_BODY_BYTES:
            raise BadBody(503, "too many large requests at a time")
        self._working_bytes += size

        def work() -> Message | BadBody | None:
            try:
                message = self._checked(signal, kind, head, body, None)
            except BadBody as refusal:
                # Without its traceback, in whose frames the body is.
                return BadBody(refusal.status, str(refusal))
            if message is not None and signal not in self._drop_reasons:
                self._buffer.prepare(message)
            return message

        def done(found: object) -> None:
            self._working_bytes -= size
            if isinstance(found, BadBody):
                data = self._refusal(head, found, kind)
            elif isinstance(found, Exception):
                raise found  # a fault of ours
            else:
                try:
                    self._accept(found)  # type: ignore[arg-type]  # what `work` gives
                    data = _ACCEPTED[kind]
                except BadBody as refusal:
                    data = self._refusal(head, refusal, kind)
            self.answer(connection, data)

        worker.add(work, done)

    def _checked(
        self, signal: str, kind: str, head: Head, body: bytes, announced: int | None
    ) -> Message | None:
        """A body as a message, None for an empty one, which is a success. Raises BadBody.

        Any thread may call it.
        """
        body = decoded(head.headers.get("content-encoding", ""), body)
        if not body:
            return None
        items = count_items(signal, kind, body) if announced is None else announced
        message = _message(signal, kind, body, items)
        # Any other sender's was refused.
        message.request_id = head.headers.get(_REQUEST_ID, "")
        return message

    def _accept(self, message: Message | None) -> int:
        """Put a body into the buffer; how many items it had. Raises BadBody."""
        if message is None:
            return 0
        signal, items = message.signal, message.items
        reason = self._drop_reasons.get(signal)
        if reason is not None:
            self._buffer.ledger.accept(signal, items)
            self._buffer.ledger.drop(signal, items, reason)
            return items
        body = message.body
        if not self._buffer.put(message):
            raise BadBody(503, "the buffer is full, the collector does not take what is in it")
        handed = self.handed_over
        # A stock SDK's; of what our runtime hands over the header says it.
        if (
            signal == "traces"
            and not message.request_id
            and handed is not None
            and not handed.is_fed
            and _INVOCATION_ID in body
        ):
            from lambdascope_extension.records.overheard import overhear

            overhear(handed, message.kind, body)
        return items

    def _on_signals(self, head: Head, items: int, body: bytes) -> None:
        request_id = head.headers.get(_REQUEST_ID)
        if request_id is None:
            return
        self._on_spans(request_id, items, body)
        done = head.headers.get(_DONE)
        if done is not None:
            expected = int(done) if done.isascii() and done.isdigit() and len(done) < 10 else 0
            self._on_done(request_id, expected)

    def _on_spans(self, request_id: str, items: int, body: bytes) -> None:
        if self.handed_over is not None and body:
            self.handed_over.remember(request_id, body)
        self._ends.on_spans(request_id, items)

    def _on_done(self, request_id: str, expected: int) -> None:
        if not expected and self.handed_over is not None:
            self.handed_over.leave_out(request_id)
        if self.on_handed_over is not None:
            self.on_handed_over(request_id)
        self._ends.on_done(request_id, expected, monotonic())
        self.on_done()

    def _refusal(self, head: Head, refusal: BadBody, kind: str) -> bytes:
        self._count_refusal(head, refusal.status, str(refusal))
        if not kind:
            headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/plain"),)
            return encode_response(refusal.status, headers, f"{refusal}\n".encode())
        headers = (("Content-Type", kind),)
        if refusal.status == 503:
            headers = (*headers, _RETRY_AFTER)
        return encode_response(refusal.status, headers, status_body(kind, str(refusal)))

    def _count_refusal(self, head: Head | None, status: int, text: str) -> None:
        reason = _REASONS.get(status, "malformed")
        refused = self._buffer.ledger.refused
        if reason not in refused:
            what = "a request" if head is None else f"{head.method} {head.target[:60]}"
            self._say(f"refused {what} on the OTLP port with {status}: {text}")
        self._buffer.ledger.refuse(reason)


def _is_large(head: Head, body: bytes) -> bool:
    """Whether it takes long to look at it, which a compressed one may whatever its size."""
    return len(body) > _SMALL_BYTES or bool(head.headers.get("content-encoding"))


def _message(signal: str, kind: str, body: bytes, items: int) -> Message:
    return Message(
        signal=signal,
        kind=kind,
        body=body,
        items=items,
        received=monotonic(),
        urgent=tells_of_failure(signal, kind, body),
    )
