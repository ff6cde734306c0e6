"""What calls of the function carry along: W3C's traceparent, and the header of X-Ray.

Loaded with botocore or OpenTelemetry's propagators. AWS calls get both through botocore's own
events, with or without OpenTelemetry. botocore itself passes on `_X_AMZN_TRACE_ID`, which is not
there where several invocations run at a time; Lambda finds loops between functions by the Lineage
in it (AWS Lambda developer guide, "Recursive loop detection").
"""

from __future__ import annotations

import sys

from lambdascope.otlp.names import PARENT_XRAY
from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.logs import say
from lambdascope.runtime.trace_context import TRACEPARENT, TRACESTATE
from lambdascope.wire.trace_header import format_trace_header

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from lambdascope.runtime.telemetry import InvokeTimes

XRAY = "X-Amzn-Trace-Id"
# botocore's own choice of what may stand in this header as it is.
_SAFE = "-=;:+&[]{}\"',"


class Place:
    """The span that a call belongs to: ids in hex, the sampled flag, and the trace state."""

    __slots__ = ("sampled", "span_id", "trace_id", "trace_state")

    def __init__(self, trace_id: str, span_id: str, *, sampled: bool, trace_state: str) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.sampled = sampled
        self.trace_state = trace_state

    def traceparent(self) -> str:
        """The header of W3C Trace Context, version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def xray(self, lineage: str) -> str:
        """The same span as X-Ray writes it."""
        return format_trace_header(
            self.trace_id, self.span_id, sampled=self.sampled, lineage=lineage
        )


def place_of(span_context: Any) -> Place | None:
    """That of a span of OpenTelemetry's; None when it is invalid."""
    if not span_context.is_valid:
        return None
    return Place(
        format(span_context.trace_id, "032x"),
        format(span_context.span_id, "016x"),
        sampled=bool(span_context.trace_flags & 1),
        trace_state=span_context.trace_state.to_header(),
    )


def current_place(times: InvokeTimes | None) -> Place | None:
    """The current span, or the invocation's own where OpenTelemetry knows of none."""
    api = sys.modules.get("opentelemetry.trace")
    if hasattr(api, "get_current_span"):
        place = place_of(api.get_current_span().get_span_context())  # type: ignore[union-attr]  # it is there
        if place is not None:
            return place
    trace = None if times is None else times.trace
    if trace is None:
        return None
    trace_id, span_id = trace.hex_ids()
    return Place(trace_id, span_id, sampled=bool(trace.flags & 1), trace_state=trace.trace_state)


def xray_header(times: InvokeTimes, place: Place | None) -> str:
    """The invocation's header, with the current span as the parent where the trace is X-Ray's."""
    trace = times.trace
    if trace is not None and place is not None and trace.source == PARENT_XRAY:
        is_same = place.trace_id == trace.trace_id.hex()
        if is_same and place.sampled:
            return place.xray(trace.lineage)
    header = times.invocation.trace_id or ""
    return header if header.isascii() and header.isprintable() else ""


class AwsCalls:
    """Handlers of botocore's events, for all clients that are made after `botocore.handlers`."""

    def __init__(self, *, w3c: bool) -> None:
        self._w3c = w3c
        self._failed = False

    def join(self, handlers: ModuleType) -> None:
        """Put them among botocore's own, before the one that passes on the environment's header."""
        handlers.BUILTIN_HANDLERS.insert(0, ("before-call", self._before_call))
        if self._w3c:
            handlers.BUILTIN_HANDLERS.append(("before-send", self._before_send))

    def _before_call(self, params: Any, **_: object) -> None:
        times = current_invocation.times()
        if times is None:
            return
        try:
            if XRAY not in params["headers"]:
                header = xray_header(times, current_place(times))
                if header:
                    from urllib.parse import quote

                    params["headers"][XRAY] = quote(header, safe=_SAFE)
        except Exception as fault:  # noqa: BLE001 - the function's call goes on without it
            self._fault(fault)

    def _before_send(self, request: Any, **_: object) -> None:
        # After the signature, which would not survive a proxy that has a span of its own.
        try:
            place = current_place(current_invocation.times())
            if place is not None and TRACEPARENT not in request.headers:
                request.headers[TRACEPARENT] = place.traceparent()
                if place.trace_state:
                    request.headers[TRACESTATE] = place.trace_state
        except Exception as fault:  # noqa: BLE001 - as above
            self._fault(fault)

    def _fault(self, fault: Exception) -> None:
        if not self._failed:
            self._failed = True
            say(
                f"AWS calls carry no trace context: {type(fault).__name__}: {fault} "
                "(a fault of lambdascope; the calls are not affected)"
            )
