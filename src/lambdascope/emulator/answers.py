"""Why something failed, and the words in which Lambda tells it to the caller.

Pure values and functions. The texts are those of AWS's servers (the source of the Runtime Interface
Emulator, and answers of the service), because people search for them.
"""

from __future__ import annotations

import json
import re
import signal
from dataclasses import dataclass

from lambdascope.emulator import records
from lambdascope.wire import names

# Go's names of the signals (syscall package), which Lambda prints.
_SIGNAL_TEXTS = {
    signal.SIGHUP: "hangup",
    signal.SIGINT: "interrupt",
    signal.SIGQUIT: "quit",
    signal.SIGILL: "illegal instruction",
    signal.SIGTRAP: "trace/breakpoint trap",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGKILL: "killed",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGPIPE: "broken pipe",
    signal.SIGALRM: "alarm clock",
    signal.SIGTERM: "terminated",
}
# What the platform accepts as an error type that a runtime reports.
_ERROR_TYPE = re.compile(r"(Runtime|Function)\.[A-Z][a-zA-Z]+")


FAULT_TRUNCATED = "Runtime.TruncatedResponse"
FAULT_WORKING_DIR = "Runtime.InvalidWorkingDir"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """The first thing that went wrong in an environment.

    `body` is what the runtime itself posted, if it did: then the caller gets it unchanged.
    `status` is the status of the invocation that it ends, one of `records`.
    """

    error_type: str
    message: str
    body: bytes | None = None
    status: str = records.CRASHED

    def answer(self, request_id: str) -> bytes:
        """What the caller of the invocation gets."""
        if self.body is not None:
            return self.body
        return error_body(self.error_type, f"RequestId: {request_id} Error: {self.message}")


def error_body(error_type: str, message: str) -> bytes:
    """An error answer of the platform."""
    fields = {"errorType": error_type, "errorMessage": message}
    return json.dumps(fields, separators=(",", ":")).encode()


def exit_text(returncode: int) -> str:
    """How a process ended, as Go says it. Negative codes are signals, as in `subprocess`."""
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        number = signal.Signals(-returncode)
    except ValueError:
        return f"signal: signal {-returncode}"
    return f"signal: {_SIGNAL_TEXTS.get(number, number.name)}"


def runtime_exit(returncode: int, *, out_of_memory: bool = False) -> Fault:
    """The runtime's process ended when it should not have."""
    if returncode == 0:
        message = "Runtime exited without providing a reason"
    else:
        message = f"Runtime exited with error: {exit_text(returncode)}"
    if out_of_memory:
        return Fault(
            error_type=names.FAULT_OUT_OF_MEMORY, message=message, status=records.OUT_OF_MEMORY
        )
    return Fault(error_type=names.FAULT_EXIT, message=message)


def runtime_launch(message: str, *, in_directory: bool = False) -> Fault:
    """The runtime could not be started, or not in the function's directory."""
    kind = FAULT_WORKING_DIR if in_directory else names.FAULT_INVALID_ENTRYPOINT
    return Fault(error_type=kind, message=message)


def extension_exit(returncode: int, *, out_of_memory: bool = False) -> Fault:
    """An extension's process ended outside of shutdown, which is fatal even with status 0."""
    message = exit_text(returncode) if returncode else "exit code 0"
    status = records.OUT_OF_MEMORY if out_of_memory else records.CRASHED
    return Fault(error_type=names.FAULT_EXTENSION_CRASH, message=message, status=status)


def extension_launch(message: str) -> Fault:
    """An extension could not be started."""
    return Fault(error_type=names.FAULT_EXTENSION_LAUNCH, message=message)


def too_many_extensions() -> Fault:
    """More extensions than Lambda starts."""
    return Fault(
        error_type=names.TOO_MANY_EXTENSIONS,
        message=f"Extension limit ({names.MAX_EXTENSIONS}) reached",
    )


def init_error(header: str, body: bytes) -> Fault:
    """The runtime posted that its init failed."""
    return Fault(
        error_type=reported_type(header, body),
        message="the runtime reported an init error",
        body=body,
        status=records.INIT_ERROR,
    )


def timed_out(timeout_ms: int) -> Fault:
    """The function's timeout passed."""
    return Fault(
        error_type=names.FAULT_SANDBOX_TIMEOUT,
        message=timeout_text(timeout_ms),
        status=records.TIMED_OUT,
    )


def restore_timed_out(timeout_ms: int) -> Fault:
    """The after-restore hooks took too long."""
    return Fault(
        error_type=names.FAULT_RESTORE_TIMEOUT,
        message=f"Restore timed out after {timeout_ms / 1000:.2f} seconds",
    )


def closed() -> Fault:
    """The environment is shut down under the invocation."""
    return Fault(
        error_type=names.FAULT_SANDBOX_FAILURE, message="The execution environment was shut down"
    )


def timeout_text(timeout_ms: int) -> str:
    """What Lambda says when the function's timeout has passed."""
    return f"Task timed out after {timeout_ms / 1000:.2f} seconds"


def response_too_large(size_bytes: int, limit_bytes: int = names.MAX_PAYLOAD_BYTES) -> bytes:
    """The answer when the runtime's response is over the limit."""
    return error_body(
        names.FAULT_RESPONSE_SIZE,
        f"Response payload size ({size_bytes} bytes) exceeded maximum allowed payload size "
        f"({limit_bytes} bytes).",
    )


def truncated_response() -> bytes:
    """The answer when the runtime broke off in the middle of its response, and went on."""
    return error_body(FAULT_TRUNCATED, "The connection ended in the middle of the response")


def reported_type(header: str, body: bytes) -> str:
    """The error type of what a runtime posted: its header, or the body's errorType."""
    if header:
        return header
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        fields = None
    kind = fields.get("errorType") if isinstance(fields, dict) else None
    return kind if isinstance(kind, str) and kind else names.FAULT_RUNTIME_UNKNOWN


def telemetry_type(error_type: str) -> str:
    """The error type that the platform puts into its own records for what a runtime reported."""
    if _ERROR_TYPE.search(error_type) or error_type.startswith(("Sandbox.", "Extension.")):
        return error_type
    if error_type.startswith("Function."):
        return names.FAULT_FUNCTION_UNKNOWN
    return names.FAULT_RUNTIME_UNKNOWN
