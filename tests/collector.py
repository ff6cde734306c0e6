"""Runs a real OpenTelemetry collector between what a test sends and what it asserts on.

The collector takes OTLP over HTTP and gRPC on free loopback ports, decodes it with its own
code, and sends it on, uncompressed, to an `OtlpRecorder`; the test waits there for what must
arrive. The sender gets the collector's real answers. Nothing is batched: the collector passes
on what it gets before it answers, so a sender that got 200 finds its data recorded.

Where `scripts/install-peers` could not build the OpenTelemetry Collector there is `rotel` in
its place. Its answers come before it has passed the data on, it speaks protobuf to the
recorder (which turns that into the same dicts), and it has no knob for refusing data.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

from free_ports import free_ports
from otlp_recorder import Item, OtlpRecorder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_ATTEMPTS = 5
_START_TIMEOUT_S = 20
_STOP_TIMEOUT_S = 10


class CollectorError(Exception):
    """The collector did not start; the message holds what it printed."""


class Collector:
    """A running collector from `__enter__` to `__exit__`.

    `binary` comes from the fixture `collector_binary`, `workdir` is a folder of the test's own.
    """

    def __init__(self, binary: Path, workdir: Path) -> None:
        self.binary = binary
        self.workdir = workdir
        self.recorder = OtlpRecorder()
        self.http_port = 0
        self.grpc_port = 0
        self._process: _Process | None = None
        self._stack = ExitStack()

    @property
    def kind(self) -> str:
        """`otelcol` or `rotel`."""
        return "rotel" if self.binary.name == "rotel-agent" else "otelcol"

    @property
    def http_endpoint(self) -> str:
        """The base URL for OTLP/HTTP, without a path."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_endpoint(self) -> str:
        """The URL for OTLP/gRPC; its scheme tells exporters to do without TLS."""
        return f"http://127.0.0.1:{self.grpc_port}"

    @property
    def pid(self) -> int:
        """The process to signal in tests of a collector that stalls or dies."""
        assert self._process is not None, "the collector is not running"
        return self._process.pid

    def log_text(self) -> str:
        """What the collector has printed so far."""
        return self._process.log_text() if self._process else ""

    def wait_for_spans(self, count: int, timeout_s: float = 10) -> list[Item]:
        """See `OtlpRecorder.wait_for_spans`; a failure also shows the collector's log."""
        return self._explained(self.recorder.wait_for_spans, count, timeout_s)

    def wait_for_metrics(self, count: int, timeout_s: float = 10) -> list[Item]:
        """See `OtlpRecorder.wait_for_metrics`."""
        return self._explained(self.recorder.wait_for_metrics, count, timeout_s)

    def wait_for_log_records(self, count: int, timeout_s: float = 10) -> list[Item]:
        """See `OtlpRecorder.wait_for_log_records`."""
        return self._explained(self.recorder.wait_for_log_records, count, timeout_s)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.recorder)
            self._process = self._start()
            stack.callback(self._process.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> _Process:
        # Neither collector can be given port 0 and asked which port it got, so another
        # process may take a port that was free a moment ago.
        for _ in range(_ATTEMPTS):
            self.http_port, self.grpc_port = free_ports(2)
            process = _Process(*self.command())
            if process.wait_until_ready(_START_TIMEOUT_S):
                return process
            process.stop()
            if "address already in use" not in process.log_text().lower():
                break
        raise CollectorError(f"{self.binary} did not start:\n{process.log_text()}")

    def command(self) -> tuple[list[str], str]:
        """The command line, and the words in the log that say that it takes requests."""
        http, grpc = f"127.0.0.1:{self.http_port}", f"127.0.0.1:{self.grpc_port}"
        if self.kind == "rotel":
            options = {
                "otlp-http-endpoint": http,
                "otlp-grpc-endpoint": grpc,
                "otlp-exporter-endpoint": self.recorder.endpoint,
                "otlp-exporter-protocol": "http",
                "otlp-exporter-compression": "none",
            }
            flags = [f"--{name}={value}" for name, value in options.items()]
            # Its sockets listen before it prints this.
            return [str(self.binary), "start", "--disable-batching", *flags], "Starting Rotel"
        config = self.workdir / "collector.yaml"
        config.write_text(json.dumps(_config(http, grpc, self.recorder.endpoint), indent=1))
        return [str(self.binary), f"--config=file:{config}"], "Everything is ready"

    def _explained(
        self, wait: Callable[[int, float], list[Item]], count: int, timeout_s: float
    ) -> list[Item]:
        try:
            return wait(count, timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.kind} printed:\n{self.log_text()}") from None


def _config(http: str, grpc: str, recorder: str) -> dict[str, Any]:
    """The OpenTelemetry Collector's configuration; JSON is YAML too."""
    pipeline = {"receivers": ["otlp"], "exporters": ["otlp_http"]}
    return {
        "receivers": {
            "otlp": {"protocols": {"http": {"endpoint": http}, "grpc": {"endpoint": grpc}}}
        },
        "exporters": {
            "otlp_http": {
                "endpoint": recorder,
                "encoding": "json",
                "compression": "none",
                "sending_queue": {"enabled": False},
                "retry_on_failure": {"enabled": False},
            }
        },
        "service": {
            # Its own metrics would be served on a fixed port.
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": pipeline, "metrics": pipeline, "logs": pipeline},
        },
    }


class _Process:
    """A process whose output is read as it comes, so that its words can be waited for."""

    def __init__(self, command: list[str], ready_words: str) -> None:
        self._ready_words = ready_words
        self._lines: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        # Variables of the test's own exporters must not configure the collector.
        quiet = ("OTEL_", "ROTEL_")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(quiet)}
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=environment,
        )
        self.pid = self._popen.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_until_ready(self, timeout_s: float) -> bool:
        """False when the process ended or the time ran out before it said its words."""

        def told() -> bool:
            return self._ended or self._is_ready()

        with self._changed:
            self._changed.wait_for(told, timeout_s)
            return self._is_ready()

    def stop(self) -> None:
        """SIGTERM, then SIGKILL; SIGCONT first, for a test may have stopped the process."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGCONT)
            self._popen.terminate()
        try:
            self._popen.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._reader.join()
        assert self._popen.stdout is not None
        self._popen.stdout.close()

    def log_text(self) -> str:
        with self._changed:
            return "".join(self._lines)

    def _is_ready(self) -> bool:
        return any(self._ready_words in line for line in self._lines)

    def _read(self) -> None:
        assert self._popen.stdout is not None
        for line in self._popen.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
