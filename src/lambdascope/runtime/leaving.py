"""The end of a process whose function still has threads.

Python waits for every thread that is not a daemon before it ends, and Lambda would wait for the
process until the function's timeout. So such threads get a grace period; then the exit functions
run and the process ends. Loaded at the end, and only where there is `threading`.
"""

from __future__ import annotations

import atexit
import os
import threading
from time import monotonic

from lambdascope.runtime.logs import say


def leave_threads(status: int, grace_s: float) -> None:
    """End the process with `status` after `grace_s` seconds if threads keep it; returns at once."""
    others = [
        thread
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.current_thread()
    ]
    if not others:
        return
    threading.Thread(
        target=_wait, args=(others, status, grace_s), name="lambdascope-leaving", daemon=True
    ).start()


def leave_workers(status: int) -> None:
    """End a process whose worker threads are still there, each of them anywhere.

    Python's own end would stop them where they are and then flush the streams, whose locks they may
    hold: it aborts then. So what it does before is done here, and the rest is left out.
    """
    # Waits for the function's threads, which `leave_threads` limits.
    threading._shutdown()  # type: ignore[attr-defined]  # what Python's end begins with
    atexit._run_exitfuncs()
    os._exit(status)


def _wait(others: list[threading.Thread], status: int, grace_s: float) -> None:
    deadline = monotonic() + grace_s
    for thread in others:
        thread.join(max(0.0, deadline - monotonic()))
    left = [thread.name for thread in others if thread.is_alive()]
    if not left:
        return
    say(f"the process ends although these threads still run: {', '.join(left)[:200]}")
    atexit._run_exitfuncs()
    os._exit(status)
