"""OpenTelemetry's propagators: those of OTEL_PROPAGATORS, and one for the X-Ray header.

`opentelemetry.propagate` reads the variable when it is imported, looks through all distributions
for it, and fails the import of whatever needs it when a package is missing. So the variable is
hidden from it, and its propagators are made here; this is loaded right after it. Source:
OpenTelemetry specification, "Propagators API" and "Environment Variable Specification".
"""

from __future__ import annotations

import sys

from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import (
    DefaultSetter,
    TextMapPropagator,
    default_getter,
    default_setter,
)

from lambdascope.runtime.context import current_invocation
from lambdascope.runtime.faults import text_of
from lambdascope.runtime.outbound import XRAY, place_of, xray_header
from lambdascope.runtime.trace_context import xray

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from opentelemetry.context import Context

    from lambdascope.runtime.config import RuntimeConfig

# What needs no look through the distributions.
_KNOWN = {
    "tracecontext": "opentelemetry.trace.propagation.tracecontext:TraceContextTextMapPropagator",
    "baggage": "opentelemetry.baggage.propagation:W3CBaggagePropagator",
    "b3": "opentelemetry.propagators.b3:B3SingleFormat",
    "b3multi": "opentelemetry.propagators.b3:B3MultiFormat",
    "jaeger": "opentelemetry.propagators.jaeger:JaegerPropagator",
}
_XRAY = ("xray", "xray-lambda")
_DEFAULT = ["TraceContextTextMapPropagator", "W3CBaggagePropagator"]


def choose(
    propagate: ModuleType, text: str, config: RuntimeConfig, say: Callable[[str], None]
) -> None:
    """Make the propagators that the variable's text names the global ones.

    Those that somebody else has chosen before stay.
    """
    default = getattr(propagate.get_global_textmap(), "_propagators", ())
    if [type(each).__name__ for each in default] != _DEFAULT:
        return
    chosen = list(dict.fromkeys(each.strip().lower() for each in text.split(",") if each.strip()))
    made: list[TextMapPropagator] = []
    if not chosen:
        made = [*default, InvocationHeader()] if config.record_spans else [*default]
    elif "none" not in chosen:
        made = [each for name in chosen if name not in _XRAY for each in _made(name, say)]
        if not set(chosen).isdisjoint(_XRAY):
            made.append(XrayPropagator(takes_invocation="xray-lambda" in chosen))
    propagate.set_global_textmap(CompositePropagator(made))


def _made(name: str, say: Callable[[str], None]) -> list[TextMapPropagator]:
    try:
        if name in _KNOWN:
            module, _, kind = _KNOWN[name].partition(":")
            __import__(module)
            return [getattr(sys.modules[module], kind)()]
        from importlib.metadata import entry_points

        found = [
            each.load()() for each in entry_points(group="opentelemetry_propagator", name=name)
        ]
        # That a name is not known has been said when the configuration was read.
        return found[:1]
    except Exception as fault:  # noqa: BLE001 - the function goes on without this one
        reason = f"{type(fault).__name__}: {text_of(fault)}"
        say(f"OTEL_PROPAGATORS: {name[:40]!r} cannot be used ({reason}); left out")
        return []


class InvocationHeader(TextMapPropagator):
    """Passes the invocation's own X-Ray header on to what the function calls by HTTP.

    Messages have setters of their own, a limited number of attributes, and get the header from AWS.
    """

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = None) -> Context:
        """Nothing: what an event carries has been read."""
        return get_current() if context is None else context

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = None) -> None:
        """Set the header, unless there is one."""
        times = current_invocation.times()
        if times is None or not (setter is None or type(setter) is DefaultSetter):
            return
        place = place_of(trace.get_current_span(context).get_span_context())
        header = xray_header(times, place)
        if header and XRAY not in carrier:
            carrier[XRAY] = header

    @property
    def fields(self) -> set[str]:
        """None that a message gets."""
        return set()


class XrayPropagator(TextMapPropagator):
    """The current span in X-Ray's form, with the invocation's Lineage: `xray`, `xray-lambda`.

    It needs no package and reads no environment, which several invocations may share.
    `takes_invocation`: without another parent the invocation's header is taken.
    """

    def __init__(self, *, takes_invocation: bool) -> None:
        self._takes_invocation = takes_invocation

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = None) -> Context:
        """The context with the span that the carrier's header names."""
        context = get_current() if context is None else context
        found = None
        for name in (XRAY, XRAY.lower()):
            for value in (getter or default_getter).get(carrier, name) or ():
                found = found or xray(value)
        if found is None and self._takes_invocation:
            times = current_invocation.times()
            has_parent = trace.get_current_span(context).get_span_context().is_valid
            if times is not None and not has_parent:
                found = xray(times.invocation.trace_id or "")
        if found is None:
            return context
        remote = trace.SpanContext(
            int.from_bytes(found.trace_id, "big"),
            int.from_bytes(found.span_id, "big"),
            is_remote=True,
            trace_flags=trace.TraceFlags(1 if found.sampled else 0),
        )
        return trace.set_span_in_context(trace.NonRecordingSpan(remote), context)

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = None) -> None:
        """Set the header."""
        place = place_of(trace.get_current_span(context).get_span_context())
        if place is not None:
            times = current_invocation.times()
            place_trace = None if times is None else times.trace
            lineage = "" if place_trace is None else place_trace.lineage
            (setter or default_setter).set(carrier, XRAY, place.xray(lineage))

    @property
    def fields(self) -> set[str]:
        """What `inject` sets."""
        return {XRAY}
