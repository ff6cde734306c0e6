"""What one emulated function is: values only, made by the command line or a test.

Nothing here reads a file or the environment of the emulator. Limits and defaults are those of a new
function on Lambda (AWS Lambda developer guide, "Lambda quotas" and "Configure Lambda functions").
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from lambdascope.wire.names import (
    INIT_MANAGED_INSTANCES,
    INIT_ON_DEMAND,
    INIT_SNAP_START,
    INIT_TIMEOUT_MS,
    MANAGED_INIT_TIMEOUT_MS,
    MANAGED_MIN_MEMORY_MB,
    RESTORE_TIMEOUT_MS,
    SNAP_START_INIT_TIMEOUT_MS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

TELEMETRY_ON = "on"
TELEMETRY_UNSUPPORTED = "unsupported"  # 202 with Telemetry.NotSupported, as AWS's emulator
TELEMETRY_MISSING = "missing"  # 404, as images from before the Telemetry API

LOG_TEXT = "Text"
LOG_JSON = "JSON"


@dataclass(frozen=True, kw_only=True)
class FunctionConfig:
    """One function.

    `runtime` is the argv of a foreign runtime, in which "{handler}" is replaced; empty means our
    own, started with `python`. `variables` are the user's environment variables. `extensions` are
    paths of executables. `telemetry` is one of the TELEMETRY_ constants. With `freeze` the
    processes are stopped between invocations; with `memory_limit` they are killed when they use
    more than `memory_mb` together. `stream_bytes_per_s` is how fast a streamed response goes after
    its first 6 MiB (on Lambda `names.STREAM_BYTES_PER_S`); None is no limit.

    With `init_type` INIT_MANAGED_INSTANCES up to `max_concurrency` invocations run at a time. Then
    nothing is frozen, logs are JSON, and there are at least 2 GB of memory and 15 minutes for init.

    With INIT_SNAP_START everything is stopped when init is over, which stands for the snapshot, for
    at least `snapshot_pause_ms` and until there is an invocation. Then it is restored: that may
    take `restore_timeout_ms`. Init has more time, and credentials come from an endpoint.
    """

    handler: str
    task_root: str
    runtime: tuple[str, ...] = ()
    python: str = sys.executable
    function_name: str = "function"
    version: str = "$LATEST"
    memory_mb: int = 128
    timeout_ms: int = 3000
    region: str = "us-east-1"
    account_id: str = "123456789012"
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    extensions: tuple[str, ...] = ()
    own_extension: bool = True
    telemetry: str = TELEMETRY_ON
    init_timeout_ms: int = INIT_TIMEOUT_MS
    init_type: str = INIT_ON_DEMAND
    freeze: bool = True
    memory_limit: bool = True
    log_format: str = LOG_TEXT
    stream_bytes_per_s: int | None = None
    max_concurrency: int = 1
    snapshot_pause_ms: int = 100
    restore_timeout_ms: int = RESTORE_TIMEOUT_MS

    def __post_init__(self) -> None:
        """On managed instances some things are not to be chosen."""
        set_field = object.__setattr__  # of a frozen dataclass that is just being made
        if self.snap_start and self.init_timeout_ms == INIT_TIMEOUT_MS:
            limit_ms = max(SNAP_START_INIT_TIMEOUT_MS, self.timeout_ms)
            set_field(self, "init_timeout_ms", limit_ms)
        if not self.managed:
            return
        set_field(self, "freeze", False)
        set_field(self, "log_format", LOG_JSON)
        set_field(self, "memory_mb", max(self.memory_mb, MANAGED_MIN_MEMORY_MB))
        if self.init_timeout_ms == INIT_TIMEOUT_MS:
            set_field(self, "init_timeout_ms", MANAGED_INIT_TIMEOUT_MS)

    @property
    def managed(self) -> bool:
        """Whether it runs on managed instances, up to `max_concurrency` invocations at a time."""
        return self.init_type == INIT_MANAGED_INSTANCES

    @property
    def snap_start(self) -> bool:
        """Whether its first invocation is run from a snapshot."""
        return self.init_type == INIT_SNAP_START

    @property
    def function_arn(self) -> str:
        """The unqualified ARN of the function."""
        return f"arn:aws:lambda:{self.region}:{self.account_id}:function:{self.function_name}"

    @property
    def runtime_argv(self) -> tuple[str, ...]:
        """The command line of the runtime."""
        if not self.runtime:
            return (self.python, "-m", "lambdascope", self.handler)
        return tuple(part.replace("{handler}", self.handler) for part in self.runtime)
