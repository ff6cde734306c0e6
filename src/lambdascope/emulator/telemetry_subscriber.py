"""One subscriber of the Telemetry API: its buffer, and the thread that delivers to it.

`telemetry` puts events in and knows nothing of sockets; this module knows nothing of who else has
subscribed. At most one batch is on its way; when the listener is slower than the events come in,
the newest are dropped and counted, as on Lambda (AWS Lambda developer guide, "Telemetry API").
Retries and their pauses are not documented; `Delivery` says what is done here.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambdascope.emulator.telemetry_delivery import DeliveryFailed, Destination
from lambdascope.emulator.times import iso_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.wire.telemetry_api import Subscribe

_SLOW = "the listener is slower than the records come in"
_LOGS_DROPPED = "platform.logsDropped"


@dataclass(frozen=True, slots=True)
class Event:
    """One encoded event. `as_object` is the form for log lines that are JSON objects."""

    category: str
    text: bytes
    as_object: bytes | None = None

    def without_content(self) -> Event:
        """For counting only."""
        return self


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How hard delivery tries: pauses double from `backoff_s`; `answer_s` bounds one attempt."""

    attempts: int = 5
    backoff_s: float = 0.1
    answer_s: float = 5.0
    clock: Callable[[], float] = time.monotonic
