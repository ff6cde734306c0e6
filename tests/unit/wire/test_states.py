"""Every state with every message, against tables written from what AWS's server does.

The rows are typed here from the documentation of the life cycle and from AWS's emulator
(core/states.go, core/externalagent_states.go), not taken from the code.
"""

from __future__ import annotations

import itertools

import pytest

from lambdascope.wire import states
from lambdascope.wire.states import TransitionError, step

# For each state what each message leads to; a message that is not listed is refused with 403.
RUNTIME = {
    "Started": {
        "next": "Ready",
        "init_error": "InitError",
        "restore_next": "RestoreReady",
    },
    "RestoreReady": {"deliver": "Restoring"},
    "Restoring": {
        "next": "Ready",
        "init_error": "RuntimeRestoreErrorState",  # the way of older runtimes
        "restore_error": "RuntimeRestoreErrorState",
    },
    "Ready": {"next": "Ready", "deliver": "Running"},
    "Running": {
        "next": "Running",  # the same event again
        "response": "InvocationResponse",
        "error": "InvocationErrorResponse",
    },
    "InvocationResponse": {"sent": "RuntimeResponseSentState"},
    "InvocationErrorResponse": {"sent": "RuntimeResponseSentState"},
    "RuntimeResponseSentState": {"next": "Ready"},
    "InitError": {},
    "RuntimeRestoreErrorState": {},
}
RUNTIME_MESSAGES = (
    "next",
    "deliver",
    "response",
    "error",
    "sent",
    "init_error",
    "restore_next",
    "restore_error",
)
EXTENSION = {
    "Started": {
        "register": "Registered",
        "launch_failed": "LaunchError",
        "exit": "Exited",
        "kill": "ShutdownFailed",
    },
    "Registered": {
        "next": "Ready",
        "init_error": "InitError",
        "exit_error": "ExitError",
        "exit": "Exited",
        "kill": "ShutdownFailed",
    },
    "Ready": {
        "deliver": "Running",
        "exit_error": "ExitError",
        "exit": "Exited",
        "kill": "ShutdownFailed",
    },
    "Running": {
        "next": "Ready",
        "exit_error": "ExitError",
        "exit": "Exited",
        "kill": "ShutdownFailed",
    },
    # Errors are final; the first one counts, and the end of the process changes nothing.
    "InitError": {"init_error": "InitError", "exit": "InitError", "kill": "InitError"},
    "ExitError": {"exit_error": "ExitError", "exit": "ExitError", "kill": "ExitError"},
    "Exited": {},
    "ShutdownFailed": {},
    "LaunchError": {},
}
EXTENSION_MESSAGES = (
    "register",
    "next",
    "deliver",
    "init_error",
    "exit_error",
    "exit",
    "kill",
    "launch_failed",
)


@pytest.mark.parametrize(("state", "message"), list(itertools.product(RUNTIME, RUNTIME_MESSAGES)))
def test_runtime(state: str, message: str) -> None:
    """The runtime's table allows what AWS's server allows, and nothing else."""
    _check(states.RUNTIME, state, message, RUNTIME[state].get(message))


@pytest.mark.parametrize(
    ("state", "message"), list(itertools.product(EXTENSION, EXTENSION_MESSAGES))
)
def test_extension(state: str, message: str) -> None:
    """The extension's table allows what AWS's server allows, and nothing else."""
    _check(states.EXTENSION, state, message, EXTENSION[state].get(message))


def _check(
    table: dict[tuple[str, str], str], state: str, message: str, expected: str | None
) -> None:
    if expected is not None:
        assert expected == step(table, state, message)
        return
    with pytest.raises(TransitionError, match=f"from {state} to "):
        step(table, state, message)


def test_states_and_messages_are_those_of_the_tables() -> None:
    """Nothing is in a table that its lists of states and messages do not name, nor missing."""
    assert set(RUNTIME) == set(states.RUNTIME_STATES)
    assert set(RUNTIME_MESSAGES) == set(states.RUNTIME_MESSAGES)
    assert set(EXTENSION) == set(states.EXTENSION_STATES)
    assert set(EXTENSION_MESSAGES) == set(states.EXTENSION_MESSAGES)
    for table, names, messages in (
        (states.RUNTIME, RUNTIME, RUNTIME_MESSAGES),
        (states.EXTENSION, EXTENSION, EXTENSION_MESSAGES),
    ):
        assert {state for state, _ in table} | set(table.values()) <= set(names)
        assert {message for _, message in table} == set(messages)


@pytest.mark.parametrize(
    ("table", "state", "message", "who", "text"),
    [
        (
            states.RUNTIME,
            "InitError",
            "next",
            "runtime",
            (
                "State transition from InitError to Ready failed for runtime. "
                "Error: State transition is not allowed"
            ),
        ),
        (
            states.EXTENSION,
            "Registered",
            "register",
            "extension a.py",
            (
                "State transition from Registered to Registered failed for extension a.py. "
                "Error: State transition is not allowed"
            ),
        ),
    ],
)
def test_the_text_of_a_refusal(
    table: dict[tuple[str, str], str], state: str, message: str, who: str, text: str
) -> None:
    """A refused message is told in the words of AWS's server."""
    with pytest.raises(TransitionError) as refused:
        step(table, state, message, who=who)
    assert text == str(refused.value)


def test_a_life_of_a_runtime() -> None:
    """Two invocations, one answered and one failed."""
    state = "Started"
    for message in ("next", "deliver", "response", "sent", "next", "deliver", "error", "sent"):
        state = step(states.RUNTIME, state, message)
    assert state == "RuntimeResponseSentState"
