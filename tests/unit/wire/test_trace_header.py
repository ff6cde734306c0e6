"""The X-Ray trace header: tolerant reading, exact writing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.wire.trace_header import TraceHeader, format_trace_header, parse_trace_header

TRACE = "5759e988bd862e3fe1be46a994272793"
ROOT = "Root=1-5759e988-bd862e3fe1be46a994272793"
PARENT = "53995c3f42cd8ad8"


def header(
    raw: str, trace_id: str = "", parent_id: str = "", sampled: bool | None = None
) -> TraceHeader:
    """What reading should give."""
    return TraceHeader(
        raw=raw,
        trace_id=trace_id,
        parent_id=parent_id,
        sampled=sampled,
        lineage=raw.partition("Lineage=")[2],
    )


@pytest.mark.parametrize(
    ("raw", "trace_id", "parent_id", "sampled"),
    [
        (f"{ROOT};Parent={PARENT};Sampled=1", TRACE, PARENT, True),
        (f"{ROOT};Parent={PARENT};Sampled=0", TRACE, PARENT, False),
        (f"{ROOT};Parent={PARENT};Sampled=?", TRACE, PARENT, None),
        (f"{ROOT};Parent={PARENT}", TRACE, PARENT, None),
        (f"{ROOT};Sampled=0", TRACE, "", False),
        (ROOT, TRACE, "", None),
        (f"Sampled=1;Parent={PARENT};{ROOT}", TRACE, PARENT, True),
        (f" {ROOT} ; Parent={PARENT} ; Sampled=1 ", TRACE, PARENT, True),
        (f"{ROOT};Parent={PARENT};Sampled=1;Lineage=25:a87bd80c:0|9b4a1a6f:1", TRACE, PARENT, True),
        (f"Self=1-67891234-12456789abcdef012345678;{ROOT};CalledFrom=app", TRACE, "", None),
        (f"{ROOT.upper().replace('ROOT', 'Root')};Parent={PARENT.upper()}", TRACE, PARENT, None),
        ("", "", "", None),
        (";;", "", "", None),
        ("=", "", "", None),
        ("Root", "", "", None),
        ("Root=;Parent=;Sampled=", "", "", None),
        (f"Root={TRACE}", "", "", None),
        (f"Root=2-{TRACE[:8]}-{TRACE[8:]}", "", "", None),
        (f"Root=1-{TRACE}", "", "", None),
        (f"Root=1-{TRACE[:7]}-{TRACE[7:]}", "", "", None),
        (f"Root=1-{TRACE[:8]}-{TRACE[8:]}0", "", "", None),
        (f"Root=1-{TRACE[:8]}-{TRACE[8:-1]}", "", "", None),
        (f"Root=1-{TRACE[:8]}-{TRACE[8:-1]}g", "", "", None),
        (f"Root=1-{TRACE[:8]}-{TRACE[8:20]}-{TRACE[20:]}", "", "", None),
        ("Root=1-00000000-000000000000000000000000", "", "", None),
        (f"{ROOT};Parent=0000000000000000", TRACE, "", None),
        (f"{ROOT};Parent={PARENT[:-1]}", TRACE, "", None),
        (f"{ROOT};Parent={PARENT[:-1]}x;Sampled=yes", TRACE, "", None),
        (f"root=1-{TRACE[:8]}-{TRACE[8:]};parent={PARENT}", "", "", None),
    ],
)
def test_reading(raw: str, trace_id: str, parent_id: str, sampled: bool | None) -> None:
    """Parts come in any order; what does not fit counts as absent; the text is kept."""
    assert header(raw, trace_id, parent_id, sampled) == parse_trace_header(raw)


@given(st.text())
def test_reading_never_fails(raw: str) -> None:
    """Any text gives a header of well-formed or absent ids."""
    parsed = parse_trace_header(raw)
    assert raw == parsed.raw
    assert len(parsed.trace_id) in (0, 32)
    assert len(parsed.parent_id) in (0, 16)


IDS = st.integers(1, 16**16 - 1)


@given(st.integers(1, 16**32 - 1), IDS, st.booleans(), st.sampled_from(["", "25:a87bd80c:0|b:1"]))
def test_written_headers_are_read_back(
    trace: int, parent: int, sampled: bool, lineage: str
) -> None:
    """Writing and reading agree for all ids but zero."""
    trace_id, parent_id = f"{trace:032x}", f"{parent:016x}"
    raw = format_trace_header(trace_id, parent_id, sampled=sampled, lineage=lineage)
    assert header(raw, trace_id, parent_id, sampled) == parse_trace_header(raw)


def test_the_written_form() -> None:
    """The form is the one that AWS documents."""
    expected = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    assert expected == format_trace_header(TRACE, PARENT, sampled=True)
    assert expected[:-1] + "0" == format_trace_header(TRACE, PARENT, sampled=False)
