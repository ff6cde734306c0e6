"""SnapStart: from the loaded handler over the snapshot to the restored environment.

`bootstrap` loads this module when AWS_LAMBDA_INITIALIZATION_TYPE is snap-start, and nobody else
does. Order (AWS Lambda developer guide, "Implement code before or after Lambda function
snapshots"): the function's before-snapshot hooks, the last registered first; restore/next, which is
answered in the restored environment; the after-restore hooks, the first registered first. The hooks
are those of the package `snapshot_restore_py`, and there are none unless the function imported it.

A snapshot is restored many times, so that what it holds is shared by all those environments: no
socket of ours is open across it but the one that waits, the clock is anchored anew, and Python's
own generator of random numbers gets a seed of its own. Generators that the function made itself
(`random.Random()`, NumPy's) cannot be found: they are for its after-restore hooks.
"""

from __future__ import annotations

import os
import sys
from time import monotonic_ns

from lambdascope.otlp.names import (
    SPAN_AFTER_RESTORE_HOOK_PREFIX,
    SPAN_BEFORE_SNAPSHOT_HOOK_PREFIX,
)

# Loaded here, because time before the snapshot is cheap: after it, somebody waits.
from lambdascope.runtime import flight, phases  # noqa: F401 - see above
from lambdascope.runtime.api import RuntimeApiError
from lambdascope.runtime.faults import ErrorReport, Fault
from lambdascope.runtime.init_spans import process_start_ns
from lambdascope.transport.connection import split_address
from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.clock import Clock
    from lambdascope.runtime.api import RuntimeApi
    from lambdascope.runtime.init_phase import InitPhase
    from lambdascope.runtime.termination import Termination

    # As the package registers it: the function, its arguments, its keyword arguments.
    Hook = tuple[Callable[..., object], tuple[object, ...], dict[str, object]]

_PACKAGE = "snapshot_restore_py"
_MAX_NAME = 120


class Failure:
    """How a failed hook is reported: AWS's error type, whether to restore/error, exit status."""

    __slots__ = ("error_type", "exit_status", "restore")

    def __init__(self, error_type: str, *, restore: bool, exit_status: int) -> None:
        self.error_type = error_type
        self.restore = restore
        self.exit_status = exit_status


# The statuses are those with which AWS's Python client ends.
BEFORE = Failure(names.FAULT_BEFORE_SNAPSHOT, restore=False, exit_status=64)
AFTER = Failure(names.FAULT_AFTER_RESTORE, restore=True, exit_status=65)


class RestorePhase:
    """Notes of one restore, in monotonic ns: from restore/next's answer to the first next.

    `parts` are (name, start, end) of the hooks and of what else took time.
    """

    __slots__ = ("ended_ns", "parts", "restored_ns")

    def __init__(self, restored_ns: int) -> None:
        self.restored_ns = restored_ns
        self.parts: list[tuple[str, int, int]] = []
        self.ended_ns = 0


class Snapshot:
    """The way through one snapshot. `failure` is how to report what `take` or `resume` raises.

    `hook` names the hook that runs.
    """

    def __init__(
        self, init: InitPhase, termination: Termination, say: Callable[[str], None]
    ) -> None:
        self._init = init
        self._termination = termination
        self._say = say
        self.failure = BEFORE
        self.hook = ""

    def take(self, api: RuntimeApi, clock: Clock) -> None:
        """Run the before-snapshot hooks and wait until the environment is restored, for ever.

        `clock` is the one of init, whose times keep it. Raises what a hook raises, or Fault when
        restore/next failed.
        """
        hooks = _registered("get_before_snapshot")
        while hooks:
            # One that a hook registers is the next one then, as with AWS's client.
            self._run(hooks.pop(), SPAN_BEFORE_SNAPSHOT_HOOK_PREFIX)
        init = self._init
        # What the system says of our start is no longer to be had from a restored one.
        init.started_ns = process_start_ns(init.entered_ns, init.cpu_ns)
        init.clock = clock
        init.end(monotonic_ns())
        self._termination.allow()
        try:
            api.restore_next()
        except RuntimeApiError as error:
            raise Fault(names.FAULT_BEFORE_SNAPSHOT, str(error)) from None
        finally:
            self._termination.interruptible = False
        init.restore = RestorePhase(monotonic_ns())

    def resume(self, api: RuntimeApi) -> None:
        """Make a restored environment good for use, then run the after-restore hooks.

        Raises what a hook raises. Where the Runtime API is, is read again afterwards as well,
        because a hook may have changed it.
        """
        self.failure = AFTER
        self._reopen(api)
        reseed()
        for hook in _registered("get_after_restore"):
            self._run(hook, SPAN_AFTER_RESTORE_HOOK_PREFIX)
        self._reopen(api)

    def _run(self, hook: Hook, prefix: str) -> None:
        function, args, kwargs = hook
        name = f"{prefix}{name_of(function)}"
        started_ns = monotonic_ns()
        self.hook = name
        try:
            self._termination.allow()
            result = function(*args, **kwargs)
            self.hook = ""
        finally:
            self._termination.interruptible = False
            self._init.part(name, started_ns, monotonic_ns())
        if type(result).__name__ == "coroutine":
            result.close()  # type: ignore[attr-defined]  # a coroutine has it
            self._say(
                f"{name}: an async function cannot be a hook of SnapStart, it was not run; "
                "register a function that is not async"
            )

    def cut_off(self) -> ErrorReport | None:
        """SIGTERM has come, so the platform does not wait any longer: what to say of the hook."""
        if not self.hook:
            return None
        return ErrorReport(Fault(self.failure.error_type, f"SIGTERM in {self.hook}"), "")

    def _reopen(self, api: RuntimeApi) -> None:
        address = os.environ.get(names.ENV_RUNTIME_API, "")
        try:
            host, port = split_address(address)
        except ValueError as error:
            self._say(f"{names.ENV_RUNTIME_API} after the restore: {error}; the old one is kept")
            api.reopen()
            return
        api.reopen(host, port)


def reseed() -> None:
    """Give `random` a new seed from the system, if somebody loaded it.

    Also when the function had seeded it: all environments would draw the same numbers.
    """
    module = sys.modules.get("random")
    if module is not None:
        module.seed()


def name_of(function: object) -> str:
    """The module and name of a hook, for a person."""
    # A partial has none of its own.
    named = getattr(function, "func", function)
    name = getattr(named, "__qualname__", type(function).__qualname__)
    module = getattr(named, "__module__", None)
    return (f"{module}.{name}" if module else str(name))[:_MAX_NAME]


def _registered(getter: str) -> list[Hook]:
    """The list of hooks that the package keeps; empty when the function never imported it."""
    package = sys.modules.get(_PACKAGE)
    return [] if package is None else getattr(package, getter)()
