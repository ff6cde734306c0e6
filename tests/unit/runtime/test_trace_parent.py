"""Where an invocation's trace begins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.otlp.names import FLAG_HAS_IS_REMOTE, FLAG_IS_REMOTE, FLAGS_LOCAL, FLAGS_REMOTE
from lambdascope.runtime.config import XRAY_LINK, XRAY_PARENT
from lambdascope.runtime.trace_parent import TraceParent

ROOT = "1-5759e988-bd862e3fe1be46a994272793"
TRACE_ID = bytes.fromhex("5759e988bd862e3fe1be46a994272793")
PARENT = bytes.fromhex("53995c3f42cd8ad8")
SAMPLED = f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=1"
UNSAMPLED = f"Root={ROOT};Parent=53995c3f42cd8ad8;Sampled=0"


def test_sampled_header_as_parent() -> None:
    """Where X-Ray is the backend a sampled header is the remote parent."""
    parent = TraceParent(f"Lineage=a:1|b:2;{SAMPLED}", XRAY_PARENT)

    assert (TRACE_ID, PARENT, FLAGS_REMOTE, []) == (
        parent.trace_id,
        parent.parent_span_id,
        parent.flags,
        parent.links,
    )
    assert ROOT == parent.xray_trace_id


@pytest.mark.parametrize(
    ("header", "policy", "flags"),
    [
        (SAMPLED, XRAY_LINK, FLAGS_REMOTE),
        (UNSAMPLED, XRAY_LINK, FLAG_HAS_IS_REMOTE | FLAG_IS_REMOTE),
        (UNSAMPLED, XRAY_PARENT, FLAG_HAS_IS_REMOTE | FLAG_IS_REMOTE),
        (UNSAMPLED.replace("=0", "=?"), XRAY_PARENT, FLAG_HAS_IS_REMOTE | FLAG_IS_REMOTE),
    ],
)
def test_header_as_link(header: str, policy: str, flags: int) -> None:
    """Elsewhere, and for what is not sampled, the trace has its own root and a link."""
    parent = TraceParent(header, policy)

    assert (b"", FLAGS_LOCAL) == (parent.parent_span_id, parent.flags)
    assert parent.trace_id != TRACE_ID
    ((trace_id, span_id, link_flags),) = [
        (link.trace_id, link.span_id, link.flags) for link in parent.links
    ]
    assert (TRACE_ID, PARENT, flags) == (trace_id, span_id, link_flags)
    assert ROOT == parent.xray_trace_id


def test_header_without_parent() -> None:
    """A passed-through header may have no Parent: where X-Ray is the backend, the trace is its."""
    header = f"Root={ROOT};Sampled=1"
    linked, joined = TraceParent(header, XRAY_LINK), TraceParent(header, XRAY_PARENT)

    assert (b"", [], ROOT) == (linked.parent_span_id, linked.links, linked.xray_trace_id)
    assert linked.trace_id != TRACE_ID
    assert (TRACE_ID, b"", [], FLAGS_LOCAL) == (
        joined.trace_id,
        joined.parent_span_id,
        joined.links,
        joined.flags,
    )


@pytest.mark.parametrize("header", [None, "", "garbage", "Root=1-0-0;Parent=zz;Sampled=1", ";;=;"])
def test_no_usable_header(header: str | None) -> None:
    """Without a usable header the trace is new and says nothing about X-Ray."""
    first, second = TraceParent(header, XRAY_PARENT), TraceParent(header, XRAY_PARENT)

    assert (b"", [], "", FLAGS_LOCAL) == (
        first.parent_span_id,
        first.links,
        first.xray_trace_id,
        first.flags,
    )
    assert first.trace_id != second.trace_id
    assert 16 == len(first.trace_id)


parts = st.sampled_from(
    ["Root=" + ROOT, "Parent=53995c3f42cd8ad8", "Sampled=1", "Sampled=0", "Self=x", "Parent=", "="]
)


@given(
    st.one_of(st.text(), st.lists(parts).map(";".join)), st.sampled_from([XRAY_LINK, XRAY_PARENT])
)
def test_any_header(header: str, policy: str) -> None:
    """Whatever the header holds, ids have their lengths and nothing is raised."""
    parent = TraceParent(header, policy)

    assert 16 == len(parent.trace_id)
    assert len(parent.parent_span_id) in (0, 8)
    assert all((16, 8) == (len(link.trace_id), len(link.span_id)) for link in parent.links)
