"""Export from this process, where there is no extension: after the response, in what time is left.

Takes the place of the handoff. Uses the exporters of `opentelemetry-exporter-otlp`, which read the
OTEL_EXPORTER_OTLP_* variables themselves and are loaded after the first response. A thread does the
work, because an exporter cannot be told when to stop; the loop waits for it within its budget, so
that nothing is in flight when the environment is frozen. Where several invocations run at a time
there is no freeze, and nobody waits.
"""

from __future__ import annotations

import os

from lambdascope.wire import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from lambdascope.runtime.otel.exporters import Exporters

# As much as the exporters give a request by default.
_BUDGET_S = 10.0
_MAX_PENDING = 200
_LAST_S = 1.0


class DirectExport:
    """Looks like the handoff. `waits`: the environment may be frozen between invocations."""

    budget_s = _BUDGET_S
    present = True

    def __init__(self, say: Callable[[str], None], *, waits: bool) -> None:
        self._say = say
        self._waits = waits
        # What has not been exported yet; the first is under way.
        self._pending: list[tuple[str, bytes, int]] = []
        self._changed: threading.Condition | None = None
        self._exporters: Exporters | None = None
        self._pid = 0
        self._said_late = False
        self.dropped_spans = 0

    def send(self, body: bytes, request_id: str, spans: int, *, budget_s: float = _LAST_S) -> None:
        """Export what an invocation has left, within the budget in seconds."""
        self._put(names.TRACES_PATH, body, spans)
        if self._waits and not self._wait(budget_s) and not self._said_late:
            self._said_late = True
            self._say(
                f"direct export did not end within {budget_s:.1f} s; it goes on with the next "
                "invocation. Is the collector reachable?"
            )

    def send_signal(self, path: str, body: bytes, budget_s: float = _LAST_S) -> None:
        """Export metrics or logs; with the spans that follow."""
        self._put(path, body, 0)

    def finish(self) -> None:
        """The process ends: wait a little for what is under way, and say what was lost."""
        self._wait(_LAST_S)
        lost = self.dropped_spans + sum(spans for _, _, spans in self._pending)
        if lost:
            self._say(f"{lost} spans could not be exported")
        self.dropped_spans = 0

    def _put(self, path: str, body: bytes, spans: int) -> None:
        if not body:
            return
        if len(self._pending) >= _MAX_PENDING:
            self.dropped_spans += spans
            return
        if self._changed is None or self._pid != os.getpid():
            self._start()
        assert self._changed is not None  # noqa: S101 - it has been started
        with self._changed:
            self._pending.append((path, body, spans))
            self._changed.notify_all()

    def _wait(self, budget_s: float) -> bool:
        """Wait until nothing is pending; whether it came to that."""
        if self._changed is None or not self._pending:
            return True
        with self._changed:
            return self._changed.wait_for(lambda: not self._pending, budget_s)

    def _start(self) -> None:
        import threading

        # A thread does not survive a fork, and what was pending is the parent's.
        self._pid = os.getpid()
        self._pending.clear()
        self._changed = threading.Condition()
        name = "lambdascope-export"
        threading.Thread(target=self._work, args=(self._changed,), name=name, daemon=True).start()

    def _work(self, changed: threading.Condition) -> None:
        _suppress_instrumentation()
        while True:
            with changed:
                changed.wait_for(lambda: self._pending)
                path, body, spans = self._pending[0]
            try:
                if self._exporters is None:
                    from lambdascope.runtime.otel.exporters import Exporters

                    self._exporters = Exporters(os.environ, self._say)
                taken = self._exporters.export(path, body)
            except Exception as fault:  # noqa: BLE001 - one batch must not end the thread
                taken = False
                self._say(f"direct export failed: {type(fault).__name__}: {fault}")
            with changed:
                self.dropped_spans += 0 if taken else spans
                del self._pending[0]
                changed.notify_all()


def _suppress_instrumentation() -> None:
    """What this thread sends is none of the function's calls: no instrumentor makes spans of it."""
    try:
        from opentelemetry import context

        # The plain key is the one of older instrumentors.
        for key in ("suppress_instrumentation", context._SUPPRESS_INSTRUMENTATION_KEY):
            context.attach(context.set_value(key, True))
    except (ImportError, AttributeError):
        pass  # then there is no exporter either, or no instrumentor that looks for the key
