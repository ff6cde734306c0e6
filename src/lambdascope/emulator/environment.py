"""One execution environment as a caller sees it: start, invoke, shut down.

The command line, the invoke endpoint and the tests use it. Everything that happens in an
environment happens in order in one thread of its own, so there is exactly one story to tell;
callers only queue work. It speaks to the runtime and to extensions through sockets and signals.
"""

from __future__ import annotations

import atexit
import itertools
import threading
import time
import uuid
from typing import TYPE_CHECKING, TypedDict, Unpack

from lambdascope.emulator.driver import Driver
from lambdascope.emulator.host import Host
from lambdascope.emulator.life import Job, Life
from lambdascope.emulator.managed import ManagedDriver
from lambdascope.emulator.records import InvocationRecord
from lambdascope.emulator.sandbox import Turn
from lambdascope.emulator.trace import complete_trace_header
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.emulator.config import FunctionConfig
    from lambdascope.emulator.records import LogLine
    from lambdascope.emulator.stream import ResponseStream

# How long the end may take beyond its own budgets before the caller is let go.
_END_WAIT_S = 10.0
_INTERRUPT_S = 0.2


class EnvironmentClosed(Exception):
    """The execution environment was shut down; it takes no more invocations."""


class EnvironmentBusy(Exception):
    """No worker of the runtime was free for an invocation, for as long as the function's timeout.

    Only where several invocations run at a time.
    """


class InvokeOptions(TypedDict, total=False):
    """What a caller may say about one invocation, all optional.

    `client_context` and `cognito_identity` are JSON text (decoded already). `trace_header` is the
    X-Ray header; what it lacks is added. `request_id` is made when absent. `on_response` is called
    once, from another thread, as soon as the answer to the caller is complete (or known to be an
    error); it must return at once, because the runtime waits. `invoke` itself returns later, when
    the extensions are back as well. `on_stream` is called once, likewise, at the first byte of a
    streamed response; from then on the stream must be read or left. Without it such a response is
    collected, and must be no longer than one that is not streamed.
    """

    client_context: str | None
    cognito_identity: str | None
    trace_header: str | None
    tenant_id: str | None
    qualifier: str | None
    request_id: str | None
    on_response: Callable[[InvocationRecord], None] | None
    on_stream: Callable[[InvocationRecord, ResponseStream], None] | None


class ExecutionEnvironment:
    """A function's execution environment. All methods may be called from any thread.

    `on_log` gets every log line, in order, from other threads; it should return quickly, because
    what is written next waits for it, and must not call `shutdown`.
    `otlp_endpoint` becomes OTEL_EXPORTER_OTLP_ENDPOINT of the runtime and of the extensions.
    """

    def __init__(
        self,
        config: FunctionConfig,
        *,
        on_log: Callable[[LogLine], None] | None = None,
        otlp_endpoint: str | None = None,
    ) -> None:
        self.config = config
        self._host = Host(config, on_log=on_log, otlp_endpoint=otlp_endpoint)
        self._driver: Life = (ManagedDriver if config.managed else Driver)(self._host)
        self._numbers = itertools.count(1)
        self._thread = threading.Thread(target=self._driver.run, name="environment", daemon=True)
        self._started = False
        atexit.register(self.shutdown, names.SHUTDOWN_FAILURE)

    @property
    def records(self) -> list[InvocationRecord]:
        """The latest invocations, oldest first; the last one may be under way."""
        with self._host.lock:
            return list(self._driver.records)

    @property
    def api_address(self) -> str:
        """host:port of the Runtime, Extensions and Telemetry API."""
        return self._host.api.address

    def start(self) -> None:
        """Begin init in the background, as Lambda does before the first event arrives."""
        with self._host.lock:
            if not self._started and not self._driver.closing:
                self._started = True
                self._thread.start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until the first init is over; whether it succeeded within `timeout_s` seconds."""
        return self._wait(lambda: self._driver.init_over, timeout_s) and self.ready

    @property
    def ready(self) -> bool:
        """Whether there are processes that have been initialised, or are about to be again."""
        with self._host.lock:
            return self._driver.generation is not None

    def wait_frozen(self, timeout_s: float) -> bool:
        """Wait until all processes are stopped; whether they were within `timeout_s` seconds."""
        driver = self._driver
        return self._wait(
            lambda: driver.generation is not None and driver.generation.frozen, timeout_s
        )

    def pids(self) -> dict[str, int]:
        """The running processes that were started: "runtime" and the names of the extensions."""
        with self._host.lock:
            generation = self._driver.generation
            return {} if generation is None else generation.pids()

    def invoke(self, event: bytes, **options: Unpack[InvokeOptions]) -> InvocationRecord:
        """Run one invocation; returns when the runtime and all extensions are back.

        Invocations queue: an environment runs one at a time, or on managed instances as many as
        `max_concurrency`. Starts the environment if need be. Raises EnvironmentClosed after
        `shutdown`, and EnvironmentBusy.
        """
        job = self._job(event, options)
        self.start()
        if not self._driver.submit(job):
            raise EnvironmentClosed("the execution environment was shut down")
        # In steps: an interrupt from the keyboard that arrives just before a wait without an end
        # begins would only be noticed after it.
        while not job.over.wait(_INTERRUPT_S):
            pass
        if job.busy:
            raise EnvironmentBusy(job.error)
        if job.error:
            raise EnvironmentClosed(job.error)
        return job.turn.record

    def shutdown(self, reason: str = names.SHUTDOWN_SPINDOWN) -> None:
        """End the environment: SHUTDOWN to extensions, then every process is gone. Idempotent.

        An invocation that is under way fails, queued ones raise EnvironmentClosed.
        """
        self._driver.close(reason)
        with self._host.lock:
            started = self._started
            self._started = True
        if not started:
            self._host.close()
        elif self._thread.ident is not None and threading.current_thread() is not self._thread:
            self._thread.join(_END_WAIT_S)
        atexit.unregister(self.shutdown)

    def _job(self, event: bytes, options: InvokeOptions) -> Job:
        arn = self.config.function_arn
        qualifier = options.get("qualifier")
        record = InvocationRecord(
            request_id=options.get("request_id") or str(uuid.uuid4()),
            number=next(self._numbers),
            cold=False,
            event=event,
            deadline_ms=0,
            trace_header=complete_trace_header(options.get("trace_header"), time.time()),
            invoked_function_arn=f"{arn}:{qualifier}" if qualifier else arn,
        )
        headers = {
            names.CLIENT_CONTEXT.lower(): options.get("client_context"),
            names.COGNITO_IDENTITY.lower(): options.get("cognito_identity"),
            names.TENANT_ID.lower(): options.get("tenant_id"),
        }
        turn = Turn(
            record,
            tenant_id=options.get("tenant_id"),
            on_response=options.get("on_response"),
            on_stream=options.get("on_stream"),
        )
        return Job(turn, {name: value for name, value in headers.items() if value})

    def _wait(self, done: Callable[[], bool], timeout_s: float) -> bool:
        with self._host.lock:
            return self._host.lock.wait_for(done, timeout_s)
