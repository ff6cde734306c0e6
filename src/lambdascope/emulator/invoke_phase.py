"""The invoke phase: one event handed to everyone, until the runtime and the extensions are back.

The caller has its answer as soon as the runtime has given it; the invocation is over when the
runtime and every extension that asked for INVOKE wait for the next event. The function's timeout
covers all of that. Source: AWS Lambda developer guide, "Understanding the Lambda execution
environment lifecycle" and "Lambda Telemetry API Event schema reference".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdascope.emulator import answers, platform_events, reports
from lambdascope.emulator.records import (
    CRASHED,
    FUNCTION_ERROR,
    OUT_OF_MEMORY,
    SUCCESS,
    Phase,
    Report,
)
from lambdascope.emulator.sandbox import DeadlinePassed, EnvironmentFailed, Turn
from lambdascope.emulator.times import MS
from lambdascope.wire import names
from lambdascope.wire.extensions_api import Invoke
from lambdascope.wire.runtime_api import Invocation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lambdascope.emulator.answers import Fault
    from lambdascope.emulator.generation import Generation
    from lambdascope.emulator.host import Host
    from lambdascope.emulator.init_phase import InitResult
    from lambdascope.emulator.sandbox import ExtensionSide

# How long a caller may take to read what a runtime sent before it died.
_LAST_BYTES_MS = 1000


class InvokePhase:
    """Runs one invocation on a generation that is ready, or says why there was none.

    `headers` (lower case) are those that the caller determines. `init` is the init that preceded
    it, if it is a cold start; `inside_ns` is set when that init ran inside of the invocation: when
    it began, which is then the beginning of the billed duration and of the timeout.
    """

    def __init__(
        self,
        host: Host,
        generation: Generation,
        turn: Turn,
        *,
        headers: Mapping[str, str],
        init: InitResult | None,
        inside_ns: int | None,
    ) -> None:
        self._host = host
        self._generation = generation
        self._turn = turn
        self._record = turn.record
        self._headers = headers
        self._init = init
        self._inside_ns = inside_ns
        # The extensions that the invocation is not over without.
        self._extensions: list[ExtensionSide] = []
        if init is not None:
            self._record.cold = True
            self._record.phases.extend(init.phases)

    def run(self) -> Fault | None:
        """One invocation. The fault that broke the environment, if one did."""
        fault: Fault | None = None
        deadline_ns = self._hand_out()
        try:
            self._wait_for_runtime(deadline_ns)
            self._answer_truncated()
            self._wait_for_extensions(deadline_ns)
        except EnvironmentFailed as failure:
            fault = failure.fault
        except DeadlinePassed:
            fault = answers.timed_out(self._host.config.timeout_ms)
        self._finish(fault)
        return fault

    def fail(self, fault: Fault) -> None:
        """There is no environment to hand the event to: init failed inside the invocation."""
        self._record.handed_out_ns = self._host.clock.now_ns()
        self._start()
        self._finish(fault)

    def _start(self) -> None:
        record = self._record
        fields = platform_events.start(record, self._host.config, self._turn.tenant_id)
        line = reports.start_line(record.request_id, self._host.config.version)
        self._host.tell(platform_events.START, fields, record.handed_out_ns, line=line)

    def _hand_out(self) -> int:
        """Give the event to the runtime and to the extensions at the same moment."""
        record, sandbox = self._record, self._generation.sandbox
        now = self._host.clock.now_ns()
        if self._inside_ns is None:
            record.deadline_ms = now // MS + self._host.config.timeout_ms
        record.handed_out_ns = now
        self._start()
        headers = {
            names.REQUEST_ID.lower(): record.request_id,
            names.DEADLINE_MS.lower(): str(record.deadline_ms),
            names.FUNCTION_ARN.lower(): record.invoked_function_arn,
            names.TRACE_ID.lower(): record.trace_header,
            names.INVOCATION_ID.lower(): self._turn.nonce,
            "content-type": names.CONTENT_TYPE_JSON,
            **self._headers,
        }
        event = Invoke(
            request_id=record.request_id,
            deadline_ms=record.deadline_ms,
            invoked_function_arn=record.invoked_function_arn,
            trace_id=record.trace_header,
        )
        with self._host.lock:
            sandbox.turn = self._turn
            self._turn.handed_out = True
            sandbox.runtime.message = Invocation(headers=headers, body=record.event)
            self._extensions = list(sandbox.registered(event=names.EVENT_INVOKE))
            for extension in self._extensions:
                extension.pending.append(event)
            self._host.lock.notify_all()
        return record.deadline_ms * MS

    def _wait_for_runtime(self, until_ns: int) -> None:
        turn = self._turn
        try:
            self._generation.sandbox.wait_for(lambda: turn.runtime_done_ns is not None, until_ns)
        except EnvironmentFailed as failure:
            self._runtime_done(failure.fault)
            raise
        except DeadlinePassed:
            self._runtime_done(answers.timed_out(self._host.config.timeout_ms))
            raise
        self._runtime_done(None)

    def _answer_truncated(self) -> None:
        """The runtime is back, but its response never came to its end."""
        with self._host.lock:
            body = answers.truncated_response()
            kind = answers.FAULT_TRUNCATED
            settled = self._turn.answer(body, status=FUNCTION_ERROR, error_type=kind)
        if settled:
            self._turn.publish()

    def _wait_for_extensions(self, until_ns: int) -> None:
        turn = self._turn
        self._generation.sandbox.wait_for(lambda: all(e.back for e in self._extensions), until_ns)
        done_ns = turn.runtime_done_ns or 0
        turn.extensions_done_ns = max([done_ns, *(e.back_ns or 0 for e in self._extensions)])

    def _runtime_done(self, fault: Fault | None) -> None:
        turn, record = self._turn, self._record
        response: tuple[int, int] | None = None
        if turn.runtime_done_ns is not None and record.response_ns and turn.response_end_ns:
            response = (record.response_ns, turn.response_end_ns)
        end_ns = turn.runtime_done_ns or self._host.clock.now_ns()
        fields = platform_events.runtime_done(
            record, fault, end_ns=end_ns, response=response, produced_bytes=turn.produced_bytes
        )
        self._host.tell(platform_events.RUNTIME_DONE, fields, end_ns)

    def _finish(self, fault: Fault | None) -> None:
        host, record = self._host, self._record
        end_ns = self._turn.extensions_done_ns or host.clock.now_ns()
        self._generation.memory.sample()
        if fault is not None:
            self._settle(fault)
        host.output.drain()
        if self._turn.handed_out:
            record.phases.extend(self._phases(end_ns, fault))
        record.report = self._report(end_ns, fault)
        for line in [] if fault is None else reports.fault_lines(fault, record.request_id, end_ns):
            host.say(line)
        host.say(reports.end_line(record.request_id))
        done_ns = self._turn.runtime_done_ns
        overhead = (done_ns, end_ns) if done_ns is not None and self._extensions else None
        fields = platform_events.report(record, record.report, extension_overhead=overhead)
        line = reports.report_line(record.report)
        host.tell(platform_events.REPORT, fields, end_ns, line=line, hold=True)

    def _settle(self, fault: Fault) -> None:
        """The caller's answer, unless it has one; what happened stands in the record either way."""
        turn, record = self._turn, self._record
        if turn.stream is not None and fault.status in (CRASHED, OUT_OF_MEMORY):
            # What a dead runtime had sent is still on its way: its connection has an end.
            until_ns = self._host.clock.now_ns() + _LAST_BYTES_MS * MS
            self._generation.sandbox.watch(lambda: turn.response_end_ns is not None, until_ns)
        with self._host.lock:
            body, kind = fault.answer(record.request_id), fault.error_type
            if turn.stream is not None and fault.status in (CRASHED, OUT_OF_MEMORY):
                # All that the caller of a stream is told is that it broke off.
                body, kind = answers.truncated_response(), answers.FAULT_TRUNCATED
            first = turn.answer(body, status=fault.status, error_type=kind)
            record.status, record.error_type = fault.status, fault.error_type
        if first:
            turn.publish()
            if turn.cut is not None:
                # A runtime that has time left before it is killed learns that nobody listens.
                turn.cut()

    def _report(self, end_ns: int, fault: Fault | None) -> Report:
        record, config = self._record, self._host.config
        begin_ns = record.handed_out_ns if self._inside_ns is None else self._inside_ns
        duration_ms = (end_ns - begin_ns) / MS
        began = self._turn.handed_out or self._inside_ns is not None
        if began and fault is not None and fault.status == "timeout":
            # What passed after the deadline until the emulator noticed is not the function's.
            duration_ms = float(config.timeout_ms)
        init_ms = None
        if self._init is not None and self._inside_ns is None and not config.snap_start:
            init_ms = self._init.duration_ms
        restore = None if self._init is None else self._init.restore
        billed_init_ms = init_ms if config.init_type == names.INIT_ON_DEMAND else None
        if restore is not None:
            billed_init_ms = float(restore.billed_ms)
        return Report(
            request_id=record.request_id,
            status=record.status,
            duration_ms=duration_ms,
            billed_duration_ms=reports.billed_ms(duration_ms, billed_init_ms),
            memory_size_mb=config.memory_mb,
            max_memory_used_mb=self._generation.memory.peak_mb,
            init_duration_ms=init_ms,
            restore_duration_ms=None if restore is None else restore.duration_ms,
            billed_restore_duration_ms=None if restore is None else restore.billed_ms,
            error_type="" if fault is None else fault.error_type,
        )

    def _phases(self, end_ns: int, fault: Fault | None) -> list[Phase]:
        turn, record = self._turn, self._record
        marks = [
            ("invoke", record.handed_out_ns, turn.response_end_ns),
            ("runtime overhead", turn.response_end_ns, turn.runtime_done_ns),
            ("extension overhead", turn.runtime_done_ns, turn.extensions_done_ns),
        ]
        phases = []
        for name, start_ns, until_ns in marks:
            if start_ns is None or (name == "extension overhead" and not self._extensions):
                continue
            broken = until_ns is None
            phases.append(
                Phase(
                    name=name,
                    start_ns=start_ns,
                    end_ns=end_ns if until_ns is None else until_ns,
                    status=fault.status if broken and fault is not None else SUCCESS,
                    error_type=fault.error_type if broken and fault is not None else "",
                )
            )
        return phases
