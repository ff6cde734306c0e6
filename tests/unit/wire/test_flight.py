"""The flight file's frames: what is whole is read, whatever comes behind it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lambdascope.wire import flight
from unit.otlp.official import patient

NUMBER = b"\x9a\x3c\xe1\x57"
PAYLOADS = st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=6)


def slot(payloads: list[bytes], number: bytes = NUMBER) -> bytes:
    """A head and open spans, and the end."""
    kinds = [flight.HEAD, *[flight.OPEN] * (len(payloads) - 1)]
    frames = [flight.frame(*pair, number) for pair in zip(kinds, payloads, strict=True)]
    return b"".join(frames) + flight.END


@patient
@given(PAYLOADS)
def test_what_is_written_is_read(payloads: list[bytes]) -> None:
    """All frames of a slot are read in their order, up to its end."""
    found = flight.read_frames(slot(payloads) + b"left over")

    assert payloads == [payload for _, payload in found]
    assert flight.HEAD == found[0][0]


@patient
@given(PAYLOADS, PAYLOADS, st.integers(0, 400))
def test_cut_off(payloads: list[bytes], before: list[bytes], cut: int) -> None:
    """A write that was cut off over an earlier invocation gives its whole frames and no others."""
    old, new = slot(before, b"\x51\xc3\x3b\xf8"), slot(payloads)
    cut = min(cut, len(new))
    torn = (new[:cut] + old[cut:]) if cut < len(old) else new[:cut]

    found = [payload for _, payload in flight.read_frames(torn)]

    if cut >= len(flight.frame(flight.HEAD, payloads[0], NUMBER)):
        whole = [len(slot(payloads[: n + 1])) - 4 <= cut for n in range(len(payloads))]
        assert sum(whole) <= len(found)
        assert payloads[: len(found)] == found


@patient
@given(st.binary(max_size=300))
def test_garbage(data: bytes) -> None:
    """No bytes at all raise, and none but a head begin a slot."""
    found = flight.read_frames(data)

    assert all(len(payload) < len(data) for _, payload in found)
    assert not found or found[0][0] == flight.HEAD


def test_slots_do_not_overlap() -> None:
    """Header, slots and text lie behind each other."""
    assert flight.RESOURCE_AT < flight.SLOTS_AT
    assert flight.SLOTS_AT + flight.MAX_SLOTS * flight.SLOT_BYTES == flight.TEXT_AT
    assert flight.RESERVE_BYTES < flight.SLOT_BYTES
