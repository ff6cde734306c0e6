"""What the tests of the emulator's Telemetry API share: a listener on a real socket, as extensions
have them, and a bus.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lambdascope.emulator.telemetry import TelemetryBus
from lambdascope.emulator.telemetry_subscriber import Delivery
from lambdascope.transport.listener import Exchange, Listener
from lambdascope.wire.names import TELEMETRY_PATH

if TYPE_CHECKING:
    from collections.abc import Iterator

Item = dict[str, Any]
EPOCH_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z
QUICK = Delivery(attempts=3, backoff_s=0.01, answer_s=0.5)


class Receiver:
    """A telemetry listener that keeps what it gets.

    It answers with the numbers in `statuses` first, 0 being a dropped connection, then with 200.
    While `gate` is clear it answers nobody.
    """

    def __init__(self, *statuses: int, port: int = 0) -> None:
        self.statuses = list(statuses)
        self.gate = threading.Event()
        self.gate.set()
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self._arrived = threading.Condition()
        self.listener = Listener(self._handle, name="receiver", port=port)
        self.listener.start()

    @property
    def port(self) -> int:
        """Where it listens on loopback."""
        return self.listener.port

    def uri(self, host: str = "sandbox.localdomain", path: str = "/") -> str:
        """The destination to subscribe with."""
        return f"http://{host}:{self.port}{path}"

    def _handle(self, exchange: Exchange) -> None:
        body = exchange.read_body(8_000_000)
        with self._arrived:
            self.requests.append((exchange.method, exchange.target, exchange.headers, body))
            status = self.statuses.pop(0) if self.statuses else 200
            self._arrived.notify_all()
        assert self.gate.wait(30)
        if status:
            exchange.respond(status)
        else:
            exchange.abort()

    def batches(self, count: int) -> list[list[Item]]:
        """All batches so far, once there are `count`."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, 20), self.requests
            return [json.loads(body) for *_, body in self.requests]

    def items(self, count: int) -> list[Item]:
        """All items so far, once there are `count`."""

        def arrived() -> list[Item]:
            return [item for *_, body in self.requests for item in json.loads(body)]

        with self._arrived:
            assert self._arrived.wait_for(lambda: len(arrived()) >= count, 20), arrived()
            return arrived()

    def kinds(self, count: int) -> list[str]:
        """The types of the items so far, once there are `count`."""
        return [item["type"] for item in self.items(count)]

    def close(self) -> None:
        """Stop; whoever waits for an answer gets one."""
        self.gate.set()
        self.listener.close()


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    """A receiver for the length of a block."""
    receiver = Receiver(*statuses)
    try:
        yield receiver
    finally:
        receiver.close()


@contextmanager
def telemetry(**options: Any) -> Iterator[TelemetryBus]:
    """A bus for the length of a block; `said` collects what it says of lost records."""
    said: list[str] = options.pop("said", [])
    bus = TelemetryBus(
        now_ns=lambda: EPOCH_NS, on_dropped=said.append, **{"delivery": QUICK, **options}
    )
    try:
        yield bus
    finally:
        bus.reset()


def put(
    bus: TelemetryBus,
    uri: str,
    *,
    name: str = "ext",
    types: tuple[str, ...] = ("platform", "function"),
    timeout_ms: int = 25,
    schema: str = "2025-01-29",
    items: int = 1000,
) -> tuple[int, Any]:
    """Subscribe as an extension does; status and body of the answer."""
    fields = {
        "schemaVersion": schema,
        "types": list(types),
        "buffering": {"maxItems": items, "maxBytes": 262144, "timeoutMs": timeout_ms},
        "destination": {"protocol": "HTTP", "URI": uri, "method": "POST", "encoding": "JSON"},
    }
    answer = bus.answer(TELEMETRY_PATH, {}, json.dumps(fields).encode(), name)
    return answer.status, json.loads(answer.body)
