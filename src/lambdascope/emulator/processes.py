"""The processes of one generation of an environment: start, stop and continue, kill, reap.

Each process that we start leads a session of its own, so that a signal reaches what it started as
well. An ended process is left unreaped until the generation ends: as long as it is there, its
process group's number cannot be given to somebody else.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING

from lambdascope.emulator import proc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lambdascope.clock import Clock
    from lambdascope.emulator.guardian import Guardian

# How long `freeze` watches the processes reach the stopped state, which takes microseconds.
_STOP_WAIT_S = 0.1
_SETTLE_S = 0.1
_CAN_PEEK = hasattr(os, "waitid")


class LaunchFailed(Exception):
    """The program could not be started; the text says which and why.

    `in_directory` says that its working directory was at fault.
    """

    def __init__(self, message: str, *, in_directory: bool = False) -> None:
        super().__init__(message)
        self.in_directory = in_directory


class Process:
    """A process group's leader. `output` is the read end of its stdout and stderr.

    `returncode` is None while it runs, then as in `subprocess`. `on_exit` is called once, from a
    thread of its own.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        *,
        variables: Mapping[str, str],
        directory: str,
        clock: Clock,
        on_exit: Callable[[Process], None],
    ) -> None:
        self.name = name
        self.returncode: int | None = None
        self.started_ns = clock.now_ns()
        self.ended_ns: int | None = None
        self._clock = clock
        self._on_exit = on_exit
        try:
            self._popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(variables),
                cwd=directory,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise _launch_failure(error, argv[0], directory) from None
        self.pid = self._popen.pid
        self._watcher = threading.Thread(target=self._watch, name=f"exit-{name}", daemon=True)
        self._watcher.start()

    @property
    def output(self) -> int:
        """File descriptor to read the output from. Closed by `reap`."""
        assert self._popen.stdout is not None  # noqa: S101 - for the type checker
        return self._popen.stdout.fileno()

    @property
    def running(self) -> bool:
        """Whether the leader has not ended."""
        return self.returncode is None

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; an empty group is fine."""
        send(self.pid, number)

    def settle(self) -> None:
        """After SIGCONT: wait until the first thread is back in the call in which it was stopped.

        A signal that comes before is given to another thread, and Python handles signals in the
        first one only, which would sleep on. Lambda's freeze has no such effect.
        """
        deadline = time.monotonic() + _SETTLE_S
        while proc.state_of(self.pid) in ("T", "R") and time.monotonic() < deadline:
            time.sleep(0.0002)

    def wait(self) -> None:
        """Wait for the killed leader, and for `on_exit`."""
        self._watcher.join()

    def reap(self) -> None:
        """Free its number and its pipe."""
        self._popen.wait()
        if self._popen.stdout is not None:
            self._popen.stdout.close()

    def _watch(self) -> None:
        if _CAN_PEEK:
            # Look without reaping: see the module's first words.
            result = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            status = 0 if result is None else result.si_status
            by_signal = result is not None and result.si_code != os.CLD_EXITED
            returncode = -status if by_signal else status
        else:
            returncode = self._popen.wait()
        self.ended_ns = self._clock.now_ns()
        self.returncode = returncode
        self._on_exit(self)


class ProcessTable:
    """All processes of a generation. `marker` is a NAME=value that each of them inherits.

    Everything but `start` may be called from any thread.
    """

    def __init__(self, *, clock: Clock, guardian: Guardian, marker: str) -> None:
        self._clock = clock
        self._guardian = guardian
        self._marker = marker
        self._processes: list[Process] = []

    def start(
        self,
        name: str,
        argv: Sequence[str],
        *,
        variables: Mapping[str, str],
        directory: str,
        on_exit: Callable[[Process], None],
    ) -> Process:
        """Start a program. Raises LaunchFailed."""
        process = Process(
            name,
            argv,
            variables=variables,
            directory=directory,
            clock=self._clock,
            on_exit=on_exit,
        )
        self._guardian.add(process.pid)
        self._processes.append(process)
        return process

    def pids(self) -> tuple[list[int], list[int]]:
        """All living processes of the environment: those that we started, and what they did."""
        leaders = [p.pid for p in self._processes if p.running]
        return leaders, [pid for pid in proc.descendants(leaders) if pid not in leaders]

    def freeze(self) -> None:
        """Stop everything (SIGSTOP) and see it stopped."""
        self._signal_all(signal.SIGSTOP)
        deadline = time.monotonic() + _STOP_WAIT_S
        leaders, others = self.pids()
        for pid in (*leaders, *others):
            while proc.state_of(pid) not in ("T", "Z", ""):
                if time.monotonic() > deadline:
                    return  # in an uninterruptible call; it stops when it comes back
                time.sleep(0.0002)

    def thaw(self) -> None:
        """Let everything run again."""
        self._signal_all(signal.SIGCONT)

    def kill(self, before_reaping: Callable[[], None]) -> None:
        """End everything that is left, also what left its process group, and reap it. Idempotent.

        `before_reaping` is called when nothing runs any more and the outputs are still open.
        """
        self._signal_all(signal.SIGKILL)
        for process in self._processes:
            process.signal_group(signal.SIGKILL)
        for _ in range(3):
            # A process that was just forked by one that is killed may have been missed.
            escaped = [pid for pid in proc.marked(self._marker) if proc.state_of(pid) != "Z"]
            if not escaped:
                break
            for pid in escaped:
                send(pid, signal.SIGKILL, group=False)
        for process in self._processes:
            process.wait()
        before_reaping()
        for process in self._processes:
            process.reap()
        self._processes.clear()
        self._guardian.clear()

    def _signal_all(self, number: signal.Signals) -> None:
        leaders = [p.pid for p in self._processes]
        others = {proc.group_of(pid) for pid in self.pids()[1]} - {None, *leaders}
        for group in (*leaders, *(group for group in others if group is not None)):
            send(group, number)


def send(pid: int, number: signal.Signals, *, group: bool = True) -> None:
    """Send a signal; that nobody is there any more is fine."""
    try:
        (os.killpg if group else os.kill)(pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # PermissionError: the group holds only ended processes (macOS)


def _launch_failure(error: OSError | ValueError, program: str, directory: str) -> LaunchFailed:
    """The reason in Go's words, which Lambda prints, and a hint where they mislead."""
    if not isinstance(error, OSError) or not error.strerror:
        return LaunchFailed(f"fork/exec {program}: {error}")
    reason = error.strerror[0].lower() + error.strerror[1:]
    if error.filename == directory != program:
        return LaunchFailed(f"chdir {directory}: {reason}", in_directory=True)
    if isinstance(error, FileNotFoundError) and os.path.exists(program):
        reason += " (the file is there: what its first line names is not)"
    return LaunchFailed(f"fork/exec {program}: {reason}")
