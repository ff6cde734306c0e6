"""What the OpenTelemetry logs API hands out while nobody has set a logger provider.

Loaded when `opentelemetry._logs` is first imported; the SDK's logs with the first record.
"""

from __future__ import annotations

import os
from _thread import RLock

from opentelemetry._logs import _internal as api

from lambdascope.otlp.log_model import LogRecord
from lambdascope.runtime.otel.lean import Lean
from lambdascope.runtime.otel.packages import advice
from lambdascope.runtime.otel.settings import log_limits
from lambdascope.runtime.resource import resource_attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from opentelemetry._logs import Logger, LoggerProvider

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.otel.logs import HeldLogs


class LogProviders:
    """Takes the place of the API's proxy provider. `held` gets the records."""

    def __init__(self, config: RuntimeConfig, held: HeldLogs, say: Callable[[str], None]) -> None:
        self._config = config
        self._held = held
        self._say = say
        self._lock = RLock()
        self._provider: LoggerProvider | None = None
        self._failed = False
        api._PROXY_LOGGER_PROVIDER = LazyLoggerProvider(self.load)

    def load(self) -> LoggerProvider | None:
        """The function's own provider, else the SDK's; None, said once, where there is none."""
        with self._lock:
            if api._LOGGER_PROVIDER is not None:
                return api._LOGGER_PROVIDER
            if self._provider is None and not self._failed:
                try:
                    self._provider = self._make()
                except Exception as fault:  # noqa: BLE001 - the function goes on without them
                    self._failed = True
                    self._say(
                        f"the OpenTelemetry SDK cannot be used for logs ({type(fault).__name__}: "
                        f"{fault}); records of its logs API are not kept: {advice()}"
                    )
            return self._provider

    def _make(self) -> LoggerProvider:
        log_limits(os.environ, self._say)  # the SDK's logs cannot be made with what is no number
        with Lean():
            from opentelemetry.sdk._logs import LoggerProvider
            from opentelemetry.sdk.resources import Resource

        known = resource_attributes(self._config)
        resource = Resource(known)  # type: ignore[arg-type]  # what OTLP has
        provider = LoggerProvider(resource, shutdown_on_exit=False)
        provider.add_log_record_processor(_Keeper(self._held))  # type: ignore[arg-type]  # its shape
        return provider


class LazyLoggerProvider(api.ProxyLoggerProvider):
    """Gives loggers that ask for a provider when they are used."""

    def __init__(self, load: Callable[[], LoggerProvider | None]) -> None:
        self._load = load

    def get_logger(self, *args: Any, **kwargs: Any) -> Logger:
        """A logger that decides with its first record whose it is."""
        if api._LOGGER_PROVIDER is not None:
            return api._LOGGER_PROVIDER.get_logger(*args, **kwargs)
        return LazyLogger(self._load, args, kwargs)


class LazyLogger(api.ProxyLogger):
    """The API's proxy, with the SDK behind it where the function has set nothing."""

    def __init__(
        self,
        load: Callable[[], LoggerProvider | None],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(*args, **kwargs)
        self._load = load
        self._arguments = args, kwargs
        self._found: Logger | None = None

    @property
    def _logger(self) -> Logger:
        if self._found is None:
            provider = self._load()
            if provider is None:
                return self._noop_logger
            args, kwargs = self._arguments
            self._found = provider.get_logger(*args, **kwargs)
        return self._found


class _Keeper:
    """A processor of log records, as older and newer SDKs call it."""

    def __init__(self, held: HeldLogs) -> None:
        self._held = held

    def on_emit(self, log_record: Any) -> None:
        """Keep the record."""
        scope = log_record.instrumentation_scope
        named = ("", "", "") if scope is None else (scope.name, scope.version, scope.schema_url)
        name, version, schema_url = named
        self._held.add(
            (name or "", version or "", schema_url or ""),
            record_of(log_record.log_record, getattr(log_record, "dropped_attributes", 0)),
        )

    emit = on_emit

    def enabled(self, **_: Any) -> bool:
        """All records are wanted."""
        return True

    def shutdown(self) -> None:
        """Nothing is left to do."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is sent before the response."""
        return True


def record_of(record: Any, dropped: int) -> LogRecord:
    """A record of the API as one that our encoder takes."""
    severity = record.severity_number
    trace_id, span_id = record.trace_id, record.span_id
    return LogRecord(
        time_ns=record.timestamp or 0,
        observed_ns=record.observed_timestamp or 0,
        body=record.body,
        severity_number=severity.value if severity is not None else 0,
        severity_text=record.severity_text or "",
        event_name=getattr(record, "event_name", None) or "",
        attributes=dict(record.attributes or ()),
        trace_id=trace_id.to_bytes(16, "big") if trace_id else b"",
        span_id=span_id.to_bytes(8, "big") if span_id else b"",
        flags=int(record.trace_flags or 0),
        dropped_attributes=dropped,
    )
