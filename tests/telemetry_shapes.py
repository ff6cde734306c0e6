"""The shapes of the Telemetry API's platform events, for tests that compare field by field.

Fields, nesting and the kind of each number are those of bodies recorded from a real function on
demand (schema 2025-01-29, tracing off); the values are made up.
"""

from __future__ import annotations

import re
from typing import Any

Item = dict[str, Any]

TIME = "2026-01-01T00:00:00.000Z"
SPAN = {"name": "x", "start": TIME, "durationMs": 0.5}
SHAPES: dict[str, Item] = {
    "platform.initStart": {
        "initializationType": "on-demand",
        "phase": "init",
        "functionName": "f",
        "functionVersion": "$LATEST",
        "instanceId": "2026/01/01/[$LATEST]0",
        "instanceMaxMemory": 134217728,
        "runtimeVersion": "v",
        "runtimeVersionArn": "arn",
    },
    "platform.telemetrySubscription": {
        "name": "e",
        "state": "Subscribed",
        "types": ["platform", "function"],
    },
    "platform.initRuntimeDone": {
        "initializationType": "on-demand",
        "phase": "init",
        "status": "success",
    },
    "platform.extension": {"name": "e", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]},
    "platform.initReport": {
        "initializationType": "on-demand",
        "phase": "init",
        "status": "success",
        "metrics": {"durationMs": 120.5},
    },
    "platform.start": {"requestId": "r", "version": "$LATEST", "functionArn": "arn"},
    "platform.runtimeDone": {
        "requestId": "r",
        "status": "success",
        "metrics": {"durationMs": 15.5, "producedBytes": 10},
        "spans": [SPAN, SPAN, SPAN],
    },
    "platform.report": {
        "requestId": "r",
        "status": "success",
        "metrics": {
            "durationMs": 502.976,
            "billedDurationMs": 624,
            "memorySizeMB": 128,
            "maxMemoryUsedMB": 26,
            "initDurationMs": 120.381,
        },
        "spans": [SPAN],
    },
}


def shape(value: Any) -> Any:
    """The types of values at every place; times by their form."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shape(one) for one in value]
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value):
        return "time"
    return type(value).__name__
