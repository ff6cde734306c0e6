"""One generation of an environment's processes: start them, freeze them, end them all.

The phases of `init_phase` and `invoke_phase` call it in order from the environment's thread. It
joins the processes to the state in `Sandbox`: an exit that nobody asked for is a fault there.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lambdascope.emulator import answers
from lambdascope.emulator.logbook import EXTENSION, FUNCTION
from lambdascope.emulator.memory import MemoryMeter
from lambdascope.emulator.processes import LaunchFailed, Process, ProcessTable
from lambdascope.emulator.records import Phase
from lambdascope.emulator.sandbox import EnvironmentFailed, Sandbox
from lambdascope.emulator.times import MS
from lambdascope.emulator.variables import extension_variables
from lambdascope.wire import names, states
from lambdascope.wire.extensions_api import Shutdown

if TYPE_CHECKING:
    from lambdascope.emulator.answers import Fault
    from lambdascope.emulator.host import Host
    from lambdascope.emulator.sandbox import ExtensionSide

OWN_EXTENSION = "lambdascope"
_MEGABYTE = 1024 * 1024


class Generation:
    """The processes and the state between a spawn and the death of all of them."""

    def __init__(self, host: Host, *, sandbox: Sandbox | None = None) -> None:
        self._host = host
        self.sandbox = sandbox or Sandbox(lock=host.lock, clock=host.clock)
        self.runtime: Process | None = None
        self._extensions: dict[str, Process] = {}
        self._table = ProcessTable(clock=host.clock, guardian=host.guardian, marker=host.marker)
        config = host.config
        limit = config.memory_mb * _MEGABYTE if config.memory_limit else None
        self.memory = MemoryMeter(self._table.pids, limit_bytes=limit)
        self.frozen = False
        with host.lock:
            host.sandbox = self.sandbox

    def pids(self) -> dict[str, int]:
        """The running leaders by name."""
        named = {"runtime": self.runtime} | self._extensions
        return {n: p.pid for n, p in named.items() if p is not None and p.running}

    def start_extension(self, extension: ExtensionSide, argv: tuple[str, ...]) -> None:
        """Start an external extension. Raises EnvironmentFailed with a LaunchError."""
        extension.started_ns = self._host.clock.now_ns()
        try:
            process = self._table.start(
                extension.name,
                argv,
                variables=extension_variables(self._host.runtime_variables),
                directory="/",
                on_exit=lambda process: self._extension_exited(extension, process),
            )
        except LaunchFailed as error:
            raise EnvironmentFailed(answers.extension_launch(str(error))) from None
        self._extensions[extension.name] = process
        self._read(process, EXTENSION, extension.name)

    def start_runtime(self) -> None:
        """Start the runtime. Raises EnvironmentFailed."""
        config = self._host.config
        self.sandbox.runtime.started_ns = self._host.clock.now_ns()
        try:
            self.runtime = self._table.start(
                "runtime",
                config.runtime_argv,
                variables=self._host.runtime_variables,
                directory=config.task_root,
                on_exit=self._runtime_exited,
            )
        except LaunchFailed as error:
            fault = answers.runtime_launch(str(error), in_directory=error.in_directory)
            raise EnvironmentFailed(fault) from None
        self._read(self.runtime, FUNCTION, "")

    def freeze(self) -> None:
        """Stop all processes until `thaw`."""
        self._host.output.drain()
        self._host.bus.pause()
        self.memory.pause()
        self._table.freeze()
        with self._host.lock:
            self.frozen = True
            self._host.lock.notify_all()

    def thaw(self) -> None:
        """Let all processes run again."""
        if not self.frozen:
            return
        with self._host.lock:
            self.frozen = False
        self._table.thaw()
        self.memory.resume()
        self._host.bus.resume()

    def let_runtime_exit(self, wait_ms: int) -> None:
        """Give a runtime that has reported a failure the time to end by itself."""
        runtime = self.runtime
        if runtime is not None:
            until_ns = self._host.clock.now_ns() + wait_ms * MS
            self.sandbox.watch(lambda: not runtime.running, until_ns)

    def stop(self, reason: str) -> Phase:
        """SHUTDOWN with its budgets, then the death of every process. The phase as it was."""
        host = self._host
        phase = Phase(name="shutdown", start_ns=host.clock.now_ns(), end_ns=0, status=reason)
        with host.lock:
            self.sandbox.stopping = True
            registered = list(self.sandbox.registered())
        managed = host.config.managed
        if registered or managed:
            was_frozen = self.frozen
            self.thaw()
            if was_frozen and self.runtime is not None:
                self.runtime.settle()
            host.bus.release_held()
            external = [e for e in registered if e.external and self._runs(e)]
            budget_ms = share_ms = names.SHUTDOWN_BUDGET_INTERNAL_MS
            if any(e.external for e in registered):
                budget_ms = names.SHUTDOWN_BUDGET_MS
                share_ms = names.SHUTDOWN_RUNTIME_SHARE_MS
            if managed:
                budget_ms = names.SHUTDOWN_BUDGET_MS
                share_ms = names.MANAGED_SHUTDOWN_RUNTIME_SHARE_MS
            self._end_runtime(phase.start_ns + share_ms * MS)
            if managed:
                host.bus.flush(names.MANAGED_SHUTDOWN_FLUSH_MS / 1000)
            self._end_extensions(external, reason, phase.start_ns + budget_ms * MS)
        self.kill()
        phase.end_ns = host.clock.now_ns()
        return phase

    def kill(self) -> None:
        """End everything at once. Idempotent."""
        self.sandbox.close()
        self.memory.close()
        self._table.kill(self._host.output.forget)

    def _end_runtime(self, until_ns: int) -> None:
        runtime = self.runtime
        if runtime is None:
            return
        if runtime.running:
            runtime.signal_group(signal.SIGTERM)
            self.sandbox.watch(lambda: not runtime.running, until_ns)
        runtime.signal_group(signal.SIGKILL)

    def _end_extensions(self, external: list[ExtensionSide], reason: str, until_ns: int) -> None:
        deadline_ms = until_ns // MS
        with self._host.lock:
            for extension in external:
                if names.EVENT_SHUTDOWN in extension.events:
                    extension.pending.append(Shutdown(reason=reason, deadline_ms=deadline_ms))
                else:
                    self._extensions[extension.name].signal_group(signal.SIGKILL)
            self._host.lock.notify_all()
        # Begins the delivery of what is left and does not wait for it: who reads it may be gone.
        self._host.bus.flush(0.0)
        self.sandbox.watch(lambda: not any(self._runs(e) for e in external), until_ns)

    def _runs(self, extension: ExtensionSide) -> bool:
        process = self._extensions.get(extension.name)
        return process is not None and process.running

    def _read(self, process: Process, source: str, who: str) -> None:
        host = self._host
        host.output.watch(
            process.output,
            lambda text: host.logbook.write(source, text, time_ns=host.clock.now_ns(), who=who),
        )

    def _runtime_exited(self, process: Process) -> None:
        returncode = process.returncode or 0
        self.sandbox.fail(
            answers.runtime_exit(returncode, out_of_memory=self._out_of_memory(returncode))
        )

    def _extension_exited(self, extension: ExtensionSide, process: Process) -> None:
        returncode = process.returncode or 0
        fault: Fault | None = extension.exit_fault
        if fault is None:
            out_of_memory = self._out_of_memory(returncode)
            fault = answers.extension_exit(returncode, out_of_memory=out_of_memory)
        with self._host.lock:
            killed = self.sandbox.stopping and returncode != 0
            extension.step(states.KILL if killed else states.EXIT)
        self.sandbox.fail(fault)

    def _out_of_memory(self, returncode: int) -> bool:
        return returncode == -signal.SIGKILL and self.memory.exceeded


def own_extension_argv(python: str) -> tuple[str, ...]:
    """How our extension is started: without site-packages, as its own first line does.

    The executable lies beside the package in a source tree and inside it in an installed wheel.
    Raises EnvironmentFailed when it is in neither.
    """
    spec = find_spec("lambdascope_extension")
    places: list[Path] = []
    if spec is not None and spec.submodule_search_locations:
        package = Path(spec.submodule_search_locations[0])
        places = [package / "bin" / OWN_EXTENSION, package.parent / "bin" / OWN_EXTENSION]
    for place in places:
        if place.is_file():
            return (python or sys.executable, "-IS", os.fspath(place))
    looked = " and ".join(os.fspath(place) for place in places) or "lambdascope_extension"
    raise EnvironmentFailed(
        answers.extension_launch(f"the extension {OWN_EXTENSION} is not at {looked}")
    )
