"""Prints what it takes to receive and send on spans: this extension, the Collector, Rotel.

Run by hand: ``python tests/bench/bench_receivers.py [SECONDS]``. The same OTLP/HTTP requests go to
each over two connections, and each sends on to the same sink with gzip, which Rotel insists on. CPU
is that of all threads of the receiver; the extension's last flush, of 8 MB at most, is not in it.
``--spans N`` sends N spans through the extension alone and prints its memory on the way.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench_hostile import request
from bench_memory import cpu_ms, pss_mb
from sink import MARK, Sink, started

import peers
from collector import _config, _Process
from extension_fakes import ExtensionProcess, FakePlatform
from fake_collector import ENDPOINT, traces
from free_ports import free_ports
from lambdascope.transport.connection import Connection

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENTS = 2
SHAPES = {"an invocation's 7 spans": 7, "a batch of 512 spans": 512}


def body(spans: int) -> bytes:
    """Spans with an attribute of 100 bytes."""
    return traces(*[MARK] * spans, padding=100)


@contextlib.contextmanager
def extension(sink: Sink) -> Iterator[tuple[int, int]]:
    """Port and pid of our extension, in one long invocation."""
    variables = {ENDPOINT: sink.endpoint, "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
    with (
        FakePlatform() as platform,
        tempfile.TemporaryDirectory() as folder,
        ExtensionProcess(platform, Path(folder), variables) as process,
    ):
        platform.wait_next(1)
        runtime = process.runtime()  # it is not over before this one says so
        platform.invoke("long", limit_s=890)
        yield process.rendezvous()[0], process.pid
        assert 200 == runtime.hand_over("long")
        platform.wait_next(2)
        runtime.close()
        platform.shut_down()
        assert 0 == process.wait_exit()
        if process.lines:
            print(*process.lines, sep="\n")


@contextlib.contextmanager
def other(name: str, sink: Sink) -> Iterator[tuple[int, int]]:
    """Port and pid of another receiver, set up to batch as it does by itself."""
    http, grpc = (f"127.0.0.1:{port}" for port in free_ports(2))
    with tempfile.TemporaryDirectory() as folder:
        if name == "Rotel":
            command = [
                str(peers.folder() / "agents" / "rotel-agent"), "start",
                f"--otlp-http-endpoint={http}", f"--otlp-grpc-endpoint={grpc}",
                f"--otlp-exporter-endpoint={sink.endpoint}", "--otlp-exporter-protocol=http",
            ]  # fmt: skip
            words = "Starting Rotel"
        else:
            config = _config(http, grpc, sink.endpoint)
            config["exporters"]["otlp_http"] = {"endpoint": sink.endpoint}
            file = Path(folder) / "collector.yaml"
            file.write_text(json.dumps(config))
            command = [str(peers.folder() / "collector" / "otelcol"), f"--config=file:{file}"]
            words = "Everything is ready"
        process = _Process(command, words)
        try:
            assert process.wait_until_ready(20), process.log_text()
            yield int(http.rpartition(":")[2]), process.pid
        finally:
            process.stop()


class Load:
    """Clients that send until `stop`, one request at a time each, again where that was refused."""

    def __init__(self, port: int, data: bytes) -> None:
        self.sent = self.refused = 0
        self._lock = threading.Lock()
        self._is_over = False
        self._threads = [
            threading.Thread(target=self._send, args=(port, data)) for _ in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End and wait for the clients."""
        self._is_over = True
        for thread in self._threads:
            thread.join()

    def _send(self, port: int, data: bytes) -> None:
        connection = Connection("127.0.0.1", port, io_timeout=30)
        while not self._is_over:
            head, _ = connection.exchange(data)
            with self._lock:
                if head.status == 200:
                    self.sent += 1
                else:
                    self.refused += 1
            if head.status != 200:
                time.sleep(0.005)
        connection.close()


def arrived(sink: Sink, wanted: int) -> int:
    """What the sink has when nothing comes any more, or all is there."""
    last, since = -1, time.monotonic()
    while True:
        count = sink.count
        if count >= wanted or (count == last and time.monotonic() - since > 5):
            return count
        if count != last:
            last, since = count, time.monotonic()
        time.sleep(0.05)


def measure(name: str, shape: str, seconds: float) -> None:
    """One receiver and one shape of requests."""
    spans = SHAPES[shape]
    data = request(body(spans))
    with started() as sink:
        receiver = extension(sink) if name == "lambdascope" else other(name, sink)
        with receiver as (port, pid):
            idle, cpu = pss_mb(pid), cpu_ms(pid)
            began, peak = time.monotonic(), 0.0
            load = Load(port, data)
            while time.monotonic() - began < seconds:
                time.sleep(0.1)
                peak = max(peak, pss_mb(pid))
            load.stop()
            elapsed = time.monotonic() - began
            if name != "lambdascope":
                arrived(sink, load.sent * spans)
            used = cpu_ms(pid) - cpu
        count = arrived(sink, load.sent * spans)
    total = load.sent * spans
    print(
        f"| {name} | {shape} | {load.sent / elapsed:.0f} | {total / elapsed:.0f} |"
        f" {used * 1000 / max(1, total):.2f} | {idle:.1f} | {peak:.1f} | {load.refused} |"
        f" {count} of {total} |",
        flush=True,
    )


def million(spans: int) -> None:
    """Memory on the way of that many spans through the extension."""
    data = request(body(512))
    print("| spans | PSS MB |\n|---|---|")
    with started() as sink, contextlib.ExitStack() as stack:
        port, pid = stack.enter_context(extension(sink))
        load = Load(port, data)
        marks = [100_000, spans // 2, spans]
        while marks:
            time.sleep(0.05)
            if load.sent * 512 >= marks[0]:
                print(f"| {load.sent * 512} | {pss_mb(pid):.1f} |", flush=True)
                marks.pop(0)
        load.stop()
        stack.close()
        total = load.sent * 512
        print(f"{arrived(sink, total)} of {total} spans at the sink, {load.refused} asked again")


def main() -> None:
    """Print a table."""
    if sys.argv[1:2] == ["--spans"]:
        million(int(sys.argv[2]))
        return
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    print(
        "| receiver | requests | requests/s | spans/s | CPU us a span | PSS idle MB | at most |"
        " asked again | arrived |\n|---|---|---|---|---|---|---|---|---|"
    )
    for shape in SHAPES:
        for name in ("lambdascope", "otelcol", "Rotel"):
            try:
                measure(name, shape, seconds)
            except FileNotFoundError as error:
                print(f"| {name} | {error.filename} is missing: see scripts/install-peers |")


if __name__ == "__main__":
    main()
