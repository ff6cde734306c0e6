"""`lambdascope invoke`: a fresh execution environment, invocations, and the whole story of them.

The answer goes to standard output as it is; log lines go to standard error while they are written,
the trees follow when the environment is gone, because an extension may hold telemetry until then.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lambdascope.cli.cost import cost_text
from lambdascope.cli.document import document
from lambdascope.cli.errors import EXIT_OK, exit_code_of
from lambdascope.cli.function import Function, function_from
from lambdascope.cli.live_log import LiveLog
from lambdascope.cli.render import facts_lines, tree_lines
from lambdascope.cli.sample_events import read_event, sample_lines
from lambdascope.cli.session import Session
from lambdascope.cli.span_tree import spans_by_invocation
from lambdascope.cli.summary import header_facts, hint, median_line, outcome, short_line, title
from lambdascope.cli.terminal import terminal_for
from lambdascope.cli.timeline import rows_of
from lambdascope.emulator.records import SUCCESS
from lambdascope.emulator.reports import report_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lambdascope.cli.arguments import Options
    from lambdascope.cli.rows import Row
    from lambdascope.emulator.environment import ExecutionEnvironment
    from lambdascope.emulator.records import InvocationRecord
    from lambdascope.otlp.model import Span

# The cold start and the first warm invocation are shown whole, what follows in a line each.
WHOLE = 2


def invoke(options: Options, environ: Mapping[str, str]) -> int:
    """Run the command; its exit code. Raises CommandError."""
    if options.list_events:
        print("\n".join(sample_lines()))
        return EXIT_OK
    event = read_event(options.event, sys.stdin.buffer)
    function = function_from(options, environ)
    view = _View(function, options, environ)
    view.begin()
    found, spans = _run(function, event, options, environ, view)
    exit_code = max(exit_code_of(record) for record in found)
    if options.json:
        view.document(found, spans, exit_code)
    else:
        view.answers(found)
        view.end(found, spans)
    return exit_code


def _run(
    function: Function,
    event: bytes,
    options: Options,
    environ: Mapping[str, str],
    view: _View,
) -> tuple[list[InvocationRecord], list[list[Span]]]:
    found: list[InvocationRecord] = []
    with Session(function, environ, on_log=view.log.write) as session:
        if options.concurrency:
            found.extend(_at_a_time(session.environment, event, options.count, options.concurrency))
        for position in range(len(found), options.count):
            if position == WHOLE:
                view.log.hold()
            found.append(session.environment.invoke(event))
        view.log.resume()  # what the extensions say at the shutdown is about all invocations
    for problem in session.problems():
        view.say(f"telemetry: {problem}")
    return found, spans_by_invocation(found, session.spans())


def _at_a_time(
    environment: ExecutionEnvironment, event: bytes, count: int, concurrency: int
) -> list[InvocationRecord]:
    """Up to `concurrency` callers, each with one invocation after the other."""
    pool = ThreadPoolExecutor(min(count, concurrency), thread_name_prefix="caller")
    try:
        waiting = [pool.submit(environment.invoke, event) for _ in range(count)]
        found = [invocation.result() for invocation in waiting]
        return sorted(found, key=lambda record: record.handed_out_ns)
    finally:
        # After Ctrl-C those that are under way end with the environment.
        pool.shutdown(wait=False, cancel_futures=True)


class _View:
    """What the person at the terminal sees."""

    def __init__(self, function: Function, options: Options, environ: Mapping[str, str]) -> None:
        self._function = function
        self._quiet = options.quiet or options.json
        self._terminal = terminal_for(sys.stderr, environ)
        self.log = LiveLog(sys.stderr, self._terminal, shown=not self._quiet)

    def begin(self) -> None:
        """The header, before anything starts."""
        if self._quiet:
            return
        for note in self._function.notes:
            self.say(note)
        for line in facts_lines(header_facts(self._function), self._terminal):
            self._line(self._terminal.paint("bold", line))

    def answers(self, found: Sequence[InvocationRecord]) -> None:
        """The answers on standard output, one line each where they have no end of line."""
        sys.stderr.flush()
        for record in found:
            end = b"" if record.answer.endswith(b"\n") else b"\n"
            sys.stdout.buffer.write(record.answer + end)
        sys.stdout.buffer.flush()

    def end(self, found: Sequence[InvocationRecord], spans: Sequence[Sequence[Span]]) -> None:
        """The trees, the lines for the other invocations, and what is to be said about faults."""
        for position, (record, own) in enumerate(zip(found, spans, strict=True), 1):
            if position <= WHOLE:
                self._whole(record, own, position, len(found))
            else:
                self._short(record, own, position)
        if len(found) > WHOLE and not self._quiet:
            median = median_line(found)
            if median is not None:
                self._line("      " + median)
            if held := self.log.held:
                what = "1 log line of these is" if held == 1 else f"{held} log lines of these are"
                self._line(f"      {what} not shown; --json has them")
        for text in self._hints(found):
            self.say(f"hint: {text}")

    def document(
        self,
        found: Sequence[InvocationRecord],
        spans: Sequence[Sequence[Span]],
        exit_code: int,
    ) -> None:
        """Everything as one JSON document."""
        hints = self._hints(found)
        everything = document(self._function, found, spans, exit_code=exit_code, hints=hints)
        json.dump(everything, sys.stdout, indent=2)
        sys.stdout.write("\n")
        sys.stdout.flush()

    def _whole(
        self, record: InvocationRecord, spans: Sequence[Span], position: int, count: int
    ) -> None:
        rows = self._rows(record, spans)
        if not self._quiet:
            self._line("")
            if count > 1:
                self._line(self._terminal.paint("bold", title(record, position, count)))
            for line in tree_lines(rows, self._terminal):
                self._line(line)
            if record.report is not None:
                self._line(report_line(record.report))
                if not self._function.config.managed:  # there the instance is billed
                    self._line(self._terminal.paint("dim", cost_text(record.report)))
        failed = outcome(record, rows, self._function)
        if failed is not None:
            self.say(self._terminal.paint("red", failed))

    def _short(self, record: InvocationRecord, spans: Sequence[Span], position: int) -> None:
        failed = record.status != SUCCESS
        if not self._quiet:
            if position == WHOLE + 1:
                self._line("")
            style = "red" if failed else ""
            self._line(self._terminal.paint(style, short_line(record, position)))
        elif failed:
            rows = self._rows(record, spans)
            self.say(outcome(record, rows, self._function) or record.status)

    def _rows(self, record: InvocationRecord, spans: Sequence[Span]) -> list[Row]:
        config = self._function.config
        return rows_of(record, spans, handler=config.handler, snap_start=config.snap_start)

    def _hints(self, found: Sequence[InvocationRecord]) -> list[str]:
        """Each hint once, however many invocations it explains."""
        every = (hint(record, self._function) for record in found)
        return list(dict.fromkeys(text for text in every if text is not None))

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr)

    def say(self, text: str) -> None:
        """One line that is not part of the picture; also when quiet."""
        print(f"lambdascope: {text}", file=sys.stderr, flush=True)
