"""The extension's own figures as metrics: what it took, gave away, lost and holds, and its cost.

Counts are read off the ledger as differences to the last time, so that nothing has to be counted
twice on the path of an invocation. Reads this process's CPU time and, from /proc, its memory.
"""

from __future__ import annotations

import posix
from time import process_time

from lambdascope.otlp import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambdascope_extension.buffer import Buffer
    from lambdascope_extension.hold import HoldMeter
    from lambdascope_extension.ledger import Ledger
    from lambdascope_extension.records.aggregate import Aggregates, Attributes

_STATM = "/proc/self/statm"
_PAGE_BYTES = 4096


class SelfMetrics:
    """Adds to `counts` what has happened since the last `read`."""

    __slots__ = ("_buffer", "_cpu_s", "_held", "_held_s", "_meter", "_seen")

    def __init__(self, buffer: Buffer, meter: HoldMeter) -> None:
        self._buffer = buffer
        self._meter = meter
        self._held = [0] * len(meter.counts)
        self._held_s = 0.0
        self._cpu_s = 0.0
        self._seen: dict[tuple[str, Attributes], int] = {}

    def read(self, counts: Aggregates) -> None:
        """Bring `counts` up to date."""
        ledger = self._buffer.ledger
        for name, part in ledger.parts():
            self._read_accounts(
                counts, part, ((names.LAMBDASCOPE_DESTINATION, name),)[: bool(name)]
            )
        for reason, count in ledger.refused.items():
            why = ((names.LAMBDASCOPE_REASON, reason),)
            self._add(counts, names.LAMBDASCOPE_EXTENSION_REFUSED, why, count)
        counts.level(names.LAMBDASCOPE_EXTENSION_HELD_SIZE, self._buffer.held_bytes)
        held, held_s = list(self._meter.counts), self._meter.total_s
        since = [new - old for new, old in zip(held, self._held, strict=True)]
        counts.merge(names.LAMBDASCOPE_EXTENSION_HOLD, since, held_s - self._held_s)
        self._held, self._held_s = held, held_s
        cpu_s = process_time()
        counts.add(names.LAMBDASCOPE_EXTENSION_CPU_TIME, cpu_s - self._cpu_s)
        self._cpu_s = cpu_s
        memory = resident_bytes()
        if memory:
            counts.level(names.LAMBDASCOPE_EXTENSION_MEMORY_USAGE, memory)

    def _read_accounts(self, counts: Aggregates, ledger: Ledger, where: Attributes) -> None:
        for signal, account in ledger.accounts.items():
            about: Attributes = ((names.LAMBDASCOPE_SIGNAL, signal), *where)
            self._add(counts, names.LAMBDASCOPE_EXTENSION_ACCEPTED, about, account.accepted)
            self._add(counts, names.LAMBDASCOPE_EXTENSION_EXPORTED, about, account.exported)
            for reason, count in account.dropped.items():
                why: Attributes = (*about, (names.LAMBDASCOPE_REASON, reason))
                self._add(counts, names.LAMBDASCOPE_EXTENSION_DROPPED, why, count)
            counts.level(names.LAMBDASCOPE_EXTENSION_HELD, account.held, about)

    def _add(self, counts: Aggregates, name: str, attributes: Attributes, total: int) -> None:
        key = (name, attributes)
        counts.add(name, total - self._seen.get(key, 0), attributes)
        self._seen[key] = total


def resident_bytes(path: str = _STATM) -> int:
    """The memory of this process that is in RAM; 0 where that cannot be read."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        try:
            return int(posix.read(fd, 200).split()[1]) * _PAGE_BYTES
        finally:
            posix.close(fd)
    except (OSError, ValueError, IndexError):
        return 0
