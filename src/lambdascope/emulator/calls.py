"""One synchronous invocation as an endpoint waits for it: for its answer, then for its end.

The environment's `invoke` returns when the extensions are back as well, so it runs in a thread of
its own and the endpoint goes on as soon as there is something to send. All three endpoints use it.
"""

from __future__ import annotations

import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol, Unpack

from lambdascope.emulator import invoke_request as api
from lambdascope.emulator.environment import EnvironmentBusy, EnvironmentClosed, InvokeOptions
from lambdascope.emulator.invoke_request import InvokeRefused
from lambdascope.wire.names import FAULT_RESTORE_TIMEOUT

if TYPE_CHECKING:
    from lambdascope.emulator.config import FunctionConfig
    from lambdascope.emulator.records import InvocationRecord
    from lambdascope.emulator.stream import ResponseStream


class Invoker(Protocol):
    """What an endpoint needs of an ExecutionEnvironment."""

    config: FunctionConfig

    def invoke(self, event: bytes, **options: Unpack[InvokeOptions]) -> InvocationRecord:
        """Run one invocation to its end."""


class Call:
    """An invocation that begins now. With `streams` a streamed response is not collected."""

    def __init__(
        self, environment: Invoker, event: bytes, options: InvokeOptions, *, streams: bool = False
    ) -> None:
        self._answer: SimpleQueue[tuple[InvocationRecord, ResponseStream | None] | Exception]
        self._answer = SimpleQueue()
        self._end: SimpleQueue[InvocationRecord | Exception] = SimpleQueue()
        options["on_response"] = lambda record: self._answer.put((record, None))
        if streams:
            options["on_stream"] = lambda record, stream: self._answer.put((record, stream))

        def to_the_end() -> None:
            try:
                self._end.put(environment.invoke(event, **options))
            except Exception as error:  # noqa: BLE001 - raised again where it can be answered
                self._answer.put(error)
                self._end.put(error)

        threading.Thread(target=to_the_end, name="invocation", daemon=True).start()

    def answer(self) -> tuple[InvocationRecord, ResponseStream | None]:
        """Wait until the answer is complete, or begins as a stream. Raises InvokeRefused.

        May be called once.
        """
        result = self._answer.get()
        if isinstance(result, Exception):
            raise _refusal(result)
        _check_restore(result[0])
        return result

    def end(self) -> InvocationRecord:
        """Wait until everything is over, and the log complete. Raises InvokeRefused.

        May be called once.
        """
        result = self._end.get()
        if isinstance(result, Exception):
            raise _refusal(result)
        _check_restore(result)
        return result


def _check_restore(record: InvocationRecord) -> None:
    """Raises InvokeRefused when the invocation never began because its snapshot was not restored.

    Source of the two errors: AWS Lambda API reference, "Invoke".
    """
    if record.not_restored:
        timed_out = record.error_type == FAULT_RESTORE_TIMEOUT
        status, kind = (408, api.SNAP_START_TIMEOUT) if timed_out else (400, api.SNAP_START)
        text = f"The snapshot could not be restored: {record.error_type}; the log has more"
        raise InvokeRefused(status, kind, text)


def _refusal(error: Exception) -> InvokeRefused:
    if isinstance(error, EnvironmentClosed):
        # Not a 5xx, which SDKs would send again and again.
        return InvokeRefused(409, api.CONFLICT, str(error))
    if isinstance(error, EnvironmentBusy):
        return InvokeRefused(429, api.TOO_MANY_REQUESTS, str(error))
    print(f"lambdascope: an invocation failed in the emulator: {error!r}", file=sys.stderr)
    return InvokeRefused(500, api.SERVICE_FAULT, f"fault of the emulator: {error!r}")
