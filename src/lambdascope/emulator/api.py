"""The one listener that AWS_LAMBDA_RUNTIME_API names, and which of the three APIs a path means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdascope.emulator.credentials import Credentials
from lambdascope.emulator.extension_server import MAX_BODY_BYTES, ExtensionServer, identify
from lambdascope.emulator.managed_server import ManagedRuntimeServer
from lambdascope.emulator.runtime_server import RuntimeServer
from lambdascope.emulator.sandbox import Refused
from lambdascope.transport.listener import Listener
from lambdascope.wire import names, runtime_api

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.emulator.config import FunctionConfig
    from lambdascope.emulator.sandbox import Sandbox
    from lambdascope.emulator.telemetry import SubscribeAnswer, TelemetryBus
    from lambdascope.transport.listener import Exchange

_RUNTIME_PREFIX = f"{names.RUNTIME_BASE}/"
_CONNECTIONS = 256
_CONNECTIONS_PER_WORKER = 4
_EXTENSION_PREFIX = f"{names.EXTENSION_BASE}/"


class Api:
    """The Runtime, Extensions and Telemetry API of one environment.

    `sandbox()` is the current generation; `on_subscribed` gets the name of an extension and what it
    was answered.
    """

    def __init__(
        self,
        config: FunctionConfig,
        sandbox: Callable[[], Sandbox],
        *,
        bus: TelemetryBus,
        on_subscribed: Callable[[str, SubscribeAnswer], None],
    ) -> None:
        self._sandbox = sandbox
        self._bus = bus
        self._on_subscribed = on_subscribed
        server = ManagedRuntimeServer if config.managed else RuntimeServer
        self._runtime: RuntimeServer = server(
            sandbox,
            snap_start=config.snap_start,
            stream_bytes_per_s=config.stream_bytes_per_s,
        )
        self._extensions = ExtensionServer(sandbox, config)
        self.credentials = Credentials(config.variables) if config.snap_start else None
        # Each worker of the runtime has connections of its own, which stay open.
        limit = _CONNECTIONS + _CONNECTIONS_PER_WORKER * config.max_concurrency
        self._listener = Listener(self._handle, name="lambda-api", max_connections=limit)
        self.address = self._listener.address
        self._listener.start()

    def close(self) -> None:
        """Stop listening and drop every connection."""
        self._listener.close()

    def cut_idle(self) -> None:
        """Drop the connections on which no request is being answered."""
        self._listener.close_idle()

    def _handle(self, exchange: Exchange) -> None:
        path = exchange.target.partition("?")[0]
        if path.startswith(_RUNTIME_PREFIX):
            self._runtime.handle(exchange)
        elif path.startswith(_EXTENSION_PREFIX):
            self._extensions.handle(exchange)
        elif exchange.method == "PUT" and path in (names.TELEMETRY_PATH, names.LOGS_PATH):
            self._subscribe(exchange)
        elif path == names.CREDENTIALS_PATH and self.credentials is not None:
            self.credentials.answer(exchange)
        elif path == names.PING_PATH:
            exchange.respond(names.OK, body=b"pong")
        else:
            exchange.respond(404, body=b"404 page not found\n")

    def _subscribe(self, exchange: Exchange) -> None:
        body = exchange.read_body(MAX_BODY_BYTES)
        sandbox = self._sandbox()
        try:
            with sandbox.lock:
                name = identify(sandbox, exchange.headers).name
        except Refused as refusal:
            exchange.respond_raw(
                runtime_api.error_response(refusal.status, refusal.error_type, str(refusal))
            )
            return
        answer = self._bus.answer(exchange.target, exchange.headers, body, name)
        # Said first: an extension that has its answer may already have written lines of its own.
        if answer.state:
            self._on_subscribed(name, answer)
        exchange.respond_raw(answer.to_response())
