"""The exporter: one worker thread that sends, and the main thread's handle on it.

The thread is started when the first export is due, because loading a sender takes CPU from the
function. The main thread hands over one job at a time and never waits: the worker writes a byte to
the wake pipe when something has changed. This class is the main thread's, `_work` the worker's.
"""

from __future__ import annotations

import posix
from _thread import allocate_lock, start_new_thread

from lambdascope_extension.answers import CUT, REFUSED, Result
from lambdascope_extension.site_packages import add_site_packages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import Protocol

    from lambdascope_extension.buffer import Batch
    from lambdascope_extension.export_config import Destination

    class SendsBatches(Protocol):
        """What the worker needs of a sender."""

        def send(self, job: Job) -> Result:
            """Export a batch."""

        def cut(self) -> None:
            """End `send` now."""

        def close(self) -> None:
            """Close the connections that are kept."""


COLD = "cold"
WARMING = "warming"
READY = "ready"
BUSY = "busy"
BROKEN = "broken"


class Job:
    """A batch on its way. `timeout_s` is for the whole export; `is_cut` is set to stop it."""

    __slots__ = ("batch", "destination", "is_cut", "started", "timeout_s", "wants_new_connection")

    def __init__(
        self,
        batch: Batch,
        destination: Destination,
        *,
        timeout_s: float,
        started: float,
        wants_new_connection: bool,
    ) -> None:
        self.batch = batch
        self.destination = destination
        self.timeout_s = timeout_s
        self.started = started
        self.wants_new_connection = wants_new_connection
        self.is_cut = False


def loader(
    destinations: Collection[Destination], environ: Mapping[str, str]
) -> Callable[[], SendsBatches]:
    """What makes the sender that these destinations need, when it is called."""

    def load() -> SendsBatches:
        by_http = [one for one in destinations if not one.is_grpc]
        sender = _load(by_http, environ) if by_http else None
        if sender is None or len(by_http) != len(destinations):
            add_site_packages()
            from lambdascope_extension.grpc_sender import GrpcSender

            sender = GrpcSender(sender)
        if any(one.needs_aws for one in destinations):
            add_site_packages()
            from lambdascope_extension.authorized_sender import AuthorizedSender

            sender = AuthorizedSender(sender, environ)
        return sender

    return load


def _load(destinations: Iterable[Destination], environ: Mapping[str, str]) -> SendsBatches:
    from lambdascope_extension.plain_sender import PlainSender, is_plain

    add_site_packages()  # public authorities are those of a package
    return PlainSender() if is_plain(destinations, environ) else load_sender()


def load_sender() -> SendsBatches:
    """Import `requests` and make a sender. Raises ImportError."""
    add_site_packages()
    from lambdascope_extension.sender import Sender

    return Sender()


class Exporter:
    """`state` is one of the constants above; `problem` says why it is BROKEN."""

    def __init__(self, wake_fd: int, load: Callable[[], SendsBatches] = load_sender) -> None:
        self.state = COLD
        self.problem = ""
        self.job: Job | None = None
        self._wake_fd = wake_fd
        self._load = load
        self._handed_over = allocate_lock()
        self._handed_over.acquire()
        self._sender: SendsBatches | None = None
        self._result: Result | None = None

    @property
    def is_working(self) -> bool:
        """Whether something is under way that will wake the main thread."""
        return self.state in (WARMING, BUSY)

    def warm_up(self) -> None:
        """Start the worker, which loads `requests`."""
        self.state = WARMING
        start_new_thread(self._work, ())

    def start(self, job: Job) -> None:
        """Hand over a job; only when READY."""
        self.job = job
        self.state = BUSY
        self._handed_over.release()

    def cut(self) -> None:
        """Stop the job. Its result comes soon after, or late if the worker is resolving a name."""
        if self.job is not None and not self.job.is_cut:
            self.job.is_cut = True
            if self._sender is not None:
                self._sender.cut()

    def collect(self) -> tuple[Job, Result] | None:
        """After a wake-up: the finished job and its result, None if there is none."""
        if self.state == WARMING and self.problem:
            self.state = BROKEN
        elif self.state == WARMING and self._sender is not None:
            self.state = READY
        result, self._result = self._result, None
        if result is None or self.job is None:
            return None
        job, self.job = self.job, None
        self.state = READY
        return job, result

    def _work(self) -> None:
        try:
            self._sender = sender = self._load()
        except Exception as error:  # noqa: BLE001 - the thread's edge: whatever it is, it is said
            self.problem = f"{type(error).__name__}: {error}"
            posix.write(self._wake_fd, b"x")
            return
        while True:
            posix.write(self._wake_fd, b"x")
            self._handed_over.acquire()
            job = self.job
            if job is None:
                continue
            try:
                result = sender.send(job)
            except Exception as error:  # noqa: BLE001 - the thread's edge: the batch is accounted for
                reason = f"fault of the extension, {type(error).__name__}"
                result = Result(CUT if job.is_cut else REFUSED, reason=reason)
            self._result = result
