"""Makes room in a slot of the flight file; loaded when an invocation has filled one with spans."""

from __future__ import annotations

from lambdascope.wire import flight as layout

_OF_SPANS = (layout.OPEN, layout.CLOSED, layout.LEFT)
_NO_SCOPE = bytes(2)


def tidied(slot: bytes, number: bytes, *, keeps_ended: bool) -> bytes:
    """The frames of a slot without those that later ones have replaced.

    Without `keeps_ended` also without the function's own spans that have ended.
    """
    frames = layout.read_frames(slot + layout.END)
    last = {p[:8]: n for n, (kind, p) in enumerate(frames) if kind in _OF_SPANS}
    kept: list[bytes] = []
    for n, (kind, payload) in enumerate(frames):
        if kind in _OF_SPANS:
            is_ended = kind != layout.OPEN and (kind == layout.LEFT or not keeps_ended)
            if last[payload[:8]] != n or (is_ended and payload[8:10] != _NO_SCOPE):
                continue
        kept.append(layout.frame(kind, payload, number))
    return b"".join(kept)
