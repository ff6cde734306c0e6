"""A flusher under a test's control: a fake exporter, and time as an argument."""

from __future__ import annotations

from lambdascope.wire.names import CONTENT_TYPE_PROTOBUF
from lambdascope_extension.answers import EXPORTED, Result
from lambdascope_extension.buffer import Buffer, Message
from lambdascope_extension.export_config import read_export_config
from lambdascope_extension.exporter import BUSY, COLD, READY, WARMING, Job
from lambdascope_extension.flusher import Flusher
from lambdascope_extension.ledger import Ledger


class FakeExporter:
    """Does what the test says; the flusher cannot tell it from the real one."""

    def __init__(self) -> None:
        self.state = COLD
        self.problem = ""
        self.job: Job | None = None
        self.sent: list[Job] = []
        self.result: Result | None = None

    @property
    def is_working(self) -> bool:
        """As the real one."""
        return self.state in (WARMING, BUSY)

    def warm_up(self) -> None:
        """Begin to load."""
        self.state = WARMING

    def start(self, job: Job) -> None:
        """Take a job."""
        assert READY == self.state
        self.job, self.state = job, BUSY
        self.sent.append(job)

    def cut(self) -> None:
        """Note the cut."""
        assert self.job is not None
        self.job.is_cut = True

    def collect(self) -> tuple[Job, Result] | None:
        """Hand out the result that the test has put there."""
        if self.job is None or self.result is None:
            return None
        finished = self.job, self.result
        self.job, self.result, self.state = None, None, READY
        return finished


class Bench:
    """A flusher, its exporter and its buffer, with a clock that the test moves."""

    def __init__(self, *, ready: bool = True, batch_bytes: int = 10, **variables: str) -> None:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1", **variables}
        self.lines: list[str] = []
        self.ledger = Ledger()
        self.buffer = Buffer(self.ledger, batch_bytes=batch_bytes)
        self.exporter = FakeExporter()
        if ready:
            self.exporter.state = READY
        config = read_export_config(environ, own_port=4318)
        self.flusher = Flusher(self.buffer, self.exporter, config, self.lines.append)  # type: ignore[arg-type]

    def put(
        self,
        now: float,
        body: bytes = b"x" * 10,
        signal: str = "traces",
        *,
        items: int = 1,
        urgent: bool = False,
    ) -> None:
        """A sender posts."""
        message = Message(
            signal=signal,
            kind=CONTENT_TYPE_PROTOBUF,
            body=body,
            items=items,
            received=now,
            urgent=urgent,
        )
        assert self.buffer.put(message)

    def finish(self, now: float, outcome: str = EXPORTED, **fields: object) -> bool:
        """The export that is under way ends; whether the round goes on."""
        result = Result(outcome)
        for name, value in fields.items():
            setattr(result, name, value)
        self.exporter.result = result
        self.flusher.on_wake(now)
        return self.flusher.resume(now)

    @property
    def account(self) -> tuple[int, dict[str, int], int]:
        """Exported, dropped and held spans."""
        account = self.ledger.accounts["traces"]
        return account.exported, account.dropped, account.held
