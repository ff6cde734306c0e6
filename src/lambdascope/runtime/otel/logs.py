"""Log records on their way to OTLP: those of the OpenTelemetry logs API, and Python's when asked.

Records are encoded where they are made and held until the response is out. The SDK's logs are
loaded with the first record of the API; Python's `logging` needs no SDK.
"""

from __future__ import annotations

from _thread import RLock

from lambdascope.otlp.log_encode import LogEncoder
from lambdascope.runtime.resource import resource_attributes
from lambdascope.wire.names import LOGS_SIGNAL_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.otlp.log_model import LogRecord
    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.otel.limits import LogLimits

# What one invocation may hold; the rest is counted.
_MAX_BYTES = 4 * 1024 * 1024


class HeldLogs:
    """Records of one process, encoded, by their scope. Threads may share it."""

    def __init__(self, config: RuntimeConfig, say: Callable[[str], None]) -> None:
        self._config = config
        self._say = say
        self._lock = RLock()
        self._encoders: dict[tuple[str, str, str], LogEncoder] = {}
        self._held: dict[LogEncoder, list[bytes]] = {}
        self._bytes = 0
        self._dropped = 0
        self._limits: LogLimits | None = None
        if config.has_limits:
            from lambdascope.runtime.otel.limits import LogLimits

            self._limits = LogLimits()

    def add(self, scope: tuple[str, str, str], record: LogRecord) -> None:
        """Keep a record of the scope: its name, version and schema URL."""
        if self._limits is not None:
            self._limits.apply(record)
        with self._lock:
            encoder = self._encoders.get(scope)
            if encoder is None:
                name, version, schema_url = scope
                encoder = self._encoders[scope] = LogEncoder(
                    resource=resource_attributes(self._config),
                    scope_name=name,
                    scope_version=version,
                    schema_url=schema_url,
                )
            encoded = encoder.record(record)
            if self._bytes + len(encoded) > _MAX_BYTES:
                self._dropped += 1
                return
            self._bytes += len(encoded)
            self._held.setdefault(encoder, []).append(encoded)

    def due(self, *, at_once: bool) -> tuple[str, bytes, int]:
        """The path, an OTLP body and its number of records: all that there are."""
        if not self._held:
            return LOGS_SIGNAL_PATH, b"", 0
        with self._lock:
            held, self._held = self._held, {}
            dropped, self._dropped = self._dropped, 0
            self._bytes = 0
        if dropped:
            self._say(
                f"{dropped} log records are dropped: an invocation may hold {_MAX_BYTES} bytes"
            )
        body = b"".join(encoder.wrap(records) for encoder, records in held.items())
        return LOGS_SIGNAL_PATH, body, sum(map(len, held.values()))
