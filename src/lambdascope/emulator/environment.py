"""One execution environment as a caller sees it: start, invoke, shut down.

The command line, the invoke endpoint and the tests use it. Everything that happens in an
environment happens in order in one thread of its own, so there is exactly one story to tell;
callers only queue work. It speaks to the runtime and to extensions through sockets and signals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, Unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.emulator.config import FunctionConfig
    from lambdascope.emulator.records import InvocationRecord, LogLine


class EnvironmentClosed(Exception):
    """The execution environment was shut down; it takes no more invocations."""


class InvokeOptions(TypedDict, total=False):
    """What a caller may say about one invocation, all optional.

    `client_context` and `cognito_identity` are JSON text (decoded already). `trace_header` is the
    X-Ray header; what it lacks is added. `request_id` is made when absent. `on_response` is called
    once, from another thread, as soon as the answer to the caller is complete (or known to be an
    error); `invoke` itself returns later, when the extensions are back as well.
    """

    client_context: str | None
    cognito_identity: str | None
    trace_header: str | None
    tenant_id: str | None
    qualifier: str | None
    request_id: str | None
    on_response: Callable[[InvocationRecord], None] | None


class ExecutionEnvironment:
    """A function's execution environment. All methods may be called from any thread.

    `on_log` gets every log line, in order, from another thread; it should return quickly.
    `otlp_endpoint` becomes OTEL_EXPORTER_OTLP_ENDPOINT of the runtime and of the extensions.
    `records` holds the latest invocations, oldest first.
    """

    def __init__(
        self,
        config: FunctionConfig,
        *,
        on_log: Callable[[LogLine], None] | None = None,
        otlp_endpoint: str | None = None,
    ) -> None:
        self.config = config
        self.records: list[InvocationRecord] = []

    def start(self) -> None:
        """Begin init in the background, as Lambda does before the first event arrives."""
        raise NotImplementedError

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until init is over; whether it succeeded within `timeout_s` seconds."""
        raise NotImplementedError

    def invoke(self, event: bytes, **options: Unpack[InvokeOptions]) -> InvocationRecord:
        """Run one invocation; returns when the runtime and all extensions are back.

        Invocations queue: an environment runs one at a time. Starts the environment if need be.
        Raises EnvironmentClosed after `shutdown`.
        """
        raise NotImplementedError

    def shutdown(self, reason: str = "spindown") -> None:
        """End the environment: SHUTDOWN to extensions, then every process is gone. Idempotent."""
        raise NotImplementedError
