"""The state of one generation that runs several invocations at a time (Lambda Managed Instances).

Requests for the next event wait here until each is given one; every invocation under way has a
runtime side of its own, with the same table of moves as where there is only one. `managed` hands
out and ends invocations, `managed_server` moves their states; both hold the environment's lock.
Source: AWS Lambda developer guide, "Lambda Managed Instances", and the source of AWS's emulator.
"""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING

from lambdascope.emulator import answers
from lambdascope.emulator.records import CRASHED, FUNCTION_ERROR, OUT_OF_MEMORY
from lambdascope.emulator.sandbox import RuntimeSide, Sandbox
from lambdascope.wire import names, states
from lambdascope.wire.runtime_api import Invocation

if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope.clock import Clock
    from lambdascope.emulator.answers import Fault
    from lambdascope.emulator.life import Job
    from lambdascope.transport.listener import Exchange

# Of how many invocations that timed out a late answer is known as late, not as unknown.
_MAX_EXPIRED = 10_000


class Poller:
    """One request for the next event that waits."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._released = threading.Event()
        self.event: Invocation | None = None

    @property
    def gone(self) -> bool:
        """Whether its client has given up."""
        return self._exchange.peer_closed()

    def release(self, event: Invocation | None) -> None:
        """Let it go, with an event or, at the end of the environment, without."""
        self.event = event
        self._released.set()

    def wait(self) -> Invocation | None:
        """Wait for `release`."""
        self._released.wait()
        return self.event


class Task:
    """One invocation, from the moment it queues until its record is complete.

    `lock`, `clock` and `runtime` are what a reader of responses needs of a sandbox.
    `waits_until_ns` is when it leaves the queue if nobody has polled for it.
    """

    def __init__(self, job: Job, *, lock: threading.Condition, clock: Clock) -> None:
        self.job = job
        self.turn = job.turn
        self.record = job.turn.record
        self.lock = lock
        self.clock = clock
        self.runtime = RuntimeSide()
        self.waits_until_ns: int | None = None

    def hand_out(self, now_ns: int, deadline_ms: int) -> None:
        """It goes to a poller now. Call with the lock held."""
        self.record.handed_out_ns = now_ns
        self.record.deadline_ms = deadline_ms
        self.turn.handed_out = True
        self.runtime.step(states.NEXT)
        self.runtime.step(states.DELIVER)

    @property
    def is_answering(self) -> bool:
        """Whether its answer is being read."""
        return self.runtime.state in (states.INVOCATION_RESPONSE, states.INVOCATION_ERROR_RESPONSE)

    def settle(self, fault: Fault | None) -> None:
        """Give the caller its answer, unless it has one. Without a fault it was broken off."""
        turn = self.turn
        status = FUNCTION_ERROR if fault is None else fault.status
        body, kind = answers.truncated_response(), answers.FAULT_TRUNCATED
        # All that the caller of a stream is told of a crash is that it broke off.
        breaks_off = turn.stream is not None and status in (CRASHED, OUT_OF_MEMORY)
        if fault is not None and not breaks_off:
            body, kind = fault.answer(self.record.request_id), fault.error_type
        with self.lock:
            first = turn.answer(body, status=status, error_type=kind)
            if fault is not None:
                self.record.status, self.record.error_type = fault.status, fault.error_type
        if first:
            turn.publish()
            if turn.cut is not None:
                turn.cut()

    def event(self) -> Invocation:
        """What its poller gets."""
        record = self.record
        headers = {
            names.REQUEST_ID.lower(): record.request_id,
            names.DEADLINE_MS.lower(): str(record.deadline_ms),
            names.FUNCTION_ARN.lower(): record.invoked_function_arn,
            names.TRACE_ID.lower(): record.trace_header,
            names.INVOCATION_ID.lower(): self.turn.nonce,
            "content-type": names.CONTENT_TYPE_JSON,
            **self.job.headers,
        }
        return Invocation(headers=headers, body=record.event)


class ManagedSandbox(Sandbox):
    """One generation. `on_idle` is called when a poller has come, `on_answered` when an answer has.

    Neither is called with the lock held. `runtime` stands for the runtime's init alone.
    """

    def __init__(
        self,
        *,
        lock: threading.Condition,
        clock: Clock,
        max_pollers: int,
        on_idle: Callable[[], None],
        on_answered: Callable[[Task], None],
    ) -> None:
        super().__init__(lock=lock, clock=clock)
        self.tasks: dict[str, Task] = {}
        self.on_idle = on_idle
        self.on_answered = on_answered
        self._max_pollers = max_pollers
        self._idle: collections.deque[Poller] = collections.deque()
        self._expired: dict[str, None] = {}

    def add_poller(self, poller: Poller) -> bool:
        """It waits from now on; False when enough do. Call with the lock held."""
        if len(self._idle) >= self._max_pollers:
            gone = [waiting for waiting in self._idle if waiting.gone]
            for one in gone:
                self._idle.remove(one)
                one.release(None)
        if len(self._idle) >= self._max_pollers:
            return False
        self._idle.append(poller)
        return True

    def take_poller(self) -> Poller | None:
        """The one that has waited longest and is still there. Call with the lock held."""
        while self._idle:
            poller = self._idle.popleft()
            if not poller.gone:
                return poller
            poller.release(None)
        return None

    def expire(self, task: Task) -> None:
        """Its deadline has passed; the runtime goes on with it. Call with the lock held."""
        del self.tasks[task.record.request_id]
        self._expired[task.record.request_id] = None
        if len(self._expired) > _MAX_EXPIRED:
            del self._expired[next(iter(self._expired))]

    def is_expired(self, request_id: str) -> bool:
        """Whether the invocation of that id ended by its deadline."""
        return request_id in self._expired

    def close(self) -> None:
        """Let go of everyone who waits for an event."""
        super().close()
        with self.lock:
            pollers, self._idle = self._idle, collections.deque()
        for poller in pollers:
            poller.release(None)
