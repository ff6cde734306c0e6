"""Whether the current invocation is over, from whatever tells so, in any order, however late.

The end is the first of: the runtime's done signal with all the spans that it announced, the
platform's runtimeDone record, the runtime's connection closing, the deadline's reserve. When nobody
is known who would tell, the invocation counts as over at once, because waiting is billed. The
lifecycle feeds it and asks; it reads no clock. All times are monotonic seconds.
"""

from __future__ import annotations

# Spans that were announced but were refused or lost never come.
GRACE_AFTER_DONE_S = 0.05
# The first telemetry batch comes some 25 ms after the subscription; an emulator may never send one.
FIRST_BATCH_S = 0.1
# Signals may come before the event that they belong to, and on managed instances many invocations
# run at a time.
_MAX_KNOWN = 256


class _Signals:
    """What was heard of one invocation. `expected` and `done_at` are set by the done signal."""

    __slots__ = ("done_at", "expected", "is_finished", "spans")

    def __init__(self) -> None:
        self.spans = 0
        self.expected = 0
        self.done_at: float | None = None
        self.is_finished = False


class EndTracker:
    """`runtime_is_present`: our runtime speaks to us, `runtime_was_present`: it has at some time.

    `telemetry_is_alive`: records of the platform have come.
    """

    __slots__ = (
        "_begun_at",
        "_current",
        "_known",
        "_limit",
        "_request_id",
        "_telemetry_is_late",
        "_waits_for_telemetry",
        "runtime_is_present",
        "runtime_was_present",
        "telemetry_is_alive",
        "telemetry_is_hoped_for",
    )

    def __init__(self, *, subscribed: bool) -> None:
        self.runtime_is_present = False
        self.runtime_was_present = False
        self.telemetry_is_alive = False
        self.telemetry_is_hoped_for = subscribed
        self._known: dict[str, _Signals] = {}
        self._request_id = ""
        self._current = _Signals()
        self._begun_at = 0.0
        self._limit = 0.0
        self._waits_for_telemetry = False
        # The platform's word was waited for in vain once; until one comes in time it is not again.
        self._telemetry_is_late = False

    @property
    def ends_are_known(self) -> bool:
        """Whether somebody will tell when an invocation is over."""
        return self.runtime_is_present or self.telemetry_is_alive or self.telemetry_is_hoped_for

    def begin(self, request_id: str, now: float, limit: float, *, wanted: bool) -> None:
        """An invocation begins. `limit` is when to stop waiting; `wanted` is whether its end
        matters enough to wait for the platform's word, which comes late."""
        self._current = self._signals(request_id)
        self._request_id = request_id
        self._begun_at = now
        self._limit = limit
        self._waits_for_telemetry = wanted

    def on_hello(self) -> None:
        """The runtime is ours, and will tell."""
        self.runtime_is_present = self.runtime_was_present = True

    def has_spans(self, request_id: str) -> bool:
        """Whether spans of an invocation have come already."""
        signals = self._found(request_id)
        return signals is not None and signals.spans > 0

    def is_done(self, request_id: str) -> bool:
        """Whether the runtime has said that it has handed over all of an invocation."""
        signals = self._found(request_id)
        return signals is not None and signals.done_at is not None

    def is_late(self, now: float) -> bool:
        """Whether the runtime has not said so, and the deadline of the invocation is near, which
        it was not from the beginning."""
        current = self._current
        return (
            now >= self._limit > self._begun_at
            and self.runtime_is_present
            and not current.is_finished
            and current.done_at is None
        )

    def on_spans(self, request_id: str, spans: int) -> None:
        """Spans of an invocation have come."""
        self._signals(request_id).spans += spans

    def on_done(self, request_id: str, expected: int, now: float) -> None:
        """The runtime has handed over everything of an invocation: `expected` spans."""
        self.on_hello()
        signals = self._signals(request_id)
        signals.expected = expected
        signals.done_at = now

    def on_telemetry(self) -> None:
        """A batch of records has come."""
        self.telemetry_is_alive = True
        self.telemetry_is_hoped_for = False

    def is_current(self, body: bytes) -> bool:
        """Whether records that are waited for may be in a batch, before it is parsed."""
        return self._request_id.encode("utf-8", "replace") in body

    def on_runtime_done(self, request_id: str) -> None:
        """The platform says that an invocation is over."""
        signals = self._signals(request_id)
        if signals is self._current and not signals.is_finished:
            self._telemetry_is_late = False
        signals.is_finished = True

    def on_runtime_gone(self) -> None:
        """The runtime has closed its connection: it has ended, or no longer speaks to us."""
        self.runtime_is_present = False
        self._current.is_finished = True

    def is_over(self, now: float) -> bool:
        """Whether the current invocation is over."""
        current = self._current
        if current.is_finished:
            return True
        if current.done_at is not None:
            return current.spans >= current.expected or now >= current.done_at + GRACE_AFTER_DONE_S
        if now >= self._limit:
            self._distrust()
            return True
        if self.runtime_is_present:
            return False
        if self.telemetry_is_alive:
            return not self._waits_for_telemetry or self._telemetry_is_late
        if self.telemetry_is_hoped_for and now < self._begun_at + FIRST_BATCH_S:
            return False
        self.telemetry_is_hoped_for = False
        return True

    def wake_at(self) -> float:
        """When `is_over` may change without anything happening."""
        if self._current.done_at is not None:
            return self._current.done_at + GRACE_AFTER_DONE_S
        if not self.runtime_is_present and self.telemetry_is_hoped_for:
            return min(self._limit, self._begun_at + FIRST_BATCH_S)
        return self._limit

    def _distrust(self) -> None:
        """Nobody told until it was nearly too late: unless it was a time-out, nobody ever will."""
        self._telemetry_is_late = self.telemetry_is_alive
        self.runtime_is_present = False
        self.telemetry_is_alive = False

    def _found(self, request_id: str) -> _Signals | None:
        # Records of many others may have pushed the current one out.
        return self._current if request_id == self._request_id else self._known.get(request_id)

    def _signals(self, request_id: str) -> _Signals:
        signals = self._found(request_id)
        if signals is None:
            signals = self._known[request_id] = _Signals()
            if len(self._known) > _MAX_KNOWN:
                del self._known[next(iter(self._known))]
        return signals
