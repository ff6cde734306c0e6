"""The limits of OTEL_* for what the runtime itself records: spans of its phases, and log records.

Loaded where one of the variables is set; spans of the function have them from the SDK. Where there
are too many attributes the function's own stay longest, and ours beyond the conventions go first;
those by which the extension decides are never left out. Source: OpenTelemetry specification,
"Environment Variable Specification", attribute, span and log record limits.
"""

from __future__ import annotations

import os

from lambdascope.otlp import names
from lambdascope.otlp.encode import TraceEncoder
from lambdascope.runtime.logs import say
from lambdascope.runtime.otel.settings import log_limits, span_limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from lambdascope.otlp.log_model import LogRecord
    from lambdascope.otlp.model import Attributes, Span

_ALWAYS = frozenset(
    (
        names.ERROR_TYPE,
        names.FAAS_INVOCATION_ID,
        names.FAAS_COLDSTART,
        names.LAMBDASCOPE_KEEP,
        names.SAMPLING_KEEP,
    )
)
_CONVENTIONS = frozenset(each for each in vars(names).values() if type(each) is str)


class LimitedEncoder(TraceEncoder):
    """Encodes spans as far as the limits go."""

    __slots__ = ("_limits",)

    def __init__(self, **about: Any) -> None:
        super().__init__(**about)
        self._limits = span_limits(os.environ, say)

    def attributes(self, attributes: Mapping[str, object]) -> bytes:
        """Return attributes in the form that `Span.encoded` takes: here they stay what they are."""
        return _Attributes(attributes)

    def span(self, span: Span) -> bytes:
        """Return one span encoded, which has been cut to the limits."""
        shared = span.encoded
        if isinstance(shared, _Attributes):
            span.attributes = {**shared.attributes, **span.attributes}
            span.encoded = b""
        limits = self._limits
        count, length = limits["max_span_attributes"], limits["max_span_attribute_length"]
        span.attributes, dropped = limited(span.attributes, count, length)
        span.dropped_attributes += dropped
        length = limits["max_attribute_length"]
        span.events, dropped = _last(span.events, limits["max_events"])
        span.dropped_events += dropped
        for event in span.events:
            found = limited(event.attributes, limits["max_event_attributes"], length)
            event.attributes, event.dropped_attributes = (
                found[0],
                event.dropped_attributes + found[1],
            )
        dropped = len(span.links) - limits["max_links"]
        if dropped > 0 <= limits["max_links"]:
            span.links = span.links[:-dropped]
            span.dropped_links += dropped
        for link in span.links:
            found = limited(link.attributes, limits["max_link_attributes"], length)
            link.attributes, link.dropped_attributes = found[0], link.dropped_attributes + found[1]
        return super().span(span)


class LogLimits:
    """Cuts log records that no SDK has made."""

    def __init__(self) -> None:
        self._count, self._length = log_limits(os.environ, say)

    def apply(self, record: LogRecord) -> None:
        """Cut the record."""
        record.attributes, dropped = limited(record.attributes, self._count, self._length)
        record.dropped_attributes += dropped


class _Attributes(bytes):
    """Attributes that stand for their encoded form."""

    attributes: Mapping[str, object]

    def __new__(cls, attributes: Mapping[str, object]) -> _Attributes:
        made = super().__new__(cls, b"-")
        made.attributes = attributes
        return made


def limited(attributes: Attributes, count: int, length: int) -> tuple[Attributes, int]:
    """The attributes within the limits, -1 for none, and how many are left out."""
    kept = attributes
    if 0 <= count < len(attributes):
        most = max(count, sum(key in _ALWAYS for key in attributes))
        chosen = frozenset(sorted(attributes, key=_rank)[:most])
        kept = {key: value for key, value in attributes.items() if key in chosen}
    if length >= 0:
        kept = {k: v if k in _ALWAYS else _cut(v, length) for k, v in kept.items()}
    return kept, len(attributes) - len(kept)


def _rank(key: str) -> int:
    if key in _ALWAYS:
        return 0
    if key.startswith("lambdascope."):
        return 3
    return 2 if key in _CONVENTIONS else 1


def _cut(value: object, length: int) -> object:
    if isinstance(value, str):
        return value[:length]
    return [_cut(each, length) for each in value] if isinstance(value, (list, tuple)) else value


def _last(events: list[Any], count: int) -> tuple[list[Any], int]:
    """The newest ones, among which is what ended the invocation, and how many are left out."""
    dropped = len(events) - count if count >= 0 else 0
    return (events[dropped:], dropped) if dropped > 0 else (events, 0)
