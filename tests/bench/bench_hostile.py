"""Prints what hostile clients do to invocations, and to the memory of the extension.

Run by hand: ``python tests/bench/bench_hostile.py [ATTACK...]``. For each attack, a process of its
own attacks the OTLP port as fast as it can while invocations end one behind the other. Figures are
times from the runtime's last words to the extension's next, which Lambda bills, in milliseconds.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from socket import create_connection
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_memory import pss_mb
from sink import Sink, started

from extension_fakes import ExtensionProcess, FakePlatform, Function
from fake_collector import ENDPOINT
from lambdascope.otlp.protobuf import length_field
from lambdascope.wire import names

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

INVOCATIONS = 150
CLIENTS = 8
LARGEST = 6 * 1024 * 1024 - 4096
PROTOBUF, JSON = b"application/x-protobuf", b"application/json"


def request(body: bytes, kind: bytes = PROTOBUF, *more: bytes, length: int = -1) -> bytes:
    """A whole request."""
    lines = [
        b"POST /v1/traces HTTP/1.1",
        b"Host: x",
        b"Content-Type: " + kind,
        b"Content-Length: %d" % (len(body) if length < 0 else length),
        *more,
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _span(number: int) -> dict[str, object]:
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "GET",
        "startTimeUnixNano": "1",
        "attributes": [{"key": "url.full", "value": {"stringValue": "https://u:p@h/?token=x"}}],
    }


def _json(spans: int) -> bytes:
    scopes = [{"spans": [_span(number) for number in range(spans)]}]
    return json.dumps({"resourceSpans": [{"scopeSpans": scopes}]}).encode()


def _protobuf(span: bytes) -> bytes:
    one = length_field(b"\x12", span)
    return length_field(b"\x0a", length_field(b"\x12", one * (LARGEST // len(one))))


_SECRET = length_field(
    b"\x4a", length_field(b"\x0a", b"password") + length_field(b"\x12", length_field(b"\x0a", b"x"))
)
REPEATED: dict[str, Callable[[], bytes]] = {
    "JSON of 1 MB with secrets": lambda: request(_json(4_300), JSON),
    "JSON of 6 MB, marks alone": lambda: request(
        b"{" + b'"startTimeUnixNano" :' * (LARGEST // 21) + b"}", JSON
    ),
    "JSON of 6 MB, secret keys": lambda: request(
        b'{"a":[' + b'{"key":"password","value":{}},' * (LARGEST // 31) + b"{}]}", JSON
    ),
    "protobuf of 6 MB, tiny spans": lambda: request(_protobuf(b"\x2a\x04abcd")),
    "protobuf of 6 MB, secrets": lambda: request(_protobuf(_SECRET * 30)),
    "gzip of 6 MB": lambda: request(
        gzip.compress(_protobuf(b"\x2a\x40" + b"abcd" * 16)), PROTOBUF, b"Content-Encoding: gzip"
    ),
    "gzip bomb of 1 GB": lambda: request(
        gzip.compress(bytes(1 << 30), 1), PROTOBUF, b"Content-Encoding: gzip"
    ),
    "1 GB claimed": lambda: request(b"x" * 65_536, length=1 << 30),
    "wrong lengths": lambda: request(b"x" * 100, length=10) + b"\xff" * 50,
    "requests of 60 bytes, pipelined": lambda: request(b"\x0a\x00") * 1000,
    "chunks of one byte": lambda: (
        b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"1\r\nx\r\n" * 200_000
    ),
}
OTHERS = ["nothing", "slow senders", "half requests", "10,000 connections"]


def attack(name: str, port: int) -> None:
    """Attack until killed."""
    if name == "10,000 connections":
        held: list[socket] = []
        while True:
            with contextlib.suppress(OSError):
                held.append(create_connection(("127.0.0.1", port), 1))
            del held[:-10_000]
    if name == "slow senders":
        data = request(b"x" * 1000)
        clients = [create_connection(("127.0.0.1", port), 1) for _ in range(200)]
        for position in range(len(data)):
            for client in clients:
                with contextlib.suppress(OSError):
                    client.send(data[position : position + 1])
            time.sleep(0.01)
        return
    data = request(b"x" * 1000)[:500] if name == "half requests" else REPEATED[name]()
    import threading

    def repeat() -> None:
        while True:
            with contextlib.suppress(OSError), create_connection(("127.0.0.1", port), 1) as client:
                client.settimeout(5)
                while name != "half requests":
                    client.sendall(data)
                    if not client.recv(65_536):
                        break
                else:
                    client.sendall(data)

    for _ in range(CLIENTS):
        threading.Thread(target=repeat, daemon=True).start()
    print("attacking", flush=True)
    threading.Event().wait()


def variables(sink: Sink) -> dict[str, str]:
    """Everything as it is without variables, but where it goes."""
    return {ENDPOINT: sink.endpoint, names.ENV_HOLD_BUDGET: ""}


def measure(name: str) -> None:
    """One attack."""
    with (
        started() as sink,
        FakePlatform() as platform,
        tempfile.TemporaryDirectory() as folder,
        ExtensionProcess(platform, Path(folder), variables(sink)) as extension,
    ):
        function = Function(platform, extension)
        for number in range(10):
            function.invoke(str(number))
        port = str(extension.rendezvous()[0])
        command = [sys.executable, __file__, "attack", name, port]
        attacker = None if name == "nothing" else subprocess.Popen(command, stdout=subprocess.PIPE)
        if attacker is not None and name in (*REPEATED, "half requests"):
            assert attacker.stdout is not None
            attacker.stdout.readline()
        times, peak = [], 0.0
        try:
            for number in range(INVOCATIONS):
                before = time.monotonic()
                platform.invoke(f"x{number}")
                function.count += 1
                began = time.monotonic()
                assert function.runtime.hand_over(f"x{number}", "bench-span") == 200
                ended = platform.wait_next(function.count + 1, 30)
                times.append((ended - began) * 1000)
                peak = max(peak, pss_mb(extension.pid))
                while time.monotonic() - before < 0.01:
                    time.sleep(0.001)
        finally:
            if attacker is not None:
                attacker.kill()
                attacker.wait()
    times.sort()
    print(
        f"| {name} | {statistics.median(times):.1f} | {times[int(len(times) * 0.99)]:.1f} |"
        f" {times[-1]:.1f} | {peak:.1f} |",
        flush=True,
    )


def main() -> None:
    """Print a table."""
    if sys.argv[1:2] == ["attack"]:
        attack(sys.argv[2], int(sys.argv[3]))
        return
    print("| attack | p50 ms | p99 | max | PSS at most MB |\n|---|---|---|---|---|")
    for name in sys.argv[1:] or [*OTHERS, *REPEATED]:
        measure(name)


if __name__ == "__main__":
    main()
