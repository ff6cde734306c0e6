"""What outlives the generations of one environment: its address, log stream, telemetry and files.

The driver and the phases use it to tell the world what happens: one call writes the log line and
emits the platform event that belongs together. It starts and kills nothing but its guardian.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import uuid
from typing import TYPE_CHECKING

from lambdascope.clock import Clock
from lambdascope.emulator import variables
from lambdascope.emulator.api import Api
from lambdascope.emulator.config import LOG_JSON, FunctionConfig
from lambdascope.emulator.guardian import Guardian
from lambdascope.emulator.logbook import PLATFORM, Logbook
from lambdascope.emulator.managed_logbook import ManagedLogbook
from lambdascope.emulator.output import OutputReader
from lambdascope.emulator.sandbox import Sandbox
from lambdascope.emulator.telemetry import SubscribeAnswer, TelemetryBus
from lambdascope.emulator.times import iso_time
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.emulator.platform_events import Fields
    from lambdascope.emulator.records import LogLine


class Host:
    """Everything of an environment that is not one generation's.

    `lock` is the one condition of the environment. `sandbox` is the current generation's state; a
    closed one when there is none.
    """

    def __init__(
        self,
        config: FunctionConfig,
        *,
        on_log: Callable[[LogLine], None] | None,
        otlp_endpoint: str | None,
    ) -> None:
        self.config = config
        self.clock = Clock()
        self.lock = threading.Condition()
        self.log_stream = f"{time.strftime('%Y/%m/%d')}/[{config.version}]{uuid.uuid4().hex}"
        self.runtime_version = _runtime_version(config)
        self.sandbox = Sandbox(lock=self.lock, clock=self.clock)
        self.sandbox.close()
        self.bus = TelemetryBus(
            now_ns=self.clock.now_ns,
            on_dropped=self.warn,
            mode=config.telemetry,
            log_format=config.log_format,
        )
        logbook = ManagedLogbook if config.managed else Logbook
        self.logbook: Logbook = logbook(on_log=on_log, on_line=self._to_bus)
        self.output = OutputReader()
        self.directory = tempfile.mkdtemp(prefix="lambdascope-")
        self.handoff_file = os.path.join(self.directory, "handoff")
        # Every process that is started has this, and no other process on the machine.
        self.marker = f"{names.ENV_HANDOFF_FILE}={self.handoff_file}"
        self.guardian = Guardian(self.directory, marker=self.marker)
        self.api = Api(
            config, lambda: self.sandbox, bus=self.bus, on_subscribed=self._on_subscribed
        )
        self.runtime_variables = variables.runtime_variables(
            config,
            address=self.api.address,
            log_stream=self.log_stream,
            handoff_file=self.handoff_file,
            otlp_endpoint=otlp_endpoint,
        )
        if self.api.credentials is not None:
            variables.leave_out_of_snapshot(
                self.runtime_variables,
                address=self.api.address,
                token=self.api.credentials.token,
            )

    def say(self, line: str) -> None:
        """A platform line that is no event; the JSON log format has none."""
        if self.config.log_format != LOG_JSON:
            self.logbook.write(PLATFORM, line, time_ns=self.clock.now_ns())

    def tell(
        self,
        kind: str,
        fields: Fields,
        time_ns: int,
        *,
        line: str = "",
        hold: bool = False,
    ) -> None:
        """A platform event and its log line, if it has one. `hold` keeps back the event.

        With the JSON log format the event itself is the line.
        """
        if line and self.config.log_format == LOG_JSON:
            line = json.dumps({"time": iso_time(time_ns), "type": kind, "record": fields})
        if line:
            self.logbook.write(PLATFORM, line, time_ns=time_ns)
        self.bus.emit(kind, fields, time_ns, hold=hold)

    def warn(self, text: str) -> None:
        """Something that the user should see about the emulator itself."""
        print(f"lambdascope: {text}", file=sys.stderr)

    def close(self) -> None:
        """Let go of everything. All processes are gone already."""
        self.api.close()
        self.output.close()
        self.bus.reset()
        self.guardian.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _to_bus(self, line: LogLine) -> None:
        self.bus.emit(line.source, line.text, line.time_ns)

    def _on_subscribed(self, name: str, answer: SubscribeAnswer) -> None:
        types = ", ".join(kind.capitalize() for kind in answer.types)
        self.say(f"TELEMETRY\tName: {name}\tState: {answer.state}\tTypes: [{types}]")


def _runtime_version(config: FunctionConfig) -> tuple[str, str]:
    """A name and an ARN that change when the runtime does, as on Lambda."""
    argv = "\0".join(config.runtime_argv)
    digest = hashlib.sha256(argv.encode("utf-8", "replace")).hexdigest()
    name = os.path.basename(config.runtime_argv[0])
    return f"emulator:{name}", f"arn:aws:lambda:{config.region}::runtime:{digest}"
