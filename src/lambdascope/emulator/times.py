"""How the platform writes points in time; what time it is comes from `lambdascope.clock`."""

from __future__ import annotations

import time

MS = 1_000_000
"""Nanoseconds in a millisecond."""


def iso_time(time_ns: int) -> str:
    """Unix ns as the platform writes it: 2026-07-28T19:02:11.667Z."""
    seconds, rest = divmod(time_ns // MS, 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:03d}Z"
