"""What the emulator remembers of an execution environment: plain values, no behaviour.

The environment writes them, the invoke endpoint, the command line and the tests read them. All
`_ns` times are Unix time in nanoseconds, derived from one monotonic clock that was anchored once,
so they can be laid over span times; durations come out of differences of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

# How an invocation ended.
SUCCESS = "success"  # the runtime posted a response
FUNCTION_ERROR = "error"  # the runtime posted an error, the handler raised
TIMED_OUT = "timeout"  # the deadline passed, the environment was reset
CRASHED = "crash"  # the runtime or an extension died
OUT_OF_MEMORY = "out_of_memory"  # killed at the memory limit
INIT_ERROR = "init_error"  # init failed, also in its second attempt inside the invocation


@dataclass(slots=True, kw_only=True)
class Phase:
    """One stretch of the environment's life, as the platform saw it.

    Names: "init" (first spawn until all asked for next), "extension init" and "runtime init" within
    it (with `who`), "invoke" (event handed out until the answer was complete), "runtime overhead"
    (answer until the runtime asked for next), "extension overhead" (until the last extension did),
    "shutdown". With SnapStart "snapshot" (everything is stopped) and "restore" follow the init.
    """

    name: str
    start_ns: int
    end_ns: int
    who: str = ""
    status: str = SUCCESS
    error_type: str = ""

    @property
    def duration_ms(self) -> float:
        """Length in milliseconds."""
        return (self.end_ns - self.start_ns) / 1e6


@dataclass(slots=True, kw_only=True)
class LogLine:
    """One line, as CloudWatch would show it. `source` is platform, function or extension."""

    time_ns: int
    source: str
    text: str
    request_id: str | None = None
    who: str = ""


@dataclass(slots=True, kw_only=True)
class Report:
    """The figures of the REPORT line. `init_duration_ms` is set on a cold start only, the two about
    a restore on the first invocation of a function with SnapStart.
    """

    request_id: str
    status: str
    duration_ms: float
    billed_duration_ms: int
    memory_size_mb: int
    max_memory_used_mb: int
    init_duration_ms: float | None = None
    restore_duration_ms: float | None = None
    billed_restore_duration_ms: int | None = None
    error_type: str = ""


@dataclass(slots=True, kw_only=True)
class InvocationRecord:
    """One invocation: what came in, what went out, and everything in between.

    `answer` is what the caller gets; `function_error` is the value of X-Amz-Function-Error (or
    None). `cold` says that an init preceded it; then `phases` starts with that init. `deadline_ms`
    is Unix time. `response_ns` is when the first byte of the answer arrived, None when none did.
    Of an answer that was `streamed` to its caller `answer` is the beginning (at most 64 KiB), or
    the error that it ended with. `not_restored` says that it never began, because of its snapshot.
    """

    request_id: str
    number: int
    cold: bool
    event: bytes
    deadline_ms: int
    trace_header: str
    invoked_function_arn: str
    handed_out_ns: int = 0
    response_ns: int | None = None
    status: str = SUCCESS
    error_type: str = ""
    answer: bytes = b""
    content_type: str = "application/json"
    function_error: str | None = None
    streamed: bool = False
    not_restored: bool = False
    phases: list[Phase] = field(default_factory=list)
    logs: list[LogLine] = field(default_factory=list)
    report: Report | None = None
