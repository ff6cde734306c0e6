"""The protobuf wire format, as far as OTLP needs it to be written.

The encoder is its only caller. It knows tags, varints and fixed-width numbers and nothing of spans.
It imports nothing: ``struct`` would cost a third of a millisecond on every cold start (measured on
CPython 3.11), so a double is written through a memoryview. Source: protobuf.dev, "Encoding".
"""

from __future__ import annotations

MASK_64 = 0xFFFF_FFFF_FFFF_FFFF
MASK_32 = 0xFFFF_FFFF

# The varints of 0 to 127, which are most lengths, ready made.
BYTE = tuple([bytes((number,)) for number in range(128)])


def varint(number: int) -> bytes:
    """Return `number` as a base-128 varint; a negative one as 64-bit two's complement."""
    if 0 <= number < 0x80:
        return BYTE[number]
    if 0 <= number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    number &= MASK_64
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def fixed64(number: int) -> bytes:
    """Return `number` as 8 little-endian bytes; one out of range becomes the nearest in range."""
    try:
        return number.to_bytes(8, "little")
    except OverflowError:
        return (0 if number < 0 else MASK_64).to_bytes(8, "little")


def fixed32(number: int) -> bytes:
    """Return the low 32 bits of `number` as 4 little-endian bytes."""
    return (number & MASK_32).to_bytes(4, "little")


def double(number: float) -> bytes:
    """Return the IEEE 754 form of `number` as 8 little-endian bytes."""
    bits = memoryview(bytearray(8))
    bits.cast("d")[0] = number
    return bits.cast("Q")[0].to_bytes(8, "little")


def utf8(text: str) -> bytes:
    """Return `text` as UTF-8; what UTF-8 cannot hold (an unpaired surrogate) becomes ``?``."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def length_field(tag: bytes, payload: bytes) -> bytes:
    """Return a length-delimited field: its tag byte, the length, the payload."""
    return b"".join((tag, varint(len(payload)), payload))


def bytes_field(tag: bytes, data: bytes) -> bytes:
    """Return a bytes field, or nothing for empty bytes, which are a bytes field's default."""
    return length_field(tag, data) if data else b""


def text_field(tag: bytes, text: str) -> bytes:
    """Return a string field, or nothing for the empty string, which is a string field's default."""
    return length_field(tag, utf8(text)) if text else b""
