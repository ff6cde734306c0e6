"""What the differential tests share: the events, the table of differences, the comparison."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).parent / "integration" / "differential"
EVENT = b'{"order": 17, "name": "\\u00e9\\ud83d\\ude00", "nested": [1, 2.5, null, true, {"a": []}]}'
REQUEST_ID = "8f60e725-45d2-4901-949c-482a936d20be"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1|b:2"


# Where a case is run; rows of the table may be for some of these alone.
BUFFERED = "buffered"  # in our emulator, one invocation at a time
CONCURRENT = "concurrent"  # in our emulator, as on Lambda Managed Instances
AWS_BUFFERED = "aws-buffered"  # the same two in AWS's emulator
AWS_CONCURRENT = "aws-concurrent"
# The concurrent ones again, with our client in the processes that it has by choice.
PROCESSES = "processes"
AWS_PROCESSES = "aws-processes"
MODES = (BUFFERED, CONCURRENT, PROCESSES, AWS_BUFFERED, AWS_CONCURRENT, AWS_PROCESSES)


class Answered(Protocol):
    """What a caller got: `function_error` is None for a success."""

    @property
    def function_error(self) -> str | None: ...  # noqa: D102 - see above
    @property
    def content_type(self) -> str: ...  # noqa: D102
    @property
    def answer(self) -> bytes: ...  # noqa: D102


def differences(case: str, mode: str = BUFFERED) -> tuple[frozenset[str], frozenset[str]]:
    """Fields that must differ, and fields that may, by the table."""
    table = tomllib.loads((HERE / "differences.toml").read_text())["difference"]
    rows = [row for row in table if mode in row.get("modes", MODES)]
    must = [f for row in rows if case in row["cases"] for f in row["fields"]]
    may = [f for row in rows if "*" in row["cases"] for f in row["fields"]]
    return frozenset(must), frozenset(may)


def fields(answered: Answered) -> dict[str, object]:
    """The caller's view of an answer, flattened so that a difference has a name."""
    found: dict[str, object] = {
        "function_error": answered.function_error,
        "content_type": answered.content_type,
    }
    try:
        value = json.loads(answered.answer)
    except ValueError:
        return found | {"body": answered.answer}
    if answered.function_error is not None and isinstance(value, dict):
        return found | value
    return found | {"body": answered.answer}


def assert_agree(case: str, ours: Answered, theirs: Answered, mode: str = BUFFERED) -> None:
    """Every field agrees, but for the table."""
    must_differ, may_differ = differences(case, mode)
    left, right = fields(theirs), fields(ours)
    names = left.keys() | right.keys()
    differing = {name for name in names if left.get(name) != right.get(name)} - may_differ
    shown = {name: (left.get(name), right.get(name)) for name in differing ^ must_differ}
    assert must_differ == differing, f"theirs, ours: {str(shown)[:2000]}"
    if left.get("errorType") == right.get("errorType") == "Runtime.MarshalError":
        assert str(right["errorMessage"]).startswith(str(left["errorMessage"]))
