"""The exit codes of the command, and the one exception that ends it with a line for a person.

Everything in this package that finds the command line or the machine wanting raises CommandError;
`main` alone catches it. An invocation that fails is no error of the command: see `exit_code_of`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambdascope.emulator import records
from lambdascope.wire import names

if TYPE_CHECKING:
    from lambdascope.emulator.records import InvocationRecord

EXIT_OK = 0
EXIT_FUNCTION_ERROR = 1  # the function raised, or could not be loaded
EXIT_KILLED = 2  # the platform ended it: timeout, crash, memory limit, a failed extension
EXIT_FAULT = 3  # the command line, this machine or lambdascope
EXIT_INTERRUPTED = 130  # Ctrl-C, as shells count it
EXIT_TERMINATED = 143  # SIGTERM

# What a runtime reports when it cannot load the function; any other init error is the platform's.
_LOAD_FAULTS = {
    names.FAULT_SYNTAX,
    names.FAULT_HANDLER_NOT_FOUND,
    names.FAULT_IMPORT_MODULE,
    names.FAULT_BUILTIN_CONFLICT,
    names.FAULT_MALFORMED_HANDLER,
}
_PLATFORM_PREFIXES = ("Sandbox.", "Extension.")
_PLATFORM_FAULTS = {
    names.FAULT_EXIT,
    names.FAULT_OUT_OF_MEMORY,
    names.FAULT_INVALID_ENTRYPOINT,
    names.FAULT_RUNTIME_UNKNOWN,
}


class CommandError(Exception):
    """Ends the command with one line on standard error and exit code 3."""


def is_load_fault(record: InvocationRecord) -> bool:
    """Whether the function could not be loaded, for a reason that its handler name may explain."""
    return record.error_type in _LOAD_FAULTS


def exit_code_of(record: InvocationRecord) -> int:
    """0, 1 or 2 for one invocation.

    An init error is a function error (1) when the runtime reported it, also for an exception of the
    user's own type at import, and a kill (2) when the platform found the process or an extension
    gone or too slow.
    """
    if record.status == records.SUCCESS:
        return EXIT_OK
    if record.status == records.FUNCTION_ERROR:
        return EXIT_FUNCTION_ERROR
    if record.status == records.INIT_ERROR and not _is_platform_fault(record.error_type):
        return EXIT_FUNCTION_ERROR
    return EXIT_KILLED


def _is_platform_fault(error_type: str) -> bool:
    return error_type in _PLATFORM_FAULTS or error_type.startswith(_PLATFORM_PREFIXES)
