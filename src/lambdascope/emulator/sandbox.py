"""The state of one generation of an environment, as its two API servers and its driver share it.

A generation lives from the first spawn until all its processes are killed. The servers move the
states and wait for work; the driver hands out work and waits for states. All of it is guarded by
one condition. Which move is allowed is `wire.states`' business, processes are nobody's here.
"""

from __future__ import annotations

import sys
import uuid
from typing import TYPE_CHECKING

from lambdascope.emulator.stream import ResponseStream
from lambdascope.wire import names, states

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from lambdascope.clock import Clock
    from lambdascope.emulator.answers import Fault
    from lambdascope.emulator.records import InvocationRecord
    from lambdascope.wire.extensions_api import Invoke, Shutdown
    from lambdascope.wire.runtime_api import Invocation


class EnvironmentFailed(Exception):
    """Something in the generation broke. `fault` says what."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class DeadlinePassed(Exception):
    """What was waited for did not happen in time."""


class Refused(Exception):
    """A request that the API answers with an error."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.error_type = error_type


class Turn:
    """One invocation under way. Times are Unix ns, None until they are known."""

    def __init__(
        self,
        record: InvocationRecord,
        *,
        tenant_id: str | None = None,
        on_response: Callable[[InvocationRecord], None] | None = None,
        on_stream: Callable[[InvocationRecord, ResponseStream], None] | None = None,
    ) -> None:
        self.record = record
        self.tenant_id = tenant_id
        self.on_response = on_response
        self.on_stream = on_stream
        # What the caller reads from, once the first byte of a streamed response is there.
        self.stream: ResponseStream | None = None
        # Closes the connection on which that response comes.
        self.cut: Callable[[], None] | None = None
        # New for each attempt, so that a late answer cannot be taken for that of a retry.
        self.nonce = str(uuid.uuid4())
        self.handed_out = False
        self.answered = False
        self.produced_bytes = 0
        self.response_end_ns: int | None = None
        self.runtime_done_ns: int | None = None
        self.extensions_done_ns: int | None = None

    def answer(
        self,
        body: bytes,
        *,
        status: str,
        error_type: str = "",
        content_type: str = names.CONTENT_TYPE_JSON,
    ) -> bool:
        """Settle what the caller gets; the first answer stays. Call with the lock held."""
        if self.answered:
            return False
        self.answered = True
        record = self.record
        record.answer = body
        record.content_type = content_type
        record.status = status
        record.error_type = error_type
        record.function_error = "Unhandled" if error_type else None
        if self.stream is not None:
            self.stream.end(error_type, body if error_type else b"")
        return True

    def begin_stream(self, content_type: str) -> ResponseStream | None:
        """The caller's stream; None when it has its answer. Call with the lock held."""
        if self.answered:
            return None
        self.record.streamed = True
        self.stream = ResponseStream(content_type)
        return self.stream

    def publish_stream(self, stream: ResponseStream) -> None:
        """Tell the caller that its answer begins. Call without the lock."""
        if self.on_stream is None:
            return
        try:
            self.on_stream(self.record, stream)
        except Exception as error:  # noqa: BLE001 - the caller's code; it must not hold the runtime
            stream.leave()
            print(f"lambdascope: on_stream failed: {error!r}", file=sys.stderr)

    def publish(self) -> None:
        """Tell the caller that its answer is there. Call without the lock."""
        if self.on_response is None:
            return
        try:
            self.on_response(self.record)
        except Exception as error:  # noqa: BLE001 - the caller's code; it must not hold the runtime
            print(f"lambdascope: on_response failed: {error!r}", file=sys.stderr)


class RuntimeSide:
    """The runtime as the Runtime API sees it. `ticket` is the latest waiting `next`.

    `restore` lets it go on from the snapshot.
    """

    def __init__(self) -> None:
        self.state = states.STARTED
        self.ticket: object = None
        self.started_ns: int | None = None
        self.ready_ns: int | None = None
        self.message: Invocation | None = None
        self.restore = False

    def step(self, message: str) -> None:
        """Move, or raise Refused with 403."""
        try:
            self.state = states.step(states.RUNTIME, self.state, message)
        except states.TransitionError as error:
            raise Refused(names.FORBIDDEN, names.INVALID_STATE_TRANSITION, str(error)) from None


class ExtensionSide:
    """One extension as the Extensions API sees it.

    `ready_ns` is when it first asked for an event, `back_ns` when it last did.
    """

    def __init__(self, name: str, *, external: bool) -> None:
        self.name = name
        self.external = external
        self.identifier = str(uuid.uuid4())
        self.state = states.STARTED
        self.events: tuple[str, ...] = ()
        self.pending: list[Invoke | Shutdown] = []
        self.started_ns: int | None = None
        self.ready_ns: int | None = None
        self.back_ns: int | None = None
        self.error_type = ""
        # Set by exit/error: what the environment fails with once the process is gone.
        self.exit_fault: Fault | None = None

    @property
    def registered(self) -> bool:
        """Whether it has registered (and may have failed since)."""
        return self.state not in (states.STARTED, states.LAUNCH_ERROR)

    @property
    def back(self) -> bool:
        """Whether it waits for the next event and none is on its way."""
        return self.state == states.READY and not self.pending

    def step(self, message: str) -> None:
        """Move, or raise Refused with 403."""
        who = f"extension {self.identifier}"
        try:
            self.state = states.step(states.EXTENSION, self.state, message, who=who)
        except states.TransitionError as error:
            raise Refused(names.FORBIDDEN, names.INVALID_EXTENSION_STATE, str(error)) from None


class Sandbox:
    """One generation. `lock` guards every attribute of it and of its sides."""

    def __init__(self, *, lock: threading.Condition, clock: Clock) -> None:
        self.lock = lock
        self.clock = clock
        self.runtime = RuntimeSide()
        self.extensions: dict[str, ExtensionSide] = {}
        self.turn: Turn | None = None
        self.fault: Fault | None = None
        self.registration_open = True
        self.stopping = False
        self.closed = False

    def add_extension(self, name: str, *, external: bool) -> ExtensionSide:
        """An extension that is about to be started, or an internal one that registers."""
        extension = ExtensionSide(name, external=external)
        self.extensions[extension.identifier] = extension
        return extension

    def registered(self, *, event: str = "") -> Iterator[ExtensionSide]:
        """Registered extensions, or those that asked for `event`."""
        for extension in self.extensions.values():
            if extension.registered and (not event or event in extension.events):
                yield extension

    def by_name(self, name: str) -> ExtensionSide | None:
        """The extension of that name."""
        return next((e for e in self.extensions.values() if e.name == name), None)

    def fail(self, fault: Fault) -> None:
        """The environment is broken. The first fault stays; none counts during shutdown."""
        with self.lock:
            if self.fault is None and not self.stopping:
                self.fault = fault
            self.lock.notify_all()

    def wait_for(self, done: Callable[[], bool], until_ns: int) -> None:
        """Wait until `done()`. Raises EnvironmentFailed or DeadlinePassed."""
        with self.lock:
            while not done():
                if self.fault is not None:
                    raise EnvironmentFailed(self.fault)
                self._wait(until_ns)

    def watch(self, done: Callable[[], bool], until_ns: int) -> bool:
        """Wait until `done()` whatever else happens; whether it did in time."""
        with self.lock:
            try:
                while not done():
                    self._wait(until_ns)
            except DeadlinePassed:
                return False
            return True

    def close(self) -> None:
        """Let go of everyone who waits for an event."""
        with self.lock:
            self.stopping = self.closed = True
            self.lock.notify_all()

    def _wait(self, until_ns: int) -> None:
        left_ns = until_ns - self.clock.now_ns()
        if left_ns <= 0:
            raise DeadlinePassed
        self.lock.wait(left_ns / 1e9)
