"""The wire side of the Extensions API: requests of extensions, answered as AWS's server does.

Each request comes in the thread of its connection; `event/next` waits there. All refusals of this
API are 403, whatever was wrong. An extension that registers under the name of an executable that
was started is external; any other name is an internal extension, a thread of the runtime.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from lambdascope.emulator.answers import Fault
from lambdascope.emulator.sandbox import Refused
from lambdascope.wire import extensions_api, names, runtime_api, states
from lambdascope.wire.errors import RemoteProtocolError
from lambdascope.wire.extensions_api import ExtensionError, ExtensionNext, Register, Registered

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope.emulator.config import FunctionConfig
    from lambdascope.emulator.sandbox import ExtensionSide, Sandbox
    from lambdascope.transport.listener import Exchange

MAX_BODY_BYTES = 1024 * 1024
_IDENTIFIER = names.EXTENSION_IDENTIFIER.lower()


class ExtensionServer:
    """Answers the requests of extensions. `sandbox()` is the current generation."""

    def __init__(self, sandbox: Callable[[], Sandbox], config: FunctionConfig) -> None:
        self._sandbox = sandbox
        self._config = config

    def handle(self, exchange: Exchange) -> None:
        """Answer one request under the Extensions API's path. Raises PeerGone."""
        body = exchange.read_body(MAX_BODY_BYTES)
        sandbox = self._sandbox()
        try:
            message = _parse(exchange, body)
            if isinstance(message, Register):
                self._register(exchange, sandbox, message)
            elif isinstance(message, ExtensionNext):
                self._next(exchange, sandbox)
            elif isinstance(message, ExtensionError):
                self._error(exchange, sandbox, message)
            else:
                exchange.respond(404, body=b"404 page not found\n")
        except Refused as refusal:
            exchange.respond_raw(
                runtime_api.error_response(refusal.status, refusal.error_type, str(refusal))
            )

    def _register(self, exchange: Exchange, sandbox: Sandbox, message: Register) -> None:
        if not message.name:
            raise _refused(names.INVALID_EXTENSION_NAME, "Empty extension name")
        with sandbox.lock:
            extension = sandbox.by_name(message.name)
            external = extension is not None and extension.external
            self._check_events(message.events, external=external)
            if extension is None or not extension.external:
                extension = _add_internal(sandbox, message.name)
            extension.step(states.REGISTER)
            extension.events = message.events
            sandbox.lock.notify_all()
        answer = Registered(
            identifier=extension.identifier,
            function_name=self._config.function_name,
            function_version=self._config.version,
            handler=self._config.handler,
            account_id=self._config.account_id if message.account_id else None,
        )
        exchange.respond_raw(answer.to_response())

    def _check_events(self, events: tuple[str, ...], *, external: bool) -> None:
        allowed = {names.EVENT_INVOKE}
        if external:
            allowed.add(names.EVENT_SHUTDOWN)
        if self._config.init_type == names.INIT_MANAGED_INSTANCES:
            allowed.discard(names.EVENT_INVOKE)
        for event in events:
            if event not in allowed:
                text = f"{event}: event type is not allowed for this extension"
                raise _refused(names.INVALID_EXTENSION_EVENT, text)

    def _next(self, exchange: Exchange, sandbox: Sandbox) -> None:
        with sandbox.lock:
            extension = identify(sandbox, exchange.headers)
            extension.step(states.NEXT)
            extension.back_ns = sandbox.clock.now_ns()
            extension.ready_ns = extension.ready_ns or extension.back_ns
            sandbox.lock.notify_all()
            while not extension.pending and not sandbox.closed:
                sandbox.lock.wait()
            if sandbox.closed:
                exchange.abort()
                return
            extension.step(states.DELIVER)
            event = extension.pending.pop(0)
        exchange.respond_raw(event.to_response(str(uuid.uuid4())))

    def _error(self, exchange: Exchange, sandbox: Sandbox, message: ExtensionError) -> None:
        with sandbox.lock:
            extension = identify(sandbox, exchange.headers)
            if not message.error_type:
                text = f"Missing {names.EXTENSION_ERROR_TYPE} header"
                raise _refused(names.MISSING_HEADER, text)
            extension.step(states.POST_EXIT_ERROR if message.exiting else states.POST_INIT_ERROR)
            extension.error_type = extension.error_type or message.error_type
            kind = names.FAULT_EXTENSION_EXIT if message.exiting else names.FAULT_EXTENSION_INIT
            fault = Fault(error_type=kind, message=message.error_type)
            if message.exiting and extension.external:
                # It may clean up; its end is the end of the environment.
                extension.exit_fault = extension.exit_fault or fault
            else:
                sandbox.fail(fault)
        exchange.respond_raw(runtime_api.status_response(names.ACCEPTED))


def identify(sandbox: Sandbox, headers: Mapping[str, str]) -> ExtensionSide:
    """The extension that sent these headers. Call with the lock held. Raises Refused."""
    text = headers.get(_IDENTIFIER, "")
    if not text:
        raise _refused(
            names.MISSING_EXTENSION_IDENTIFIER, f"Missing {names.EXTENSION_IDENTIFIER} header"
        )
    try:
        identifier = str(uuid.UUID(text))
    except ValueError:
        raise _refused(
            names.INVALID_EXTENSION_IDENTIFIER, f"Invalid {names.EXTENSION_IDENTIFIER}"
        ) from None
    extension = None if sandbox.closed else sandbox.extensions.get(identifier)
    if extension is None or not extension.registered:
        raise _refused(names.UNKNOWN_EXTENSION_IDENTIFIER, f"Unknown extension {identifier}")
    return extension


def _parse(exchange: Exchange, body: bytes) -> extensions_api.ExtensionRequest | None:
    try:
        return extensions_api.parse_request(
            exchange.method, exchange.target, exchange.headers, body
        )
    except RemoteProtocolError as error:
        raise _refused(names.INVALID_REQUEST_FORMAT, str(error)) from None


def _add_internal(sandbox: Sandbox, name: str) -> ExtensionSide:
    if sandbox.closed or not sandbox.registration_open:
        raise _refused(names.REGISTRATION_CLOSED, "Extension registration closed already")
    if sandbox.by_name(name) is not None:
        text = "Extension with this name already registered"
        raise _refused(names.INVALID_EXTENSION_STATE, text)
    if len(sandbox.extensions) >= names.MAX_EXTENSIONS:
        text = f"Extension limit ({names.MAX_EXTENSIONS}) reached"
        raise _refused(names.TOO_MANY_EXTENSIONS, text)
    return sandbox.add_extension(name, external=False)


def _refused(error_type: str, text: str) -> Refused:
    return Refused(names.FORBIDDEN, error_type, text)
