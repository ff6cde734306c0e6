"""Prints what the import hook costs and the held collector pays back, and the first use of the SDK.

Run by hand: ``PYTHONPATH=src python tests/bench/bench_start.py [ROUNDS] [MODULE,...]``, for
instance ``20 boto3,requests``. Each figure is the median CPU time, in milliseconds, of processes of
their own that take turns, and of the differences within a round. The last two lines load the SDK as
it is, and as the runtime does.
"""

from __future__ import annotations

import os
import statistics
import sys

BASE = "import sys; from lambdascope.runtime.import_times import ImportTimes\nimport gc\n"
HELD = "gc.set_threshold(1_999_999_999)\n"
HOOK = "ImportTimes().install()\n"
SDK = "from opentelemetry.sdk.trace import TracerProvider, sampling\n"
LEAN = "from lambdascope.runtime.otel.lean import Lean\nwith Lean():\n    "
API = f"{BASE}{HELD}from opentelemetry import trace\n"


def cases(modules: str) -> dict[str, tuple[str, str]]:
    """By name: the code, and the name of what it is compared with."""
    load = f"import {modules}\n"
    return {
        "imports": (BASE + load, ""),
        "imports, timed": (BASE + HOOK + load, "imports"),
        "imports, timed, collector held": (BASE + HELD + HOOK + load + "gc.freeze()\n", "imports"),
        "OpenTelemetry's API": (API, ""),
        "and its SDK": (API + SDK, "OpenTelemetry's API"),
        "and its SDK, as in the runtime": (API + LEAN + SDK, "OpenTelemetry's API"),
    }


def cpu_ms(code: str) -> float:
    """The CPU time of one process."""
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    _, status, used = os.wait4(pid, 0)
    assert 0 == status, code
    return (used.ru_utime + used.ru_stime) * 1e3


def main() -> None:
    """Print one line for each case."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    known = cases(sys.argv[2] if len(sys.argv) > 2 else "requests, opentelemetry.sdk.trace")
    for code, _ in known.values():
        cpu_ms(code)  # caches are warm
    found = [{name: cpu_ms(code) for name, (code, _) in known.items()} for _ in range(rounds)]
    print(f"python {sys.version.split()[0]}, medians of {rounds} rounds, ms of CPU")
    for name, (_, other) in known.items():
        line = f"{name:32} {statistics.median(each[name] for each in found):7.1f}"
        if other:
            extra = statistics.median(each[name] - each[other] for each in found)
            line += f" {extra:+7.1f} to {other}"
        print(line)


if __name__ == "__main__":
    main()
