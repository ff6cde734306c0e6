"""What an X-Ray header becomes in a trace that does not continue it: an id, a link, a word on why.

The runtime asks after the response, the extension for an invocation that had no end.
"""

from __future__ import annotations

from lambdascope.otlp.model import Link
from lambdascope.otlp.names import FLAG_HAS_IS_REMOTE, FLAG_IS_REMOTE, FLAGS_REMOTE


def xray_id(trace_id: str) -> str:
    """32 hex digits as X-Ray writes them: "1-8hex-24hex"; "" for none."""
    return f"1-{trace_id[:8]}-{trace_id[8:]}" if trace_id else ""


def link_of(trace_id: str, parent_id: str, *, sampled: bool | None) -> tuple[list[Link], str]:
    """The links, one or none, and the reason why the header is not the parent.

    Ids are hex digits or ""; `sampled` is what the header says of it.
    """
    if not trace_id:
        return [], "xray: malformed"
    if not parent_id:
        return [], "xray: no parent in it"
    flags = FLAGS_REMOTE if sampled else FLAG_HAS_IS_REMOTE | FLAG_IS_REMOTE
    ids = bytes.fromhex(trace_id), bytes.fromhex(parent_id)
    # Not sampled, it is nobody's parent, whatever the policy says.
    reason = "xray: linked" if sampled else "xray: linked, not sampled"
    return [Link(trace_id=ids[0], span_id=ids[1], flags=flags)], reason
