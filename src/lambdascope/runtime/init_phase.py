"""The times of the init phase: notes only, because the function waits while they are taken.

`bootstrap` notes when each part began and ended; the spans are made of them after the first
response (init_spans.py). Parts: loading the runtime, loading the handler, connecting to the
extension. All notes are monotonic nanoseconds.
"""

from __future__ import annotations

from lambdascope.wire.names import INIT_ON_DEMAND, INIT_PROACTIVE

# Lambda hands an on-demand event out right after init; later than this, init was proactive.
PROACTIVE_NS = 10_000_000_000

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope.clock import Clock
    from lambdascope.runtime.import_times import ImportTimes
    from lambdascope.runtime.snapshot import RestorePhase


class InitPhase:
    """Notes of one init. `entered_ns` is the first line of ours, `cpu_ns` the CPU time until then.

    SnapStart (snapshot.py) sets `restore`, and with it what cannot be known any more afterwards:
    `started_ns`, the process's start, and `clock`, which has the wall clock of init.
    """

    def __init__(self, *, function_name: str, init_type: str, entered_ns: int, cpu_ns: int) -> None:
        self.function_name = function_name
        self.init_type = init_type
        self.entered_ns = entered_ns
        self.cpu_ns = cpu_ns
        self.parts: list[tuple[str, int, int]] = []
        self.imports: ImportTimes | None = None
        self.ended_ns = 0
        self.started_ns = 0
        self.clock: Clock | None = None
        self.restore: RestorePhase | None = None

    @property
    def ready_ns(self) -> int:
        """When the first event was asked for: after init, or after the restore."""
        return self.ended_ns if self.restore is None else self.restore.ended_ns

    def is_of(self, received_ns: int) -> bool:
        """Whether the platform ran init for the event that was received then, and not ahead."""
        waited_ns = received_ns - self.ended_ns
        return self.init_type == INIT_ON_DEMAND and waited_ns < PROACTIVE_NS

    def kind(self, received_ns: int) -> str:
        """Lambda's type of the init, or "proactive", by when the first event was received."""
        is_ahead = self.init_type == INIT_ON_DEMAND and not self.is_of(received_ns)
        return INIT_PROACTIVE if is_ahead else self.init_type

    def facts(self, received_ns: int, offset_ns: int) -> bytes:
        """What the flight file holds of it, beside the first invocation: see wire/flight.py."""
        texts = [f"{self.is_of(received_ns):d}", self.kind(received_ns)]
        for name, start_ns, end_ns in [
            ("", self.entered_ns - self.cpu_ns, self.ended_ns),
            *self.parts,
        ]:
            texts += name, str(start_ns + offset_ns), str(end_ns + offset_ns)
        return "\0".join(texts).encode("utf-8", "replace")

    def part(self, name: str, start_ns: int, end_ns: int) -> None:
        """A part of init, or of the restore if there is one, is over."""
        parts = self.parts if self.restore is None else self.restore.parts
        parts.append((name, start_ns, end_ns))

    def end(self, now_ns: int) -> None:
        """Init, or the restore if there is one, is over: the first event is asked for."""
        if self.restore is None:
            self.ended_ns = now_ns
        else:
            self.restore.ended_ns = now_ns
