"""The Telemetry API of one execution environment: who subscribed, and what everybody gets.

The environment emits platform events and log lines and passes every PUT of an extension on; it
never waits for a listener. Buffering and delivery are `telemetry_subscriber`'s, the shapes of the
platform's records are the caller's. Source: AWS Lambda developer guide, "Lambda Telemetry API
reference" and "Event schema reference"; answers as AWS's Runtime Interface Emulator gives them.
"""

from __future__ import annotations

import ipaddress
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from lambdascope.emulator.config import LOG_JSON, LOG_TEXT, TELEMETRY_MISSING, TELEMETRY_ON
from lambdascope.emulator.telemetry_subscriber import Delivery, Event, Subscriber
from lambdascope.emulator.times import iso_time
from lambdascope.wire import names
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.http1 import encode_response
from lambdascope.wire.telemetry_api import parse_request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope.wire.telemetry_api import Subscribe

SUBSCRIBED = "Subscribed"
ALREADY_SUBSCRIBED = "Already subscribed"

_START = "platform.start"
_SUBSCRIPTION = "platform.telemetrySubscription"
_VALIDATION_ERROR = "ValidationError"
_LOGS_NOT_SUPPORTED = "Logs.NotSupported"
# What is kept for subscribers that are yet to come, all in all.
_HISTORY_BYTES = 4 * 1024 * 1024
_HISTORY_FULL = "too many records before the subscription"


@dataclass(frozen=True, kw_only=True)
class SubscribeAnswer:
    """What an extension gets for its PUT, and what the platform logs about it.

    `state` is SUBSCRIBED, ALREADY_SUBSCRIBED or "" when nothing came of it; `types` were asked for.
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
    """Takes events from any thread and never blocks on a listener.

    `mode` and `log_format` are the constants of `config`. `now_ns` gives Unix time in nanoseconds.
    `on_dropped` gets one line of text when records were lost.
    """

    def __init__(
        self,
        *,
        now_ns: Callable[[], int],
        on_dropped: Callable[[str], None],
        mode: str = TELEMETRY_ON,
        log_format: str = LOG_TEXT,
        delivery: Delivery = Delivery(),  # noqa: B008 - a frozen value
    ) -> None:
        self._now_ns = now_ns
        self._on_dropped = on_dropped
        self._mode = mode
        self._log_format = log_format
        self._delivery = delivery
        self._lock = threading.Lock()
        self._open = True
        self._subscribers: dict[str, Subscriber] = {}
        self._history: list[Event] = []
        self._history_bytes = 0
        self._history_dropped: list[Event] = []
        self._held: list[Event] = []

    def emit(self, kind: str, record: object, time_ns: int, *, hold: bool = False) -> None:
        """One event: `kind` is platform.*, function or extension; a log line's record is its text.

        With `hold` it waits for the next platform.start, for `release_held` or for `flush`: the
        report of an invocation comes after all extensions went back to sleep.
        """
        if self._mode != TELEMETRY_ON:
            return
        event = self._event(kind, record, time_ns)
        with self._lock:
            if hold:
                self._held.append(event)
                return
            if kind == _START:
                self._release()
            self._publish(event)

    def release_held(self) -> None:
        """Let held events go, because the extensions are awake: at shutdown."""
        with self._lock:
            self._release()

    def answer(
        self, target: str, headers: Mapping[str, str], body: bytes, extension_name: str
    ) -> SubscribeAnswer:
        """What to answer to a PUT on the telemetry or logs path by a known extension.

        The Logs API, which the Telemetry API replaced, is never there.
        """
        if self._mode == TELEMETRY_MISSING:
            return _not_found()
        logs = target.partition("?")[0] == names.LOGS_PATH
        if logs or self._mode != TELEMETRY_ON:
            kind = _LOGS_NOT_SUPPORTED if logs else names.TELEMETRY_NOT_SUPPORTED
            what = "Logs" if logs else "Telemetry"
            return _error(names.ACCEPTED, kind, f"{what} API is not supported")
        try:
            request = parse_request("PUT", target, headers, body)
        except RemoteProtocolError as error:
            return _error(names.BAD_REQUEST, _VALIDATION_ERROR, str(error))
        return _not_found() if request is None else self.subscribe(request, extension_name)

    def subscribe(self, request: Subscribe, extension_name: str) -> SubscribeAnswer:
        """Deliver to this extension from now on, beginning with what came before.

        A second request of the same extension changes nothing: the first destination stays.
        """
        try:
            destination = _destination(request.uri)
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
        return SubscribeAnswer(status=names.OK, body=b'"OK"', state=state, types=request.types)

    def close_subscriptions(self) -> None:
        """Init is over: who has not subscribed by now never will."""
        with self._lock:
            self._open = False
            self._forget()

    def pause(self) -> None:
        """The environment is frozen, and so is everything here: no time passes for deliveries."""
        for subscriber in self._listed():
            subscriber.pause()

    def resume(self) -> None:
        """The environment was thawed."""
        for subscriber in self._listed():
            subscriber.resume()

    def flush(self, timeout_s: float) -> bool:
        """Deliver everything now; whether that was done within `timeout_s` seconds."""
        self.release_held()
        subscribers = self._listed()
        for subscriber in subscribers:
            subscriber.start_flush()
        deadline = self._delivery.clock() + timeout_s
        # A list, so that each of them is waited for.
        done = [s.wait_flushed(deadline) for s in subscribers]
        return all(done)

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

    def _add(self, request: Subscribe, name: str, destination: tuple[str, int, str]) -> None:
        subscriber = Subscriber(
            request,
            name=name,
            destination=destination,
            delivery=self._delivery,
            objects=self._log_format == LOG_JSON
            and request.schema_version != names.TELEMETRY_SCHEMA_VERSIONS[0],
            on_dropped=self._on_dropped,
        )
        for event in self._history:
            subscriber.put(event)
        for event in self._history_dropped:
            subscriber.drop(event, _HISTORY_FULL)
        self._subscribers[name] = subscriber
        record = {"name": name, "state": SUBSCRIBED, "types": list(request.types)}
        self._publish(self._event(_SUBSCRIPTION, record, self._now_ns()))
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
            self._history_dropped.append(event.without_content())
            return
        self._history.append(event)
        self._history_bytes += len(event.text)

    def _forget(self) -> None:
        self._history.clear()
        self._history_dropped.clear()
        self._history_bytes = 0

    def _event(self, kind: str, record: object, time_ns: int) -> Event:
        category = kind.partition(".")[0]
        if not isinstance(record, str):
            return Event(category, _item(kind, _json(record), time_ns))
        line = record.removesuffix("\n")
        text = _item(kind, _json(line + "\n"), time_ns)
        raw = line.strip() if self._log_format == LOG_JSON and _is_object(line) else None
        # The line itself, not what a parser makes of it: it arrives unchanged.
        return Event(category, text, None if raw is None else _item(kind, raw, time_ns))


def _item(kind: str, record_json: str, time_ns: int) -> bytes:
    text = f'{{"time":"{iso_time(time_ns)}","type":"{kind}","record":{record_json}}}'
    return text.encode("utf-8", "replace")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_object(line: str) -> bool:
    if not line.lstrip().startswith("{"):
        return False
    try:
        json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _destination(uri: str) -> tuple[str, int, str]:
    """Host, port and path of a destination. Raises RemoteProtocolError when it is not ours.

    Loopback addresses are taken beside the names that Lambda documents: what listens there is the
    same process here.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port or 80
    except ValueError as error:
        raise RemoteProtocolError(f"destination.URI {uri!r}: {error}") from None
    if host not in (*names.TELEMETRY_HOSTS, "localhost") and not _is_loopback(host):
        raise RemoteProtocolError(
            f"destination.URI {uri!r}: the host must be {names.TELEMETRY_HOSTS[0]}"
        )
    path = parts.path or "/"
    return host, port, f"{path}?{parts.query}" if parts.query else path


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _error(status: int, error_type: str, message: str) -> SubscribeAnswer:
    body = _json({"errorMessage": message, "errorType": error_type}).encode("utf-8", "replace")
    return SubscribeAnswer(status=status, body=body)


def _not_found() -> SubscribeAnswer:
    return SubscribeAnswer(
        status=404, body=b"404 page not found\n", content_type="text/plain; charset=utf-8"
    )
