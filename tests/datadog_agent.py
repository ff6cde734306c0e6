"""Datadog's test agent as a process on loopback: takes OTLP, and tells what it took.

It is what Datadog tests its own libraries with, and decodes OTLP with its own code.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

from free_ports import free_ports
from otlp_recorder import OtlpRecorder

if TYPE_CHECKING:
    from pathlib import Path

    from otlp_recorder import Item

_START_S = 20.0
_STOP_S = 10.0
_RETRY_S = 0.02


class DatadogAgent:
    """A running agent from `__enter__` to `__exit__`; `log` is a file of the test's own."""

    def __init__(self, binary: Path, log: Path) -> None:
        self._binary = binary
        self._log = log
        self._agent_port, self._http_port, self._grpc_port = free_ports(3)
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def http_endpoint(self) -> str:
        """The base URL for OTLP/HTTP, without a path."""
        return f"http://127.0.0.1:{self._http_port}"

    @property
    def grpc_endpoint(self) -> str:
        """The URL for OTLP/gRPC."""
        return f"http://127.0.0.1:{self._grpc_port}"

    def __enter__(self) -> Self:
        ports = {
            "--port": self._agent_port,
            "--otlp-http-port": self._http_port,
            "--otlp-grpc-port": self._grpc_port,
        }
        flags = [part for name, port in ports.items() for part in (name, str(port))]
        quiet = ("OTEL_", "DD_")
        with self._log.open("wb") as log:
            self._popen = subprocess.Popen(
                [str(self._binary), *flags, "--disable-llmobs-data-forwarding"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._log.parent,  # it looks for recorded answers there
                env={k: v for k, v in os.environ.items() if not k.startswith(quiet)},
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._popen is not None
        self._popen.terminate()
        try:
            self._popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def taken(self, signal: str) -> list[Item]:
        """The OTLP/JSON requests of a signal (traces, metrics, logs) that it took so far."""
        connection = http.client.HTTPConnection("127.0.0.1", self._http_port, timeout=10)
        try:
            connection.request("GET", f"/test/session/{signal}")
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        assert 200 == response.status, body
        found: list[Any] = json.loads(body)
        return found

    def spans(self) -> list[Item]:
        """All spans that it took so far, in the form in which the recorder hands spans out."""
        from google.protobuf.json_format import ParseDict
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        with OtlpRecorder() as reader:
            for one in self.taken("traces"):
                body = ParseDict(one, ExportTraceServiceRequest()).SerializeToString()
                reader.take("/v1/traces", "application/x-protobuf", body)
            return reader.wait_for_spans(0)

    def _wait_until_ready(self) -> None:
        assert self._popen is not None
        deadline = time.monotonic() + _START_S
        while True:
            try:
                self.taken("traces")
            except OSError:
                if self._popen.poll() is not None or time.monotonic() > deadline:
                    text = self._log.read_text(errors="replace")
                    raise AssertionError(f"it does not listen:\n{text}") from None
                select.select([], [], [], _RETRY_S)
            else:
                return
