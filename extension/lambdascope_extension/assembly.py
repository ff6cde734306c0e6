"""Puts the parts of the extension together after register, runs them, and outlives their faults.

Called by the start. A fault of ours must not end the process, because Lambda would fail the
function: the receiver goes on answering, what it takes is counted as dropped, and events are asked
for until the environment shuts down.
"""

from __future__ import annotations

import posix
import sys
from _signal import (  # type: ignore[import-not-found]  # `signal` would import enum
    SIGINT,
    SIGTERM,
    set_wakeup_fd,
    signal,
)
from time import monotonic

from lambdascope.wire import names
from lambdascope.wire.extensions_api import Shutdown
from lambdascope_extension.body_worker import BodyWorker
from lambdascope_extension.config import default_handoff_file, environment
from lambdascope_extension.end_tracker import EndTracker
from lambdascope_extension.flight import Flight
from lambdascope_extension.gate import open_sampler
from lambdascope_extension.handed_over import HandedOver
from lambdascope_extension.intake import Intake
from lambdascope_extension.lifecycle import Lifecycle
from lambdascope_extension.platform_config import read_platform_config
from lambdascope_extension.reactor import Reactor
from lambdascope_extension.routes import Routes
from lambdascope_extension.say import describe_fault, say
from lambdascope_extension.scrubber import open_scrubber
from lambdascope_extension.server import HttpServer
from lambdascope_extension.telemetry import open_telemetry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from lambdascope_extension.buffer import Buffer
    from lambdascope_extension.extensions_client import ExtensionsClient
    from lambdascope_extension.hold import HoldMeter
    from lambdascope_extension.platform_config import PlatformConfig
    from lambdascope_extension.records.collector import Collector
    from lambdascope_extension.telemetry_flusher import TelemetryFlusher

_WAKE_BYTES = 4096
# While the worker loads `requests`, the runtime must not wait for an answer longer than it would:
# with the default of 5 ms it takes 70 ms of a function with 128 MB until we get our turn.
_SWITCH_INTERVAL_S = 0.001


class Parts:
    """What goes on after a fault: everything but the lifecycle, the flusher and the exporter."""

    def __init__(
        self,
        client: ExtensionsClient,
        listener: socket | None,
        token: str,
        *,
        flight_fd: int,
        invoke: bool,
    ) -> None:
        environ = environment()
        self.wake_fd, wake_in = posix.pipe2(posix.O_NONBLOCK | posix.O_CLOEXEC)
        routes = _routes(environ, listener, wake_in)
        platform = read_platform_config(routes.variables, routes.wanted)
        for problem in routes.problems + platform.problems:
            say(problem)
        self.client = client
        self.reactor = Reactor()
        routes.buffer.scrubber = open_scrubber(environ, say)
        sampler = open_sampler(routes.buffer, environ, say)
        self.buffer = sampler or routes.buffer
        self.leftovers = routes.leftovers
        telemetry = open_telemetry(self.reactor, client, platform.types)
        self.ends = EndTracker(subscribed=telemetry is not None)
        worker = BodyWorker(wake_in)
        self.intake = Intake(
            self.buffer, self.ends, token=token, drop_reasons=routes.reasons, say=say, worker=worker
        )
        flusher = routes.flusher
        flight = Flight(flight_fd, self.ends, self.buffer, say, routes.reasons.get("traces"))
        if platform.wants_anything:
            self._join_records(flusher, flight, platform, is_fed=telemetry is not None)
        self.servers: list[HttpServer] = []
        self.lifecycle = Lifecycle(
            client=client,
            reactor=self.reactor,
            servers=self.servers,
            ends=self.ends,
            flusher=flusher,
            flight=flight,
            background=not invoke,
        )
        self.intake.on_done = self.lifecycle.advance
        if sampler is not None:
            self.intake.on_handed_over = sampler.end
            self.lifecycle.sampler = sampler
        if listener is not None:
            self.servers.append(self._serve(listener))
        if telemetry is not None:
            telemetry.feed(self.ends, _both(flusher.take_batch, flight.on_records))
            self.servers.append(telemetry.server)
        self.reactor.watch(self.wake_fd, _waking(self.wake_fd, worker, flusher))
        self.reactor.first.add(self.wake_fd)
        _on_signals(self.lifecycle.stop, wake_in)

    def _join_records(
        self, flusher: TelemetryFlusher, flight: Flight, config: PlatformConfig, *, is_fed: bool
    ) -> None:
        """Join the platform's records to what is handed over; `is_fed`: there will be records."""
        handed_over = HandedOver()
        flight.on_told = handed_over.remember
        if is_fed:
            self.intake.handed_over = handed_over
        make = _collecting(self.buffer, handed_over, flusher.meter, config)
        flusher.use(make, lambda: is_fed and bool(handed_over.bodies))

    def _serve(self, listener: socket) -> HttpServer:
        server = HttpServer(self.reactor, listener, self.intake.handle)
        server.shortcut = self.intake.shortcut
        server.on_refused = self.intake.on_refused
        self.intake.answer = server.answer
        server.on_closed = self.lifecycle.on_closed
        return server


def run(
    client: ExtensionsClient, listener: socket | None, token: str, *, flight_fd: int, invoke: bool
) -> None:
    """Live until the environment shuts down. Raises only when not even the remains can go on."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    parts = Parts(client, listener, token, flight_fd=flight_fd, invoke=invoke)
    reason = "shutdown"
    try:
        parts.lifecycle.run()
    except Exception as error:  # noqa: BLE001 - the process edge: ending would fail the function
        say(f"telemetry is counted and dropped from now on, after a fault: {describe_fault(error)}")
        reason = "fault"
        _idle(parts)
    try:
        parts.leftovers.keep(parts.lifecycle.shutdown_reason, parts.lifecycle.ends_by)
    except Exception as error:  # noqa: BLE001 - the process edge: what is held is dropped instead
        say(f"cannot keep what was not exported, after a fault: {describe_fault(error)}")
    parts.buffer.drop_all(reason)
    summary = parts.buffer.ledger.summary()
    if summary:
        say(f"not everything got through: {summary}")


def _routes(environ: dict[str, str], listener: socket | None, wake_fd: int) -> Routes:
    handoff_file = environ.get(names.ENV_HANDOFF_FILE) or default_handoff_file()
    return Routes(
        environ,
        own_port=0 if listener is None else listener.getsockname()[1],
        wake_fd=wake_fd,
        folder=handoff_file.rpartition("/")[0] or ".",
    )


def _collecting(
    buffer: Buffer, handed_over: HandedOver, meter: HoldMeter, config: PlatformConfig
) -> Callable[[], Collector]:
    def make() -> Collector:
        # Loaded when the first batch of records is worked on.
        from lambdascope_extension.records.collector import Collector
        from lambdascope_extension.records.joins import Joins

        joins, environ = Joins(handed_over), environment()
        return Collector(buffer, joins, meter=meter, config=config, environ=environ, say=say)

    return make


def _idle(parts: Parts) -> None:
    """Answer senders, drop what they send, ask for events until SHUTDOWN."""
    _on_signals(lambda: posix._exit(0), -1)
    parts.reactor.forget(parts.wake_fd)
    parts.intake.drop_everything("fault")
    parts.intake.on_done = lambda: None
    for server in parts.servers:
        server.give_up()
    client = parts.client
    is_over = False

    def on_event(mask: int) -> None:
        nonlocal is_over
        is_over = isinstance(client.read_event(), Shutdown)
        if not is_over:
            client.ask_next()

    if not client.waiting:
        client.ask_next()
    parts.reactor.watch(client.fileno(), on_event)
    while not is_over:
        parts.reactor.run_once(None)


def _both(
    first: Callable[[bytes], None], second: Callable[[bytes], None]
) -> Callable[[bytes], None]:
    def take(body: bytes) -> None:
        first(body)
        second(body)

    return take


def _waking(fd: int, worker: BodyWorker, flusher: TelemetryFlusher) -> Callable[[int], None]:
    def wake(mask: int) -> None:
        posix.read(fd, _WAKE_BYTES)
        worker.collect()
        flusher.on_wake(monotonic())

    return wake


def _on_signals(callback: Callable[[], None], wake_fd: int) -> None:
    """Call `callback` in the main thread at SIGTERM and SIGINT, and wake it through `wake_fd`."""
    set_wakeup_fd(wake_fd)
    for number in (SIGTERM, SIGINT):
        signal(number, lambda signum, frame: callback())
