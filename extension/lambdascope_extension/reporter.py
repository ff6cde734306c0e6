"""What is said about exports: one line for each kind of failure, not one for each failure.

The flusher tells it about every result. A dead collector would otherwise fill the function's log
group with a line for each invocation. It is never given a header's value or a URL with a password.
"""

from __future__ import annotations

from lambdascope_extension.answers import CUT, Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from lambdascope_extension.export_config import Destination

_MAX_LINES = 8


class Reporter:
    """`say` gets the lines."""

    __slots__ = ("_said", "_say")

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: set[str] = set()

    def on_no_sender(self, problem: str) -> None:
        """The package that sends cannot be loaded."""
        package = "grpcio" if "'grpc'" in problem else "requests"
        self._say(
            f"cannot load the sender, telemetry is counted and dropped: {problem}; add the package "
            f"`{package}` to the layer or the environment of the extension"
        )

    def on_failed(
        self, destination: Destination, result: Result, what: str, *, is_final: bool = False
    ) -> None:
        """An export failed; `what` is said about its batch. A loss is said also where something
        harmless was said before."""
        reason, hint = result.reason, result.hint
        if result.outcome == CUT:
            reason = "no answer before the function had to go on"
            hint = "look at the collector and the way to it"
        if self._is_first(f"{reason} {is_final}"):
            self._say(
                f"export of {destination.signal} to {destination.shown} failed: {reason}; {what}; "
                f"{hint}"
            )

    def on_exported(self, destination: Destination, result: Result) -> None:
        """An export succeeded, at least in part."""
        if (result.rejected or result.message) and self._is_first("partial success"):
            self._say(
                f"{destination.shown} rejected {result.rejected} items of a request for "
                f"{destination.signal}: {destination.masked(result.message) or 'without a reason'}"
            )

    def _is_first(self, kind: str) -> bool:
        if kind in self._said or len(self._said) >= _MAX_LINES:
            return False
        self._said.add(kind)
        return True
