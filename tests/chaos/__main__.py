"""The command line of scripts/chaos."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from chaos import table
from chaos.collector import CollectorProcess
from chaos.fleet import Fleet
from chaos.run import FAULTS, Run


def main() -> int:
    """0 when every span is accounted for, else 1."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("fault", nargs="*", help=", ".join(FAULTS))
    parser.add_argument("--invocations", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--fleet", type=int, metavar="N", help="so many environments at once")
    parser.add_argument(
        "--limit", type=float, default=40, help="the collector's, requests a second"
    )
    parser.add_argument("--json", type=Path, help="append all figures to this file")
    arguments = parser.parse_args()
    if arguments.fleet:
        return fleet(arguments)
    problems = []
    print(table.heads(), flush=True)
    for fault in arguments.fault or FAULTS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, CollectorProcess(Path(folder)) as collector:
            run = Run(fault, seed=arguments.seed, folder=Path(folder), collector=collector)
            run.go(arguments.invocations, arguments.seconds)
        row = {**run.row(), "seconds": round(time.monotonic() - began)}
        if arguments.json:
            arguments.json.open("a").write(json.dumps(row) + "\n")
        print(table.line(row), flush=True)
        for problem in run.problems:
            print(f"  {problem}", file=sys.stderr)
        problems += run.problems
    return 1 if problems else 0


def fleet(arguments: argparse.Namespace) -> int:
    """One run of a fleet, as JSON."""
    seconds = min(60.0, arguments.seconds)
    found = Fleet(arguments.fleet, limit=arguments.limit, seed=arguments.seed)
    with tempfile.TemporaryDirectory() as folder, CollectorProcess(Path(folder)) as collector:
        print(json.dumps(found.go(Path(folder), collector, seconds), indent=1))
    for problem in found.verdict.faults:
        print(f"  {problem}", file=sys.stderr)
    return 1 if found.verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
