"""Prints how long the extension holds next, and how old spans get, at several rates of invocations.

Run by hand: ``PYTHONPATH=tests python tests/bench/bench_hold.py [DELAY_MS,...] [RATE:COUNT,...]``,
for instance ``0,50,200 0.2:10,1:130,5:300,24:600,175:2000``. Real processes in our emulator, frozen
between invocations; a collector on loopback answers after the delay. A hold is the platform's: from
the runtime's next to the extension's, of every invocation but the first. An age is the time from
the end of the invocation's span to its arrival, also of those that left at the end only.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment

SOURCE = """
import time
def handler(event, context):
    time.sleep({handler_ms} / 1000)
"""


class Collector(BaseHTTPRequestHandler):
    """Answers after a delay; `ages_s` are those of the invocations' spans."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    delay_s = 0.0
    ages_s: list[float]

    def do_POST(self) -> None:
        """One export."""
        now = time.time()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.delay_s)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if self.path == "/v1/traces":
            for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for of_scope in of_resource.scope_spans:
                    self.ages_s.extend(
                        now - span.end_time_unix_nano / 1e9
                        for span in of_scope.spans
                        if span.name == "shop"
                    )

    def log_message(self, *_: object) -> None:
        """Stays quiet."""


class Server(ThreadingHTTPServer):
    """Threads that do not keep the process."""

    daemon_threads = True


def measure(delay_ms: float, rate: float, count: int) -> None:
    """One life of an environment, as one line."""
    ages_s: list[float] = []
    kind = type("Kind", (Collector,), {"delay_s": delay_ms / 1000, "ages_s": ages_s})
    server = Server(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "app.py").write_text(
            SOURCE.format(handler_ms=os.environ.get("HANDLER_MS", "0"))
        )
        config = FunctionConfig(
            handler="app.handler",
            task_root=folder,
            function_name="shop",
            memory_mb=512,
            variables={
                "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
                **{name: value for name, value in os.environ.items() if "LAMBDASCOPE" in name},
            },
        )
        environment = ExecutionEnvironment(
            config, on_log=lambda _: None, otlp_endpoint=f"http://127.0.0.1:{server.server_port}"
        )
        holds_ms = []
        began = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            record = environment.invoke(b"{}")
            phases = {phase.name: phase for phase in record.phases if not phase.who}
            if number:
                holds_ms.append(phases["extension overhead"].duration_ms)
        took_s = time.monotonic() - began
        environment.shutdown()
    server.shutdown()
    holds_ms.sort()
    ages_s.sort()
    long = sum(hold_ms > 2 for hold_ms in holds_ms)
    p99_ms = holds_ms[int(0.99 * (len(holds_ms) - 1))]
    print(
        f"collector {delay_ms:3g} ms  {count / took_s:6.1f}/s  {len(holds_ms):5} warm  hold p50"
        f" {statistics.median(holds_ms):6.2f}  p99 {p99_ms:6.2f}  max {holds_ms[-1]:6.2f} ms, over"
        f" 2 ms: {long:3}  age p50 {statistics.median(ages_s):6.2f}  max {ages_s[-1]:6.2f} s"
        f"  spans {len(ages_s)}",
        flush=True,
    )


if __name__ == "__main__":
    delays = sys.argv[1] if len(sys.argv) > 1 else "0,50,200"
    rates = sys.argv[2] if len(sys.argv) > 2 else "1:130,5:300,24:600,175:2000"
    for delay in delays.split(","):
        for pair in rates.split(","):
            per_second, _, invocations = pair.partition(":")
            measure(float(delay), float(per_second), int(invocations))
