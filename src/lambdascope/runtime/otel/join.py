"""What happens when the function imports a part of OpenTelemetry's API, or `logging`.

Loaded with the first of them. Each part is joined once in a process, to the telemetry of all its
loops.
"""

from __future__ import annotations

import os
import sys

from lambdascope.runtime.otel import settings
from lambdascope.runtime.telemetry import Telemetry
from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.runtime.config import RuntimeConfig
    from lambdascope.runtime.otel.logs import HeldLogs

_PROVIDERS = {
    "opentelemetry.trace": "tracer",
    "opentelemetry.metrics": "meter",
    "opentelemetry._logs": "logger",
}
_held: list[HeldLogs] = []


def join(part: str, config: RuntimeConfig, say: Callable[[str], None]) -> None:
    """The module `part` has been imported."""
    if part == "opentelemetry.propagate":
        from lambdascope.runtime.otel.propagators import choose

        # Those are chosen also where the SDK is disabled (specification of that variable).
        choose(sys.modules[part], os.environ.get(names.ENV_PROPAGATORS, ""), config, say)
        return
    if settings.is_disabled(os.environ):
        return
    settings.hide_provider(_PROVIDERS.get(part, ""))
    if part == "opentelemetry.trace":
        if config.record_spans:
            from lambdascope.runtime.otel.bridge import Bridge

            Telemetry.bridge = Bridge(config, say)
    elif part == "opentelemetry.metrics":
        chosen = settings.MetricSettings(os.environ, say)
        if chosen.are_exported:
            from lambdascope.runtime.otel.metrics import Metrics

            Telemetry.sources.append(Metrics(config, chosen, say).due)
    elif part == "opentelemetry._logs":
        if settings.logs_are_exported(os.environ):
            from lambdascope.runtime.otel.log_provider import LogProviders

            LogProviders(config, held_logs(config, say), say)
    elif settings.logging_is_exported(os.environ):
        from lambdascope.runtime.otel.logging_export import install

        install(held_logs(config, say))


def held_logs(config: RuntimeConfig, say: Callable[[str], None]) -> HeldLogs:
    """Where records are kept for the next handoff: one for the process."""
    from lambdascope.runtime.otel.logs import HeldLogs

    if not _held:
        _held.append(HeldLogs(config, say))
        Telemetry.sources.append(_held[0].due)
    return _held[0]
