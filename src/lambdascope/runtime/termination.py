"""SIGTERM: the platform ends the environment, and what is held back is handed over first.

It arrives while the loop waits for an event, while the function runs, or at any other moment; only
the first two are interrupted, so that no message of ours is ever cut in the middle.
"""

from __future__ import annotations

import os
from _signal import (  # type: ignore[import-not-found]  # `signal` needs enum
    SIG_BLOCK,
    SIG_DFL,
    SIG_UNBLOCK,
    SIGTERM,
    getsignal,
    pthread_sigmask,
    signal,
)
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class Terminated(SystemExit):
    """SIGTERM arrived: the platform ends this environment. Not for user code to catch.

    A SystemExit, because asyncio and threads let those through, and Python prints no trace of one.
    """


class Termination:
    """What SIGTERM does: it interrupts waiting and the function, and nothing of ours.

    `flush` is called from the signal handler, because the function may swallow the exception.
    While `interruptible` is False the signal is only noted: no message is ever cut in the middle.
    """

    __slots__ = ("_blocked", "_flush", "_pid", "interruptible", "requested")

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._pid = os.getpid()
        # Whether SIGTERM was held back before a fork, by thread.
        self._blocked: dict[int, bool] = {}
        self.interruptible = False
        self.requested = False

    def install(self) -> None:
        """Handle SIGTERM, until the function installs a handler of its own."""
        signal(SIGTERM, self._on_signal)
        # Python forgets a signal that comes right after a fork, so it is held back meanwhile.
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._after_fork,
            after_in_child=self._in_forked_child,
        )

    def allow(self) -> None:
        """From here on the signal interrupts. Raises Terminated when it has come already."""
        self.interruptible = True
        if self.requested:
            self.interruptible = False
            raise Terminated

    def forked(self) -> bool:
        """Whether this is a process that the function forked: then nothing here is ours."""
        return os.getpid() != self._pid

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        self.requested = True
        if self.interruptible:
            self.interruptible = False
            self._flush()
            raise Terminated

    def _before_fork(self) -> None:
        self._blocked[get_ident()] = SIGTERM in pthread_sigmask(SIG_BLOCK, (SIGTERM,))

    def _after_fork(self) -> None:
        if not self._blocked.pop(get_ident(), True):
            pthread_sigmask(SIG_UNBLOCK, (SIGTERM,))

    def _in_forked_child(self) -> None:
        # The function's processes end as they would without us.
        if getsignal(SIGTERM) == self._on_signal:
            signal(SIGTERM, SIG_DFL)
        self._after_fork()
