"""The life of the extension from register to exit: one thread that waits for whatever comes first.

Events of the platform, requests of senders, results of exports and time move it between a few
phases: NEXT (waiting for an event, the environment may be frozen), RUNNING (an invocation), HOLDING
(it is over, an export is not), CUTTING (ending that export), SHUTDOWN, OVER. What to export when is
the flush policy's decision, whether an invocation is over the end tracker's. Timers exist only
outside NEXT.
"""

from __future__ import annotations

from time import monotonic, sleep, time, time_ns

from lambdascope.transport.connection import ConnectionLost
from lambdascope.wire.errors import ProtocolError
from lambdascope.wire.extensions_api import Invoke, Shutdown
from lambdascope.wire.names import (
    SERVER_ERROR,
    SHUTDOWN_BUDGET_MS,
    SHUTDOWN_FAILURE,
    SHUTDOWN_SPINDOWN,
    SHUTDOWN_TIMEOUT,
)
from lambdascope_extension import flush_policy as policy
from lambdascope_extension.extensions_client import Refused
from lambdascope_extension.flush_settings import PERIODIC
from lambdascope_extension.say import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from lambdascope_extension.connections import ClientConnection
    from lambdascope_extension.end_tracker import EndTracker
    from lambdascope_extension.extensions_client import ExtensionsClient
    from lambdascope_extension.flight import Flight
    from lambdascope_extension.flusher import Flusher
    from lambdascope_extension.reactor import Reactor
    from lambdascope_extension.sampling_gate import SamplingGate
    from lambdascope_extension.server import HttpServer

NEXT = "next"
RUNNING = "running"
HOLDING = "holding"
CUTTING = "cutting"
SHUTDOWN = "shutdown"
OVER = "over"

# How long a cut export may take to say so.
_CUT_S = 0.05
# What a process needs to end.
_EXIT_S = 0.03
# How long after SHUTDOWN a runtime may still send what it flushed on its own SIGTERM.
_LATE_DATA_S = 0.1
# After a wait this long the environment was frozen, and peers have given up its connections.
_LONG_WAIT_S = 5.0
_LAST_ATTEMPTS = 4
_MAX_API_FAILURES = 5
_FOR_EVER = float("inf")
_ARRIVALS = 8


class Lifecycle:
    """`run` returns when the environment shuts down. `background`: no INVOKE events are offered."""

    def __init__(  # noqa: PLR0913 - the parts that it moves, each by its name
        self,
        *,
        client: ExtensionsClient,
        reactor: Reactor,
        servers: Sequence[HttpServer],
        ends: EndTracker,
        flusher: Flusher,
        flight: Flight,
        background: bool,
    ) -> None:
        self.phase = NEXT
        self.sampler: SamplingGate | None = None
        self.shutdown_reason = SHUTDOWN_SPINDOWN
        self.ends_by = _FOR_EVER
        self._client = client
        self._reactor = reactor
        self._servers = servers
        self._ends = ends
        self._flusher = flusher
        self._flight = flight
        self._background = background
        self._deadline: float | None = None
        self._until = 0.0  # end of the phase HOLDING, CUTTING or SHUTDOWN
        self._late_until = 0.0
        self._is_last_hold = False
        self._has_begun_last = False
        self._rest_s = 0.0  # how long next may be held for an export that began with the invocation
        self._invocations = 0
        self._arrivals: list[float] = []
        self._asked_at = time()
        self._api_failures = 0
        self._stop_requested = False

    def stop(self) -> None:
        """Ask for a shutdown; may be called from a signal handler."""
        self._stop_requested = True

    def on_closed(self, connection: ClientConnection) -> None:
        """A sender has closed its connection."""
        if connection.is_runtime:
            self._ends.on_runtime_gone()
            self._flight.on_runtime_gone(time_ns())

    def run(self) -> None:
        """Ask for events until the environment shuts down. Raises only what is a fault of ours."""
        self._ask_next()
        while self.phase != OVER:
            now = monotonic()
            self._reactor.run_once(self._timeout(now))
            if self._invocations == 1 and not self._ends.runtime_was_present:
                # The runtime's hello came before its next, so that it is here: as a client that
                # waits to be accepted, and then as a request.
                self._reactor.run_once(0)
                self._reactor.run_once(0)
            now = monotonic()
            if self.phase != NEXT or self._background:
                for server in self._servers:
                    server.sweep(now)
            if self._stop_requested and self.phase not in (SHUTDOWN, OVER):
                self._shut_down(Shutdown(reason=SHUTDOWN_SPINDOWN, deadline_ms=_budget_end_ms()))
            self._advance(now)

    def advance(self) -> None:
        """Move on at once, because something has come that an invocation's end depends on."""
        if self.phase == RUNNING:
            self._while_running(monotonic())

    def _advance(self, now: float) -> None:
        """Move on as far as possible without waiting."""
        if self.phase == RUNNING:
            self._while_running(now)
        if self.phase == HOLDING:
            self._while_holding(now)
        if self.phase == CUTTING and (not self._flusher.is_sending or now >= self._until):
            self._flusher.take_back()
            self._ask_next()
        if self.phase == NEXT and self._background:
            if self.sampler is not None:
                self.sampler.end_loose(now)
            if not self._flusher.resume(now):
                self._flush_beside(policy.RUNNING, now)
        if self.phase == SHUTDOWN:
            self._while_shutting_down(now)

    def _timeout(self, now: float) -> float | None:
        """How long to wait at most; None while frozen or ready to be."""
        if self.phase == NEXT:
            if not self._background:
                return None
            interval_s = self._flusher.settings.interval_s
            is_idle = self.sampler is None and not self._flusher.holds_anything
            until = _FOR_EVER if is_idle else now + interval_s
        elif self.phase == SHUTDOWN:
            until = self._flight.wake_at(now, self._until)
            if now < self._late_until:
                until = self._late_until
            until = min(until, self._flusher.retry_at(now))
        elif self.phase == RUNNING:
            until = self._ends.wake_at()
            if self._deadline is not None:
                until = min(until, self._flusher.wake_at(now, self._deadline))
        else:
            until = self._until
        for server in self._servers:
            unfinished = server.next_deadline()
            if unfinished is not None and unfinished < until:
                until = unfinished
        return None if until == _FOR_EVER else max(0.0, until - now)

    # --- events of the platform --------------------------------------------------------------

    def _ask_next(self) -> None:
        self.phase = NEXT
        is_busy = policy.is_busy(self._invocations, self._arrivals)
        self._flusher.meter.on_next(monotonic(), is_busy=is_busy)
        self._deadline = None
        try:
            self._client.ask_next()
        except ConnectionLost as error:
            self._on_api_failure(error)
            return
        self._asked_at = time()
        fd = self._client.fileno()
        self._reactor.watch(fd, self._on_event)
        self._reactor.first.add(fd)

    def _on_event(self, mask: int) -> None:
        fd = self._client.fileno()
        if not self._client.waiting:  # closed by the platform while we had nothing to ask
            self._reactor.forget(fd)
            self._client.close()
            return
        try:
            event = self._client.read_event()
        except (ConnectionLost, ProtocolError, Refused) as error:
            self._reactor.forget(fd)
            self._on_api_failure(error)
            return
        if self._client.fileno() != fd:
            self._reactor.forget(fd)
        self._api_failures = 0
        if isinstance(event, Shutdown):
            self._shut_down(event)
        else:
            self._on_invoke(event)

    def _on_api_failure(self, error: Exception) -> None:
        """Ask again, or give up: to hang would be worse than to end."""
        self._client.close()
        self._api_failures += 1
        is_final = isinstance(error, Refused) and error.status >= SERVER_ERROR
        if is_final or self._api_failures >= _MAX_API_FAILURES:
            say(f"the Extensions API is gone, shutting down: {error}")
            self._shut_down(Shutdown(reason=SHUTDOWN_SPINDOWN, deadline_ms=_budget_end_ms()))
            return
        sleep(0.02 * self._api_failures)
        self._ask_next()

    def _on_invoke(self, event: Invoke) -> None:
        now = monotonic()
        self.phase = RUNNING
        self._flusher.meter.on_begin(now)
        self._deadline = now + event.deadline_ms / 1000 - time()
        self._invocations += 1
        self._arrivals = [*self._arrivals[1 - _ARRIVALS :], now]
        self._rest_s = 0.0
        for server in self._servers:
            server.thaw(now)
        if time() - self._asked_at > _LONG_WAIT_S:
            self._flusher.after_thaw()
        self._flush_beside(policy.AT_INVOKE, now)
        self._ends.begin(
            event.request_id,
            now,
            self._deadline - policy.RESERVE_S,
            wanted=self._flushes_at_end() or self._flusher.settings.mode == PERIODIC,
        )

    # --- an invocation -----------------------------------------------------------------------

    def _while_running(self, now: float) -> None:
        if self._ends.is_late(now):
            self._flight.ask()
        if not self._ends.is_over(now):
            if not self._flusher.resume(now):
                self._flush_beside(policy.RUNNING, now)
            return
        has_fallen = self._tell_of_fallen(now)
        if self.sampler is not None:
            self.sampler.end("")
        self._flusher.meter.on_end(now)
        if self._flusher.is_sending or (self._rest_s and self._flusher.is_working):
            self._hold(now + min(self._rest_s, self._left(now)), is_last=False)
        elif has_fallen:
            # There is no caller any more whose next invocation would wait. What was told is newer.
            now = monotonic()
            self._hold(now + self._flusher.settings.hold_s, is_last=True)
            self._flusher.begin(now, self._until)
        else:
            self._flush_at_end(now)

    def _tell_of_fallen(self, now: float) -> bool:
        """Whether the runtime has died in this invocation, and what it had noted is in the
        buffer."""
        if self._ends.runtime_is_present or not self._ends.runtime_was_present:
            return False
        late = self._deadline is not None and now >= self._deadline
        return self._flight.tell_at_once(timed_out=late, wall_ns=time_ns())

    def _flush_beside(self, moment: str, now: float) -> None:
        """Start an export beside the handler, if the policy wants one."""
        if self._flusher.is_sending or self._is_quiet(now):
            return
        decision = policy.decide(moment, self._state(now), self._flusher.settings)
        if decision.action == policy.PARALLEL:
            self._rest_s = decision.budget_s
            self._flusher.begin(now, now + self._left(now))

    def _flush_at_end(self, now: float) -> None:
        """The invocation is over and nothing is in flight: hold for an export, or ask for next."""
        if self._is_quiet(now) and not self._flushes_at_end():
            self._ask_next()
            return
        decision = policy.decide(policy.AT_END, self._state(now), self._flusher.settings)
        if decision.action == policy.END:
            self._hold(now + decision.budget_s, is_last=True)
            self._flusher.begin(now, self._until)
        else:
            self._ask_next()

    def _is_quiet(self, now: float) -> bool:
        return self._ends.ends_are_known and self._flusher.is_quiet(now)

    def _hold(self, until: float, *, is_last: bool) -> None:
        self.phase = HOLDING
        self._flusher.meter.on_hold()
        self._until = until
        self._is_last_hold = is_last

    def _while_holding(self, now: float) -> None:
        if now < self._until:
            if self._flusher.resume(now):
                return
            if not self._is_last_hold:
                self._flush_at_end(now)
                return
        if self._flusher.is_sending:
            self._flusher.cut()
            self.phase = CUTTING
            self._until = now + _CUT_S
        else:
            self._ask_next()

    # --- shutdown ----------------------------------------------------------------------------

    def _shut_down(self, event: Shutdown) -> None:
        now = monotonic()
        self.phase = SHUTDOWN
        self.shutdown_reason = event.reason
        if self.sampler is not None:
            self.sampler.end_all(event.reason)
        self._deadline = now + event.deadline_ms / 1000 - time()
        self.ends_by = self._deadline - _EXIT_S
        decision = policy.decide(policy.AT_SHUTDOWN, self._state(now), self._flusher.settings)
        self._until = now + decision.budget_s
        self._late_until = min(self._until, now + _LATE_DATA_S)
        if time() - self._asked_at > _LONG_WAIT_S:
            self._flusher.after_thaw()
        self._flight.shut_down(event.reason, now, self._until)
        is_waiting = self._waits_for_runtime(now)
        # After a reset the next processes go on with what is left; otherwise there are none.
        is_reset = event.reason in (SHUTDOWN_TIMEOUT, SHUTDOWN_FAILURE)
        self._flusher.last_attempts = 1 if is_reset else _LAST_ATTEMPTS
        # What failed leaves first, and is not known before the platform has said how.
        self._has_begun_last = not (is_reset and is_waiting)
        if self._has_begun_last:
            self._flusher.begin(now, self._until, everything=True)

    def _while_shutting_down(self, now: float) -> None:
        is_waiting = self._waits_for_runtime(now)
        if not is_waiting and not self._has_begun_last:
            self._has_begun_last = True
            self._flusher.begin(now, self._until, everything=True)
        if now < self._until:
            is_busy = self._flusher.resume(now) or any(one.is_working for one in self._servers)
            if is_busy or is_waiting or (now < self._late_until and self._may_come_more()):
                return
        elif self._flusher.is_sending:
            # One more turn for the result, which comes at once; the reserve is long enough.
            self._flusher.cut()
            self._reactor.run_once(_CUT_S)
            self._flusher.take_back()
        self.phase = OVER

    def _waits_for_runtime(self, now: float) -> bool:
        has_runtime = any(server.has_runtime for server in self._servers)
        return self._flight.waits(now, wall_ns=time_ns(), has_runtime=has_runtime)

    def _may_come_more(self) -> bool:
        """Whether a runtime may still flush: ours until it closes, others have not said who they
        are."""
        return self._ends.runtime_is_present or not self._ends.runtime_was_present

    def _flushes_at_end(self) -> bool:
        mode = self._flusher.settings.mode
        return policy.flushes_at_end(mode, self._invocations, self._arrivals)

    def _left(self, now: float) -> float:
        """Seconds until the reserve of the deadline."""
        return 86_400.0 if self._deadline is None else self._deadline - policy.RESERVE_S - now

    def _state(self, now: float) -> policy.State:
        state = self._flusher.state(now, self._deadline, self._invocations, self._arrivals)
        # For the platform's word, which comes late, only those wait who flush at the end.
        state.ends_are_known = self._ends.runtime_is_present or (
            self._ends.ends_are_known
            and (self._flushes_at_end() or self._flusher.settings.mode == PERIODIC)
        )
        return state


def _budget_end_ms() -> int:
    return int(time() * 1000) + SHUTDOWN_BUDGET_MS
