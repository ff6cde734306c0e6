"""Which exporter each signal has by the standard variables, and what it is given.

Loaded by direct export, in its thread. Bodies are read back into what exporters take, because they
encode by themselves. Source: OpenTelemetry specification, "OpenTelemetry Protocol Exporter".
"""

from __future__ import annotations

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_SIGNALS = {
    names.TRACES_PATH: "traces",
    names.METRICS_PATH: "metrics",
    names.LOGS_SIGNAL_PATH: "logs",
}
_HTTP, _GRPC = "http/protobuf", "grpc"


class Exporters:
    """Made when something is first to be exported. `say` gets one line for each problem."""

    def __init__(self, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
        self._environ = environ
        self._say = say
        self._made: dict[str, Any] = {}

    def export(self, path: str, body: bytes) -> bool:
        """Export one OTLP body; whether it was taken, also by nobody, as nobody asks for it."""
        signal = _SIGNALS[path]
        if not self._is_wanted(signal):
            return True
        if signal not in self._made:
            self._made[signal] = self._make(signal)
        exporter = self._made[signal]
        if exporter is None:
            return False
        from lambdascope.runtime.otel import from_otlp

        # The results of all three signals are enumerations with this name.
        return bool(exporter.export(from_otlp.READERS[signal](body)).name == "SUCCESS")

    def _is_wanted(self, signal: str) -> bool:
        """Whether there is a place for the signal; another one may have an endpoint alone."""
        own = f"{names.OTLP_ENV_PREFIX}{signal.upper()}_ENDPOINT"
        is_printed = self._get(f"OTEL_{signal.upper()}_EXPORTER") == "console"
        return is_printed or bool(self._get(names.ENV_OTLP_ENDPOINT) or self._get(own))

    def _make(self, signal: str) -> Any:
        try:
            if self._get(f"OTEL_{signal.upper()}_EXPORTER") == "console":
                return _console(signal)
            return _grpc(signal) if self._protocol(signal) == _GRPC else _http(signal)
        except ImportError as error:
            self._say(
                f"{signal} are not exported: there is no lambdascope extension, and {error}; add "
                "the extension, or the package opentelemetry-exporter-otlp"
            )
            return None

    def _protocol(self, signal: str) -> str:
        variable = f"{names.OTLP_ENV_PREFIX}{signal.upper()}_PROTOCOL"
        chosen = self._get(variable)
        if not chosen:
            variable = f"{names.OTLP_ENV_PREFIX}PROTOCOL"
            chosen = self._get(variable)
        if chosen in ("", _HTTP, _GRPC):
            return chosen or _HTTP
        self._say(f"{variable}={chosen[:40]!r} is not {_HTTP} or {_GRPC}; {_HTTP} is taken")
        return _HTTP

    def _get(self, variable: str) -> str:
        return self._environ.get(variable, "").strip().lower()


def _http(signal: str) -> Any:
    if signal == "traces":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    if signal == "metrics":
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

        return OTLPMetricExporter()
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    return OTLPLogExporter()


def _grpc(signal: str) -> Any:
    if signal == "traces":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter()
    if signal == "metrics":
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter

        return OTLPMetricExporter()
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

    return OTLPLogExporter()


def _console(signal: str) -> Any:
    if signal == "traces":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    if signal == "metrics":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

        return ConsoleMetricExporter()
    from opentelemetry.sdk._logs.export import ConsoleLogRecordExporter

    return ConsoleLogRecordExporter()
