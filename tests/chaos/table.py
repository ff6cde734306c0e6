"""The table of a run, as it stands in the README."""

from __future__ import annotations

from typing import Any

_HEADS = (
    "fault",
    "invocations",
    "spans",
    "exported",
    "sent again",
    "dropped, by reason",
    "from the log",
    "lost",
    "p50 ms",
    "p99 ms",
)
_ALIGNED = "|---|" + "---:|" * 4 + "---|" + "---:|" * 4


def heads() -> str:
    """The first two lines."""
    return f"| {' | '.join(_HEADS)} |\n{_ALIGNED}"


def line(row: dict[str, Any]) -> str:
    """The line of one fault; latencies are without the fault and with it."""
    dropped = ", ".join(f"{reason} {count}" for reason, count in row["dropped"].items())
    cells = (
        row["fault"],
        f"{row['invocations']:,}",
        f"{row['spans']:,}",
        f"{row['exported']:,}",
        f"{row['repeated']:,}",
        dropped or "none",
        f"{row['replayed']:,}",
        f"{row['lost']:,}",
        *(f"{row[name][0]:.2f} / {row[name][1]:.2f}" for name in ("p50", "p99")),
    )
    return f"| {' | '.join(map(str, cells))} |"
