"""What the differential tests share: the events, the table of differences, the comparison."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambdascope.emulator.records import InvocationRecord

HERE = Path(__file__).parent / "integration" / "differential"
EVENT = b'{"order": 17, "name": "\\u00e9\\ud83d\\ude00", "nested": [1, 2.5, null, true, {"a": []}]}'
REQUEST_ID = "8f60e725-45d2-4901-949c-482a936d20be"
TRACE = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:1|b:2"


def differences(case: str) -> tuple[frozenset[str], frozenset[str]]:
    """Fields that must differ, and fields that may, by the table."""
    table = tomllib.loads((HERE / "differences.toml").read_text())["difference"]
    must = [f for row in table if case in row["cases"] for f in row["fields"]]
    may = [f for row in table if "*" in row["cases"] for f in row["fields"]]
    return frozenset(must), frozenset(may)


def fields(record: InvocationRecord) -> dict[str, object]:
    """The caller's view of an answer, flattened so that a difference has a name."""
    found: dict[str, object] = {
        "function_error": record.function_error,
        "content_type": record.content_type,
    }
    try:
        value = json.loads(record.answer)
    except ValueError:
        return found | {"body": record.answer}
    if record.function_error is not None and isinstance(value, dict):
        return found | value
    return found | {"body": record.answer}


def assert_agree(case: str, ours: InvocationRecord, theirs: InvocationRecord) -> None:
    """Every field agrees, but for the table."""
    must_differ, may_differ = differences(case)
    left, right = fields(theirs), fields(ours)
    names = left.keys() | right.keys()
    differing = {name for name in names if left.get(name) != right.get(name)} - may_differ
    shown = {name: (left.get(name), right.get(name)) for name in differing ^ must_differ}
    assert must_differ == differing, f"theirs, ours: {str(shown)[:2000]}"
    if left.get("errorType") == right.get("errorType") == "Runtime.MarshalError":
        assert str(right["errorMessage"]).startswith(str(left["errorMessage"]))
