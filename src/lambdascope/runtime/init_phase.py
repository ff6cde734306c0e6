"""The times of the init phase: notes only, because the function waits while they are taken.

`bootstrap` notes when each part began and ended; the spans are made of them after the first
response (init_spans.py). Parts: loading the runtime, loading the handler, connecting to the
extension. All notes are monotonic nanoseconds.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.runtime.import_times import ImportTimes


class InitPhase:
    """Notes of one init. `entered_ns` is the first line of ours, `cpu_ns` the CPU time until
    then."""

    def __init__(self, *, function_name: str, init_type: str, entered_ns: int, cpu_ns: int) -> None:
        self.function_name = function_name
        self.init_type = init_type
        self.entered_ns = entered_ns
        self.cpu_ns = cpu_ns
        self.parts: list[tuple[str, int, int]] = []
        self.imports: ImportTimes | None = None
        self.ended_ns = 0

    def part(self, name: str, start_ns: int, end_ns: int) -> None:
        """A part of init is over."""
        self.parts.append((name, start_ns, end_ns))
