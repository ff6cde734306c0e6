"""What the tests of SnapStart in the emulator share: raw runtimes that are restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emulator_kit import ECHO, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from lambdascope.emulator.records import InvocationRecord

SNAPPED = f"""
from raw import *
status, headers, body = call("GET", RUNTIME + "restore/next")
say("restored", status, len(body))
{ECHO}"""


def stage_of(folder: Path, runtime: str = SNAPPED, **extensions: str) -> Stage:
    """A function with SnapStart."""
    return Stage(folder, runtime, **extensions).configure(init_type="snap-start")


def phases(record: InvocationRecord) -> list[tuple[str, str]]:
    """Names and states of the phases of the environment's life until the event."""
    wanted = ("init", "snapshot", "restore", "invoke")
    return [(phase.name, phase.status) for phase in record.phases if phase.name in wanted]


GOOD = [(name, "success") for name in ("init", "snapshot", "restore", "invoke")]
