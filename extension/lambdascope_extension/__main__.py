"""The start: listen, publish, register, and only then load the rest.

`bin/lambdascope` calls it. Lambda does not start the runtime before this extension has registered,
so whatever is imported or done up to there delays the function's own init; a test holds the list of
modules. After register no fault of ours may end the process: Lambda would fail the function.
"""

from __future__ import annotations

import posix

from lambdascope.transport.connection import ConnectionLost
from lambdascope.wire import names
from lambdascope.wire.errors import ProtocolError
from lambdascope_extension.config import StartConfig, environment
from lambdascope_extension.extensions_client import ExtensionsClient, Refused
from lambdascope_extension.rendezvous import (
    LOOPBACK,
    Unpublished,
    create_flight,
    listen,
    publish,
    remove_flight,
    withdraw,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

_TOKEN_BYTES = 16
# Beside a handler on the same CPU, the function goes first: without this the event would wake the
# extension before the runtime, and its turn would be a part of the answer's latency.
_NICE = 10


def say(text: str) -> None:
    """Write one line; what does so is loaded when there is something to say."""
    from lambdascope_extension.say import say as write

    write(text)


def main(name: str) -> int:
    """Run the extension under `name`, the base name of its file; the exit code when it is over."""
    config = StartConfig.from_environ(environment())
    for problem in config.problems:
        say(problem)
    try:
        client = ExtensionsClient(config.runtime_api)
    except ValueError as error:
        say(f"{names.ENV_RUNTIME_API} is {error}: this program is started by AWS Lambda")
        return 2
    listener = _listen(config.otlp_port)
    token = posix.urandom(_TOKEN_BYTES).hex()
    flight_file = f"{config.handoff_file}{names.FLIGHT_SUFFIX}"
    flight_fd, problem = -1, ""
    if listener is not None:
        try:
            flight_fd = create_flight(flight_file)
        except Unpublished as error:
            problem = f"{error}; invocations whose process dies will have no spans"
    line = _publish(config.handoff_file, listener, token)
    if line and problem:  # else it is the same, and has been said
        say(problem)
    try:
        events = client.register(name, config.events)
    except (Refused, ConnectionLost, ProtocolError) as error:
        say(f"cannot register with the Extensions API at {config.runtime_api}: {error}")
        withdraw(config.handoff_file, line)
        remove_flight(flight_file, flight_fd)
        return 1
    _step_back()
    _live(client, listener, token, flight_fd=flight_fd, invoke=names.EVENT_INVOKE in events)
    if line:
        withdraw(config.handoff_file, line)
    remove_flight(flight_file, flight_fd)
    return 0


def _step_back() -> None:
    try:
        posix.nice(_NICE)
    except OSError as error:
        say(f"cannot lower the priority by nice({_NICE}): {error.strerror}; it stays as it is")


def _live(
    client: ExtensionsClient, listener: socket | None, token: str, *, flight_fd: int, invoke: bool
) -> None:
    try:
        from lambdascope_extension.assembly import run

        run(client, listener, token, flight_fd=flight_fd, invoke=invoke)
    except Exception as error:  # noqa: BLE001 - the process edge: ending would fail the function
        from lambdascope_extension.say import describe_fault

        say(f"nothing is received until the next start, after a fault: {describe_fault(error)}")
        if listener is not None:
            listener.close()
        client.idle()


def _listen(port: int) -> socket | None:
    try:
        return listen(LOOPBACK, port)
    except OSError as error:
        from errno import EADDRINUSE

        if error.errno != EADDRINUSE:
            say(f"cannot listen on {LOOPBACK}:{port}: {error.strerror}; no telemetry is taken")
            return None
    listener = _listen(0)
    if listener is not None:
        say(
            f"port {port} is in use, listening on {listener.getsockname()[1]} instead: a stock "
            f"OpenTelemetry SDK needs that address, or another {names.ENV_OTLP_PORT}"
        )
    return listener


def _publish(path: str, listener: socket | None, token: str) -> str:
    if listener is None:
        return ""
    try:
        return publish(path, listener.getsockname()[1], token)
    except Unpublished as error:
        say(f"{error}; the runtime will not find the extension: set {names.ENV_HANDOFF_FILE}")
        return ""


if __name__ == "__main__":
    posix._exit(main("lambdascope"))
