"""Which message is allowed when: the transition tables of a runtime and of an extension.

Everything about order lives here, as data: (state, message) -> next state, and what is not in a
table is refused. The names of the states are those of AWS's emulator (core/runtime_state_names.go
and core/agent_state_names.go, also where they look odd), so that its logs and ours can be read side
by side. These tables know no sockets, clocks or processes; the emulator joins them into the life of
one execution environment.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# States of the runtime.
STARTED = "Started"
READY = "Ready"
RUNNING = "Running"
INVOCATION_RESPONSE = "InvocationResponse"
INVOCATION_ERROR_RESPONSE = "InvocationErrorResponse"
RESPONSE_SENT = "RuntimeResponseSentState"
INIT_ERROR = "InitError"
RESTORE_READY = "RestoreReady"
RESTORING = "Restoring"
RESTORE_ERROR = "RuntimeRestoreErrorState"
# States of an extension; Started, Ready, Running and InitError are shared names.
REGISTERED = "Registered"
EXIT_ERROR = "ExitError"
EXITED = "Exited"
SHUTDOWN_FAILED = "ShutdownFailed"
LAUNCH_ERROR = "LaunchError"

# Messages of the runtime. `deliver` and `sent` are the server's own steps: the event was handed
# out, the answer has been read to its end.
NEXT = "next"
DELIVER = "deliver"
RESPONSE = "response"
ERROR = "error"
SENT = "sent"
POST_INIT_ERROR = "init_error"
RESTORE_NEXT = "restore_next"
POST_RESTORE_ERROR = "restore_error"
# Messages of an extension; `next` and `deliver` are shared. The last three are what the emulator
# sees of its process: it ended by itself, had to be killed, or could not be started.
REGISTER = "register"
POST_EXIT_ERROR = "exit_error"
EXIT = "exit"
KILL = "kill"
LAUNCH_FAILED = "launch_failed"

RUNTIME_STATES = (
    STARTED,
    RESTORE_READY,
    RESTORING,
    READY,
    RUNNING,
    INVOCATION_RESPONSE,
    INVOCATION_ERROR_RESPONSE,
    RESPONSE_SENT,
    INIT_ERROR,
    RESTORE_ERROR,
)
RUNTIME_MESSAGES = (
    NEXT,
    DELIVER,
    RESPONSE,
    ERROR,
    SENT,
    POST_INIT_ERROR,
    RESTORE_NEXT,
    POST_RESTORE_ERROR,
)
RUNTIME: dict[tuple[str, str], str] = {
    (STARTED, NEXT): READY,
    (STARTED, POST_INIT_ERROR): INIT_ERROR,
    (STARTED, RESTORE_NEXT): RESTORE_READY,
    (RESTORE_READY, DELIVER): RESTORING,
    (RESTORING, NEXT): READY,
    # Older runtimes report a failed restore hook as an init error.
    (RESTORING, POST_INIT_ERROR): RESTORE_ERROR,
    (RESTORING, POST_RESTORE_ERROR): RESTORE_ERROR,
    (READY, NEXT): READY,
    (READY, DELIVER): RUNNING,
    # A runtime that lost the answer to next gets the same event again.
    (RUNNING, NEXT): RUNNING,
    (RUNNING, RESPONSE): INVOCATION_RESPONSE,
    (RUNNING, ERROR): INVOCATION_ERROR_RESPONSE,
    (INVOCATION_RESPONSE, SENT): RESPONSE_SENT,
    (INVOCATION_ERROR_RESPONSE, SENT): RESPONSE_SENT,
    (RESPONSE_SENT, NEXT): READY,
}

EXTENSION_STATES = (
    STARTED,
    REGISTERED,
    READY,
    RUNNING,
    INIT_ERROR,
    EXIT_ERROR,
    EXITED,
    SHUTDOWN_FAILED,
    LAUNCH_ERROR,
)
EXTENSION_MESSAGES = (
    REGISTER,
    NEXT,
    DELIVER,
    POST_INIT_ERROR,
    POST_EXIT_ERROR,
    EXIT,
    KILL,
    LAUNCH_FAILED,
)
EXTENSION: dict[tuple[str, str], str] = {
    (STARTED, REGISTER): REGISTERED,
    (STARTED, LAUNCH_FAILED): LAUNCH_ERROR,
    (REGISTERED, NEXT): READY,
    (REGISTERED, POST_INIT_ERROR): INIT_ERROR,
    (REGISTERED, POST_EXIT_ERROR): EXIT_ERROR,
    # No (READY, NEXT): a second next while the first one blocks is refused.
    (READY, DELIVER): RUNNING,
    (READY, POST_EXIT_ERROR): EXIT_ERROR,
    (RUNNING, NEXT): READY,
    (RUNNING, POST_EXIT_ERROR): EXIT_ERROR,
    # An error may be posted again; the first one counts.
    (INIT_ERROR, POST_INIT_ERROR): INIT_ERROR,
    (EXIT_ERROR, POST_EXIT_ERROR): EXIT_ERROR,
    (STARTED, EXIT): EXITED,
    (REGISTERED, EXIT): EXITED,
    (READY, EXIT): EXITED,
    (RUNNING, EXIT): EXITED,
    (INIT_ERROR, EXIT): INIT_ERROR,
    (EXIT_ERROR, EXIT): EXIT_ERROR,
    (STARTED, KILL): SHUTDOWN_FAILED,
    (REGISTERED, KILL): SHUTDOWN_FAILED,
    (READY, KILL): SHUTDOWN_FAILED,
    (RUNNING, KILL): SHUTDOWN_FAILED,
    (INIT_ERROR, KILL): INIT_ERROR,
    (EXIT_ERROR, KILL): EXIT_ERROR,
}

# The state that AWS's error texts name as the one asked for.
_TARGETS = {
    NEXT: READY,
    DELIVER: RUNNING,
    RESPONSE: INVOCATION_RESPONSE,
    ERROR: INVOCATION_ERROR_RESPONSE,
    SENT: RESPONSE_SENT,
    POST_INIT_ERROR: INIT_ERROR,
    RESTORE_NEXT: READY,
    POST_RESTORE_ERROR: RESTORE_ERROR,
    REGISTER: REGISTERED,
    POST_EXIT_ERROR: EXIT_ERROR,
    EXIT: EXITED,
    KILL: SHUTDOWN_FAILED,
    LAUNCH_FAILED: LAUNCH_ERROR,
}


class TransitionError(Exception):
    """The message is not allowed in this state. The text is that of AWS's server."""


def step(
    table: Mapping[tuple[str, str], str], state: str, message: str, *, who: str = "runtime"
) -> str:
    """The state after `message`. Raises TransitionError when the table does not allow it.

    `who` stands in the error's text: "runtime", or "extension <name or identifier>".
    """
    after = table.get((state, message))
    if after is None:
        raise TransitionError(
            f"State transition from {state} to {_TARGETS.get(message, message)} failed for {who}. "
            "Error: State transition is not allowed"
        )
    return after
