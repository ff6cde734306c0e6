"""The flight file: what a runtime notes of its invocations so that it survives the runtime.

The extension makes the file beside the handoff file, the runtime writes, and the extension reads it
when an invocation has had no end. A write is one pwrite into the page cache: it wakes nobody, waits
for nothing, and is there after SIGKILL. All numbers are little-endian.

    0               how many slots are taken (u32)
    RESOURCE_AT     one frame RESOURCE
    SLOTS_AT        MAX_SLOTS slots of SLOT_BYTES: one for each invocation that may run at a time
    TEXT_AT         what the C library side of Python says of a fatal signal, as plain text

A slot is a row of frames, ended by a length of zero; a new invocation begins again at its start. A
frame is the payload's length (u32), a kind (one byte), the payload, and four bytes that are the
invocation's own: they are at the end so that a frame that is cut off, or left over from an earlier
invocation, does not have them.

    HEAD      the first frame: trace id (16), span id (8), parent span id (8, zeros for none), start
              in Unix ns and deadline in Unix ms (u64 each), flags (u32), 1 for a cold start (u8),
              number of links (u8); for each link trace id, span id and flags (u32); then texts of
              UTF-8 with NUL between them, in the order of HEAD_TEXTS
    INIT      of a first invocation: "1" if init belongs to its trace, and init's type, then three
              texts for init itself, without a name, and for each of its parts: name, start, end
    OPEN      a span that has begun: span id (8), length (u16) and bytes of the field
              ScopeSpans.scope (or nothing, for the runtime's own), then trace.proto's Span
    CLOSED    the same of a span that has ended
    LEFT      the id of a span that has been handed over in another way
    STACKS    text: what was running
    CAUSE     text: why the runtime cut the invocation short, as error.type has it
    LOST      text: how many spans had no room

It knows the layout and nothing of files, times or protobuf.
"""

from __future__ import annotations

RESOURCE_AT = 64
SLOTS_AT = 16_384
SLOT_BYTES = 131_072
MAX_SLOTS = 128
TEXT_AT = SLOTS_AT + MAX_SLOTS * SLOT_BYTES
# At the end of each slot, for stacks and causes alone.
RESERVE_BYTES = 32_768

RESOURCE = b"R"
HEAD = b"H"
INIT = b"I"
OPEN = b"O"
CLOSED = b"C"
LEFT = b"L"
STACKS = b"S"
CAUSE = b"K"
LOST = b"X"

END = b"\0\0\0\0"
# Length, kind, number.
FRAME_BYTES = 9
# `pid` is 0 where the process must not be sent a signal. `trace_header` is X-Ray's as it came,
# given where the runtime has not read it; it is not the parent.
HEAD_TEXTS = (
    "pid",
    "request_id",
    "trigger",
    "arn",
    "xray_trace_id",
    "tenant_id",
    "trace_state",
    "parent_source",
    "parent_reason",
    "trace_header",
)
HEAD_BYTES = 54
LINK_BYTES = 28
MAX_LINKS = 16


def frame(kind: bytes, payload: bytes, number: bytes) -> bytes:
    """One frame; `number` is 4 bytes."""
    return b"".join((len(payload).to_bytes(4, "little"), kind, payload, number))


def head_texts(payload: bytes) -> list[str]:
    """The texts of a HEAD, in the order of HEAD_TEXTS; none when it is not one. Never raises."""
    at = HEAD_BYTES + LINK_BYTES * (payload[HEAD_BYTES - 1] if len(payload) >= HEAD_BYTES else 0)
    texts = payload[at:].decode("utf-8", "replace").split("\0")
    return texts if len(texts) == len(HEAD_TEXTS) else []


def read_frames(slot: bytes, first: bytes = HEAD) -> list[tuple[bytes, bytes]]:
    """The kinds and payloads of a slot up to its end, or to what is cut off; none unless `first`
    is the kind of the first one. Never raises."""
    found: list[tuple[bytes, bytes]] = []
    number = b""
    at = 0
    while True:
        size = int.from_bytes(slot[at : at + 4], "little")
        payload_end = at + 5 + size
        tail = slot[payload_end : payload_end + 4]
        if not size or len(tail) != 4 or (found and tail != number):
            return found
        kind = slot[at + 4 : at + 5]
        if not found:
            if kind != first:
                return found
            number = tail
        found.append((kind, slot[at + 5 : payload_end]))
        at = payload_end + 4
