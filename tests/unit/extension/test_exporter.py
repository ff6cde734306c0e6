"""The worker thread's contract with the main thread, and the sender's reading of failures."""

from __future__ import annotations

import email.utils
import os
import select
import socket
import ssl
import threading
import time
from http.client import BadStatusLine, RemoteDisconnected

import pytest
import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, ProtocolError, ReadTimeoutError

from lambdascope.wire.names import CONTENT_TYPE_PROTOBUF
from lambdascope_extension.answers import CUT, EXPORTED, REFUSED, Result, retry_after
from lambdascope_extension.buffer import Batch, Message
from lambdascope_extension.export_config import Destination
from lambdascope_extension.exporter import BROKEN, BUSY, COLD, READY, WARMING, Exporter, Job
from lambdascope_extension.sender import explain
from lambdascope_extension.site_packages import site_packages


class FakeSender:
    """Answers when the test lets it, or raises."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.error: Exception | None = None
        self.jobs: list[Job] = []

    def send(self, job: Job) -> Result:
        """Wait for the test."""
        self.jobs.append(job)
        assert self.go_on.wait(10)
        self.go_on.clear()
        if self.error is not None:
            raise self.error
        return Result(CUT if job.is_cut else EXPORTED)

    def cut(self) -> None:
        """As if the socket had been shut down."""
        self.go_on.set()


class Pipe:
    """The wake pipe."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()

    def wait(self) -> None:
        """Until the worker has written."""
        assert select.select([self.out], [], [], 10)[0], "the worker did not wake the main thread"
        os.read(self.out, 1)


def job() -> Job:
    """A job for nowhere."""
    message = Message(signal="traces", kind=CONTENT_TYPE_PROTOBUF, body=b"x", items=1, received=1.0)
    destination = Destination(signal="traces", url="http://c/", shown="http://c/", port=80)
    return Job(Batch([message]), destination, timeout_s=1, started=0.0, wants_new_connection=False)


def warm(sender: FakeSender) -> tuple[Exporter, Pipe]:
    """An exporter that is ready."""
    pipe = Pipe()
    exporter = Exporter(pipe.into, load=lambda: sender)
    assert COLD == exporter.state
    exporter.warm_up()
    assert exporter.is_working
    pipe.wait()
    assert exporter.collect() is None
    assert READY == exporter.state
    return exporter, pipe


def test_job_and_result() -> None:
    """A job goes over, its result comes back with a wake-up, and the next can follow."""
    sender = FakeSender()
    exporter, pipe = warm(sender)
    for _ in range(2):
        one = job()
        exporter.start(one)
        assert (BUSY, None) == (exporter.state, exporter.collect())
        sender.go_on.set()
        pipe.wait()
        finished = exporter.collect()
        assert finished is not None
        assert (one, EXPORTED, READY) == (finished[0], finished[1].outcome, exporter.state)


def test_cut() -> None:
    """A cut reaches the sender and comes back as a result like any other."""
    sender = FakeSender()
    exporter, pipe = warm(sender)
    exporter.start(job())
    exporter.cut()
    exporter.cut()
    pipe.wait()
    finished = exporter.collect()
    assert finished is not None
    assert CUT == finished[1].outcome


def test_fault_of_the_sender_is_a_result() -> None:
    """Whatever the sender raises, the batch is accounted for and the worker lives."""
    sender = FakeSender()
    exporter, pipe = warm(sender)
    sender.error = RuntimeError("fault")
    exporter.start(job())
    sender.go_on.set()
    pipe.wait()
    finished = exporter.collect()
    assert finished is not None
    assert (REFUSED, READY) == (finished[1].outcome, exporter.state)
    assert "RuntimeError" in finished[1].reason


def test_sender_that_cannot_be_loaded() -> None:
    """A missing package makes the exporter broken, with the reason."""

    def load() -> FakeSender:
        raise ModuleNotFoundError("No module named 'requests'")

    pipe = Pipe()
    exporter = Exporter(pipe.into, load=load)
    exporter.warm_up()
    assert WARMING == exporter.state
    pipe.wait()
    exporter.collect()
    assert (BROKEN, False) == (exporter.state, exporter.is_working)
    assert "requests" in exporter.problem


def wrapped(inner: Exception) -> requests.ConnectionError:
    """An error as `requests` raises it when a connection fails."""
    pool = requests.packages.urllib3.HTTPConnectionPool("c")  # type: ignore[attr-defined]
    outer = NewConnectionError(pool, "no connection to c")
    outer.__cause__ = inner
    return requests.ConnectionError(MaxRetryError(pool, "/", outer))


@pytest.mark.parametrize(
    ("error", "reason", "hint"),
    [
        (
            wrapped(ConnectionRefusedError(111, "Connection refused")),
            "connection refused",
            "listens",
        ),
        (wrapped(socket.gaierror(-2, "unknown")), "the name cannot be resolved", "ENDPOINT"),
        (wrapped(TimeoutError("timed out")), "no answer in time", "look at the collector"),
        (
            requests.ConnectionError(ProtocolError("aborted", RemoteDisconnected("x"))),
            "closed without an answer",
            "OTLP/HTTP receiver",
        ),
        (
            requests.ConnectionError(ProtocolError("aborted", BadStatusLine("garbage"))),
            "the answer is not HTTP",
            "OTLP/HTTP receiver",
        ),
        (
            requests.ReadTimeout(ReadTimeoutError(None, "", "x")),  # type: ignore[arg-type]
            "no answer in time",
            "look at the collector",
        ),
        (
            requests.exceptions.SSLError(ssl.SSLCertVerificationError("x")),
            "sslcertverificationerror",
            "CERTIFICATE",
        ),
        (requests.exceptions.InvalidURL("http://user:secret@c"), "invalidurl", "ENDPOINT"),
    ],
)
def test_failures_are_explained(error: Exception, reason: str, hint: str) -> None:
    """The innermost cause is named in plain words, never with text from the URL or the peer."""
    explained = explain(error, port=4318)
    assert reason == explained[0]
    assert hint in explained[1]


@pytest.mark.parametrize(
    "inner", [RemoteDisconnected("x"), BadStatusLine("x"), ConnectionResetError(104, "reset")]
)
def test_grpc_port_is_recognised(inner: Exception) -> None:
    """Whatever a gRPC server does to an HTTP/1.1 request, the port is the thing to change."""
    error = requests.ConnectionError(ProtocolError("aborted", inner))
    assert "4318" in explain(error, port=4317)[1]


@pytest.mark.parametrize(
    ("text", "seconds"), [("7", 7.0), ("0.5", 0.5), ("", 0.0), ("soon", 0.0), ("1e999", 0.0)]
)
def test_retry_after_seconds(text: str, seconds: float) -> None:
    """Seconds are taken as they are, nonsense as nothing."""
    assert seconds == retry_after(text)


def test_retry_after_date() -> None:
    """A date is as long from now; one in the past is now."""
    later = email.utils.formatdate(time.time() + 100, usegmt=True)
    assert 98 <= retry_after(later) <= 100
    assert 0.0 == retry_after(email.utils.formatdate(time.time() - 100, usegmt=True))


def test_site_packages(tmp_path: os.PathLike[str]) -> None:
    """A virtual environment has its own folder and no other; an installation has several."""
    environment = f"{tmp_path}/env"
    os.makedirs(environment)
    with open(f"{environment}/pyvenv.cfg", "w") as file:
        file.write("home = /usr/bin\n")
    assert [f"{environment}/lib/python3.12/site-packages"] == site_packages(
        f"{environment}/bin/python", "/usr", "3.12"
    )
    assert "/var/lang/lib/python3.12/site-packages" in site_packages(
        "/var/lang/bin/python3", "/var/lang", "3.12"
    )
