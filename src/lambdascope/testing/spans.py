"""The spans of tests, in memory, as the SDK's own readable spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


class RecordedSpans(list["ReadableSpan"]):
    """Ended spans in their order. Is a span processor, so that any tracer provider can feed it."""

    def named(self, name: str) -> list[ReadableSpan]:
        """All spans of that name."""
        return [span for span in self if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only span of that name. Raises AssertionError, which tells the names there are."""
        found = self.named(name)
        if len(found) != 1:
            there = ", ".join(span.name for span in self) or "none"
            raise AssertionError(f"{len(found)} spans are named {name!r}; there are: {there}")
        return found[0]

    def children_of(self, parent: ReadableSpan) -> list[ReadableSpan]:
        """The spans whose parent is that one."""
        context = parent.context
        return [
            span
            for span in self
            if span.parent is not None
            and context is not None
            and span.parent.span_id == context.span_id
        ]

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """See the SDK's SpanProcessor."""

    def _on_ending(self, span: Any) -> None:
        """See the SDK's SpanProcessor."""

    def on_end(self, span: ReadableSpan) -> None:
        """Keep it."""
        self.append(span)

    def shutdown(self) -> None:
        """See the SDK's SpanProcessor."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is held."""
        return True
