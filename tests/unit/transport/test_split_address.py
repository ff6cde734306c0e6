"""Texts of the form host:port."""

from __future__ import annotations

import pytest

from lambdascope.transport.connection import split_address


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("127.0.0.1:9001", ("127.0.0.1", 9001)),
        ("localhost", ("localhost", 80)),
        ("sandbox.localdomain:1", ("sandbox.localdomain", 1)),
        ("[::1]:9001", ("::1", 9001)),
        ("[::1]", ("::1", 80)),
        ("::1", ("::1", 80)),
        ("h:65535", ("h", 65535)),
    ],
)
def test_addresses(text: str, parts: tuple[str, int]) -> None:
    """Host and port, or host alone, also of version 6."""
    assert parts == split_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":9001",
        "h:",
        "h:0",
        "h:65536",
        "h:-1",
        "h:+1",
        "h:1_0",
        "h:\u0661",
        "h:" + "9" * 5000,
        "h:port",
        "[]:1",
        "a b:1",
        "h\u00e9:1",
        "h\n:1",
        "h\0:1",
    ],
)
def test_texts_that_are_no_address(text: str) -> None:
    """They are refused before anything is opened."""
    with pytest.raises(ValueError, match="not an address of the form host:port"):
        split_address(text)
