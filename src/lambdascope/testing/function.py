"""A handler that can be invoked as the runtime does it, without Lambda and in this process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lambdascope.clock import Clock
from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.deadline_context import invocation_ended
from lambdascope.runtime.live_results import LiveResults
from lambdascope.runtime.logs import say
from lambdascope.runtime.trace_parent import TraceParent
from lambdascope.testing.context import context_of, make_config, make_times
from lambdascope.testing.spans import RecordedSpans
from lambdascope.wire.names import ACCEPTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lambdascope.runtime.context import LambdaContext
    from lambdascope.runtime.streaming import HttpPrelude
    from lambdascope.runtime.telemetry import InvokeTimes


class Function:
    """Calls a handler, plain, async or a generator; `spans` are those of its invocations.

    `variables` are added to those that the runtime would read. Where the OpenTelemetry SDK is
    installed, the invoke span is current while the handler runs, and `spans` gets it, named like
    the function, and every span that ends; otherwise `spans` stays empty.
    """

    def __init__(
        self,
        handler: Callable[[Any, LambdaContext], Any],
        *,
        name: str = "function",
        variables: Mapping[str, str] | None = None,
        spans: RecordedSpans | None = None,
    ) -> None:
        self._handler = handler
        self._config = make_config(name, variables)
        self._live = _Kept(_Api(), say, keep_tasks=False)  # type: ignore[arg-type]  # its shape
        self.spans = RecordedSpans() if spans is None else spans

    def invoke(
        self,
        event: Any = None,
        *,
        remaining_s: float = 30.0,
        request_id: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """What the handler returns: the value of a coroutine, a StreamedAnswer for a stream.

        `remaining_s` is the time until the deadline, in seconds; `headers` are added to those that
        come with an event. Raises what the handler raises.
        """
        times = make_times(
            self._config, remaining_s=remaining_s, request_id=request_id, headers=headers
        )
        times.trace = TraceParent(times.invocation.trace_id, self._config.xray_policy)
        context = context_of(self._config, times, lambda: self._live)
        token = current_invocation.set(times)
        try:
            with _InvokeSpan(times, self._config.function_name or "", self.spans):
                times.entered_ns = time.monotonic_ns()
                try:
                    result = self._live.settle(self._handler(event, context), times)
                finally:
                    times.returned_ns = time.monotonic_ns()
                    invocation_ended(context, 0.0)
            self._live.after_response(times, remaining_s)
        finally:
            current_invocation.reset(token)
        return result


class StreamedAnswer(list[bytes]):
    """What a handler streamed: its pieces, and the status, headers and cookies if it sent any."""

    prelude: HttpPrelude | None = None


class _Kept(LiveResults):
    """Runs what handlers return; a stream is kept instead of posted."""

    def __del__(self) -> None:
        if self._loop is not None:
            self._loop.close()

    def settle(self, result: object, times: InvokeTimes) -> object:
        settled = super().settle(result, times)
        stream = times.stream
        if stream is None or not (stream.started or settled is None):
            return settled
        stream.close()
        pieces: list[bytes] = stream._upload.kept  # type: ignore[union-attr]  # it is _Upload
        answer = StreamedAnswer(pieces if stream._prelude is None else pieces[1:])
        answer.prelude = stream._prelude
        return answer


class _Api:
    """Stands for the Runtime API's client, of which streams need two things."""

    headers = ()

    def upload(self, _head: bytes) -> _Upload:
        return _Upload()


class _Upload:
    """Keeps what would be sent."""

    stalled_ns = 0

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    @property
    def pieces(self) -> int:
        return len(self.kept)

    @property
    def sent_bytes(self) -> int:
        return sum(map(len, self.kept))

    def write(self, data: bytes) -> None:
        self.kept.append(bytes(data))

    def offer(self, data: bytes) -> None:
        self.write(data)

    def finish(self, _end: bytes) -> tuple[int, bytes]:
        return ACCEPTED, b""

    def abort(self) -> None:
        """Nothing is under way."""


class _InvokeSpan:
    """The span of one invocation, from the SDK; nothing where there is none."""

    def __init__(self, times: InvokeTimes, name: str, spans: RecordedSpans) -> None:
        self._times = times
        self._name = name
        self._spans = spans
        self._stack: Any = None

    def __enter__(self) -> None:
        try:
            from opentelemetry import trace
            from opentelemetry.sdk.trace import TracerProvider
        except ImportError:
            return
        from lambdascope.runtime.otel.sdk import Ids

        place, ids = self._times.trace, Ids()
        assert place is not None  # noqa: S101 - the caller has set it
        provider = TracerProvider(id_generator=ids, shutdown_on_exit=False)  # type: ignore[arg-type]
        provider.add_span_processor(self._spans)  # type: ignore[arg-type]  # its shape
        start_ns = self._times.received_ns + Clock().offset_ns
        trace_id, span_id = (int.from_bytes(i, "big") for i in (place.trace_id, place.span_id))
        with ids.chosen(trace_id, span_id):
            span = provider.get_tracer("lambdascope.testing").start_span(
                self._name,
                context=trace.set_span_in_context(trace.INVALID_SPAN),
                kind=trace.SpanKind.SERVER,
                start_time=start_ns,
            )
        self._stack = trace.use_span(span, end_on_exit=True)
        self._stack.__enter__()

    def __exit__(self, *failure: Any) -> None:
        if self._stack is not None:
            self._stack.__exit__(*failure)
