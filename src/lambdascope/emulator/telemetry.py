"""The Telemetry API of one execution environment: who subscribed, and what everybody gets.

The environment emits platform events and log lines and passes every PUT of an extension on; it
never waits for a listener. Buffering and delivery are `telemetry_subscriber`'s, the platform's
records are made by the caller. Source: AWS Lambda developer guide, "Lambda Telemetry API
reference"; the answers are those of AWS's Runtime Interface Emulator.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambdascope.emulator import platform_events
from lambdascope.emulator.config import LOG_JSON, LOG_TEXT, TELEMETRY_MISSING, TELEMETRY_ON
from lambdascope.emulator.telemetry_delivery import Destination
from lambdascope.emulator.telemetry_event import Event, encode_event, to_json
from lambdascope.emulator.telemetry_subscriber import Delivery, Subscriber
from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.http1 import encode_response
from lambdascope.wire.telemetry_api import SUBSCRIBED_BODY, parse_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope.wire.telemetry_api import Subscribe

SUBSCRIBED = "Subscribed"
ALREADY_SUBSCRIBED = "Already subscribed"

_VALIDATION_ERROR = "ValidationError"
_LOGS_NOT_SUPPORTED = "Logs.NotSupported"
# What is kept, all in all, for subscribers that are yet to come.
_HISTORY_BYTES = 4 * 1024 * 1024
_HISTORY_FULL = "too much was written before the subscription"
_DEFAULT_DELIVERY = Delivery()


@dataclass(frozen=True, kw_only=True)
class SubscribeAnswer:
    """What an extension gets for its PUT, and what the platform logs about it.

    `state` is SUBSCRIBED, ALREADY_SUBSCRIBED or "" when it was refused; `types` were asked for.
    """

    status: int
    body: bytes
    state: str = ""
    types: tuple[str, ...] = ()
    content_type: str = names.CONTENT_TYPE_JSON

    def to_response(self) -> bytes:
        """The bytes of the HTTP response."""
        return encode_response(self.status, (("Content-Type", self.content_type),), self.body)


class TelemetryBus:
    """Takes events from any thread and never waits for a listener.

    `mode` and `log_format` are constants of `config`. `now_ns` gives Unix time in nanoseconds.
    `on_dropped` gets a line of text when records were lost; it must not call back.
    """

    def __init__(
        self,
        *,
        now_ns: Callable[[], int],
        on_dropped: Callable[[str], None],
        mode: str = TELEMETRY_ON,
        log_format: str = LOG_TEXT,
        delivery: Delivery = _DEFAULT_DELIVERY,
    ) -> None:
        self._now_ns = now_ns
        self._on_dropped = on_dropped
        self._mode = mode
        self._json_lines = log_format == LOG_JSON
        self._delivery = delivery
        self._lock = threading.Lock()
        self._open = True
        self._subscribers: dict[str, Subscriber] = {}
        self._history: list[Event] = []
        self._history_bytes = 0
        self._forgotten: dict[str, list[int]] = {}
        self._held: list[Event] = []

    def emit(self, kind: str, record: object, time_ns: int, *, hold: bool = False) -> None:
        """One event: `kind` is platform.*, function or extension; a log line's record is its text.

        With `hold` it waits for the next platform.start, `release_held` or `flush`: the report of
        an invocation is made when all extensions have gone back to sleep.
        """
        if self._mode != TELEMETRY_ON:
            return
        event = encode_event(kind, record, time_ns, json_lines=self._json_lines)
        with self._lock:
            if hold:
                self._held.append(event)
                return
            if kind == platform_events.START:
                self._release()
            self._publish(event)

    def release_held(self) -> None:
        """Let held events go, because the extensions are awake again: at shutdown."""
        with self._lock:
            self._release()

    def answer(
        self, target: str, headers: Mapping[str, str], body: bytes, extension_name: str
    ) -> SubscribeAnswer:
        """The answer to a PUT by a known extension, on the path of the Telemetry or the Logs API.

        The Logs API, which the Telemetry API replaced, is never there.
        """
        if self._mode == TELEMETRY_MISSING:
            return _not_found()
        if target.partition("?")[0] == names.LOGS_PATH:
            return _error(names.ACCEPTED, _LOGS_NOT_SUPPORTED, "Logs API is not supported")
        if self._mode != TELEMETRY_ON:
            return _error(
                names.ACCEPTED, names.TELEMETRY_NOT_SUPPORTED, "Telemetry API is not supported"
            )
        try:
            request = parse_request("PUT", target, headers, body)
        except RemoteProtocolError as error:
            return _error(names.BAD_REQUEST, _VALIDATION_ERROR, str(error))
        return _not_found() if request is None else self.subscribe(request, extension_name)

    def subscribe(self, request: Subscribe, extension_name: str) -> SubscribeAnswer:
        """Deliver to this extension from now on, beginning with what came before.

        A second request of the same extension is answered well and changes nothing.
        """
        try:
            destination = Destination(request.uri)
        except RemoteProtocolError as error:
            return _error(names.BAD_REQUEST, _VALIDATION_ERROR, str(error))
        with self._lock:
            if not self._open:
                return _error(
                    names.FORBIDDEN,
                    names.TELEMETRY_SUBSCRIPTION_CLOSED,
                    "Telemetry API subscription is closed already",
                )
            state = ALREADY_SUBSCRIBED
            if extension_name not in self._subscribers:
                state = SUBSCRIBED
                self._add(request, extension_name, destination)
        return SubscribeAnswer(
            status=names.OK, body=SUBSCRIBED_BODY, state=state, types=request.types
        )

    def close_subscriptions(self) -> None:
        """Init is over: an extension that has not subscribed by now cannot any more."""
        with self._lock:
            self._open = False
            self._forget()

    def pause(self) -> None:
        """The environment is being frozen: no delivery starts and none runs out of time."""
        for subscriber in self._listed():
            subscriber.pause()

    def resume(self) -> None:
        """The environment was thawed."""
        for subscriber in self._listed():
            subscriber.resume()

    def flush(self, timeout_s: float) -> bool:
        """Deliver everything now, held events too; whether that was done within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        self.release_held()
        subscribers = self._listed()
        for subscriber in subscribers:
            subscriber.start_flush()
        flushed = [subscriber.wait_flushed(deadline) for subscriber in subscribers]
        return all(flushed)

    def reset(self) -> None:
        """The environment is gone: subscriptions and undelivered events go with it."""
        with self._lock:
            subscribers = list(self._subscribers.values())
            self._subscribers.clear()
            self._held.clear()
            self._forget()
            self._open = True
        for subscriber in subscribers:
            subscriber.close()

    def _listed(self) -> list[Subscriber]:
        with self._lock:
            return list(self._subscribers.values())

    def _add(self, request: Subscribe, name: str, destination: Destination) -> None:
        is_old = request.schema_version == names.TELEMETRY_SCHEMA_VERSIONS[0]
        subscriber = Subscriber(
            request,
            destination=destination,
            delivery=self._delivery,
            objects=not is_old,
            now_ns=self._now_ns,
            on_dropped=self._on_dropped,
        )
        for event in self._history:
            subscriber.put(event, replay=True)
        for category in set(request.types) & self._forgotten.keys():
            records, size_bytes = self._forgotten[category]
            subscriber.drop(records, size_bytes, _HISTORY_FULL)
        self._subscribers[name] = subscriber
        record = {"name": name, "state": SUBSCRIBED, "types": list(request.types)}
        self._publish(encode_event(platform_events.TELEMETRY_SUBSCRIPTION, record, self._now_ns()))
        subscriber.start()

    def _release(self) -> None:
        held, self._held = self._held, []
        for event in held:
            self._publish(event)

    def _publish(self, event: Event) -> None:
        if self._open:
            self._remember(event)
        for subscriber in self._subscribers.values():
            subscriber.put(event)

    def _remember(self, event: Event) -> None:
        if self._history_bytes + len(event.text) > _HISTORY_BYTES:
            counts = self._forgotten.setdefault(event.category, [0, 0])
            counts[0] += 1
            counts[1] += len(event.text)
            return
        self._history.append(event)
        self._history_bytes += len(event.text)

    def _forget(self) -> None:
        self._history.clear()
        self._history_bytes = 0
        self._forgotten.clear()


def _error(status: int, error_type: str, message: str) -> SubscribeAnswer:
    body = to_json({"errorMessage": message, "errorType": error_type}) + "\n"
    return SubscribeAnswer(status=status, body=body.encode("utf-8", "replace"))


def _not_found() -> SubscribeAnswer:
    return SubscribeAnswer(
        status=404, body=b"404 page not found\n", content_type="text/plain; charset=utf-8"
    )
