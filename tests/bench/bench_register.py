"""Prints what the extension adds in front of a function's init: spawn to register, in pairs.

Run by hand: ``python tests/bench/bench_register.py [PAIRS]``. Each pair spawns ``python -I -S -c
pass`` up to its end and the extension up to its request to register, by turns; the figures are
medians. The extension is started by its interpreter, and then as Lambda does, by its first line.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from socket import create_server

EXECUTABLE = Path(__file__).parents[2] / "extension" / "bin" / "lambdascope"
PAIRS = 40


def spawned(argv: list[str], environ: dict[str, str]) -> tuple[int, int]:
    """The process and when (ns) it was asked for."""
    started = time.monotonic_ns()
    return os.posix_spawn(argv[0], argv, environ), started


def bare_ms(python: str) -> float:
    """From spawn to end of an interpreter that does nothing."""
    pid, started = spawned([python, "-I", "-S", "-c", "pass"], {"PATH": "/usr/bin"})
    os.waitpid(pid, 0)
    return (time.monotonic_ns() - started) / 1e6


def register_ms(argv: list[str], folder: str) -> float:
    """From spawn to the whole request to register."""
    with create_server(("127.0.0.1", 0)) as server:
        environ = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.getsockname()[1]}",
            "LAMBDASCOPE_OTLP_PORT": "0",
            "LAMBDASCOPE_HANDOFF_FILE": f"{folder}/handoff",
        }
        pid, started = spawned(argv, environ)
        client = server.accept()[0]
        with client:
            assert client.recv(65_536).startswith(b"POST /2020-01-01/extension/register ")
            ended = time.monotonic_ns()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return (ended - started) / 1e6


def main() -> None:
    """Measure and print a line for each way to start."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    ways = {
        "by the interpreter": [sys.executable, "-IS", str(EXECUTABLE)],
        "by its first line": [str(EXECUTABLE)],
    }
    with tempfile.TemporaryDirectory() as folder:
        for argv in ways.values():
            register_ms(argv, folder)  # writes the compiled files
        bare: list[float] = []
        found: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(pairs):
            bare.append(bare_ms(sys.executable))
            for way, argv in ways.items():
                found[way].append(register_ms(argv, folder))
    middle = statistics.median(bare)
    print(f"python -I -S -c pass: {middle:.2f} ms (Python {sys.version.split()[0]}, {pairs} pairs)")
    for way, times in found.items():
        one = statistics.median(times)
        print(f"spawn to register, {way}: {one:.2f} ms, {one / middle:.2f} times")


if __name__ == "__main__":
    main()
