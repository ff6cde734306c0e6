"""Invocations of type Event: queued, and run one after the other in the background.

Each is run once; Lambda would retry a failed one up to twice. The invoke endpoint uses it. Source:
AWS Lambda developer guide, "Invoking a Lambda function asynchronously".
"""

from __future__ import annotations

import sys
import threading
import uuid
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING

from lambdascope.emulator import invoke_request as api
from lambdascope.emulator.environment import EnvironmentBusy, EnvironmentClosed, InvokeOptions
from lambdascope.emulator.invoke_request import InvokeRefused

if TYPE_CHECKING:
    from lambdascope.emulator.calls import Invoker

_QUEUED_EVENTS = 1000
_JOIN_S = 0.5


class EventQueue:
    """Runs events in their order. Its thread starts with the first of them."""

    def __init__(self, environment: Invoker) -> None:
        self._environment = environment
        self._queue: Queue[tuple[bytes, InvokeOptions] | None] = Queue(_QUEUED_EVENTS)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, event: bytes, options: InvokeOptions) -> str:
        """Queue an event; its request id. Raises InvokeRefused when the queue is full."""
        request_id = str(uuid.uuid4())
        options["request_id"] = request_id
        with self._lock:
            if self._closed:
                raise InvokeRefused(409, api.CONFLICT, "the emulator is being stopped")
            try:
                self._queue.put_nowait((event, options))
            except Full:
                text = f"{_QUEUED_EVENTS} events are waiting already"
                raise InvokeRefused(429, api.TOO_MANY_REQUESTS, text) from None
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="events", daemon=True)
                self._thread.start()
        return request_id

    def close(self) -> None:
        """Take no more; what waits is not run. An invocation under way is not waited for long."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            waiting = self._clear()
            self._queue.put_nowait(None)
            thread = self._thread
        if waiting:
            print(f"lambdascope: stopped with {waiting} queued events not run", file=sys.stderr)
        if thread is not None:
            thread.join(_JOIN_S)

    def _clear(self) -> int:
        removed = 0
        while True:
            try:
                self._queue.get_nowait()
            except Empty:
                return removed
            removed += 1

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            event, options = item
            try:
                record = self._environment.invoke(event, **options)
            except (EnvironmentBusy, EnvironmentClosed) as error:
                what = str(error)
            except Exception as error:  # noqa: BLE001 - one bad event must not end the queue
                what = f"a fault of the emulator: {error!r}"
            else:
                if not record.function_error:
                    continue
                what = "a function error; Lambda would retry it up to twice, the emulator does not"
            request_id = options["request_id"]
            print(f"lambdascope: event {request_id} ended with {what}", file=sys.stderr)
