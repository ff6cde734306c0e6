"""The wire format's primitives, against the encodings that protobuf documents."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdascope.otlp import protobuf
from unit.otlp.official import patient


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "80 01"),
        (150, "96 01"),  # the example of protobuf's documentation
        (16_383, "ff 7f"),
        (16_384, "80 80 01"),
        ((1 << 64) - 1, "ff ff ff ff ff ff ff ff ff 01"),
        (-1, "ff ff ff ff ff ff ff ff ff 01"),
        (-2, "fe ff ff ff ff ff ff ff ff 01"),  # the example of protobuf's documentation
        (-(1 << 63), "80 80 80 80 80 80 80 80 80 01"),
    ],
)
def test_varint(number: int, encoded: str) -> None:
    """Seven bits a byte, lowest first, the top bit set on all but the last."""
    assert bytes.fromhex(encoded) == protobuf.varint(number)


@patient
@given(number=st.floats())
def test_double(number: float) -> None:
    """A double is its IEEE 754 form, little-endian, as `struct` writes it."""
    assert struct.pack("<d", number) == protobuf.double(number)


@patient
@given(number=st.integers(0, (1 << 64) - 1))
def test_fixed_numbers(number: int) -> None:
    """fixed64 and fixed32 are little-endian; fixed32 takes the low 32 bits."""
    assert struct.pack("<Q", number) == protobuf.fixed64(number)
    assert struct.pack("<I", number & 0xFFFF_FFFF) == protobuf.fixed32(number)


def test_empty_text_and_bytes_have_no_field() -> None:
    """Empty is the default of both types, and defaults are not written."""
    assert protobuf.text_field(b"\x0a", "") == b""
    assert protobuf.bytes_field(b"\x0a", b"") == b""
    assert protobuf.length_field(b"\x0a", b"") == b"\x0a\x00"
