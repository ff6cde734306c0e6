"""`lambdascope replay`: sends on what extensions have left in a log group.

Reads a log export line by line, finds the lines that an extension wrote when nothing else was
left, and posts their requests to the collector that the standard variables or --endpoint name, with
the ids that they had. It must not know how exports are made: any text with these lines in it will
do, and everything else is ignored.
"""

from __future__ import annotations

import gzip
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lambdascope.cli.errors import EXIT_FAULT, EXIT_OK, CommandError
from lambdascope.otlp.lines import PREFIX, DamagedLine, Line, parse_line
from lambdascope.wire import names
from lambdascope_extension.answers import EXPORTED, RETRY, Result
from lambdascope_extension.batch import KINDS, Batch, Message
from lambdascope_extension.export_config import ExportConfig, read_export_config
from lambdascope_extension.exporter import Job, loader
from lambdascope_extension.health import Health
from lambdascope_extension.presets import read_destinations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from lambdascope.cli.arguments import Options
    from lambdascope_extension.exporter import SendsBatches

_ATTEMPTS = 6
_LONGEST_WAIT_S = 60.0
_GZIP_MAGIC = b"\x1f\x8b"


class Replay:
    """One run. `counts` says what became of the lines, `items` of what was in the sent ones."""

    def __init__(
        self, config: ExportConfig, sender: SendsBatches, sleep: Callable[[float], None]
    ) -> None:
        self.counts = {"sent": 0, "sent before": 0, "damaged": 0, "failed": 0, "other lines": 0}
        self.items = {"traces": 0, "metrics": 0, "logs": 0}
        self.rejected = 0
        self._config = config
        self._sender = sender
        self._sleep = sleep
        self._seen: set[str] = set()
        self._is_down = False

    def run(self, lines: Iterable[str]) -> None:
        """Send what is in the lines."""
        for text in lines:
            before, *pieces = text.split(PREFIX)  # a compact export may have many in a line
            if not pieces:
                self.counts["other lines"] += 1
            for piece in pieces:
                if self._is_for_another(before):
                    self.counts["other lines"] += 1
                else:
                    self._one(PREFIX + piece)
                before = piece

    def _is_for_another(self, before: str) -> bool:
        """Whether the word before a line names another destination than the one that is set."""
        word = before.rstrip().rpartition(" ")[2]
        _, is_labelled, name = word.rpartition(names.LEFTOVER_LABEL)
        return bool(self._config.name and is_labelled) and name != self._config.name

    def _one(self, text: str) -> None:
        try:
            line = parse_line(text)
        except DamagedLine as error:
            self.counts["damaged"] += 1
            _say(f"a line is damaged: {error}")
            return
        if line is None:
            self.counts["other lines"] += 1
        elif line.id in self._seen:
            self.counts["sent before"] += 1
        else:
            self._seen.add(line.id)
            self.counts["sent" if self._delivered(_batch(line)) else "failed"] += 1

    def _delivered(self, batch: Batch) -> bool:
        """Send a batch, in parts where the collector wants that; whether all of it was taken."""
        destination = self._config.destinations.get(batch.signal)
        if destination is None or self._is_down:
            return False
        result = self._sent(batch)
        if result.outcome == EXPORTED:
            self.items[batch.signal] += batch.items
            self.rejected += result.rejected
            if result.rejected or result.message:
                _say(f"{destination.shown} rejected {result.rejected} items: {result.message}")
            return True
        if result.status == names.PAYLOAD_TOO_LARGE and (halves := batch.halves()):
            delivered = [self._delivered(half) for half in halves]
            return False not in delivered
        _say(f"{destination.shown} did not take a request: {result.reason}; {result.hint}")
        if result.outcome == RETRY:
            self._is_down = True
            _say(f"it failed {_ATTEMPTS} times: nothing more is sent, run it again later")
        return False

    def _sent(self, batch: Batch) -> Result:
        destination = self._config.destinations[batch.signal]
        health = Health()
        for attempt in range(_ATTEMPTS):
            now = time.monotonic()
            job = Job(
                batch,
                destination,
                timeout_s=destination.timeout_s,
                started=now,
                wants_new_connection=False,
            )
            result = self._sender.send(job)
            if result.outcome != RETRY or attempt == _ATTEMPTS - 1:
                break
            health.failed(now, result.retry_after)
            self._sleep(min(_LONGEST_WAIT_S, health.retry_at - now))
        return result

    def __str__(self) -> str:
        told = ", ".join(f"{count} {what}" for what, count in self.items.items())
        return (
            f"{self.counts['sent']} requests sent ({told}; {self.rejected} items rejected), "
            f"{self.counts['sent before']} sent before in this run, "
            f"{self.counts['damaged']} damaged, {self.counts['failed']} failed, "
            f"{self.counts['other lines']} other lines ignored"
        )


def replay(
    options: Options, environ: Mapping[str, str], sleep: Callable[[float], None] = time.sleep
) -> int:
    """Run the command; its exit code. Raises CommandError."""
    config = _config(options.endpoint, environ)
    sender = _load_sender(config, environ)
    run = Replay(config, sender, sleep)
    try:
        run.run(_lines(options.file))
    finally:
        sender.close()
    _say(str(run))
    return EXIT_FAULT if run.counts["failed"] else EXIT_OK


def _config(endpoint: str | None, environ: Mapping[str, str]) -> ExportConfig:
    given = dict(environ)
    if endpoint is not None:
        for name in (
            names.ENV_OTLP_TRACES_ENDPOINT,
            names.ENV_OTLP_METRICS_ENDPOINT,
            names.ENV_OTLP_LOGS_ENDPOINT,
            names.ENV_EXTENSION_ENDPOINT,
        ):
            given.pop(name, None)
        given[names.ENV_OTLP_ENDPOINT] = endpoint
        given.pop(names.ENV_DESTINATION, None)
    config = _destination(given)
    if not config.destinations:
        problem = "" if "no_endpoint" in config.reasons.values() else f": {config.problems[0]}"
        raise CommandError(
            f"nowhere to send to{problem}; give --endpoint URL or set {names.ENV_OTLP_ENDPOINT}"
        )
    for problem in config.problems:
        _say(problem)
    return config


def _destination(environ: Mapping[str, str]) -> ExportConfig:
    if not environ.get(names.ENV_DESTINATION, "").strip():
        return read_export_config(environ, own_port=0)
    configs = read_destinations(environ, own_port=0)
    if len(configs) > 1:
        raise CommandError(
            f"{names.ENV_DESTINATION} names {len(configs)} destinations: set it to the one that "
            "the lines are for"
        )
    return configs[0]


def _load_sender(config: ExportConfig, environ: Mapping[str, str]) -> SendsBatches:
    try:
        return loader(config.destinations.values(), environ)()
    except ImportError as error:
        package = "grpcio" if "'grpc'" in str(error) else "requests"
        raise CommandError(f"cannot load the sender: {error}; install `{package}`") from None


def _lines(file: str) -> Iterator[str]:
    if file == "-":
        for line in sys.stdin.buffer:
            yield line.decode("utf-8", "replace")
        return
    path = Path(file)
    try:
        with path.open("rb") as probe:
            is_packed = probe.read(2) == _GZIP_MAGIC
        with gzip.open(path) if is_packed else path.open("rb") as lines:
            for line in lines:
                yield line.decode("utf-8", "replace")
    except (OSError, EOFError) as error:
        raise CommandError(
            f"cannot read {file}: {getattr(error, 'strerror', '') or error}"
        ) from None


def _batch(line: Line) -> Batch:
    message = Message(
        signal=line.signal,
        kind=KINDS[line.form],
        body=line.body,
        items=line.items,
        received=time.monotonic(),
    )
    batch = Batch([message])
    batch.id = line.id
    return batch


def _say(text: str) -> None:
    print(f"lambdascope: {text}", file=sys.stderr, flush=True)
