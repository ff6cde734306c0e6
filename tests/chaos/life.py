"""One execution environment of a run: real runtime, real extension, and a handler that notes what
it does.

The handler makes the spans that its event names and writes each name down once the span is open, so
that what there must be is known also of a handler that was killed. `Records` stands between the
emulator and its Telemetry API.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lambdascope.emulator.config import FunctionConfig
from lambdascope.emulator.environment import ExecutionEnvironment
from lambdascope.emulator.records import SUCCESS
from lambdascope.wire import names
from lambdascope_extension.spool import PREFIX, parse

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping

    from lambdascope.emulator.records import InvocationRecord, LogLine

FUNCTION = "chaos"
WAIT_S = 20.0
_JOURNAL = "CHAOS_JOURNAL"
APP = f"""
import os, signal, threading
from opentelemetry import trace

tracer = trace.get_tracer("chaos")
journal = os.open(os.environ["{_JOURNAL}"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
pause = threading.Event()

def note(text):
    os.write(journal, text.encode() + b"\\n")

def handler(event, context):
    note("began " + context.aws_request_id)
    for name in event["spans"]:
        with tracer.start_as_current_span(name):
            note("span " + name)
            pause.wait(event["pause_s"])
            if event.get("hangs_in") == name:
                pause.wait()
            if event.get("dies_in") == name:
                os.kill(os.getpid(), signal.SIGKILL)
    return len(event["spans"])
"""
_LEDGER = re.compile(
    r"traces: (?P<accepted>\d+) spans accepted, (?P<exported>\d+) exported, "
    r"\d+ dropped \((?P<dropped>[^)]*)\), (?P<held>\d+) held"
)
_NOT_HANDED = re.compile(r"(\d+) spans could not be handed to the extension")
_LATE_S = 0.3


class Answered:
    """One invocation as its caller saw it, in monotonic seconds. `is_warm`: it succeeded and there
    was no init in it."""

    def __init__(self, record: InvocationRecord, began: float, ended: float) -> None:
        self._span = (began, ended)
        self.latency_ms = 1000 * (ended - began)
        self.is_warm = record.status == SUCCESS and not record.cold
        overheads = [one.duration_ms for one in record.phases if one.name == "extension overhead"]
        self.held_ms = overheads[0] if overheads else 0.0

    def leave_out(self, halts: Iterable[tuple[float, float]]) -> None:
        """Take off what everything stood still, which is not the telemetry's doing."""
        began, ended = self._span
        for start, end in halts:
            self.latency_ms -= 1000 * max(0.0, min(end, ended) - max(start, began))


class Records:
    """Passes the platform's records on: some late and so out of order, some twice, some never."""

    def __init__(self, environment: ExecutionEnvironment, draw: random.Random) -> None:
        self._bus = environment._host.bus
        self._emit = self._bus.emit
        self._draw = draw
        self._timers: list[threading.Timer] = []
        self.counts = {"late": 0, "doubled": 0, "missing": 0}
        self._bus.emit = self._faulty  # type: ignore[method-assign]

    def close(self) -> None:
        """Nothing comes late any more."""
        for timer in self._timers:
            timer.cancel()

    def _faulty(self, *event: Any, **options: Any) -> None:
        fault = self._draw.choice(("late", "doubled", "missing", "", "", ""))
        if fault:
            self.counts[fault] += 1
        if fault == "late":
            timer = threading.Timer(self._draw.random() * _LATE_S, self._emit, event, options)
            timer.daemon = True
            self._timers.append(timer)
            timer.start()
            return
        for _ in range({"doubled": 2, "missing": 0}.get(fault, 1)):
            self._emit(*event, **options)


class Life:
    """An environment from init to shutdown. `possible` are the names of all spans that handlers may
    have made, `generations` is how often there were new processes, `spooled` what was left in a
    spool, because the last reset was the end."""

    def __init__(
        self,
        folder: Path,
        endpoint: str,
        variables: Mapping[str, str],
        *,
        app: str = APP,
        timeout_ms: int = 30_000,
    ) -> None:
        folder.mkdir(parents=True)
        self.name = folder.name
        folder.joinpath("app.py").write_text(app)
        self._journal = folder / "journal"
        self._journal.touch()
        self.lines: list[str] = []
        config = FunctionConfig(
            handler="app.handler",
            task_root=str(folder),
            function_name=FUNCTION,
            memory_limit=False,
            timeout_ms=timeout_ms,
            variables={_JOURNAL: str(self._journal), names.ENV_OTLP_PORT: "0", **variables},
        )
        self.environment = ExecutionEnvironment(config, on_log=self._on_log, otlp_endpoint=endpoint)
        self.records: Records | None = None
        self.possible: set[str] = set()
        self.invocations = 0
        self.generations = 0
        self.spooled: list[bytes] = []

    def start(self) -> None:
        """Init, and the freeze behind it."""
        self.environment.start()
        assert self.environment.wait_ready(WAIT_S), self.lines[-5:]

    def pids(self) -> dict[str, int]:
        """The processes by name."""
        return self.environment.pids()

    def thawed(self) -> None:
        """Wait for the freeze, so that every invocation begins with a thaw."""
        self.environment.wait_frozen(1.0)

    def invoke(self, event: dict[str, object], *, killed_after_s: float | None = None) -> Answered:
        """One invocation; with `killed_after_s`, the runtime is killed from outside."""
        self.invocations += 1
        self.possible.update(map(str, event["spans"]))  # type: ignore[call-overload]
        answered_at: list[float] = []
        timer = None
        if killed_after_s is not None:
            pid = self.pids().get("runtime", 0)
            timer = threading.Timer(killed_after_s, _kill, [pid])
            timer.start()
        began = time.monotonic()
        record = self.environment.invoke(
            json.dumps(event).encode(),
            on_response=lambda _: answered_at.append(time.monotonic()),
        )
        if timer is not None:
            timer.cancel()
            timer.join()
        self.generations += record.cold
        return Answered(record, began, (answered_at or [time.monotonic()])[0])

    def end(self) -> None:
        """Shut down; everything that was said is in `lines` then."""
        self.spooled = self._spooled()
        self.environment.shutdown()
        if self.records is not None:
            self.records.close()

    def made(self) -> tuple[set[str], set[str]]:
        """The names of the spans that handlers opened, and the invocations that reached one."""
        notes = [line.split(" ", 1) for line in self._journal.read_text().splitlines()]
        return {text for kind, text in notes if kind == "span"}, {
            text for kind, text in notes if kind == "began"
        }

    def ledgers(self) -> list[dict[str, int]]:
        """What each extension said of traces at its end: accepted, exported, held, and each reason.

        One where everything got through says nothing.
        """
        found = []
        for line in self.lines:
            if (match := _LEDGER.search(line)) is not None:
                reasons = [one.rsplit(" ", 1) for one in match["dropped"].split(", ")]
                counts = {reason: int(count) for reason, count in reasons if count.isdecimal()}
                found.append(
                    {name: int(match[name]) for name in ("accepted", "exported", "held")}
                    | {f"dropped {reason}": count for reason, count in counts.items()}
                )
        return found

    def not_handed_over(self) -> int:
        """What runtimes said that they could not hand over."""
        return sum(int(m[1]) for line in self.lines if (m := _NOT_HANDED.search(line)))

    def _spooled(self) -> list[bytes]:
        folder = Path(self.environment._host.directory)
        batches = [batch for one in folder.rglob(f"{PREFIX}*") for batch in parse(one.read_bytes())]
        return [batch.body for batch in batches if batch.signal == "traces"]

    def _on_log(self, line: LogLine) -> None:
        if line.source != "platform":
            self.lines.append(line.text)


def _kill(pid: int) -> None:
    try:
        if pid:
            os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended already
