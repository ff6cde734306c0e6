"""Where what comes in goes: the buffer, the flusher and the leftovers of one or many destinations.

Made by the assembly after register from the environment. With the standard variables alone there is
one of each; what several destinations take is loaded only where they are set.
"""

from __future__ import annotations

from lambdascope.wire import names
from lambdascope_extension.buffer import Buffer
from lambdascope_extension.export_config import read_export_config
from lambdascope_extension.exporter import Exporter, loader
from lambdascope_extension.flush_settings import read_flush_settings
from lambdascope_extension.flusher import Flusher
from lambdascope_extension.ledger import SIGNALS, Ledger
from lambdascope_extension.leftovers import Leftovers
from lambdascope_extension.say import say
from lambdascope_extension.telemetry_flusher import TelemetryFlusher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from lambdascope_extension.destination import ExportConfig
    from lambdascope_extension.lanes import LaneBuffer

    class KeepsLeftovers(Protocol):
        """What becomes of what could not be exported."""

        def keep(self, shutdown_reason: str, until: float) -> None:
            """Put it where it outlives this process."""


class Routes:
    """`wanted` are the signals that have a destination, `reasons` say why the others are dropped.

    `variables` are those for what is made of the platform's records.
    """

    buffer: Buffer
    flusher: TelemetryFlusher
    leftovers: KeepsLeftovers

    def __init__(
        self, environ: Mapping[str, str], *, own_port: int, wake_fd: int, folder: str
    ) -> None:
        self.variables = environ
        self.problems: list[str] = []
        configs = self._read(environ, own_port)
        self.wanted = {signal for config in configs for signal in config.destinations}
        self.reasons = {
            signal: configs[0].reasons.get(signal, "config")
            for signal in SIGNALS
            if signal not in self.wanted
        }
        settings, problems = read_flush_settings(environ, configs[0].hold_s)
        self.problems += problems

        def exporter(config: ExportConfig) -> Exporter:
            return Exporter(wake_fd, loader(config.destinations.values(), environ))

        if len(configs) == 1 and not configs[0].name:
            self.buffer = Buffer(Ledger())
            leftovers = Leftovers(self.buffer, folder, environ, say)
            leftovers.restore()
            self.leftovers = leftovers
            self.flusher = TelemetryFlusher(
                self.buffer, exporter(configs[0]), configs[0], say, settings
            )
            return
        from lambdascope_extension import lanes

        def flusher(buffer: LaneBuffer, config: ExportConfig) -> Flusher:
            return Flusher(buffer, exporter(config), config, say, settings)

        every = lanes.make_lanes(configs, flusher)
        self.buffer = lanes.LanesBuffer(every)
        self.leftovers = lanes.LanesLeftovers(every, folder, environ, say)
        self.flusher = lanes.LanesFlusher(every, settings)

    def _read(self, environ: Mapping[str, str], own_port: int) -> list[ExportConfig]:
        if environ.get(names.ENV_DESTINATION, "").strip():
            from lambdascope_extension.presets import platform_variables, read_destinations

            configs = read_destinations(environ, own_port=own_port)
            self.variables = platform_variables(environ, configs, self.problems)
        else:
            configs = [read_export_config(environ, own_port=own_port)]
        self.problems[:0] = dict.fromkeys(one for config in configs for one in config.problems)
        return configs
